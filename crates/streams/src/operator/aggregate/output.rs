//! What an aggregate gives: the rows of groups that changed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int8Array, Int64Array, TimestampMillisecondArray, UInt32Array};
use arrow::compute::{interleave, take};
use arrow::datatypes::SchemaRef;

use crate::operator::record_batch;
use crate::{Batch, Result};

/// A row of an aggregate's results: a row of one of several sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) source: u32,
    pub(crate) row: u32,
}

/// Rows to be given, in order. Keys and values are indexes into what [`Updates::into_batch`] gets.
#[derive(Default)]
pub(crate) struct Updates {
    keys: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    values: Vec<At>,
    changes: Vec<i8>,
    timestamps: Vec<i64>,
    stream_times: Vec<i64>,
}

impl Updates {
    /// `bounds` are start and end; without windows they do not matter.
    pub(crate) fn push(&mut self, change: i8, key: usize, bounds: (i64, i64), value: At, timestamp: i64, stream_time: i64) {
        self.keys.push(key as u32);
        self.starts.push(bounds.0);
        self.ends.push(bounds.1);
        self.values.push(value);
        self.changes.push(change);
        self.timestamps.push(timestamp);
        // A row's stream time has the row itself in it.
        self.stream_times.push(stream_time.max(timestamp));
    }

    pub(crate) fn into_batch(self, schema: &SchemaRef, windowed: bool, keys: &[ArrayRef], sources: &[Vec<ArrayRef>]) -> Result<Batch> {
        let count = self.keys.len();
        let mut columns = Vec::with_capacity(schema.fields().len());
        let in_order = self.keys.iter().enumerate().all(|(row, key)| row as u32 == *key);
        if in_order && keys.iter().all(|column| column.len() == count) {
            columns.extend(keys.iter().cloned());
        } else {
            let rows = UInt32Array::from(self.keys);
            for column in keys {
                columns.push(take(column, &rows, None)?);
            }
        }
        if windowed {
            columns.push(Arc::new(TimestampMillisecondArray::from(self.starts)));
            columns.push(Arc::new(TimestampMillisecondArray::from(self.ends)));
        }
        columns.extend(gather(&self.values, sources)?);
        Ok(Batch {
            rows: record_batch(schema, columns, count)?,
            timestamps: Int64Array::from(self.timestamps),
            stream_times: Int64Array::from(self.stream_times),
            changes: Some(Int8Array::from(self.changes)),
            tombstones: None,
        })
    }
}

fn gather(values: &[At], sources: &[Vec<ArrayRef>]) -> Result<Vec<ArrayRef>> {
    let Some(first) = sources.first() else {
        return Ok(Vec::new());
    };
    let in_order = values.iter().enumerate().all(|(row, at)| at.source == 0 && at.row == row as u32);
    if in_order && first.iter().all(|column| column.len() == values.len()) {
        return Ok(first.clone());
    }
    let indices: Vec<(usize, usize)> = values.iter().map(|at| (at.source as usize, at.row as usize)).collect();
    let columns = (0..first.len()).map(|column| {
        let arrays: Vec<&dyn Array> = sources.iter().map(|source| source[column].as_ref()).collect();
        Ok(interleave(&arrays, &indices)?)
    });
    columns.collect()
}
