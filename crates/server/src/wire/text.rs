//! Values as text, as PostgreSQL writes them: for results in text format and for COPY TO.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow::temporal_conversions::{date32_to_datetime, date64_to_datetime};
use chrono::{DateTime, NaiveDateTime, NaiveTime};

use super::{json, types};

/// Appends the value at `row`; false (and nothing) for NULL.
pub fn write(array: &ArrayRef, row: usize, out: &mut String) -> bool {
    if array.is_null(row) {
        return false;
    }
    macro_rules! number {
        ($kind:ty) => {
            // Writing to a String cannot fail, here and below.
            drop(write!(out, "{}", array.as_primitive::<$kind>().value(row)))
        };
    }
    match array.data_type() {
        DataType::Null => return false,
        data_type if types::is_json(data_type) => json::write(array, row, out),
        DataType::Boolean => out.push(if array.as_boolean().value(row) { 't' } else { 'f' }),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float16 => float(&format!("{:e}", array.as_primitive::<Float16Type>().value(row).to_f32()), 6, out),
        DataType::Float32 => float(&format!("{:e}", array.as_primitive::<Float32Type>().value(row)), 6, out),
        DataType::Float64 => float(&format!("{:e}", array.as_primitive::<Float64Type>().value(row)), 15, out),
        DataType::Decimal128(..) => {
            out.push_str(&array.as_primitive::<arrow::datatypes::Decimal128Type>().value_as_string(row));
        }
        DataType::Decimal256(..) => {
            out.push_str(&array.as_primitive::<arrow::datatypes::Decimal256Type>().value_as_string(row));
        }
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => out.push_str(array.as_string::<i64>().value(row)),
        DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
        DataType::Binary => out.push_str(&hexadecimal(array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => out.push_str(&hexadecimal(array.as_binary::<i64>().value(row))),
        DataType::BinaryView => out.push_str(&hexadecimal(array.as_binary_view().value(row))),
        DataType::FixedSizeBinary(_) => out.push_str(&hexadecimal(array.as_fixed_size_binary().value(row))),
        DataType::Date32 => date(date32_to_datetime(array.as_primitive::<Date32Type>().value(row)), out),
        DataType::Date64 => date(date64_to_datetime(array.as_primitive::<Date64Type>().value(row)), out),
        DataType::Time32(_) | DataType::Time64(_) => time(nanos_of_day(array, row), out),
        DataType::Timestamp(_, zone) => {
            timestamp(array, row, out);
            if zone.is_some() {
                out.push_str("+00");
            }
        }
        DataType::Interval(unit) => {
            let (months, days, nanos) = interval(array, row, *unit);
            interval_text(months, days, nanos, out);
        }
        DataType::Duration(unit) => {
            let nanos = match unit {
                TimeUnit::Second => i128::from(array.as_primitive::<DurationSecondType>().value(row)) * 1_000_000_000,
                TimeUnit::Millisecond => i128::from(array.as_primitive::<DurationMillisecondType>().value(row)) * 1_000_000,
                TimeUnit::Microsecond => i128::from(array.as_primitive::<DurationMicrosecondType>().value(row)) * 1_000,
                TimeUnit::Nanosecond => i128::from(array.as_primitive::<DurationNanosecondType>().value(row)),
            };
            const DAY: i128 = 86_400_000_000_000;
            interval_text(0, (nanos / DAY) as i32, (nanos % DAY) as i64, out);
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            let Some(items) = items(array, row) else { return false };
            out.push('{');
            let mut value = String::new();
            for item in 0..items.len() {
                if item > 0 {
                    out.push(',');
                }
                value.clear();
                if write(&items, item, &mut value) { element(&value, out) } else { out.push_str("NULL") }
            }
            out.push('}');
        }
        DataType::Struct(_) => {
            out.push('(');
            let mut value = String::new();
            for (index, column) in array.as_struct().columns().iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                value.clear();
                if write(column, row, &mut value) {
                    field(&value, out);
                }
            }
            out.push(')');
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            return write(dictionary.values(), dictionary.normalized_keys()[row], out);
        }
        _ => match arrow::util::display::array_value_to_string(array, row) {
            Ok(text) => out.push_str(&text),
            Err(_) => return false,
        },
    }
    true
}

/// The items of the list at `row`.
pub fn items(array: &ArrayRef, row: usize) -> Option<ArrayRef> {
    match array.data_type() {
        DataType::List(_) => Some(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Some(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => Some(array.as_fixed_size_list().value(row)),
        _ => None,
    }
}

/// `\x` and the bytes' digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The shortest digits that read back as the same number, with an exponent from 10^`digits_max` on and below 10^-4.
fn float(scientific: &str, digits_max: i32, out: &mut String) {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        out.push_str(match scientific {
            "inf" => "Infinity",
            "-inf" => "-Infinity",
            other => other,
        });
        return;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..digits_max).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{mantissa}e{sign}{:02}", exponent.abs());
        return;
    }
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let digits = mantissa.replace('.', "");
    out.push_str(sign);
    if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(&digits);
        return;
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        out.push_str(&digits);
        out.extend(std::iter::repeat_n('0', whole - digits.len()));
    } else {
        out.push_str(&digits[..whole]);
        out.push('.');
        out.push_str(&digits[whole..]);
    }
}

fn date(date: Option<NaiveDateTime>, out: &mut String) {
    if let Some(date) = date {
        let _ = write!(out, "{}", date.format("%Y-%m-%d"));
    }
}

fn nanos_of_day(array: &ArrayRef, row: usize) -> i64 {
    match array.data_type() {
        DataType::Time32(TimeUnit::Second) => i64::from(array.as_primitive::<Time32SecondType>().value(row)) * 1_000_000_000,
        DataType::Time32(_) => i64::from(array.as_primitive::<Time32MillisecondType>().value(row)) * 1_000_000,
        DataType::Time64(TimeUnit::Microsecond) => array.as_primitive::<Time64MicrosecondType>().value(row) * 1_000,
        _ => array.as_primitive::<Time64NanosecondType>().value(row),
    }
}

fn time(nanos: i64, out: &mut String) {
    let (seconds, fraction) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    if let Some(time) = NaiveTime::from_num_seconds_from_midnight_opt(seconds as u32, 0) {
        let _ = write!(out, "{}", time.format("%H:%M:%S"));
        fraction_text(fraction as u32, out);
    }
}

fn timestamp(array: &ArrayRef, row: usize, out: &mut String) {
    let time = match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => DateTime::from_timestamp(array.as_primitive::<TimestampSecondType>().value(row), 0),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            DateTime::from_timestamp_millis(array.as_primitive::<TimestampMillisecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            DateTime::from_timestamp_micros(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        _ => Some(DateTime::from_timestamp_nanos(array.as_primitive::<TimestampNanosecondType>().value(row))),
    };
    if let Some(time) = time {
        let _ = write!(out, "{}", time.format("%Y-%m-%d %H:%M:%S"));
        fraction_text(time.timestamp_subsec_nanos(), out);
    }
}

/// Of a second, to the microsecond, without zeros at the end.
fn fraction_text(nanos: u32, out: &mut String) {
    if nanos >= 1_000 {
        let digits = format!("{:06}", nanos / 1_000);
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

fn interval(array: &ArrayRef, row: usize, unit: IntervalUnit) -> (i32, i32, i64) {
    match unit {
        IntervalUnit::YearMonth => (array.as_primitive::<IntervalYearMonthType>().value(row), 0, 0),
        IntervalUnit::DayTime => {
            let value = array.as_primitive::<IntervalDayTimeType>().value(row);
            (0, value.days, i64::from(value.milliseconds) * 1_000_000)
        }
        IntervalUnit::MonthDayNano => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            (value.months, value.days, value.nanoseconds)
        }
    }
}

/// `1 year 2 mons 3 days 04:05:06.7`.
fn interval_text(months: i32, days: i32, nanos: i64, out: &mut String) {
    let start = out.len();
    for (count, name) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if count != 0 {
            let space = if out.len() > start { " " } else { "" };
            let plural = if count == 1 { "" } else { "s" };
            let _ = write!(out, "{space}{count} {name}{plural}");
        }
    }
    if nanos != 0 || out.len() == start {
        let space = if out.len() > start { " " } else { "" };
        let sign = if nanos < 0 { "-" } else { "" };
        let (seconds, fraction) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
        let _ = write!(out, "{space}{sign}{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
        fraction_text(fraction as u32, out);
    }
}

/// An array's element, quoted where it would be misread.
fn element(value: &str, out: &mut String) {
    let special = |c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_whitespace();
    if !value.is_empty() && !value.contains(special) && !value.eq_ignore_ascii_case("null") {
        out.push_str(value);
        return;
    }
    out.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// A record's field, quoted where it would be misread.
fn field(value: &str, out: &mut String) {
    let special = |c: char| matches!(c, '(' | ')' | ',' | '"' | '\\') || c.is_whitespace();
    if !value.is_empty() && !value.contains(special) {
        out.push_str(value);
        return;
    }
    out.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Decimal128Array, Float64Array, ListArray, StringArray, StructArray, TimestampMillisecondArray};
    use arrow::datatypes::Field;

    use super::*;

    fn texts(array: impl Array + 'static) -> Vec<String> {
        let array: ArrayRef = Arc::new(array);
        let text = |row| {
            let mut text = String::new();
            if write(&array, row, &mut text) { text } else { "NULL".to_string() }
        };
        (0..array.len()).map(text).collect()
    }

    #[test]
    fn numbers_as_postgresql_writes_them() {
        let values = vec![0.1, -1234.5, 1e15, 123_456_789_012_345.0, 1e-5, 0.0001, f64::NAN, f64::NEG_INFINITY, 0.0, 100.0];
        let expected = ["0.1", "-1234.5", "1e+15", "123456789012345", "1e-05", "0.0001", "NaN", "-Infinity", "0", "100"];
        assert_eq!(texts(Float64Array::from(values)), expected);
        let decimals = Decimal128Array::from(vec![Some(-1250), None]).with_precision_and_scale(38, 2).unwrap();
        assert_eq!(texts(decimals), ["-12.50", "NULL"]);
    }

    #[test]
    fn times_without_zeros_at_the_end() {
        let times = TimestampMillisecondArray::from(vec![1_372_896_000_000, 1_500, -1]);
        assert_eq!(texts(times), ["2013-07-04 00:00:00", "1970-01-01 00:00:01.5", "1969-12-31 23:59:59.999"]);
        let mut text = String::new();
        interval_text(14, 3, 14_706_700_000_000, &mut text);
        assert_eq!(text, "1 year 2 mons 3 days 04:05:06.7");
    }

    #[test]
    fn nested_values_are_quoted() {
        assert_eq!(texts(BinaryArray::from(vec![&b"\x00\xff"[..]])), ["\\x00ff"]);
        let strings: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("b c"), None, Some(""), Some("q\"")]));
        let field = Arc::new(Field::new("item", DataType::Utf8, true));
        let list = ListArray::new(field, arrow::buffer::OffsetBuffer::from_lengths([5]), Arc::clone(&strings), None);
        assert_eq!(texts(list), ["{a,\"b c\",NULL,\"\",\"q\\\"\"}"]);
        let record = StructArray::from(vec![(Arc::new(Field::new("x", DataType::Utf8, true)), strings)]);
        assert_eq!(texts(record), ["(a)", "(\"b c\")", "()", "(\"\")", "(\"q\"\"\")"]);
    }
}
