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
use crate::statement::number;

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

/// The value of the parameter `position` (from 1).
pub fn decode(position: usize, bytes: Option<&Bytes>, binary: bool, wire: &Type, wanted: Option<&DataType>) -> Result<ScalarValue> {
    let Some(bytes) = bytes else { return Ok(ScalarValue::try_from(&wanted.cloned().unwrap_or_else(|| natural(wire)))?) };
    let context = |error: Error| error.context(format!("parameter ${position}"));
    let value = if binary { from_binary(bytes, wire) } else { text(bytes).map(|text| ScalarValue::Utf8(Some(text))) };
    value.and_then(|value| typed(&value, wire, wanted)).map_err(context)
}

/// A number or a time of another type than is wanted stays what it is when `wanted` cannot hold it: `k = 1.9` is true of no INT, and
/// what is written to a column is rounded as PostgreSQL's assignment does.
fn typed(value: &ScalarValue, wire: &Type, wanted: Option<&DataType>) -> Result<ScalarValue> {
    let Some(wanted) = wanted else { return own(value, wire) };
    let same = *wire == wire_type(Some(wanted)) && *wire != Type::NUMERIC;
    if same || !alike(&natural(wire), wanted) {
        return fit(value, wanted);
    }
    let own = own(value, wire)?;
    match number::exact(&own.to_array()?, wanted)? {
        Some(exact) => Ok(ScalarValue::try_from_array(&exact, 0)?),
        None => Ok(own),
    }
}

/// As what it was sent: a NUMERIC with the digits that it has.
fn own(value: &ScalarValue, wire: &Type) -> Result<ScalarValue> {
    match value {
        ScalarValue::Utf8(Some(text)) if *wire == Type::NUMERIC => match number::decimal(text) {
            Some(number) => Ok(number),
            None => fit(value, &natural(wire)),
        },
        _ => fit(value, &natural(wire)),
    }
}

/// Whether values of the two types can be compared with each other.
fn alike(left: &DataType, right: &DataType) -> bool {
    let time = |data_type: &DataType| matches!(data_type, DataType::Date32 | DataType::Timestamp(..));
    left.is_numeric() && right.is_numeric() || time(left) && time(right)
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
        _ => match element(wire) {
            Some(element) => DataType::new_list(natural(&element), true),
            None => DataType::Utf8,
        },
    }
}

/// What an array is made of; `None` for what is no array.
fn element(wire: &Type) -> Option<Type> {
    Some(match *wire {
        Type::BOOL_ARRAY => Type::BOOL,
        Type::INT2_ARRAY => Type::INT2,
        Type::INT4_ARRAY => Type::INT4,
        Type::INT8_ARRAY => Type::INT8,
        Type::FLOAT4_ARRAY => Type::FLOAT4,
        Type::FLOAT8_ARRAY => Type::FLOAT8,
        Type::TEXT_ARRAY => Type::TEXT,
        Type::VARCHAR_ARRAY => Type::VARCHAR,
        Type::DATE_ARRAY => Type::DATE,
        Type::TIMESTAMP_ARRAY => Type::TIMESTAMP,
        Type::TIMESTAMPTZ_ARRAY => Type::TIMESTAMPTZ,
        _ => return None,
    })
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
        _ => match element(wire) {
            Some(element) => ScalarValue::List(ScalarValue::new_list(&elements(bytes, wire, &element)?, &natural(&element), true)),
            None => {
                return Err(Error::unsupported(format!("parameters of type {} are not supported in binary format", wire.name()))
                    .hint("Send them as text."));
            }
        },
    })
}

/// The elements of a binary array: dimensions, whether there are NULLs, the elements' type; length and lower bound of each dimension;
/// then each element after its length, which is -1 for NULL.
fn elements(bytes: &[u8], wire: &Type, element: &Type) -> Result<Vec<ScalarValue>> {
    let wrong = || Error::new("22P03", format!("incorrect binary data format for type {}", wire.name()));
    let mut rest = bytes;
    let mut take = |length: usize| -> Result<&[u8]> {
        let (taken, left) = rest.split_at_checked(length).ok_or_else(wrong)?;
        rest = left;
        Ok(taken)
    };
    let int = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map(i32::from_be_bytes).map_err(|_| wrong());
    let dimensions = int(take(4)?)?;
    take(8)?;
    if dimensions == 0 {
        return Ok(Vec::new());
    }
    if dimensions != 1 {
        return Err(Error::unsupported("arrays of several dimensions are not supported as parameters"));
    }
    let count = int(take(4)?)?;
    take(4)?;
    let data_type = natural(element);
    (0..count)
        .map(|_| -> Result<ScalarValue> {
            match usize::try_from(int(take(4)?)?) {
                Ok(length) => fit(&from_binary(take(length)?, element)?, &data_type),
                Err(_) => Ok(ScalarValue::try_from(&data_type)?),
            }
        })
        .collect()
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

    #[test]
    fn what_does_not_fit_stays_what_it_is() {
        let float =
            |value: f64| decode(1, Some(&Bytes::copy_from_slice(&value.to_be_bytes())), true, &Type::FLOAT8, Some(&DataType::Int32));
        assert_eq!(float(1.9).unwrap(), ScalarValue::from(1.9f64));
        assert_eq!(float(2.0).unwrap(), ScalarValue::from(2i32));
        let large = Bytes::copy_from_slice(&(1i64 << 40).to_be_bytes());
        let large = decode(1, Some(&large), true, &Type::INT8, Some(&DataType::Int32));
        assert_eq!(large.unwrap(), ScalarValue::from(1i64 << 40));
        let numeric = |text: &str, wanted: &DataType| decode(1, Some(&binary(text).freeze()), true, &Type::NUMERIC, Some(wanted)).unwrap();
        assert_eq!(numeric("0.5", &DataType::Int32), ScalarValue::Decimal128(Some(5), 1, 1));
        assert_eq!(numeric("1.5", &DataType::Decimal128(12, 2)), ScalarValue::Decimal128(Some(150), 12, 2));
        assert_eq!(numeric("1.505", &DataType::Decimal128(12, 2)), ScalarValue::Decimal128(Some(1505), 4, 3));
    }

    #[test]
    fn arrays_come_in_binary() {
        let array = |parts: &[i32]| Bytes::from(parts.iter().flat_map(|part| part.to_be_bytes()).collect::<Vec<u8>>());
        let list = decode(1, Some(&array(&[1, 1, 23, 2, 1, 4, 7, -1])), true, &Type::INT4_ARRAY, None).unwrap();
        let expected = [ScalarValue::from(7i32), ScalarValue::Int32(None)];
        assert_eq!(list, ScalarValue::List(ScalarValue::new_list(&expected, &DataType::Int32, true)));
        let none = decode(1, Some(&array(&[0, 0, 23])), true, &Type::INT4_ARRAY, None).unwrap();
        assert_eq!(none, ScalarValue::List(ScalarValue::new_list(&[], &DataType::Int32, true)));
        for broken in [&[1, 0, 23, 2, 1, 4, 7][..], &[1, 0][..]] {
            assert_eq!(decode(1, Some(&array(broken)), true, &Type::INT4_ARRAY, None).unwrap_err().sqlstate, "22P03");
        }
    }
}
