//! Keys of windowed stores: the group's key, then 16 bytes of the window. See [`Expiry`].

use crate::Expiry;

/// How long the suffix is.
pub const SUFFIX_LEN: usize = 16;

/// What follows the group's key: end first, so that a horizon is judged by the first 8 bytes, and one group's windows lie in time order.
pub fn encode_suffix(end_ms: i64, start_ms: i64) -> [u8; SUFFIX_LEN] {
    let mut suffix = [0; SUFFIX_LEN];
    suffix[..8].copy_from_slice(&encode_ms(end_ms));
    suffix[8..].copy_from_slice(&encode_ms(start_ms));
    suffix
}

/// 8 bytes whose order is time order.
pub fn encode_ms(ms: i64) -> [u8; 8] {
    ((ms as u64) ^ (1 << 63)).to_be_bytes()
}

fn decode_ms(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64
}

/// The group's key, the window's end and its start (ms); `None` when the key is too short to have a window.
pub fn split(key: &[u8]) -> Option<(&[u8], i64, i64)> {
    let (key, start) = key.split_last_chunk::<8>()?;
    let (key, end) = key.split_last_chunk::<8>()?;
    Some((key, decode_ms(*end), decode_ms(*start)))
}

/// A key that is too short to have a window never expires.
pub fn is_expired(key: &[u8], expiry: Expiry) -> bool {
    split(key).is_some_and(|(_, end_ms, _)| end_ms <= expiry.expired_before_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_is_time_order() {
        let times = [i64::MIN, -1, 0, 1, 1_700_000_000_000, i64::MAX];
        assert!(times.windows(2).all(|pair| encode_ms(pair[0]) < encode_ms(pair[1])));
        let key = [&b"group"[..], &encode_suffix(-5, i64::MIN)].concat();
        assert_eq!(split(&key), Some((&b"group"[..], -5, i64::MIN)));
        assert_eq!(split(b"fifteen bytes.."), None);
        assert!(is_expired(&key, Expiry { expired_before_ms: -5 }) && !is_expired(&key, Expiry { expired_before_ms: -6 }));
    }
}
