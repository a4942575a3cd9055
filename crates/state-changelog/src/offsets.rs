//! Records of the offsets topic: rows of the stores that share it, and horizons.

use millpond_state::Expiry;

/// What a key of the topic is of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Of<'a> {
    Row {
        store: &'a str,
        partition: u32,
        key: &'a [u8],
    },
    Horizon {
        store: &'a str,
        partition: u32,
    },
    /// Which of the changelogs that a store of that name has had in its time is the one that is there.
    Changelog {
        store: &'a str,
    },
}

pub(crate) fn row_key(store: &str, partition: u32, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(store.len() + 5 + key.len());
    bytes.extend_from_slice(store.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&partition.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
}

pub(crate) fn horizon_key(store: &str, partition: u32) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&row_key(store, partition, &[]));
    bytes
}

pub(crate) fn changelog_key(store: &str) -> Vec<u8> {
    [&[0, 0], store.as_bytes()].concat()
}

/// `None`: no key of ours.
pub(crate) fn read(key: &[u8]) -> Option<Of<'_>> {
    if let Some(store) = key.strip_prefix(&[0, 0]) {
        return Some(Of::Changelog { store: std::str::from_utf8(store).ok().filter(|store| !store.is_empty())? });
    }
    let horizon = key.first() == Some(&0);
    let rest = if horizon { &key[1..] } else { key };
    let end = rest.iter().position(|byte| *byte == 0)?;
    let store = std::str::from_utf8(&rest[..end]).ok()?;
    let (partition, key) = rest[end + 1..].split_first_chunk::<4>()?;
    let partition = u32::from_be_bytes(*partition);
    match (horizon, key) {
        (true, []) => Some(Of::Horizon { store, partition }),
        (true, _) => None,
        (false, key) => Some(Of::Row { store, partition, key }),
    }
}

/// A number that no other changelog of the store has.
pub(crate) fn read_changelog(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

pub(crate) fn horizon_value(expiry: Expiry) -> [u8; 8] {
    expiry.expired_before_ms.to_be_bytes()
}

pub(crate) fn read_horizon(value: &[u8]) -> Option<Expiry> {
    Some(Expiry { expired_before_ms: i64::from_be_bytes(value.try_into().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        assert_eq!(read(&row_key("q/0/positions", 7, b"\0k")), Some(Of::Row { store: "q/0/positions", partition: 7, key: b"\0k" }));
        assert_eq!(read(&row_key("q/0/positions", 7, b"")), Some(Of::Row { store: "q/0/positions", partition: 7, key: b"" }));
        assert_eq!(read(&horizon_key("q/a", 1)), Some(Of::Horizon { store: "q/a", partition: 1 }));
        assert_eq!(read(&changelog_key("q/a")), Some(Of::Changelog { store: "q/a" }));
        for other in [&b""[..], b"\0\0", b"store", b"store\0abc", b"\0store\0\0\0\0\x01x"] {
            assert_eq!(read(other), None);
        }
        assert_eq!(read_horizon(&horizon_value(Expiry { expired_before_ms: -9 })), Some(Expiry { expired_before_ms: -9 }));
    }
}
