//! What flows between operators.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int8Array, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{FilterBuilder, concat, concat_batches, take, take_record_batch};
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
}

impl Batch {
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// The same rows with other columns.
    pub fn with_rows(&self, rows: RecordBatch) -> Batch {
        Batch { rows, ..self.clone() }
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
        })
    }

    /// `length` rows from `offset` on, without copying.
    pub fn slice(&self, offset: usize, length: usize) -> Batch {
        Batch {
            rows: self.rows.slice(offset, length),
            timestamps: self.timestamps.slice(offset, length),
            stream_times: self.stream_times.slice(offset, length),
            changes: self.changes.as_ref().map(|changes| changes.slice(offset, length)),
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
        })
    }
}
