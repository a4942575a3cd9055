//! SET, RESET and SHOW of settings, in PostgreSQL's and ksqlDB's spellings.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::Error;
use crate::ast::Kind;
use crate::cursor::Cursor;
use crate::properties::property_name;
use crate::transaction;

pub(crate) fn set(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect(&["SET"])?;
    if cursor.accept(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
        return transaction_modes(cursor, "default_transaction", false);
    }
    if cursor.sees(&["TRANSACTION"]) && !is_assigned(cursor, 1) {
        cursor.skip(1);
        return transaction_modes(cursor, "transaction", true);
    }
    let mut local = false;
    let authorization = cursor.sees(&["SESSION", "AUTHORIZATION"]);
    if !authorization && !is_assigned(cursor, 1) {
        local = cursor.sees(&["LOCAL"]);
        if local || cursor.sees(&["SESSION"]) {
            cursor.skip(1);
        }
    }
    for refused in ["CONSTRAINTS", "XML"] {
        if cursor.sees(&[refused]) && !is_assigned(cursor, 1) {
            return Err(cursor.unsupported(format!("SET {refused}")));
        }
    }
    let bare = if cursor.accept(&["TIME", "ZONE"]) {
        Some("timezone")
    } else if cursor.accept(&["SESSION", "AUTHORIZATION"]) {
        Some("session_authorization")
    } else if cursor.sees(&["ROLE"]) && !is_assigned(cursor, 1) {
        cursor.skip(1);
        Some("role")
    } else if cursor.sees(&["NAMES"]) && !is_assigned(cursor, 1) {
        cursor.skip(1);
        Some("client_encoding")
    } else {
        None
    };
    let name = match bare {
        Some(name) => name.to_string(),
        None => {
            let name = property_name(cursor)?;
            if !cursor.accept_token(&Token::Eq) {
                cursor.expect(&["TO"])?;
            }
            name
        }
    };
    let default = cursor.accept(&["DEFAULT"]) || (name == "timezone" && bare.is_some() && cursor.accept(&["LOCAL"]));
    let value = if default { None } else { Some(values(cursor)?) };
    Ok(Kind::Set { name, value, local })
}

pub(crate) fn reset(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect_one(&["RESET", "UNSET"])?;
    if cursor.accept(&["ALL"]) {
        return Ok(Kind::Reset(None));
    }
    Ok(Kind::Reset(Some(name(cursor)?)))
}

/// The name of a setting, also of those that PostgreSQL writes as words.
pub(crate) fn name(cursor: &mut Cursor) -> Result<String, Error> {
    for (words, name) in [
        (&["TIME", "ZONE"][..], "timezone"),
        (&["TRANSACTION", "ISOLATION", "LEVEL"], "transaction_isolation"),
        (&["SESSION", "AUTHORIZATION"], "session_authorization"),
        (&["NAMES"], "client_encoding"),
    ] {
        if cursor.accept(words) {
            return Ok(name.to_string());
        }
    }
    property_name(cursor)
}

fn is_assigned(cursor: &Cursor, ahead: usize) -> bool {
    cursor.sees_token(ahead, &Token::Eq)
        || cursor.sees_token(ahead, &Token::Period)
        || cursor.word(ahead).is_some_and(|word| word.value.eq_ignore_ascii_case("TO"))
}

/// Values between commas, as text. Words stay as they are written: what reads a setting compares without case.
fn values(cursor: &mut Cursor) -> Result<String, Error> {
    let mut list = Vec::new();
    loop {
        let value = match cursor.accept_string().or_else(|| cursor.accept_signed()) {
            Some(value) => value,
            None => match cursor.peek() {
                Some(token @ TokenWithSpan { token: Token::Word(word), .. }) => {
                    cursor.skip(1);
                    if word.quote_style.is_some() { word.value.clone() } else { cursor.source.written(token).to_string() }
                }
                _ => return Err(cursor.unexpected()),
            },
        };
        list.push(value);
        if !cursor.accept_token(&Token::Comma) {
            return Ok(list.join(", "));
        }
    }
}

/// `ISOLATION LEVEL …`, `READ ONLY` and so on set settings, too; of several the first counts.
fn transaction_modes(cursor: &mut Cursor, prefix: &str, local: bool) -> Result<Kind, Error> {
    if cursor.done() {
        return Err(cursor.unexpected());
    }
    let modes = transaction::modes(cursor)?;
    match modes.into_iter().next() {
        Some((name, value)) => Ok(Kind::Set { name: format!("{prefix}_{name}"), value: Some(value), local }),
        None => Err(cursor.unexpected()),
    }
}
