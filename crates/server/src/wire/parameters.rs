//! Bound parameters: bytes in text or binary format to values of the types the statement wants.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use millpond_formats::text::parse_column;
use pgwire::api::Type;

use crate::error::{Error, Result, invalid_text};

/// From 1970-01-01 to 2000-01-01, where the binary protocol counts from.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What the client is told a parameter is, when it does not say.
pub fn wire_type(wanted: Option<&DataType>) -> Type {
    match wanted {
        Some(data_type) => super::types::pg_type(&Arc::new(arrow::datatypes::Field::new("", data_type.clone(), true))),
        None => Type::TEXT,
    }
}

/// The value of parameter `number` (from 1).
pub fn decode(number: usize, bytes: Option<&Bytes>, binary: bool, wire: &Type, wanted: Option<&DataType>) -> Result<ScalarValue> {
    let wanted = wanted.cloned().unwrap_or_else(|| natural(wire));
    let Some(bytes) = bytes else { return Ok(ScalarValue::try_from(&wanted)?) };
    let context = |error: Error| error.context(format!("parameter ${number}"));
    let value = if binary { from_binary(bytes, wire) } else { text(bytes).map(|text| ScalarValue::Utf8(Some(text))) };
    value.and_then(|value| fit(&value, &wanted)).map_err(context)
}

/// The type of values that come as `wire`.
fn natural(wire: &Type) -> DataType {
    match *wire {
        Type::BOOL => DataType::Boolean,
        Type::INT2 | Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID => DataType::Int64,
        Type::FLOAT4 | Type::FLOAT8 => DataType::Float64,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time32(TimeUnit::Millisecond),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Millisecond, None),
        Type::NUMERIC => DataType::Decimal128(38, 10),
        _ => DataType::Utf8,
    }
}

fn text(bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::new("22021", "invalid byte sequence for encoding \"UTF8\""))?;
    Ok(text.to_string())
}

fn from_binary(bytes: &[u8], wire: &Type) -> Result<ScalarValue> {
    let wrong = || Error::new("22P03", format!("incorrect binary data format for type {}", wire.name()));
    fn fixed<const N: usize>(bytes: &[u8], wrong: impl Fn() -> Error) -> Result<[u8; N]> {
        bytes.try_into().map_err(|_| wrong())
    }
    Ok(match *wire {
        Type::BOOL => ScalarValue::from(fixed::<1>(bytes, wrong)?[0] != 0),
        Type::INT2 => ScalarValue::from(i16::from_be_bytes(fixed(bytes, wrong)?)),
        Type::INT4 => ScalarValue::from(i32::from_be_bytes(fixed(bytes, wrong)?)),
        Type::INT8 => ScalarValue::from(i64::from_be_bytes(fixed(bytes, wrong)?)),
        Type::OID => ScalarValue::from(i64::from(u32::from_be_bytes(fixed(bytes, wrong)?))),
        Type::FLOAT4 => ScalarValue::from(f32::from_be_bytes(fixed(bytes, wrong)?)),
        Type::FLOAT8 => ScalarValue::from(f64::from_be_bytes(fixed(bytes, wrong)?)),
        Type::BYTEA => ScalarValue::Binary(Some(bytes.to_vec())),
        Type::DATE => ScalarValue::Date32(Some(i32::from_be_bytes(fixed(bytes, wrong)?).saturating_add(EPOCH_DAYS))),
        Type::TIME => ScalarValue::Time64Microsecond(Some(i64::from_be_bytes(fixed(bytes, wrong)?))),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            ScalarValue::TimestampMicrosecond(Some(i64::from_be_bytes(fixed(bytes, wrong)?).saturating_add(EPOCH_MICROS)), None)
        }
        Type::NUMERIC => ScalarValue::Utf8(Some(numeric(bytes).ok_or_else(wrong)?)),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON | Type::CHAR => {
            ScalarValue::Utf8(Some(text(bytes)?))
        }
        _ => {
            return Err(Error::unsupported(format!("parameters of type {} are not supported in binary format", wire.name()))
                .hint("Send them as text."));
        }
    })
}

/// Digits of a binary NUMERIC; `None` for what is none.
fn numeric(bytes: &[u8]) -> Option<String> {
    let short = |at: usize| Some(i16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let (count, weight, sign, scale) = (short(0)?, short(2)?, short(4)? as u16, short(6)?);
    if sign == 0xC000 {
        return Some("NaN".to_string());
    }
    if !(0..=40).contains(&count) || !(-40..=40).contains(&weight) || !(0..=100).contains(&scale) {
        return None;
    }
    let group = |index: i16| if (0..count).contains(&index) { short(8 + index as usize * 2) } else { Some(0) };
    let mut text = String::new();
    for index in 0..=weight.max(0) {
        let value = if weight < 0 { 0 } else { group(index)? };
        text.push_str(&format!("{value:04}"));
    }
    let whole = text.trim_start_matches('0');
    let mut text = if whole.is_empty() { "0".to_string() } else { whole.to_string() };
    if scale > 0 {
        let mut fraction = String::new();
        let mut index = weight + 1;
        while fraction.len() < scale as usize {
            fraction.push_str(&format!("{:04}", group(index)?));
            index += 1;
        }
        fraction.truncate(scale as usize);
        text.push('.');
        text.push_str(&fraction);
    }
    if sign == 0x4000 {
        text.insert(0, '-');
    }
    Some(text)
}

fn fit(value: &ScalarValue, wanted: &DataType) -> Result<ScalarValue> {
    if value.data_type() == *wanted {
        return Ok(value.clone());
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let array: ArrayRef = match value {
        ScalarValue::Utf8(Some(text)) if readable(wanted) => {
            parse_column([Some(text.as_str())].into_iter(), wanted).map_err(|(_, reason)| Error::new(invalid_text(&reason), reason))?
        }
        ScalarValue::Utf8(Some(text)) => cast_with_options(&StringArray::from(vec![text.as_str()]), wanted, &strict)?,
        other => cast_with_options(&other.to_array()?, wanted, &strict)?,
    };
    Ok(ScalarValue::try_from_array(&array, 0)?)
}

/// Types that texts are read as by PostgreSQL's rules; others by Arrow's.
fn readable(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Int32
            | DataType::Int64
            | DataType::Float64
            | DataType::Decimal128(..)
            | DataType::Binary
            | DataType::Date32
            | DataType::Time32(TimeUnit::Millisecond)
            | DataType::Timestamp(TimeUnit::Millisecond, None)
            | DataType::List(_)
            | DataType::Map(..)
            | DataType::Struct(_)
    )
}

#[cfg(test)]
mod tests {
    use super::super::numeric::binary;
    use super::*;

    #[test]
    fn numerics_come_back_from_their_binary_form() {
        for text in ["12345.678", "-0.0001", "0.00001", "0.00", "10000", "1", "99999999999999999999999999999999999999"] {
            assert_eq!(numeric(&binary(text)).as_deref(), Some(text));
        }
        assert_eq!(numeric(&[0]), None);
    }

    #[test]
    fn values_fit_what_is_wanted() {
        let bytes = Bytes::from_static(&[0, 0, 0, 7]);
        let seven = decode(1, Some(&bytes), true, &Type::INT4, Some(&DataType::Int64)).unwrap();
        assert_eq!(seven, ScalarValue::from(7i64));
        let text = Bytes::from_static(b"2013-07-04");
        let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
        let time = decode(1, Some(&text), false, &Type::TIMESTAMP, Some(&millis)).unwrap();
        assert_eq!(time, ScalarValue::TimestampMillisecond(Some(1_372_896_000_000), None));
        assert_eq!(decode(2, Some(&text), false, &Type::INT4, None).unwrap_err().sqlstate, "22P02");
        assert_eq!(decode(2, Some(&text), true, &Type::INT4, None).unwrap_err().sqlstate, "22P03");
        assert_eq!(decode(1, None, false, &Type::INT4, None).unwrap(), ScalarValue::Int32(None));
    }
}
