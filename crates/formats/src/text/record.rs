//! PostgreSQL's record literals: `(1,"a b",,"(2,x)")`. A field without any character is NULL.

use crate::column::{Column, Reason};

/// Appends the fields of `text` to `fields`, one to each.
pub(super) fn append(fields: &mut [Column], text: &str) -> Result<(), Reason> {
    let malformed = |detail: &str| format!("malformed record literal: \"{text}\": {detail}");
    let mut rest = text.trim_start().strip_prefix('(').ok_or_else(|| malformed("it must begin with \"(\""))?;
    let last = fields.len().saturating_sub(1);
    for (index, column) in fields.iter_mut().enumerate() {
        let (value, end) = field(rest).ok_or_else(|| malformed("it does not end"))?;
        match value {
            Some(value) => super::append(column, &value)?,
            None => column.put_null()?,
        }
        rest = &rest[end..];
        rest = match rest.chars().next() {
            Some(',') if index < last => &rest[1..],
            Some(')') if index == last => &rest[1..],
            Some(',') => return Err(malformed("too many fields")),
            _ => return Err(malformed("too few fields")),
        };
    }
    if rest.trim().is_empty() { Ok(()) } else { Err(malformed("text after the closing parenthesis")) }
}

/// A field and where it ends in `rest`: at a comma or the closing parenthesis. Quotes may begin and end anywhere in it.
fn field(rest: &str) -> Option<(Option<String>, usize)> {
    let mut value = String::new();
    let mut quoted = false;
    let mut characters = rest.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            ',' | ')' if !quoted => return Some(((at > 0).then_some(value), at)),
            '\\' => value.push(characters.next()?.1),
            '"' if quoted && characters.peek().is_some_and(|(_, next)| *next == '"') => {
                characters.next();
                value.push('"');
            }
            '"' => quoted = !quoted,
            character => value.push(character),
        }
    }
    None
}
