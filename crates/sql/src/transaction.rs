//! Transactions and cursors: BEGIN, COMMIT, ROLLBACK, DECLARE, FETCH, CLOSE, DEALLOCATE, DISCARD.

use sqlparser::tokenizer::Token;

use crate::Error;
use crate::ast::{Declare, Fetch, Kind};
use crate::cursor::Cursor;
use crate::query;

pub(crate) fn begin(cursor: &mut Cursor) -> Result<Kind, Error> {
    if cursor.accept(&["START"]) {
        cursor.expect(&["TRANSACTION"])?;
    } else {
        cursor.expect(&["BEGIN"])?;
        cursor.accept_one(&["WORK", "TRANSACTION"]);
    }
    modes(cursor)?;
    Ok(Kind::Begin)
}

pub(crate) fn commit(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect_one(&["COMMIT", "END"])?;
    ends(cursor)?;
    Ok(Kind::Commit)
}

pub(crate) fn rollback(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect_one(&["ROLLBACK", "ABORT"])?;
    ends(cursor)?;
    Ok(Kind::Rollback)
}

fn ends(cursor: &mut Cursor) -> Result<(), Error> {
    let whole = "A transaction is committed or rolled back as a whole.";
    for (refused, hint) in [("PREPARED", "There is no two-phase commit."), ("TO", whole)] {
        if cursor.sees(&[refused]) {
            return Err(cursor.unsupported(if refused == "TO" { "SAVEPOINT" } else { "PREPARED" }).hint(hint));
        }
    }
    cursor.accept_one(&["WORK", "TRANSACTION"]);
    if cursor.sees(&["TO"]) {
        return Err(cursor.unsupported("SAVEPOINT").hint(whole));
    }
    if cursor.sees(&["AND", "CHAIN"]) {
        return Err(cursor.unsupported("AND CHAIN").hint("Write BEGIN after it."));
    }
    cursor.accept(&["AND", "NO", "CHAIN"]);
    Ok(())
}

/// The modes of a transaction, as names of settings without their prefix. Between them commas may stand.
pub(crate) fn modes(cursor: &mut Cursor) -> Result<Vec<(&'static str, String)>, Error> {
    let mut modes = Vec::new();
    while !cursor.done() {
        if cursor.accept(&["ISOLATION", "LEVEL"]) {
            let levels: &[&[&str]] = &[&["READ", "UNCOMMITTED"], &["READ", "COMMITTED"], &["REPEATABLE", "READ"], &["SERIALIZABLE"]];
            match levels.iter().find(|level| cursor.accept(level)) {
                Some(level) => modes.push(("isolation", level.join(" ").to_lowercase())),
                None => return Err(cursor.unexpected()),
            }
        } else if cursor.accept(&["READ", "ONLY"]) {
            modes.push(("read_only", "on".to_string()));
        } else if cursor.accept(&["READ", "WRITE"]) {
            modes.push(("read_only", "off".to_string()));
        } else if cursor.accept(&["NOT", "DEFERRABLE"]) {
            modes.push(("deferrable", "off".to_string()));
        } else if cursor.accept(&["DEFERRABLE"]) {
            modes.push(("deferrable", "on".to_string()));
        } else {
            return Err(cursor.unexpected_among(&["ISOLATION", "READ", "DEFERRABLE"]));
        }
        if cursor.accept_token(&Token::Comma) && cursor.done() {
            return Err(cursor.unexpected());
        }
    }
    Ok(modes)
}

pub(crate) fn declare(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect(&["DECLARE"])?;
    let name = cursor.name()?;
    loop {
        for refused in ["SCROLL", "BINARY"] {
            if cursor.sees(&[refused]) {
                return Err(cursor
                    .unsupported(format!("a {refused} cursor"))
                    .hint("Leave the word out: a cursor goes forward and returns text."));
            }
        }
        if !cursor.accept(&["NO", "SCROLL"]) && cursor.accept_one(&["INSENSITIVE", "ASENSITIVE"]).is_none() {
            break;
        }
    }
    cursor.expect(&["CURSOR"])?;
    if cursor.accept_one(&["WITH", "WITHOUT"]).is_some() {
        cursor.expect(&["HOLD"])?;
    }
    cursor.expect(&["FOR"])?;
    if !query::begins(cursor) {
        return Err(cursor.unexpected_among(&["SELECT", "WITH", "VALUES"]));
    }
    Ok(Kind::Declare(Declare { name, query: query::query(cursor)? }))
}

pub(crate) fn fetch(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect(&["FETCH"])?;
    for refused in ["BACKWARD", "PRIOR", "FIRST", "LAST", "ABSOLUTE", "RELATIVE"] {
        if cursor.sees(&[refused]) && cursor.nth(1).is_some() {
            return Err(cursor.unsupported(format!("FETCH {refused}")).hint("A cursor only goes forward: FETCH n FROM name."));
        }
    }
    // The last word is the name, even if it is called like a direction.
    let direction = cursor.nth(1).is_some();
    if direction {
        cursor.accept(&["FORWARD"]);
    }
    let count = match cursor.peek().map(|token| &token.token) {
        Some(Token::Number(..)) => Some(cursor.number()?),
        Some(Token::Minus) => return Err(cursor.unsupported("fetching backward").hint("A cursor only goes forward: FETCH n FROM name.")),
        _ if direction && cursor.nth(1).is_some() && cursor.accept(&["ALL"]) => None,
        _ => {
            if direction && cursor.nth(1).is_some() {
                cursor.accept(&["NEXT"]);
            }
            Some(1)
        }
    };
    cursor.accept_one(&["FROM", "IN"]);
    Ok(Kind::Fetch(Fetch { name: cursor.name()?, count }))
}

pub(crate) fn close(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect(&["CLOSE"])?;
    Ok(Kind::Close(name_or_all(cursor)?))
}

pub(crate) fn deallocate(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect(&["DEALLOCATE"])?;
    if cursor.nth(1).is_some() {
        cursor.accept(&["PREPARE"]);
    }
    Ok(Kind::Deallocate(name_or_all(cursor)?))
}

pub(crate) fn discard(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect(&["DISCARD"])?;
    cursor.expect_one(&["ALL", "PLANS", "SEQUENCES", "TEMP", "TEMPORARY"])?;
    Ok(Kind::Discard)
}

fn name_or_all(cursor: &mut Cursor) -> Result<Option<String>, Error> {
    if cursor.accept(&["ALL"]) { Ok(None) } else { Ok(Some(cursor.name()?)) }
}
