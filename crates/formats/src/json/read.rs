//! JSON values into columns (dialect §15).

use std::borrow::Cow;
use std::collections::HashMap;

use super::scan::{Kind, Scanner};
use crate::column::{Column, Reason, Values};
use crate::{decimal, double, text};

/// Appends the next value to a column.
pub(crate) type Read = fn(&mut Scanner<'_>, &mut Column) -> Result<(), Reason>;

/// Reads an object's fields into row `row` of the columns that `slot` says for what `find` gives. The last of several properties for one column counts.
/// Missing fields are null.
pub(crate) fn read_fields(
    scanner: &mut Scanner<'_>,
    row: usize,
    mut find: impl FnMut(&str) -> Option<usize>,
    slot: impl Fn(usize) -> Option<usize>,
    columns: &mut [Column],
    read: Read,
) -> Result<(), Reason> {
    if scanner.peek()? != Kind::Object {
        return Err(format!("expected an object, found {}", scanner.peek()?));
    }
    scanner.object(|scanner, name| {
        let Some(slot) = find(&name).and_then(&slot) else { return scanner.skip().map(drop) };
        let column = &mut columns[slot];
        if column.len() > row {
            column.truncate(row);
        }
        read(scanner, column).map_err(|reason| format!("column \"{name}\": {reason}"))
    })?;
    for column in columns.iter_mut().filter(|column| column.len() == row) {
        column.put_null()?;
    }
    Ok(())
}

/// Appends the next value to `column`.
pub(crate) fn read_value(scanner: &mut Scanner<'_>, column: &mut Column) -> Result<(), Reason> {
    let kind = scanner.peek()?;
    if kind == Kind::Null {
        scanner.null()?;
        return column.put_null();
    }
    let row = column.len();
    match &mut column.values {
        Values::Boolean(values) => match kind {
            Kind::Boolean => values.append(scanner.boolean()?),
            _ => return Err(format!("expected a boolean, found {kind}")),
        },
        Values::Int(values) => values.push(integer(scanner, kind, str::parse, |value| value as i32)?),
        Values::Bigint(values) => values.push(integer(scanner, kind, str::parse, |value| value as i64)?),
        Values::Double(values) => {
            let number = numeric(scanner, kind, "a number")?;
            values.push(double::parse(&number).ok_or_else(|| format!("'{number}' is no number"))?);
        }
        Values::Decimal { values, precision, scale } => {
            let number = numeric(scanner, kind, "a number")?;
            let value = decimal::parse(&number, *precision, *scale, decimal::Rounding::Exact);
            values.push(value.map_err(|_| format!("'{number}' does not fit DECIMAL({precision}, {scale})"))?);
        }
        Values::Varchar { .. } => {
            let text = as_text(scanner, kind)?;
            return column.append_bytes(text.as_bytes());
        }
        Values::Bytes { .. } => {
            if kind != Kind::Text {
                return Err(format!("expected a base64 text, found {kind}"));
            }
            return column.append_base64(&scanner.text()?);
        }
        Values::Date(values) => values.push(count(scanner, kind, "days since 1970-01-01")?),
        Values::Time(values) => {
            let ms = count(scanner, kind, "milliseconds of the day")?;
            if !(0..86_400_000).contains(&ms) {
                return Err(format!("{ms} is no time of day"));
            }
            values.push(ms);
        }
        Values::Timestamp(values) => values.push(count(scanner, kind, "milliseconds since 1970-01-01")?),
        Values::List { item, .. } => {
            if kind != Kind::Array {
                return Err(format!("expected an array, found {kind}"));
            }
            scanner.array(|scanner| read_value(scanner, item))?;
            return column.close();
        }
        Values::Map { key, value, .. } => {
            if kind != Kind::Object {
                return Err(format!("expected an object, found {kind}"));
            }
            read_map(scanner, key, value, read_value)?;
            return column.close();
        }
        Values::Struct { names, fields } => {
            read_fields(scanner, row, names.in_turn(), Some, fields, read_value)?;
            return column.close();
        }
    }
    column.pushed();
    Ok(())
}

/// The entries of an object. Of several with one key the last counts, at the place of the first.
pub(crate) fn read_map(scanner: &mut Scanner<'_>, key: &mut Column, value: &mut Column, read: Read) -> Result<(), Reason> {
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
        text::append(key, &name)?;
        read(&mut Scanner::new(raw), value)?;
    }
    Ok(())
}

/// Numbers are cut to integers and to the type's bits as Java cuts them; texts must be an integer of the type.
fn integer<T>(
    scanner: &mut Scanner<'_>,
    kind: Kind,
    parse: impl Fn(&str) -> Result<T, std::num::ParseIntError>,
    cut: impl Fn(i128) -> T,
) -> Result<T, Reason> {
    let number = numeric(scanner, kind, "a number")?;
    match parse(&number) {
        Ok(value) => Ok(value),
        Err(_) if kind == Kind::Number => match decimal::parse(&number, 38, 0, decimal::Rounding::Truncate) {
            Ok(value) => Ok(cut(value)),
            Err(_) => Err(format!("{number} is out of range")),
        },
        Err(_) => Err(format!("'{number}' is no integer in range")),
    }
}

/// A number or a text that is to be one.
fn numeric<'a>(scanner: &mut Scanner<'a>, kind: Kind, expected: &str) -> Result<Cow<'a, str>, Reason> {
    match kind {
        Kind::Number => Ok(Cow::Borrowed(scanner.number()?)),
        Kind::Text => scanner.text(),
        _ => Err(format!("expected {expected}, found {kind}")),
    }
}

fn count<T: std::str::FromStr>(scanner: &mut Scanner<'_>, kind: Kind, what: &str) -> Result<T, Reason> {
    if kind != Kind::Number {
        return Err(format!("expected {what} as an integer, found {kind}"));
    }
    let number = scanner.number()?;
    number.parse().map_err(|_| format!("expected {what} as an integer, found {number}"))
}

/// Everything has a text: an object its JSON, an array `[a, b]` of its elements' texts.
fn as_text<'a>(scanner: &mut Scanner<'a>, kind: Kind) -> Result<Cow<'a, str>, Reason> {
    Ok(match kind {
        Kind::Text => scanner.text()?,
        Kind::Array => {
            // The form is checked, and the depth, before it is walked.
            let mut array = Scanner::new(scanner.skip()?);
            let mut joined = String::from("[");
            array.array(|element| {
                if joined.len() > 1 {
                    joined.push_str(", ");
                }
                let kind = element.peek()?;
                joined.push_str(&as_text(element, kind)?);
                Ok(())
            })?;
            joined.push(']');
            Cow::Owned(joined)
        }
        Kind::Object => Cow::Owned(compact(scanner.skip()?)),
        _ => Cow::Borrowed(scanner.skip()?),
    })
}

/// The same JSON without blanks between its parts.
pub(super) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut in_text = false;
    let mut escaped = false;
    for character in json.chars() {
        if in_text {
            in_text = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            in_text = character == '"';
        }
        out.push(character);
    }
    out
}
