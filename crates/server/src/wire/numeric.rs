//! NUMERIC in the binary protocol: groups of four decimal digits.

use bytes::{BufMut, BytesMut};

const NEGATIVE: u16 = 0x4000;

/// Of a plain decimal text: `-12.50`.
pub fn binary(text: &str) -> BytesMut {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (NEGATIVE, digits),
        None => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let whole_groups = whole.len().div_ceil(4);
    let padded = format!("{:0>whole$}{:0<fraction$}", whole, fraction, whole = whole_groups * 4, fraction = fraction.len().div_ceil(4) * 4);
    let padded = if whole.is_empty() { &padded[padded.len() - fraction.len().div_ceil(4) * 4..] } else { &padded };
    let mut groups: Vec<i16> = padded
        .as_bytes()
        .chunks(4)
        .map(|group| group.iter().fold(0, |value, digit| value * 10 + i16::from(digit.wrapping_sub(b'0'))))
        .collect();
    let mut weight = whole_groups as i16 - 1;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= leading as i16;
    if groups.is_empty() {
        weight = 0;
    }
    let mut buffer = BytesMut::with_capacity(8 + groups.len() * 2);
    buffer.put_i16(groups.len() as i16);
    buffer.put_i16(weight);
    buffer.put_u16(if groups.is_empty() { 0 } else { sign });
    buffer.put_u16(fraction.len() as u16);
    for group in groups {
        buffer.put_i16(group);
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (i16, u16, u16, Vec<i16>) {
        let bytes = binary(text);
        let short = |at: usize| i16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let groups = (0..short(0) as usize).map(|group| short(8 + group * 2)).collect();
        (short(2), short(4) as u16, short(6) as u16, groups)
    }

    #[test]
    fn groups_of_four_digits() {
        assert_eq!(parts("12345.678"), (1, 0, 3, vec![1, 2345, 6780]));
        assert_eq!(parts("-0.0001"), (-1, NEGATIVE, 4, vec![1]));
        assert_eq!(parts("0.00001"), (-2, 0, 5, vec![1000]));
        assert_eq!(parts("0.00"), (0, 0, 2, vec![]));
        assert_eq!(parts("10000"), (1, 0, 0, vec![1]));
        assert_eq!(parts("99999999999999999999999999999999999999").3.len(), 10);
    }
}
