//! Where a task's rows come in: an entry of the log is decoded when it is fetched, and taken when its time has come.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::Int64Type;
use millpond_log::{Control, Fetched};
use millpond_state::WriteSet;

use super::{Context, Counters, Incident};
use crate::{Batch, Error, Result};

/// A node without inputs. Unlike [`super::Operator`]s it reads the log.
pub trait Source: Send {
    /// Takes an entry apart. Changes nothing that is committed, since the rows may be taken much later.
    fn decode(&mut self, fetched: &Fetched) -> Result<Arrival>;

    /// Takes rows; what they give goes to [`Context::forward`].
    fn process(&mut self, records: Records, context: &mut Context<'_>) -> Result<()>;

    /// Hands over the dirty state before a commit.
    fn write(&mut self, writes: &mut WriteSet) -> Result<()> {
        let _ = writes;
        Ok(())
    }

    /// Up to here its channel had come at the last commit.
    fn restore(&mut self, time_ms: Option<i64>) {
        let _ = time_ms;
    }
}

/// A decoded entry.
#[derive(Debug)]
pub struct Arrival {
    pub content: Content,
    /// What decoding it met, to be told when it is taken.
    pub incidents: Vec<Incident>,
    pub counters: Counters,
    /// Where the log goes on behind it.
    pub next_offset: u64,
    /// What stops the query at `next_offset`, once the rows before it are committed.
    pub fault: Option<Error>,
}

#[derive(Debug, Clone)]
pub enum Content {
    Records(Records),
    Control { channel: usize, control: Control },
}

impl Content {
    /// Of each row; an announcement has none.
    pub fn stream_times(&self) -> Int64Array {
        match self {
            Content::Records(records) => records.batch.stream_times.clone(),
            Content::Control { .. } => Int64Array::from(Vec::<i64>::new()),
        }
    }
}

/// Rows with where they are in the log.
#[derive(Debug, Clone)]
pub struct Records {
    pub batch: Batch,
    pub offsets: Int64Array,
    /// Tables only.
    pub keys: Option<Keys>,
}

/// What a table's source needs beyond the columns that its readers want.
#[derive(Debug, Clone)]
pub struct Keys {
    pub columns: Vec<ArrayRef>,
    /// Starts and ends, ms.
    pub windows: Option<(Int64Array, Int64Array)>,
    /// True where the row deletes its key.
    pub tombstones: BooleanArray,
}

impl Records {
    pub fn num_rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub fn slice(&self, offset: usize, length: usize) -> Records {
        Records {
            batch: self.batch.slice(offset, length),
            offsets: self.offsets.slice(offset, length),
            keys: self.keys.as_ref().map(|keys| Keys {
                columns: keys.columns.iter().map(|column| column.slice(offset, length)).collect(),
                windows: keys.windows.as_ref().map(|(starts, ends)| (starts.slice(offset, length), ends.slice(offset, length))),
                tombstones: keys.tombstones.slice(offset, length),
            }),
        }
    }

    /// The rows of `parts`, one part behind the other, in another order. Only of repartition topics, whose rows have no keys.
    pub fn interleave(parts: &[Records], order: &UInt32Array) -> Result<Records> {
        let batches: Vec<Batch> = parts.iter().map(|part| part.batch.clone()).collect();
        let offsets: Vec<&dyn Array> = parts.iter().map(|part| &part.offsets as &dyn Array).collect();
        let offsets = take(&concat(&offsets)?, order, None)?.as_primitive::<Int64Type>().clone();
        Ok(Records { batch: Batch::concat(&batches)?.take(order)?, offsets, keys: None })
    }

    /// The stream time behind the last row.
    pub fn last_stream_time_ms(&self) -> Option<i64> {
        self.batch.stream_times.values().last().copied()
    }
}
