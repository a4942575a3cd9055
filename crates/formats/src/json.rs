//! JSON: an object with the columns' names, or a single value as the whole document.

mod path;
mod read;
mod scan;
mod write;

use crate::column::{Column, Reason, utf8};

pub use path::JsonPath;
pub(crate) use read::{read_fields, read_map, read_value};
pub(crate) use scan::{Kind, Scanner};
pub(crate) use write::{Cells, object_prefixes};

/// Reads an object into row `row` of `columns`. The document `null` is a null record.
pub(crate) fn read_record(
    bytes: &[u8],
    row: usize,
    find: impl FnMut(&str) -> Option<usize>,
    slots: &[Option<usize>],
    columns: &mut [Column],
) -> Result<(), Reason> {
    let mut scanner = Scanner::new(utf8(bytes)?);
    if scanner.null()? {
        columns.iter_mut().for_each(Column::append_null);
        return scanner.end();
    }
    read_fields(&mut scanner, row, find, |index| slots[index], columns, read_value)?;
    scanner.end()
}

/// Reads the whole document as one value; only checks it when no column is wanted.
pub(crate) fn read_document(bytes: &[u8], column: Option<&mut Column>) -> Result<(), Reason> {
    let mut scanner = Scanner::new(utf8(bytes)?);
    match column {
        Some(column) => read_value(&mut scanner, column)?,
        None => {
            scanner.skip()?;
        }
    }
    scanner.end()
}
