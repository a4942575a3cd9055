//! INT and BIGINT as text.

/// Faster than the formatting machinery, which shows where records are made of numbers.
pub(crate) fn write(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_lengths() {
        let powers = (0..19).map(|exponent| 10i64.pow(exponent));
        for value in powers.flat_map(|power| [power, power - 1, -power]).chain([i64::MIN, i64::MAX]) {
            let mut out = Vec::new();
            super::write(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
