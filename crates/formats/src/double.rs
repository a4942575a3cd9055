//! DOUBLE as text: Java's notation, with the fewest digits that read back as the same number.

use std::io::Write;

use crate::integer;

/// `1.0`, `0.001`, `1.0E7`, `1.5E-5`, `NaN`, `-Infinity`.
pub fn write(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    if value.fract() == 0.0 && value.abs() < 1e7 && value.to_bits() != (-0.0f64).to_bits() {
        integer::write(out, value as i64);
        return out.extend_from_slice(b".0");
    }
    let written = if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        write!(out, "{value:?}")
    } else {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        write!(out, "{mantissa}{}E{exponent}", if mantissa.contains('.') { "" } else { ".0" })
    };
    written.expect("a vector takes everything");
}

/// See [`write()`].
pub fn to_text(value: f64) -> String {
    let mut out = Vec::new();
    write(&mut out, value);
    String::from_utf8(out).expect("digits are text")
}

/// As `Double.parseDouble` reads: sign, digits, exponent, `NaN`, `Infinity`.
pub fn parse(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Rust also reads `inf` and `nan`.
        _ if text.bytes().any(|byte| byte.is_ascii_alphabetic() && !matches!(byte, b'e' | b'E')) => None,
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_java_does() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (0.001, "0.001"),
            (0.00099, "9.9E-4"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (-1.5e10, "-1.5E10"),
            (f64::MAX, "1.7976931348623157E308"),
            (5e-324, "5.0E-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(to_text(value), text);
            assert_eq!(parse(text).map(f64::to_bits), Some(value.to_bits()));
        }
    }
}
