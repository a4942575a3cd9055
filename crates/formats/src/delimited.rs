//! DELIMITED: a record is one line of CSV without its end (dialect §15).
//!
//! Quotes are written where Apache Commons CSV's "minimal" mode writes them. An empty field is NULL; an empty text is written as `""`
//! and read back as one.

use std::borrow::Cow;

use crate::column::{Column, Reason, Values, utf8};
use crate::json::Cells;
use crate::{decimal, double};

pub(crate) fn read_record(
    bytes: &[u8],
    delimiter: char,
    names: &[String],
    slots: &[Option<usize>],
    columns: &mut [Column],
) -> Result<(), Reason> {
    let line = utf8(bytes)?;
    // Some producers leave the line's end in.
    let line = line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
    let mut found = 0;
    let mut rest = Some(line);
    while let Some(line) = rest {
        let (field, after) = split_field(line, delimiter)?;
        rest = after;
        if let (Some(Some(slot)), Some(name)) = (slots.get(found), names.get(found)) {
            read_field(field, &mut columns[*slot]).map_err(|reason| format!("column \"{name}\": {reason}"))?;
        }
        found += 1;
    }
    if found != names.len() {
        return Err(format!("expected {} fields, found {found}", names.len()));
    }
    Ok(())
}

struct Field<'a> {
    text: Cow<'a, str>,
    quoted: bool,
}

/// The first field of `line`, and what follows the delimiter behind it, if there is one.
fn split_field(line: &str, delimiter: char) -> Result<(Field<'_>, Option<&str>), Reason> {
    let Some(quoted) = line.strip_prefix('"') else {
        return Ok(match line.split_once(delimiter) {
            Some((text, rest)) => (Field { text: Cow::Borrowed(text), quoted: false }, Some(rest)),
            None => (Field { text: Cow::Borrowed(line), quoted: false }, None),
        });
    };
    let mut text = Cow::Borrowed("");
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('"').ok_or("a quoted field does not end")?;
        if text.is_empty() {
            text = Cow::Borrowed(part);
        } else {
            text.to_mut().push_str(part);
        }
        match after.strip_prefix('"') {
            Some(after) => {
                text.to_mut().push('"');
                rest = after;
            }
            None if after.is_empty() => return Ok((Field { text, quoted: true }, None)),
            None => {
                let after = after.strip_prefix(delimiter).ok_or("text after a quoted field")?;
                return Ok((Field { text, quoted: true }, Some(after)));
            }
        }
    }
}

fn read_field(field: Field<'_>, column: &mut Column) -> Result<(), Reason> {
    let text = field.text.as_ref();
    if text.is_empty() && !(field.quoted && matches!(column.values, Values::Varchar { .. } | Values::Bytes { .. })) {
        column.append_null();
        return Ok(());
    }
    let wrong = |what: &str| format!("'{text}' is no {what}");
    match &mut column.values {
        Values::Boolean(values) => values.append(match text {
            _ if text.eq_ignore_ascii_case("true") => true,
            _ if text.eq_ignore_ascii_case("false") => false,
            _ => return Err(wrong("BOOLEAN")),
        }),
        Values::Int(values) => values.push(text.parse().map_err(|_| wrong("INT"))?),
        Values::Bigint(values) => values.push(text.parse().map_err(|_| wrong("BIGINT"))?),
        Values::Double(values) => values.push(double::parse(text).ok_or_else(|| wrong("DOUBLE"))?),
        Values::Decimal { values, precision, scale } => {
            let value = decimal::parse(text, *precision, *scale, decimal::Rounding::Exact);
            values.push(value.map_err(|_| wrong(&format!("DECIMAL({precision}, {scale})")))?);
        }
        Values::Varchar { .. } => return column.append_bytes(text.as_bytes()),
        Values::Bytes { .. } => return column.append_base64(text),
        Values::Date(values) => values.push(text.parse().map_err(|_| wrong("number of days"))?),
        Values::Time(values) => {
            let ms = text.parse().ok().filter(|ms| (0..86_400_000).contains(ms));
            values.push(ms.ok_or_else(|| wrong("number of milliseconds of a day"))?);
        }
        Values::Timestamp(values) => values.push(text.parse().map_err(|_| wrong("number of milliseconds"))?),
        Values::List { .. } | Values::Map { .. } | Values::Struct { .. } => return Err("format delimited has no nested values".to_string()),
    }
    column.pushed();
    Ok(())
}

pub(crate) fn write_record(cells: &[Cells<'_>], row: usize, delimiter: char, out: &mut Vec<u8>) {
    let mut scratch = Vec::new();
    for (index, cells) in cells.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(delimiter.encode_utf8(&mut [0; 4]).as_bytes());
        }
        if cells.is_null(row) {
            continue;
        }
        scratch.clear();
        cells.write_plain(row, &mut scratch);
        if needs_quotes(&scratch, index == 0, delimiter) {
            out.push(b'"');
            for byte in &scratch {
                if *byte == b'"' {
                    out.push(b'"');
                }
                out.push(*byte);
            }
            out.push(b'"');
        } else {
            out.extend_from_slice(&scratch);
        }
    }
}

/// Commons CSV's rule, and the empty text.
fn needs_quotes(text: &[u8], first_of_line: bool, delimiter: char) -> bool {
    let (Some(first), Some(last)) = (text.first(), text.last()) else { return true };
    let mut buffer = [0; 4];
    let delimiter = delimiter.encode_utf8(&mut buffer).as_bytes();
    first_of_line && !first.is_ascii_alphanumeric()
        || *first <= b'#'
        || *last <= b' '
        || text.iter().any(|byte| matches!(byte, b'\n' | b'\r' | b'"'))
        || text.windows(delimiter.len()).any(|window| window == delimiter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_csv() {
        let split = |line: &str| {
            let mut fields = Vec::new();
            let mut rest = Some(line.to_string());
            while let Some(line) = rest {
                let (field, after) = split_field(&line, ',')?;
                fields.push(field.text.to_string());
                rest = after.map(str::to_string);
            }
            Ok::<_, Reason>(fields)
        };
        assert_eq!(split("a,b,"), Ok(vec!["a".into(), "b".into(), "".into()]));
        assert_eq!(split("\"a,b\",\"say \"\"hi\"\"\""), Ok(vec!["a,b".into(), "say \"hi\"".into()]));
        assert_eq!(split("\"\"\"\""), Ok(vec!["\"".into()]));
        assert_eq!(split("a\"b,c"), Ok(vec!["a\"b".into(), "c".into()]));
        assert!(split("\"a").is_err());
        assert!(split("\"a\"b").is_err());
    }

    #[test]
    fn quotes_as_commons_csv() {
        for (text, first, quoted) in [
            ("abc", true, false),
            ("-1.5", true, true),
            ("-1.5", false, false),
            ("é", true, true),
            ("a b", true, false),
            ("a ", false, true),
            (" a", false, true),
            ("#a", false, true),
            ("a,b", false, true),
            ("a\"b", false, true),
            ("a\nb", false, true),
            ("", false, true),
        ] {
            assert_eq!(needs_quotes(text.as_bytes(), first, ','), quoted, "{text}");
        }
    }
}
