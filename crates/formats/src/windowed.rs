//! Windowed keys as Kafka Streams serialises them.
//!
//! ```text
//!   time windows:  key │ start, 8 bytes big-endian
//!   sessions:      key │ end, 8 bytes │ start, 8 bytes
//! ```

use arrow::array::{Array, BinaryArray, Int64Array};

use crate::encoder::Records;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Tumbling or hopping: the end is `size_ms` after the start.
    Time {
        size_ms: i64,
    },
    Session,
}

/// Windowed keys taken apart. Rows that cannot be are null and have a reason.
#[derive(Debug)]
pub struct Split {
    pub keys: BinaryArray,
    pub starts: Int64Array,
    pub ends: Int64Array,
    pub errors: Vec<(usize, String)>,
}

/// Puts each row's window (ms) behind its key. Null where the key or a bound is null. `ends` counts for sessions only.
pub fn append(keys: &BinaryArray, window: Window, starts: &Int64Array, ends: &Int64Array) -> BinaryArray {
    let mut records = Records::new(keys.len());
    for row in 0..keys.len() {
        if keys.is_null(row) || starts.is_null(row) || (window == Window::Session && ends.is_null(row)) {
            records.null();
            continue;
        }
        records.bytes.extend_from_slice(keys.value(row));
        if window == Window::Session {
            records.bytes.extend_from_slice(&ends.value(row).to_be_bytes());
        }
        records.bytes.extend_from_slice(&starts.value(row).to_be_bytes());
        records.end();
    }
    records.finish().0
}

/// The inverse of [`append`].
pub fn split(windowed: &BinaryArray, window: Window) -> Split {
    let suffix = if window == Window::Session { 16 } else { 8 };
    let mut keys = Records::new(windowed.len());
    let mut starts = Vec::with_capacity(windowed.len());
    let mut ends = Vec::with_capacity(windowed.len());
    let mut errors = Vec::new();
    for row in 0..windowed.len() {
        let bytes = if windowed.is_null(row) { &[] } else { windowed.value(row) };
        let Some((rest, start)) = bytes.split_last_chunk::<8>().filter(|_| bytes.len() >= suffix) else {
            if !windowed.is_null(row) {
                errors.push((row, format!("a windowed key has at least {suffix} bytes, not {}", bytes.len())));
            }
            keys.null();
            starts.push(None);
            ends.push(None);
            continue;
        };
        let start = i64::from_be_bytes(*start);
        let (key, end) = match (window, rest.split_last_chunk::<8>()) {
            (Window::Session, Some((key, end))) => (key, i64::from_be_bytes(*end)),
            (Window::Time { size_ms }, _) => (rest, start.saturating_add(size_ms)),
            (Window::Session, None) => (rest, start),
        };
        keys.bytes.extend_from_slice(key);
        keys.end();
        starts.push(Some(start));
        ends.push(Some(end));
    }
    Split { keys: keys.finish().0, starts: starts.into(), ends: ends.into(), errors }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_come_apart_again() {
        let keys = BinaryArray::from_opt_vec(vec![Some(b"k".as_slice()), Some(b""), None]);
        let starts = Int64Array::from(vec![1, 1000, 2]);
        let ends = Int64Array::from(vec![11, 1010, 12]);
        for (window, suffix) in [(Window::Time { size_ms: 10 }, 8), (Window::Session, 16)] {
            let bytes = append(&keys, window, &starts, &ends);
            assert_eq!(bytes.value(0).len(), 1 + suffix);
            let split = split(&bytes, window);
            assert_eq!(split.keys, keys);
            assert_eq!(split.starts, Int64Array::from(vec![Some(1), Some(1000), None]));
            assert_eq!(split.ends, Int64Array::from(vec![Some(11), Some(1010), None]));
            assert!(split.errors.is_empty());
        }
        let session = append(&keys, Window::Session, &starts, &ends);
        assert_eq!(session.value(0), [b'k', 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn short_keys_are_errors() {
        let split = split(&BinaryArray::from(vec![b"short".as_slice()]), Window::Session);
        assert_eq!(split.errors.len(), 1);
        assert!(split.keys.is_null(0) && split.starts.is_null(0));
    }
}
