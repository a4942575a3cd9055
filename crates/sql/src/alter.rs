//! ALTER QUERY … RESET.

use sqlparser::tokenizer::Token;

use crate::Error;
use crate::ast::{Kind, ResetQuery, ResetTo};
use crate::cursor::Cursor;
use crate::error::{INVALID_PARAMETER_VALUE, SYNTAX_ERROR};
use crate::{near, show};

const FORM: &str = "Write ALTER QUERY id RESET, with TO EARLIEST, TO LATEST or TO OFFSETS (partition = offset, …) behind it or nothing.";

/// Whether ALTER QUERY comes next, or was meant.
pub(crate) fn begins(cursor: &Cursor) -> bool {
    cursor.sees(&["ALTER", "QUERY"])
        || cursor.sees(&["ALTER"]) && cursor.word(1).is_some_and(|word| near::miss(&word.value, ["QUERY"]).is_some())
}

pub(crate) fn alter(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect(&["ALTER", "QUERY"])?;
    let Some(query) = show::accept_query_id(cursor) else {
        return Err(cursor.unexpected().hint("Write the id of a query, as SHOW QUERIES shows it."));
    };
    cursor.expect(&["RESET"]).map_err(hinted)?;
    let to = if cursor.accept(&["TO"]) { reset_to(cursor).map_err(hinted)? } else { ResetTo::Earliest };
    cursor.finish().map_err(hinted)?;
    Ok(Kind::ResetQuery(ResetQuery { query, to }))
}

fn reset_to(cursor: &mut Cursor) -> Result<ResetTo, Error> {
    match cursor.expect_one(&["EARLIEST", "LATEST", "OFFSETS"])? {
        "EARLIEST" => Ok(ResetTo::Earliest),
        "LATEST" => Ok(ResetTo::Latest),
        _ => offsets(cursor).map(ResetTo::Offsets),
    }
}

/// `(partition = offset, …)`
fn offsets(cursor: &mut Cursor) -> Result<Vec<(u32, u64)>, Error> {
    let mut inside = cursor.bracketed()?;
    let mut offsets: Vec<(u32, u64)> = Vec::new();
    loop {
        let position = inside.position();
        let number = inside.number()?;
        let Ok(partition) = u32::try_from(number) else {
            return Err(Error::new(INVALID_PARAMETER_VALUE, format!("there is no partition {number}"), position));
        };
        if offsets.iter().any(|(given, _)| *given == partition) {
            return Err(Error::new(SYNTAX_ERROR, format!("partition {partition} is given twice"), position));
        }
        inside.expect_token(&Token::Eq)?;
        offsets.push((partition, inside.number()?));
        if !inside.accept_token(&Token::Comma) {
            break;
        }
    }
    inside.finish()?;
    Ok(offsets)
}

/// A syntax error that says nothing yet of what to write says it.
fn hinted(error: Error) -> Error {
    match error.hint {
        None if error.message.starts_with("syntax error") => error.hint(FORM),
        _ => error,
    }
}
