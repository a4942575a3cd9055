//! `WITH (name = value, …)`

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::Error;
use crate::ast::{Properties, Property};
use crate::cursor::Cursor;
use crate::error::SYNTAX_ERROR;

/// The properties that come next; none when there is no `WITH`.
pub(crate) fn properties(cursor: &mut Cursor) -> Result<Properties, Error> {
    let mut properties = Properties::new();
    if !cursor.sees(&["WITH"]) {
        return Ok(properties);
    }
    cursor.skip(1);
    let mut inside = cursor.bracketed()?;
    if inside.done() {
        return Ok(properties);
    }
    loop {
        let position = inside.offset();
        let twice = inside.position();
        let name = property_name(&mut inside)?;
        if properties.iter().any(|other| other.name == name) {
            return Err(Error::new(SYNTAX_ERROR, format!("property \"{name}\" is given twice"), twice));
        }
        inside.expect_token(&Token::Eq)?;
        let value = value(&mut inside)?;
        properties.push(Property { name, value, position });
        if !inside.accept_token(&Token::Comma) {
            break;
        }
    }
    inside.finish()?;
    Ok(properties)
}

/// A name in lower case, with or without quotes; dots may be in it.
pub(crate) fn property_name(cursor: &mut Cursor) -> Result<String, Error> {
    if let Some(name) = cursor.accept_string() {
        return Ok(name.to_lowercase());
    }
    let mut name = String::new();
    loop {
        let Some(TokenWithSpan { token: Token::Word(word), .. }) = cursor.peek() else { return Err(cursor.unexpected()) };
        name.push_str(&word.value.to_lowercase());
        cursor.skip(1);
        if !cursor.accept_token(&Token::Period) {
            return Ok(name);
        }
        name.push('.');
    }
}

/// A string, number, boolean or name, as text.
fn value(cursor: &mut Cursor) -> Result<String, Error> {
    if let Some(text) = cursor.accept_string().or_else(|| cursor.accept_signed()) {
        return Ok(text);
    }
    match cursor.accept_one(&["true", "false"]) {
        Some(boolean) => Ok(boolean.to_string()),
        None => cursor.name(),
    }
}
