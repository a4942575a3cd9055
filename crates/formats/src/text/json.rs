//! JSON where PostgreSQL has no literal: MAPs, STRUCTs by the names of their fields, arrays of arrays. As Kafka's JSON, but a scalar may
//! also be a text in PostgreSQL's form, which is how COPY TO writes what JSON has no form of its own for.

use crate::column::{Column, Reason, Values};
use crate::json::{Kind, Scanner, read_fields, read_map, read_value};

/// Appends the value that all of `text` is.
pub(super) fn append(column: &mut Column, text: &str) -> Result<(), Reason> {
    let mut scanner = Scanner::new(text);
    value(&mut scanner, column).and_then(|()| scanner.end()).map_err(|reason| format!("{}: {reason}", super::invalid("json", text)))
}

fn value(scanner: &mut Scanner<'_>, column: &mut Column) -> Result<(), Reason> {
    let kind = scanner.peek()?;
    let row = column.len();
    match (&mut column.values, kind) {
        (_, Kind::Null) => read_value(scanner, column),
        (Values::List { item, .. }, Kind::Array) => {
            scanner.array(|scanner| value(scanner, item))?;
            column.close()
        }
        (Values::Map { key, value: items, .. }, Kind::Object) => {
            read_map(scanner, key, items, value)?;
            column.close()
        }
        (Values::Struct { names, fields }, Kind::Object) => {
            read_fields(scanner, row, names.in_turn(), Some, fields, value)?;
            column.close()
        }
        // Kafka's JSON has bytes in base64, where there is no backslash.
        (Values::Bytes { .. }, Kind::Text) => match scanner.text()? {
            text if text.starts_with('\\') => super::append(column, &text),
            text => column.append_base64(&text),
        },
        (Values::Varchar { .. }, _) => read_value(scanner, column),
        (_, Kind::Text) => super::append(column, &scanner.text()?),
        _ => read_value(scanner, column),
    }
}
