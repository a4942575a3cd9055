//! What is on its way to a topic: batches for each partition, joined to one entry per commit where they are small.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use millpond_log::{Append, Control, Entry, Payload, TopicPartition};

use super::Context;
use crate::Result;

/// An entry is cut once it has so many rows.
const ENTRY_ROWS: usize = 65_536;

#[derive(Debug)]
pub struct Outbox {
    topic: Arc<str>,
    /// Whether the batches are of opaque records, or of columns.
    opaque: bool,
    /// In repartition topics, this task's partition.
    channel: u32,
    partitions: Vec<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    rows: usize,
}

impl Outbox {
    pub fn new(topic: Arc<str>, partitions: u32, opaque: bool, channel: u32) -> Outbox {
        let partitions = (0..partitions).map(|_| Waiting::default()).collect();
        Outbox { topic, opaque, channel, partitions }
    }

    pub fn partitions(&self) -> u32 {
        self.partitions.len() as u32
    }

    pub fn push(&mut self, partition: u32, rows: RecordBatch, context: &mut Context<'_>) -> Result<()> {
        // Only some batches say which of their rows have no value.
        if self.partitions[partition as usize].batches.first().is_some_and(|first| first.schema_ref() != rows.schema_ref()) {
            self.send(partition, context)?;
        }
        let waiting = &mut self.partitions[partition as usize];
        waiting.rows += rows.num_rows();
        waiting.batches.push(rows);
        if waiting.rows >= ENTRY_ROWS {
            self.send(partition, context)?;
        }
        Ok(())
    }

    /// Appends what waits.
    pub fn flush(&mut self, context: &mut Context<'_>) -> Result<()> {
        for partition in 0..self.partitions() {
            self.send(partition, context)?;
        }
        Ok(())
    }

    /// Appends `control` to all partitions, behind what was pushed before.
    pub fn announce(&mut self, control: Control, context: &mut Context<'_>) -> Result<()> {
        self.flush(context)?;
        for partition in 0..self.partitions() {
            context.appends.push(self.entry(partition, Payload::Control(control)));
        }
        Ok(())
    }

    fn send(&mut self, partition: u32, context: &mut Context<'_>) -> Result<()> {
        let waiting = std::mem::take(&mut self.partitions[partition as usize]);
        if waiting.rows == 0 {
            return Ok(());
        }
        let rows = match waiting.batches.as_slice() {
            [only] => only.clone(),
            batches => concat_batches(&batches[0].schema(), batches)?,
        };
        let payload = if self.opaque { Payload::Opaque(rows) } else { Payload::Columns(rows) };
        context.appends.push(self.entry(partition, payload));
        Ok(())
    }

    fn entry(&self, partition: u32, payload: Payload) -> Append {
        let target = TopicPartition { topic: self.topic.clone(), partition };
        Append { target, entry: Entry { payload, channel: self.channel } }
    }
}
