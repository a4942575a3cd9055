//! What flows between operators.

use arrow::array::{BooleanArray, Int8Array, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;

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
        use arrow::array::AsArray;
        use arrow::compute::filter;
        use arrow::datatypes::{Int8Type, Int64Type};
        Ok(Batch {
            rows: filter_record_batch(&self.rows, mask)?,
            timestamps: filter(&self.timestamps, mask)?.as_primitive::<Int64Type>().clone(),
            stream_times: filter(&self.stream_times, mask)?.as_primitive::<Int64Type>().clone(),
            changes: match &self.changes {
                Some(changes) => Some(filter(changes, mask)?.as_primitive::<Int8Type>().clone()),
                None => None,
            },
        })
    }
}
