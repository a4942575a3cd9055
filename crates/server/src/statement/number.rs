//! Numbers between types: a decimal as precise as it is written, and what a type can hold exactly.

use arrow::array::{Array, ArrayRef};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use crate::error::Result;

/// The digits that a DECIMAL can have.
const DIGITS_MAX: u32 = 38;

/// `[+-]digits[.digits][e[+-]digits]` as a DECIMAL of its own precision and scale; `None` for what is no number or has too many digits.
pub fn decimal(text: &str) -> Option<ScalarValue> {
    let text = text.trim();
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value: i128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        let digit = byte.is_ascii_digit().then(|| i128::from(byte - b'0'))?;
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    let mut scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    if scale < 0 {
        value = value.checked_mul(10i128.checked_pow(scale.unsigned_abs())?)?;
        scale = 0;
    }
    let scale = u32::try_from(scale).ok().filter(|scale| *scale <= DIGITS_MAX)?;
    let digits = value.checked_ilog10().map_or(1, |power| power + 1).max(scale);
    if digits > DIGITS_MAX {
        return None;
    }
    let value = if negative { -value } else { value };
    Some(ScalarValue::Decimal128(Some(value), digits as u8, scale as i8))
}

/// The one value as `data_type`; `None` when that cannot hold it as it is, or when it is NULL.
pub fn exact(value: &ArrayRef, data_type: &DataType) -> Result<Option<ArrayRef>> {
    let safe = CastOptions { safe: true, ..CastOptions::default() };
    let there = cast_with_options(value, data_type, &safe)?;
    let back = cast_with_options(&there, value.data_type(), &safe)?;
    Ok((there.logical_null_count() == 0 && back.to_data() == value.to_data()).then_some(there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_as_precise_as_it_is_written() {
        assert_eq!(decimal("0.5"), Some(ScalarValue::Decimal128(Some(5), 1, 1)));
        assert_eq!(decimal("-12.50"), Some(ScalarValue::Decimal128(Some(-1250), 4, 2)));
        assert_eq!(decimal("0"), Some(ScalarValue::Decimal128(Some(0), 1, 0)));
        assert_eq!(decimal("1.5e3"), Some(ScalarValue::Decimal128(Some(1500), 4, 0)));
        assert_eq!(decimal("15e-3"), Some(ScalarValue::Decimal128(Some(15), 3, 3)));
        assert_eq!(decimal("99999999999999999999999999999999999999").map(|value| value.data_type()), Some(DataType::Decimal128(38, 0)));
        for text in ["", ".", "NaN", "1.2.3", "1e99", "999999999999999999999999999999999999999"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn only_what_is_the_same_in_both_types_is_exact() {
        let exactly = |value: ScalarValue, data_type: &DataType| {
            let found = exact(&value.to_array().unwrap(), data_type).unwrap()?;
            Some(ScalarValue::try_from_array(&found, 0).unwrap())
        };
        assert_eq!(exactly(ScalarValue::from(2.0f64), &DataType::Int32), Some(ScalarValue::from(2i32)));
        assert_eq!(exactly(ScalarValue::from(1.9f64), &DataType::Int32), None);
        assert_eq!(exactly(ScalarValue::from(1i64 << 40), &DataType::Int32), None);
        assert_eq!(exactly(ScalarValue::Int64(None), &DataType::Int32), None);
        let half = ScalarValue::Decimal128(Some(505), 3, 3);
        assert_eq!(exactly(half.clone(), &DataType::Decimal128(12, 2)), None);
        assert_eq!(exactly(half, &DataType::Decimal128(12, 4)), Some(ScalarValue::Decimal128(Some(5050), 12, 4)));
    }
}
