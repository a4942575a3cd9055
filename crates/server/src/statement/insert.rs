//! INSERT INTO … VALUES: all rows in one append.

use millpond_sql::ast::InsertValues;

use super::{Answer, Given, values, write};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::session::Session;

pub async fn insert(session: &mut Session, interrupt: &mut Interrupt<'_>, insert: &InsertValues, given: &Given<'_>) -> Result<Answer> {
    session.may_write("INSERT")?;
    let source = write::writable(session, &insert.target)?;
    let mut slots = write::slots(&source, &insert.columns, session.dialect())?;
    let width = insert.rows.first().map_or(0, Vec::len);
    if insert.rows.iter().any(|row| row.len() != width) {
        return Err(Error::new("42601", "VALUES lists must all be the same length"));
    }
    if width > slots.len() {
        let error = Error::new("42601", "INSERT has more expressions than target columns");
        return Err(match source.header_columns().next() {
            Some(header) => error.hint(format!("Nothing can be written to header columns, as \"{}\".", header.name)),
            None => error,
        });
    }
    if width < slots.len() {
        if !insert.columns.is_empty() {
            return Err(Error::new("42601", "INSERT has more target columns than expressions"));
        }
        // As in PostgreSQL, columns at the end may be left out.
        slots.truncate(width);
    }
    let arrays = values::evaluate(session, interrupt, &slots, &insert.rows, given).await?;
    let count = insert.rows.len();
    let rows = write::source_write(&source, &slots, arrays, count)?;
    write::write(session, interrupt, vec![rows]).await?;
    Ok(Answer::Done(format!("INSERT 0 {count}")))
}
