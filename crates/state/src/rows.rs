//! Keys and values side by side in one arena: what is put, sorted and handed over without an allocation for each.

/// What stands for the length of a value that is not there.
const GONE: u32 = u32::MAX;

/// Keys, each with its value or with none, in the order in which they were pushed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// A key, and behind it its value.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    key_len: u32,
    value_len: u32,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let place = self.place(key, value);
        self.places.push(place);
    }

    /// The value's room is used again when the new one fits into it.
    pub fn replace(&mut self, row: usize, value: Option<&[u8]>) {
        let place = &mut self.places[row];
        let room = if place.value_len == GONE { 0 } else { place.value_len };
        match value {
            None => place.value_len = GONE,
            Some(value) if value.len() <= room as usize => {
                let start = place.start + place.key_len as usize;
                self.bytes[start..start + value.len()].copy_from_slice(value);
                place.value_len = length(value);
            }
            Some(value) => {
                let key = place.start..place.start + place.key_len as usize;
                place.start = self.bytes.len();
                place.value_len = length(value);
                self.bytes.extend_from_within(key);
                self.bytes.extend_from_slice(value);
            }
        }
    }

    pub fn key(&self, row: usize) -> &[u8] {
        let Place { start, key_len, .. } = self.places[row];
        &self.bytes[start..start + key_len as usize]
    }

    pub fn value(&self, row: usize) -> Option<&[u8]> {
        let Place { start, key_len, value_len } = self.places[row];
        let start = start + key_len as usize;
        (value_len != GONE).then(|| &self.bytes[start..start + value_len as usize])
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        (0..self.len()).map(|row| (self.key(row), self.value(row)))
    }

    /// Only `rows`, in their order.
    pub fn select(&mut self, rows: impl Iterator<Item = usize>) {
        self.places = rows.map(|row| self.places[row]).collect();
    }

    /// Into the order of keys; equal ones stay in theirs.
    pub fn sort(&mut self) {
        if (1..self.len()).all(|row| self.key(row - 1) <= self.key(row)) {
            return;
        }
        // Most comparisons are decided by eight bytes that lie together.
        let first = self.key(0);
        let common = |key: &[u8]| key.iter().zip(first).take_while(|(a, b)| a == b).count();
        let shared = (1..self.len()).fold(first.len(), |shared, row| if shared == 0 { 0 } else { shared.min(common(self.key(row))) });
        let mut order: Vec<(u64, u32)> = (0..self.len())
            .map(|row| (leading(&self.key(row)[shared..]), u32::try_from(row).expect("fewer rows than bytes in memory")))
            .collect();
        order.sort_unstable_by(|(leading_a, a), (leading_b, b)| {
            leading_a.cmp(leading_b).then_with(|| self.key(*a as usize).cmp(self.key(*b as usize))).then(a.cmp(b))
        });
        self.select(order.into_iter().map(|(_, row)| row as usize));
    }

    fn place(&mut self, key: &[u8], value: Option<&[u8]>) -> Place {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        Place { start, key_len: length(key), value_len: value.map_or(GONE, length) }
    }
}

/// The first eight bytes, as a number of the same order.
fn leading(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(leading) => u64::from_be_bytes(*leading),
        None => {
            let mut leading = [0; 8];
            leading[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(leading)
        }
    }
}

fn length(bytes: &[u8]) -> u32 {
    let length = u32::try_from(bytes.len()).unwrap_or(GONE);
    assert!(length != GONE, "a key or value of a store has less than 4 GiB");
    length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_sort_by_key_and_equal_ones_stay_in_order(keys in proptest::collection::vec(proptest::collection::vec(0..3_u8, 0..12), 0..60)) {
            let mut rows = Rows::default();
            for (number, key) in keys.iter().enumerate() {
                rows.push(key, Some(&[number as u8]));
            }
            rows.sort();
            let mut expected: Vec<(Vec<u8>, u8)> = keys.into_iter().zip(0..).collect();
            expected.sort();
            let sorted: Vec<(Vec<u8>, u8)> = rows.iter().map(|(key, value)| (key.to_vec(), value.unwrap()[0])).collect();
            prop_assert_eq!(sorted, expected);
        }
    }

    #[test]
    fn values_are_replaced() {
        let mut rows = Rows::default();
        rows.push(b"a", Some(b"12"));
        rows.push(b"b", None);
        for value in [Some(&b"3"[..]), None, Some(b"45"), Some(b"678"), Some(b"")] {
            rows.replace(0, value);
            assert_eq!(rows.iter().collect::<Vec<_>>(), [(&b"a"[..], value), (b"b", None)]);
        }
        rows.select([1].into_iter());
        assert_eq!(rows.iter().collect::<Vec<_>>(), [(&b"b"[..], None)]);
    }
}
