//! JSON where PostgreSQL has no literal: MAPs, STRUCTs by the names of their fields, arrays of arrays. As Kafka's JSON, but a scalar may
//! also be a text in PostgreSQL's form, which is how COPY TO writes what JSON has no form of its own for.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::column::{Column, Names, Reason, Values};
use crate::json::{Kind, Scanner, read_value};

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
        (Values::Map { key, value, .. }, Kind::Object) => {
            entries(scanner, key, value)?;
            column.close()
        }
        (Values::Struct { names, fields }, Kind::Object) => {
            members(scanner, row, names, fields)?;
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

/// Of several entries with one key the last counts, at the place of the first.
fn entries(scanner: &mut Scanner<'_>, key: &mut Column, values: &mut Column) -> Result<(), Reason> {
    let mut entries: Vec<(Cow<'_, str>, &str)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    scanner.object(|scanner, name| {
        let raw = scanner.skip()?;
        match places.get(name.as_ref()) {
            Some(place) => entries[*place].1 = raw,
            None => {
                places.insert(name.to_string(), entries.len());
                entries.push((name, raw));
            }
        }
        Ok(())
    })?;
    for (name, raw) in entries {
        super::append(key, &name)?;
        value(&mut Scanner::new(raw), values)?;
    }
    Ok(())
}

/// The fields of a STRUCT; what is missing is null, what is unknown is passed over.
fn members(scanner: &mut Scanner<'_>, row: usize, names: &Names, fields: &mut [Column]) -> Result<(), Reason> {
    let mut hint = 0;
    scanner.object(|scanner, name| {
        let Some(index) = names.find(&name, hint) else { return scanner.skip().map(drop) };
        hint = index + 1;
        let field = &mut fields[index];
        if field.len() > row {
            field.truncate(row);
        }
        value(scanner, field).map_err(|reason| format!("field \"{name}\": {reason}"))
    })?;
    fields.iter_mut().filter(|field| field.len() == row).try_for_each(Column::put_null)
}
