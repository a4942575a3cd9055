//! The operators' common face.

pub mod aggregate;
pub mod filter;
#[cfg(test)]
pub(crate) mod fixture;
mod late;
pub mod merge;
pub mod outbox;
pub mod partition;
pub mod project;
pub mod push;
pub mod record;
pub mod repartition;
mod row_codec;
pub mod session;
pub mod sink;
pub mod source;
pub mod store;
pub mod stream_source;
pub mod stream_table_join;
pub mod table_aggregate;
pub mod table_key;
pub mod table_rows;
pub mod table_source;
mod window;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use millpond_log::Append;
use millpond_state::WriteSet;

use crate::time::StreamTime;
use crate::{Batch, Result};

/// One step of a sub-topology. Built once, with its configuration and stores; everything else comes through [`Context`].
pub trait Operator: Send {
    /// What the rows of its store are encoded as; a store of another layout is not opened. `None`: it keeps none.
    fn layout(&self) -> Option<String> {
        None
    }

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
    /// How far the task had come when this began; in [`Operator::advance`] and [`Operator::flush`]: has come.
    pub stream_time: StreamTime,
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

/// The schema with all of its columns nullable: an expression that fails gives NULL, whatever the plan thought of it.
pub fn nullable(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new(fields))
}

/// A batch of `schema`, which may have no columns; columns of a kindred type are cast to it.
pub fn record_batch(schema: &SchemaRef, columns: Vec<ArrayRef>, num_rows: usize) -> Result<RecordBatch> {
    let mut fitting = Vec::with_capacity(columns.len());
    for (column, field) in columns.into_iter().zip(schema.fields()) {
        fitting.push(if column.data_type() == field.data_type() { column } else { cast(&column, field.data_type())? });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(num_rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), fitting, &options)?)
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

impl Incident {
    /// One that says no more than what happened where.
    pub fn new(kind: IncidentKind, node: &str, message: impl Into<String>) -> Incident {
        Incident {
            kind,
            node: node.to_owned(),
            message: message.into(),
            topic: None,
            partition: None,
            offset: None,
            rowtime_ms: None,
            raw: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentKind {
    Deserialization,
    /// An expression failed; it gave NULL.
    Expression,
    Serialization,
    /// A row for a closed window. The first ones of a batch have an incident each, one more says how many others there are.
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
    /// Records that were deleted before they were read: as many as offsets, some of which may have had no record.
    pub lost: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.late += other.late;
        self.undecodable += other.undecodable;
        self.null_key += other.null_key;
        self.bad_timestamp += other.bad_timestamp;
        self.failed_expressions += other.failed_expressions;
        self.lost += other.lost;
    }
}
