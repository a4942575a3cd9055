//! What people type: PostgreSQL's text input rules for COPY and INSERT.
//!
//! ARRAYs are `{1,2,NULL,"a b"}`, STRUCTs `(1,"a b")`, MAPs JSON objects; ARRAYs and STRUCTs may be JSON, too.

mod array;
mod json;
mod record;

use std::num::IntErrorKind;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::column::{Column, Reason, Values};
use crate::decimal::{self, Refused, Rounding};
use crate::timestamp::{DAY_MS, parse_iso_date, parse_iso_time, parse_iso_timestamp};

/// Reads a column of texts; `None` is NULL. The first text that cannot be read ends it: its row, and why, in PostgreSQL's words.
pub fn parse_column<'a>(texts: impl Iterator<Item = Option<&'a str>>, data_type: &DataType) -> Result<ArrayRef, (usize, String)> {
    let column = Column::new(data_type, true, texts.size_hint().0);
    let mut column = column.ok_or_else(|| (0, format!("type {data_type} cannot be read from text")))?;
    for (row, text) in texts.enumerate() {
        match text {
            Some(text) => append(&mut column, text).map_err(|reason| (row, reason))?,
            None => column.append_null(),
        }
    }
    Ok(column.finish())
}

/// Appends the value that `text` means.
pub(crate) fn append(column: &mut Column, text: &str) -> Result<(), Reason> {
    match &mut column.values {
        Values::Boolean(values) => values.append(boolean(text)?),
        Values::Int(values) => values.push(integer(text, "integer")?),
        Values::Bigint(values) => values.push(integer(text, "bigint")?),
        Values::Double(values) => values.push(double(text)?),
        Values::Decimal { values, precision, scale } => values.push(numeric(text, *precision, *scale)?),
        Values::Varchar { .. } => return column.append_bytes(text.as_bytes()),
        Values::Bytes { .. } => return column.append_bytes(&bytea(text)?),
        Values::Date(values) => values.push(date(text)?),
        Values::Time(values) => values.push(parse_iso_time(text).map_err(|_| invalid("time", text))?),
        Values::Timestamp(values) => values.push(parse_iso_timestamp(text).map_err(|_| invalid("timestamp", text))?),
        Values::List { item, .. } if !text.trim_start().starts_with('[') => {
            array::append(item, text)?;
            return column.close();
        }
        Values::Struct { fields, .. } if text.trim_start().starts_with('(') => {
            record::append(fields, text)?;
            return column.close();
        }
        Values::List { .. } | Values::Map { .. } | Values::Struct { .. } => return json::append(column, text),
    }
    column.pushed();
    Ok(())
}

fn invalid(what: &str, text: &str) -> Reason {
    format!("invalid input syntax for type {what}: \"{text}\"")
}

/// A prefix of `true`, `false`, `yes` or `no` that is unmistakable, `on`, `off`, `1`, `0`.
fn boolean(text: &str) -> Result<bool, Reason> {
    let word = text.trim();
    let begins = |whole: &str, least: usize| {
        word.len() >= least && word.len() <= whole.len() && word.bytes().zip(whole.bytes()).all(|(a, b)| a.eq_ignore_ascii_case(&b))
    };
    if word == "1" || begins("true", 1) || begins("yes", 1) || begins("on", 2) {
        return Ok(true);
    }
    if word == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2) {
        return Ok(false);
    }
    Err(invalid("boolean", text))
}

fn integer<T: std::str::FromStr<Err = std::num::ParseIntError>>(text: &str, what: &str) -> Result<T, Reason> {
    text.trim().parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => format!("value \"{text}\" is out of range for type {what}"),
        _ => invalid(what, text),
    })
}

fn double(text: &str) -> Result<f64, Reason> {
    let number = text.trim();
    let value: f64 = number.parse().map_err(|_| invalid("double precision", text))?;
    if value.is_infinite() && number.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(format!("\"{text}\" is out of range for type double precision"));
    }
    Ok(value)
}

/// A date, or a timestamp whose time of day is left out.
fn date(text: &str) -> Result<i32, Reason> {
    let days = parse_iso_date(text).or_else(|_| parse_iso_timestamp(text).map(|ms| ms.div_euclid(DAY_MS) as i32));
    days.map_err(|_| invalid("date", text))
}

fn numeric(text: &str, precision: u8, scale: i8) -> Result<i128, Reason> {
    decimal::parse(text.trim(), precision, scale, Rounding::HalfUp).map_err(|refused| match refused {
        Refused::Overflow => format!(
            "numeric field overflow: \"{text}\" does not fit precision {precision}, scale {scale}, which holds absolute values less than \
             10^{}",
            i32::from(precision) - i32::from(scale)
        ),
        _ => invalid("numeric", text),
    })
}

/// `\x` and hexadecimal digits, or text with `\\` and `\ooo` escapes.
fn bytea(text: &str) -> Result<Vec<u8>, Reason> {
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: Vec<u32> = digits
            .chars()
            .filter(|character| !character.is_ascii_whitespace())
            .map(|character| character.to_digit(16).ok_or_else(|| format!("invalid hexadecimal digit: \"{character}\"")))
            .collect::<Result<_, _>>()?;
        if !digits.len().is_multiple_of(2) {
            return Err("invalid hexadecimal data: odd number of digits".to_string());
        }
        return Ok(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Ok(bytes),
            [b'\\', b'\\', rest @ ..] => {
                bytes.push(b'\\');
                rest
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest
            }
            [b'\\', ..] => return Err(invalid("bytea", text)),
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{
        Date32Type, Decimal128Type, Field, Fields, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMillisecondType,
    };
    use arrow::util::display::array_value_to_string;
    use std::sync::Arc;

    fn read(text: &str, data_type: &DataType) -> Result<ArrayRef, String> {
        parse_column([Some(text)].into_iter(), data_type).map_err(|(_, reason)| reason)
    }

    #[test]
    fn booleans() {
        for (text, value) in [
            ("t", true),
            ("TRUE", true),
            (" yes ", true),
            ("on", true),
            ("1", true),
            ("f", false),
            ("No", false),
            ("off", false),
            ("0", false),
        ] {
            assert_eq!(read(text, &DataType::Boolean).unwrap().as_boolean().value(0), value, "{text}");
        }
        for text in ["", "o", "truee", "2"] {
            assert_eq!(read(text, &DataType::Boolean).unwrap_err(), format!("invalid input syntax for type boolean: \"{text}\""));
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(read(" -2147483648 ", &DataType::Int32).unwrap().as_primitive::<Int32Type>().value(0), i32::MIN);
        assert_eq!(read("2147483648", &DataType::Int32).unwrap_err(), "value \"2147483648\" is out of range for type integer");
        assert_eq!(read("1.5", &DataType::Int64).unwrap_err(), "invalid input syntax for type bigint: \"1.5\"");
        assert_eq!(read("9223372036854775807", &DataType::Int64).unwrap().as_primitive::<Int64Type>().value(0), i64::MAX);
        for (text, value) in [("1e3", 1000.0), (".5", 0.5), ("-Infinity", f64::NEG_INFINITY), ("inf", f64::INFINITY)] {
            assert_eq!(read(text, &DataType::Float64).unwrap().as_primitive::<Float64Type>().value(0), value);
        }
        assert!(read("nan", &DataType::Float64).unwrap().as_primitive::<Float64Type>().value(0).is_nan());
        assert_eq!(read("1e400", &DataType::Float64).unwrap_err(), "\"1e400\" is out of range for type double precision");
        let decimal = DataType::Decimal128(5, 2);
        assert_eq!(read("-1.005", &decimal).unwrap().as_primitive::<Decimal128Type>().value(0), -101);
        assert!(read("1000", &decimal).unwrap_err().starts_with("numeric field overflow"));
        assert_eq!(read("x", &decimal).unwrap_err(), "invalid input syntax for type numeric: \"x\"");
    }

    #[test]
    fn bytes_dates_and_texts() {
        assert_eq!(read("\\x00fF 10", &DataType::Binary).unwrap().as_binary::<i32>().value(0), [0, 255, 16]);
        assert_eq!(read("a\\\\b\\001", &DataType::Binary).unwrap().as_binary::<i32>().value(0), b"a\\b\x01");
        assert!(read("\\x0", &DataType::Binary).is_err());
        assert!(read("\\9", &DataType::Binary).is_err());
        assert_eq!(read("1970-01-02", &DataType::Date32).unwrap().as_primitive::<Date32Type>().value(0), 1);
        assert_eq!(read("1969-12-31 10:00", &DataType::Date32).unwrap().as_primitive::<Date32Type>().value(0), -1);
        let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None);
        assert_eq!(read("1970-01-01 00:00:01", &timestamp).unwrap().as_primitive::<TimestampMillisecondType>().value(0), 1000);
        assert_eq!(read("tomorrow", &timestamp).unwrap_err(), "invalid input syntax for type timestamp: \"tomorrow\"");
        assert_eq!(read(" a ", &DataType::Utf8).unwrap().as_string::<i32>().value(0), " a ");
    }

    #[test]
    fn nested_values() {
        let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
        let record =
            DataType::Struct(Fields::from(vec![Field::new("a", DataType::Int32, true), Field::new("b", list(DataType::Utf8), true)]));
        for (text, data_type, printed) in [
            ("{}", list(DataType::Int32), "[]"),
            (" { 1, NULL ,3 } ", list(DataType::Int32), "[1, , 3]"),
            ("{\"a b\",\"NULL\",c d,\"q\\\"\\\\\"}", list(DataType::Utf8), "[a b, NULL, c d, q\"\\]"),
            ("{{1,2},{3}}", list(list(DataType::Int32)), "[[1, 2], [3]]"),
            ("{\"{\\\"a\\\":1}\"}", list(record.clone()), "[{a: 1, b: }]"),
            ("{\"A\": 1, \"b\": [\"x\"]}", record.clone(), "{a: 1, b: [x]}"),
            ("{\"b\": \"{x}\", \"a\": \"1\"}", record.clone(), "{a: 1, b: [x]}"),
            ("[[1, 2], null, []]", list(list(DataType::Int32)), "[[1, 2], , []]"),
            (" (1,\"{x,\"\"y z\"\"}\") ", record.clone(), "{a: 1, b: [x, y z]}"),
            ("(,)", record.clone(), "{a: , b: }"),
            ("{\"(1,)\",NULL}", list(record.clone()), "[{a: 1, b: }, ]"),
        ] {
            let array = read(text, &data_type).unwrap();
            assert_eq!(array_value_to_string(&array, 0).unwrap(), printed, "{text}");
        }
        for text in ["", "1,2", "{1,2", "{1,}", "{,1}", "{1}2", "{\"1}", "{{1}}", "{a}"] {
            assert!(read(text, &list(DataType::Int32)).is_err(), "{text}");
        }
        for text in ["{\"a\": 1} x", "[]", "", "(1)", "(1,,)", "(1,", "(1,\"x)", "(1,) x", "1,"] {
            assert!(read(text, &record).is_err(), "{text}");
        }
        assert_eq!(read("(1)", &record).unwrap_err(), "malformed record literal: \"(1)\": too few fields");
    }

    #[test]
    fn the_row_at_fault_is_named() {
        let texts = [Some("1"), None, Some("x"), Some("y")];
        assert_eq!(parse_column(texts.into_iter(), &DataType::Int32).unwrap_err().0, 2);
        let read = parse_column([Some("1"), None].into_iter(), &DataType::Int32).unwrap();
        assert!(read.is_null(1));
        assert!(parse_column([].into_iter(), &DataType::Null).is_err());
    }
}
