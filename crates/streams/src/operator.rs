//! The operators' common face.

use millpond_log::Append;
use millpond_state::WriteSet;

use crate::{Batch, Result};

/// One step of a sub-topology. Built once, with its configuration and stores; everything else comes through [`Context`].
pub trait Operator: Send {
    /// Takes a batch at `port`; what it gives goes to [`Context::forward`].
    fn process(&mut self, port: usize, batch: Batch, context: &mut Context<'_>) -> Result<()>;

    /// The task's stream time (minimum over its live channels) has moved to `stream_time_ms`.
    fn advance(&mut self, stream_time_ms: i64, context: &mut Context<'_>) -> Result<()> {
        let _ = (stream_time_ms, context);
        Ok(())
    }

    /// A commit is near: forward what was held back to be coalesced. Called once per commit, inputs before their readers.
    fn flush(&mut self, context: &mut Context<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// Hands over the dirty state, after `flush`. What is handed over is read from the store from now on: on failure of the commit the
    /// whole task is thrown away and made anew.
    fn write(&mut self, writes: &mut WriteSet) -> Result<()> {
        let _ = writes;
        Ok(())
    }
}

/// What an operator may do while it runs.
#[derive(Debug, Default)]
pub struct Context<'a> {
    /// The task's partition.
    pub partition: u32,
    /// Wall clock, ms, as the executor sees it.
    pub now_ms: i64,
    /// Batches for the operators behind this one, in order.
    pub forwarded: Vec<Batch>,
    /// Records for topics.
    pub appends: Vec<Append>,
    pub incidents: Vec<Incident>,
    pub counters: Counters,
    /// The id of the node that runs.
    pub node: &'a str,
}

impl Context<'_> {
    pub fn forward(&mut self, batch: Batch) {
        if batch.num_rows() > 0 {
            self.forwarded.push(batch);
        }
    }
}

/// Something for the processing log.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    pub kind: IncidentKind,
    pub node: String,
    pub message: String,
    /// Where the record is, when it is known.
    pub topic: Option<String>,
    pub partition: Option<u32>,
    pub offset: Option<u64>,
    pub rowtime_ms: Option<i64>,
    /// The raw key and value, for `on_error = dead_letter`.
    pub raw: Option<(Option<Vec<u8>>, Option<Vec<u8>>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentKind {
    Deserialization,
    /// An expression failed; it gave NULL.
    Expression,
    Serialization,
    /// A row for a closed window. One incident per batch and node, with the count in its message.
    Late,
}

/// Rows of one task since it was last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub rows_in: u64,
    pub rows_out: u64,
    /// For a closed window.
    pub late: u64,
    pub undecodable: u64,
    /// A table's record, or a group, without a key.
    pub null_key: u64,
    /// No timestamp, or one before 1970.
    pub bad_timestamp: u64,
    /// Expressions that failed and gave NULL.
    pub failed_expressions: u64,
}
