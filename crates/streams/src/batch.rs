//! What flows between operators.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, Int8Array, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{FilterBuilder, concat, concat_batches, not, take, take_record_batch};
use arrow::datatypes::{Int8Type, Int64Type};

use crate::Result;

/// Rows and what the engine knows of each. All arrays have as many entries as `rows`.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The columns of the node's schema.
    pub rows: RecordBatch,
    /// Rowtime, ms since the epoch; never null.
    pub timestamps: Int64Array,
    /// The stream time (ms) of the row's channel at its place, the row itself included; never null.
    pub stream_times: Int64Array,
    /// For a table: +1 where the row is what its key now has, -1 where it is what its key had. A change of a key is its -1 (if it
    /// had a row) directly followed by its +1 (if it has one). `None` for a stream.
    pub changes: Option<Int8Array>,
    /// For a stream: true where the record has a key and no value, nor will have what becomes of it. `None`: all have one
    /// ([`tombstones`]).
    pub tombstones: Option<BooleanArray>,
}

impl Batch {
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// The same rows with other columns.
    pub fn with_rows(&self, rows: RecordBatch) -> Batch {
        Batch { rows, ..self.clone() }
    }

    /// The rows that have a value.
    pub fn with_values(self) -> Result<Batch> {
        match &self.tombstones {
            Some(tombstones) => self.filter(&not(tombstones)?),
            None => Ok(self),
        }
    }

    /// The rows where `mask` is true.
    pub fn filter(&self, mask: &BooleanArray) -> Result<Batch> {
        let kept = FilterBuilder::new(mask).optimize().build();
        Ok(Batch {
            rows: kept.filter_record_batch(&self.rows)?,
            timestamps: kept.filter(&self.timestamps)?.as_primitive::<Int64Type>().clone(),
            stream_times: kept.filter(&self.stream_times)?.as_primitive::<Int64Type>().clone(),
            changes: match &self.changes {
                Some(changes) => Some(kept.filter(changes)?.as_primitive::<Int8Type>().clone()),
                None => None,
            },
            tombstones: match &self.tombstones {
                Some(marks) => tombstones(kept.filter(marks)?.as_boolean().clone()),
                None => None,
            },
        })
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: &UInt32Array) -> Result<Batch> {
        Ok(Batch {
            rows: take_record_batch(&self.rows, indices)?,
            timestamps: take(&self.timestamps, indices, None)?.as_primitive::<Int64Type>().clone(),
            stream_times: take(&self.stream_times, indices, None)?.as_primitive::<Int64Type>().clone(),
            changes: match &self.changes {
                Some(changes) => Some(take(changes, indices, None)?.as_primitive::<Int8Type>().clone()),
                None => None,
            },
            tombstones: match &self.tombstones {
                Some(marks) => tombstones(take(marks, indices, None)?.as_boolean().clone()),
                None => None,
            },
        })
    }

    /// `length` rows from `offset` on, without copying.
    pub fn slice(&self, offset: usize, length: usize) -> Batch {
        Batch {
            rows: self.rows.slice(offset, length),
            timestamps: self.timestamps.slice(offset, length),
            stream_times: self.stream_times.slice(offset, length),
            changes: self.changes.as_ref().map(|changes| changes.slice(offset, length)),
            tombstones: self.tombstones.as_ref().and_then(|marks| tombstones(marks.slice(offset, length))),
        }
    }

    /// One batch of several of the same schema; there must be one at least.
    pub fn concat(batches: &[Batch]) -> Result<Batch> {
        if let [only] = batches {
            return Ok(only.clone());
        }
        let joined = |part: fn(&Batch) -> Option<&dyn Array>| -> Result<Option<ArrayRef>> {
            let parts: Vec<&dyn Array> = batches.iter().filter_map(part).collect();
            Ok(if parts.is_empty() { None } else { Some(concat(&parts)?) })
        };
        let required = "a batch has timestamps and there is a batch";
        Ok(Batch {
            rows: concat_batches(&batches[0].rows.schema(), batches.iter().map(|batch| &batch.rows))?,
            timestamps: joined(|batch| Some(&batch.timestamps))?.expect(required).as_primitive::<Int64Type>().clone(),
            stream_times: joined(|batch| Some(&batch.stream_times))?.expect(required).as_primitive::<Int64Type>().clone(),
            changes: joined(|batch| batch.changes.as_ref().map(|changes| changes as &dyn Array))?
                .map(|changes| changes.as_primitive::<Int8Type>().clone()),
            tombstones: batches.iter().any(|batch| batch.tombstones.is_some()).then(|| joined_tombstones(batches)),
        })
    }
}

/// What a batch has of `marks`: nothing where none is true.
pub fn tombstones(marks: BooleanArray) -> Option<BooleanArray> {
    (marks.true_count() > 0).then_some(marks)
}

fn joined_tombstones(batches: &[Batch]) -> BooleanArray {
    let mut joined = BooleanBufferBuilder::new(batches.iter().map(Batch::num_rows).sum());
    for batch in batches {
        match &batch.tombstones {
            Some(tombstones) => joined.append_buffer(tombstones.values()),
            None => joined.append_n(batch.num_rows(), false),
        }
    }
    BooleanArray::new(joined.finish(), None)
}

#[cfg(test)]
mod tests {
    use crate::operator::fixture::stream;

    use super::*;

    #[test]
    fn tombstones_stay_with_their_rows() {
        let batch = |names: [&'static str; 2], tombstones: Option<[bool; 2]>| Batch {
            tombstones: tombstones.map(|tombstones| BooleanArray::from(tombstones.to_vec())),
            ..stream(&names.map(|name| (Some(name), None, 0)), 0)
        };
        let joined =
            Batch::concat(&[batch(["a", "b"], None), batch(["c", "d"], Some([true, false])).slice(0, 1), batch(["e", "f"], None)]).unwrap();
        let marked = |batch: &Batch| -> Vec<(String, bool)> {
            let (keys, tombstones) = (batch.rows.column(0).as_string::<i32>(), batch.tombstones.as_ref().unwrap());
            keys.iter().map(|key| key.unwrap().to_owned()).zip(tombstones.values().iter()).collect()
        };
        assert_eq!(marked(&joined).iter().filter(|(_, tombstone)| *tombstone).map(|(key, _)| &**key).collect::<Vec<_>>(), ["c"]);
        let taken = joined.take(&UInt32Array::from(vec![4, 2])).unwrap();
        assert_eq!(marked(&taken), [("f".to_owned(), false), ("c".to_owned(), true)]);
        let valued = joined.with_values().unwrap();
        assert_eq!((valued.num_rows(), valued.tombstones.is_none()), (4, true));
    }
}
