//! DECIMAL as text, never by way of a DOUBLE.

/// What to do with digits beyond the scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// They must be zero.
    Exact,
    /// To the nearest, halves away from zero.
    HalfUp,
    Truncate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Not a number.
    Syntax,
    /// More integer digits than the type has.
    Overflow,
    /// Digits beyond the scale, and [`Rounding::Exact`].
    Inexact,
}

/// Reads `[+-]digits[.digits][e[+-]digits]` as the unscaled value of a DECIMAL(precision, scale).
pub fn parse(text: &str, precision: u8, scale: i8, rounding: Rounding) -> Result<i128, Refused> {
    let number = Number::split(text.as_bytes()).ok_or(Refused::Syntax)?;
    // How many of the digits stand before the last place of the result.
    let kept = number.integer.len() as i64 + number.exponent + i64::from(scale);
    let mut value: i128 = 0;
    let mut rest = Rest::Zero;
    for (index, digit) in number.integer.iter().chain(number.fraction).map(|byte| byte - b'0').enumerate() {
        if (index as i64) < kept {
            value = value.checked_mul(10).and_then(|value| value.checked_add(i128::from(digit))).ok_or(Refused::Overflow)?;
        } else if digit != 0 {
            rest = if index as i64 == kept && digit >= 5 { Rest::Half } else { rest.max(Rest::Some) };
        }
    }
    let missing = kept - (number.integer.len() + number.fraction.len()) as i64;
    if missing > 0 && value != 0 {
        let factor = u32::try_from(missing).ok().and_then(|missing| 10i128.checked_pow(missing));
        value = factor.and_then(|factor| value.checked_mul(factor)).ok_or(Refused::Overflow)?;
    }
    match (rounding, rest) {
        (Rounding::Exact, Rest::Some | Rest::Half) => return Err(Refused::Inexact),
        (Rounding::HalfUp, Rest::Half) => value += 1,
        _ => {}
    }
    if value >= 10i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX) {
        return Err(Refused::Overflow);
    }
    Ok(if number.negative { -value } else { value })
}

/// What lies beyond the last place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    Zero,
    Some,
    Half,
}

struct Number<'a> {
    negative: bool,
    integer: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl Number<'_> {
    fn split(text: &[u8]) -> Option<Number<'_>> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (integer, mut rest) = text.split_at(digits(text));
        let mut fraction: &[u8] = &[];
        if let [b'.', after @ ..] = rest {
            (fraction, rest) = after.split_at(digits(after));
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', exponent @ ..] => std::str::from_utf8(exponent).ok()?.parse::<i32>().ok()?,
            _ => return None,
        };
        let leading = integer.iter().take_while(|byte| **byte == b'0').count();
        let empty = integer.is_empty() && fraction.is_empty();
        (!empty).then(|| Number { negative, integer: &integer[leading..], fraction, exponent: i64::from(exponent) })
    }
}

/// All digits, with the full scale: `-0.50`.
pub fn write(out: &mut Vec<u8>, value: i128, scale: i8) {
    let digits = value.unsigned_abs().to_string();
    if value < 0 {
        out.push(b'-');
    }
    let Ok(scale) = usize::try_from(scale) else {
        out.extend_from_slice(digits.as_bytes());
        if value != 0 {
            out.extend(std::iter::repeat_n(b'0', usize::from(scale.unsigned_abs())));
        }
        return;
    };
    let integer = digits.len().saturating_sub(scale);
    if integer == 0 {
        out.push(b'0');
    } else {
        out.extend_from_slice(&digits.as_bytes()[..integer]);
    }
    if scale > 0 {
        out.push(b'.');
        out.extend(std::iter::repeat_n(b'0', scale.saturating_sub(digits.len())));
        out.extend_from_slice(&digits.as_bytes()[integer..]);
    }
}

/// See [`write()`].
pub fn to_text(value: i128, scale: i8) -> String {
    let mut out = Vec::new();
    write(&mut out, value, scale);
    String::from_utf8(out).expect("digits are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_rounds() {
        let half = |text| parse(text, 5, 2, Rounding::HalfUp);
        for (text, value) in [
            ("1", Ok(100)),
            ("-1.5", Ok(-150)),
            ("+.5", Ok(50)),
            ("5.", Ok(500)),
            ("0.005", Ok(1)),
            ("-0.005", Ok(-1)),
            ("0.0049", Ok(0)),
            ("0.0050", Ok(1)),
            ("0.00051", Ok(0)),
            ("999.99", Ok(99_999)),
            ("999.995", Err(Refused::Overflow)),
            ("1000", Err(Refused::Overflow)),
            ("00001e2", Ok(10_000)),
            ("12345e-2", Ok(12_345)),
            ("0e99999", Ok(0)),
            ("1e99999", Err(Refused::Overflow)),
            ("1e-99999", Ok(0)),
            ("", Err(Refused::Syntax)),
            (".", Err(Refused::Syntax)),
            ("1.2.3", Err(Refused::Syntax)),
            ("1e", Err(Refused::Syntax)),
            ("12a", Err(Refused::Syntax)),
        ] {
            assert_eq!(half(text), value, "{text}");
        }
        assert_eq!(parse("1.200", 5, 1, Rounding::Exact), Ok(12));
        assert_eq!(parse("1.21", 5, 1, Rounding::Exact), Err(Refused::Inexact));
        assert_eq!(parse("-1.99", 5, 0, Rounding::Truncate), Ok(-1));
        let most = "9".repeat(38);
        assert_eq!(parse(&most, 38, 0, Rounding::Exact), Ok(10i128.pow(38) - 1));
        assert_eq!(parse(&format!("{most}9"), 38, 0, Rounding::Exact), Err(Refused::Overflow));
    }

    #[test]
    fn is_written_with_its_scale() {
        for (value, scale, text) in
            [(0, 2, "0.00"), (5, 2, "0.05"), (-5, 2, "-0.05"), (150, 2, "1.50"), (150, 0, "150"), (15, -1, "150"), (0, -1, "0")]
        {
            assert_eq!(to_text(value, scale), text);
        }
    }
}
