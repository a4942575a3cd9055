//! Reads a stream's topic.   log entry ─► decoded columns, rowtime, running maximum of the channel ─► rows
//!
//! SRC-1  a row's stream time is the maximum over the timestamps of its partition up to the row itself.

use arrow::array::Int64Array;
use arrow::datatypes::SchemaRef;
use millpond_log::Fetched;

use super::Context;
use super::record::{Decodings, RecordDecoder};
use super::source::{Arrival, Records, Source};
use crate::Result;
use crate::topology::SourceSpec;

pub struct StreamSource {
    decoder: RecordDecoder,
    /// Of the rows decoded so far, which may be further than those taken.
    running_max_ms: i64,
}

impl StreamSource {
    pub fn new(spec: &SourceSpec, node: &str, schema: &SchemaRef, partition: u32, decodings: &Decodings) -> Result<StreamSource> {
        let decoder = RecordDecoder::new(spec, node, schema, partition, false, decodings)?;
        Ok(StreamSource { decoder, running_max_ms: i64::MIN })
    }
}

impl Source for StreamSource {
    fn decode(&mut self, fetched: &Fetched) -> Result<Arrival> {
        self.decoder.decode(fetched, &mut self.running_max_ms)
    }

    fn process(&mut self, records: Records, context: &mut Context<'_>) -> Result<()> {
        context.forward(records.batch);
        Ok(())
    }

    fn restore(&mut self, time_ms: Option<i64>) {
        self.running_max_ms = time_ms.unwrap_or(i64::MIN);
    }
}

/// The running maximum of `timestamps`, begun with and left in `max_ms`.
pub(crate) fn running_max(timestamps: &Int64Array, max_ms: &mut i64) -> Int64Array {
    let times: Vec<i64> = timestamps
        .values()
        .iter()
        .map(|time_ms| {
            *max_ms = (*max_ms).max(*time_ms);
            *max_ms
        })
        .collect();
    Int64Array::from(times)
}
