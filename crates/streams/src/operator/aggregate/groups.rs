//! Keys and their numbers.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// The keys seen, numbered in the order of their first appearance. No allocation of its own for a key: all lie in one arena.
#[derive(Default)]
pub(crate) struct Groups {
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    hashes: Vec<u64>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Where the last key was found: neighbours are often alike.
    last: usize,
}

impl Groups {
    /// Room for so many more.
    pub(crate) fn reserve(&mut self, groups: usize) {
        let hashes = &self.hashes;
        self.table.reserve(groups, |group| hashes[*group as usize]);
        self.hashes.reserve(groups);
        self.ends.reserve(groups);
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn key(&self, group: usize) -> &[u8] {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        &self.bytes[start..self.ends[group]]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|group| self.key(group))
    }

    /// The key's number, and whether it is a new one.
    pub(crate) fn intern(&mut self, key: &[u8]) -> (usize, bool) {
        if self.last < self.len() && self.key(self.last) == key {
            return (self.last, false);
        }
        let hash = self.hasher.hash_one(key);
        if let Some(group) = self.table.find(hash, |group| self.key(*group as usize) == key) {
            self.last = *group as usize;
            return (self.last, false);
        }
        let group = self.len();
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        self.hashes.push(hash);
        let hashes = &self.hashes;
        self.table.insert_unique(hash, group as u32, |group| hashes[*group as usize]);
        self.last = group;
        (group, true)
    }

    /// Forgets the keys and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.table.clear();
        self.hashes.clear();
        self.bytes.clear();
        self.ends.clear();
        self.last = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_once() {
        let mut groups = Groups::default();
        let numbers: Vec<_> = [&b"b"[..], b"a", b"a", b"", b"b"].into_iter().map(|key| groups.intern(key)).collect();
        assert_eq!(numbers, [(0, true), (1, true), (1, false), (2, true), (0, false)]);
        assert_eq!(groups.iter().collect::<Vec<_>>(), [&b"b"[..], b"a", b""]);
        for number in 0..10_000_u32 {
            groups.intern(&number.to_be_bytes());
        }
        assert_eq!(groups.intern(&77_u32.to_be_bytes()), (80, false));
        groups.clear();
        assert_eq!((groups.len(), groups.intern(b"a")), (0, (0, true)));
    }
}
