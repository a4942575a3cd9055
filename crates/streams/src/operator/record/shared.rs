//! Decoding for all that read the same partition in the same way.
//!
//! ```text
//!   task 1: a, b ─┐                       ┌─ entry 7: decoded a, b, c ◄─ task 1 had it decoded, tasks 2 and 3 took it
//!   task 2: b    ─┼─ (topic, partition, ──┤
//!   task 3: a, c ─┘   layout)             └─ entry 8: …
//! ```
//! SHR-1  tasks that come to an entry together have it decoded once, for the columns of all of them; a task alone, for its own only.
//! SHR-2  what is decoded is kept until [`Decodings::forget`], and no more than [`KEPT_ROWS_MAX`] rows of a partition.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arrow::array::RecordBatch;
use millpond_log::Entry;

use super::Decoded;
use super::decoder::OpaqueDecoder;
use crate::Result;
use crate::topology::SourceSpec;

const KEPT_ROWS_MAX: usize = 262_144;

/// What the tasks of one worker have decoded.
#[derive(Debug, Clone, Default)]
pub struct Decodings(Arc<Mutex<HashMap<Origin, Weak<Group>>>>);

/// Partition and layout.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Origin {
    topic: Arc<str>,
    partition: u32,
    layout: String,
}

#[derive(Debug, Default)]
struct Group(Mutex<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// What those want that come together, if any do; sorted.
    together: Vec<usize>,
    kept: VecDeque<Kept>,
    kept_rows: usize,
    /// Whether something that was kept was of use to another since the last `forget`.
    used: bool,
}

#[derive(Debug)]
struct Kept {
    entry: Arc<Entry>,
    decoded: Decoded,
}

/// One reader's part in it.
pub(super) struct SharedDecoder {
    own: OpaqueDecoder,
    /// For those who come together.
    joint: Option<OpaqueDecoder>,
    group: Arc<Group>,
}

impl Decodings {
    /// A round of the tasks is over: what they will want next is something else.
    pub fn forget(&self) {
        lock(&self.0).retain(|_, group| match group.upgrade() {
            Some(group) => {
                group.lock().forget();
                true
            }
            None => false,
        });
    }

    /// `wanted` is sorted.
    pub(super) fn decoder(&self, spec: &SourceSpec, partition: u32, wanted: Vec<usize>) -> Result<SharedDecoder> {
        let own = OpaqueDecoder::new(&spec.layout, wanted)?;
        let origin = Origin { topic: Arc::clone(&spec.topic), partition, layout: format!("{:?}", spec.layout) };
        let mut groups = lock(&self.0);
        let group = groups.get(&origin).and_then(Weak::upgrade).unwrap_or_default();
        groups.insert(origin, Arc::downgrade(&group));
        Ok(SharedDecoder { own, joint: None, group })
    }
}

impl SharedDecoder {
    /// Sorted.
    pub fn wanted(&self) -> &[usize] {
        self.own.wanted()
    }

    /// `rows` is the payload of `entry`. Has at least the wanted columns.
    pub fn decode(&mut self, entry: &Arc<Entry>, rows: &RecordBatch) -> Result<Decoded> {
        if Arc::strong_count(&self.group) == 1 {
            return self.own.decode(rows);
        }
        let group = Arc::clone(&self.group);
        let mut shared = group.lock();
        let place = shared.kept.iter().position(|kept| Arc::ptr_eq(&kept.entry, entry));
        if let Some(place) = place {
            shared.used = true;
            let columns = &shared.kept[place].decoded.columns;
            if self.wanted().iter().all(|column| columns[*column].is_some()) {
                return Ok(shared.kept[place].decoded.clone());
            }
            let kept = (0..columns.len()).filter(|column| columns[*column].is_some());
            let mut together: Vec<usize> = kept.chain(shared.together.iter().copied()).chain(self.wanted().iter().copied()).collect();
            together.sort_unstable();
            together.dedup();
            shared.together = together;
        }
        let all_wanted = self.wanted().iter().all(|column| shared.together.binary_search(column).is_ok());
        let decoded = if all_wanted { self.joint(&shared.together)?.decode(rows)? } else { self.own.decode(rows)? };
        let kept = Kept { entry: Arc::clone(entry), decoded: decoded.clone() };
        match place {
            Some(place) => shared.kept[place] = kept,
            None => shared.keep(kept),
        }
        Ok(decoded)
    }

    fn joint(&mut self, together: &[usize]) -> Result<&OpaqueDecoder> {
        if self.wanted() == together {
            return Ok(&self.own);
        }
        if self.joint.as_ref().is_none_or(|joint| joint.wanted() != together) {
            self.joint = Some(self.own.with(together.to_vec())?);
        }
        Ok(self.joint.as_ref().expect("it has just been made"))
    }
}

impl Drop for SharedDecoder {
    fn drop(&mut self) {
        // Nobody may want its columns any more.
        self.group.lock().together.clear();
    }
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.0)
    }
}

impl Shared {
    fn keep(&mut self, kept: Kept) {
        self.kept_rows += kept.entry.rows();
        self.kept.push_back(kept);
        while self.kept_rows > KEPT_ROWS_MAX
            && let Some(oldest) = self.kept.pop_front()
        {
            self.kept_rows -= oldest.entry.rows();
        }
    }

    fn forget(&mut self) {
        if !self.kept.is_empty() && !std::mem::take(&mut self.used) {
            self.together.clear();
        }
        self.kept.clear();
        self.kept_rows = 0;
    }
}

/// What a panic leaves behind is kept or not: both are sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, ArrayRef};
    use arrow::datatypes::{DataType, Field};
    use millpond_formats::Format;
    use millpond_log::opaque::{Record, batch};

    use super::*;
    use crate::topology::{OnDataLoss, OnError, RecordLayout};

    fn spec() -> SourceSpec {
        let field = |name: &str| Arc::new(Field::new(name, DataType::Int64, true));
        SourceSpec {
            source: "s".to_owned(),
            topic: "t".into(),
            layout: RecordLayout {
                columns: ["a", "b", "c"].map(field).to_vec(),
                key_columns: 0,
                headers: Vec::new(),
                key_format: Format::None,
                value_format: Format::Json,
                windowed: None,
                wrap_single_value: true,
            },
            columns: Vec::new(),
            timestamp: None,
            on_error: OnError::Skip,
            on_data_loss: OnDataLoss::Earliest,
            idle_timeout_ms: None,
        }
    }

    fn entry() -> Arc<Entry> {
        let record = Record { key: None, value: Some(br#"{"a":1,"b":2,"c":3}"#), timestamp_ms: 0, headers: &[] };
        Arc::new(Entry::opaque(batch([record])))
    }

    /// The columns that are decoded.
    fn decode(decoder: &mut SharedDecoder, entry: &Arc<Entry>) -> Vec<Option<ArrayRef>> {
        let decoded = decoder.decode(entry, entry.payload.batch().unwrap()).unwrap();
        assert!(decoder.own.wanted().iter().all(|column| decoded.columns[*column].is_some()));
        decoded.columns
    }

    fn same(a: &Option<ArrayRef>, b: &Option<ArrayRef>) -> bool {
        matches!((a, b), (Some(a), Some(b)) if a.to_data().ptr_eq(&b.to_data()))
    }

    #[test]
    fn readers_that_come_together_share_what_is_decoded() {
        let decodings = Decodings::default();
        let reader = |wanted: &[usize]| decodings.decoder(&spec(), 0, wanted.to_vec()).unwrap();
        let (mut ab, mut b) = (reader(&[0, 1]), reader(&[1]));
        let first = entry();
        assert!(same(&decode(&mut ab, &first)[1], &decode(&mut b, &first)[1]));
        let mut c = reader(&[2]);
        decode(&mut c, &first);
        decodings.forget();
        let second = entry();
        let columns = decode(&mut b, &second);
        assert!(columns.iter().all(Option::is_some), "it is known by now what the others want");
        assert!(same(&columns[0], &decode(&mut ab, &second)[0]) && same(&columns[2], &decode(&mut c, &second)[2]));
        drop((ab, c));
        assert_eq!(decode(&mut b, &entry()).iter().flatten().count(), 1);
    }

    #[test]
    fn readers_apart_decode_what_they_want() {
        let decodings = Decodings::default();
        let (mut a, mut b) = (decodings.decoder(&spec(), 0, vec![0]).unwrap(), decodings.decoder(&spec(), 0, vec![1]).unwrap());
        let together = entry();
        decode(&mut a, &together);
        assert_eq!(decode(&mut b, &together).iter().flatten().count(), 2);
        for _ in 0..2 {
            decodings.forget();
            decode(&mut a, &entry());
        }
        assert_eq!(decode(&mut a, &entry()).iter().flatten().count(), 1, "the other has not come for a round");
        let other = decodings.decoder(&spec(), 1, vec![0]).unwrap();
        assert!(!Arc::ptr_eq(&other.group, &a.group), "another partition");
    }
}
