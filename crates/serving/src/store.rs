//! Rows of one table's store, batch by batch.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use millpond_catalog::Source;
use millpond_executor::StoredTable;
use millpond_planner::schema;
use millpond_state::{KeyRange, Snapshot, StoreId};
use millpond_streams::operator::partition;
use millpond_streams::operator::table_key::{WINDOW_BYTES, successor, window, window_suffix};
use millpond_streams::operator::table_rows::TableRows;

use crate::Moment;
use crate::access::{Access, Keys, WindowRange};
use crate::scan::Steps;
use crate::stream_table::{constant, external};

/// What one step of a scan reads at most.
const STEP_ROWS_MAX: usize = 8_192;
const STEP_BYTES_MAX: usize = 4 << 20;

pub struct StoreReader {
    source: Arc<Source>,
    schema: SchemaRef,
    table: Arc<TableRows>,
    /// `None`: no task has begun to fill it.
    store: Option<StoreId>,
    state: Arc<dyn Snapshot>,
}

/// Keys and values as they are stored, and the partition they lie in.
#[derive(Default)]
struct Stored {
    partition: u32,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl Stored {
    fn push(&mut self, key: &[u8], value: &[u8]) -> ControlFlow<()> {
        self.rows.push((key.to_vec(), value.to_vec()));
        self.bytes += key.len() + value.len();
        if self.rows.len() >= STEP_ROWS_MAX || self.bytes >= STEP_BYTES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= STEP_ROWS_MAX || self.bytes >= STEP_BYTES_MAX
    }
}

impl StoreReader {
    /// Of what `state` has, a snapshot of `moment`'s engine.
    pub fn new(source: &Arc<Source>, schema: SchemaRef, moment: &Moment, state: Arc<dyn Snapshot>) -> Result<StoreReader> {
        let StoredTable { rows: table, store } = moment.stored_table(source)?;
        Ok(StoreReader { source: Arc::clone(source), schema, table, store, state })
    }

    /// The rows of `partitions`, one after the other; `None`: of all.
    pub fn read(self, access: &Access, partitions: Option<Vec<u32>>) -> Result<Steps> {
        let (next, end) = match &access.keys {
            Keys::Lookup(tuples) => {
                return Ok(Box::new(self.look_up(tuples, access.window, partitions.as_deref())?.into_iter().map(Ok)));
            }
            Keys::All => (self.table.range().start.to_vec(), self.table.range().end.map(<[u8]>::to_vec)),
            Keys::Range { prefix, lower, upper } => self.range(prefix, lower.as_ref(), upper.as_ref())?,
        };
        let mut partitions = partitions.unwrap_or_else(|| (0..self.source.partitions).collect()).into_iter();
        let partition = partitions.next();
        Ok(Box::new(Scanner { reader: self, partition, partitions, start: next.clone(), next, end, window: access.window }))
    }

    fn look_up(&self, tuples: &[Vec<ScalarValue>], windows: WindowRange, among: Option<&[u32]>) -> Result<Vec<RecordBatch>> {
        let Some(store) = self.store.filter(|_| !tuples.is_empty()) else { return Ok(Vec::new()) };
        let columns = columns(&self.source, tuples)?;
        let keys = self.table.encode_keys(&columns).map_err(external)?;
        let places = places(&self.source, &columns)?;
        let mut batches = Vec::new();
        for partition in (0..self.source.partitions).filter(|partition| among.is_none_or(|among| among.contains(partition))) {
            let here: Vec<&[u8]> =
                places.iter().enumerate().filter(|(_, place)| **place == partition).map(|(row, _)| keys.value(row)).collect();
            if here.is_empty() {
                continue;
            }
            let mut stored = Stored { partition, ..Stored::default() };
            if self.table.windowed() {
                for key in here {
                    let (start, end) = window_bounds(key, windows);
                    self.scan(partition, &start, end.as_deref(), &mut |key, value| {
                        stored.rows.push((key.to_vec(), value.to_vec()));
                        ControlFlow::Continue(())
                    })?;
                }
            } else {
                let values = self.state.get_many(store, partition, &here).map_err(external)?;
                let found = here.iter().zip(values).filter_map(|(key, value)| Some((key.to_vec(), value?)));
                stored.rows.extend(found);
            }
            batches.push(self.decode(&stored)?);
        }
        Ok(batches)
    }

    /// Encoded keys `start..end` of the rows within the bounds.
    fn range(
        &self,
        prefix: &[ScalarValue],
        lower: Option<&(ScalarValue, bool)>,
        upper: Option<&(ScalarValue, bool)>,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
        let encode = |last: Option<&ScalarValue>| -> Result<Vec<u8>> {
            let columns = prefix.iter().chain(last).map(|value| value.to_array()).collect::<Result<Vec<ArrayRef>>>()?;
            if columns.is_empty() {
                return Ok(self.table.prefix().to_vec());
            }
            let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
            Ok([self.table.prefix(), RowConverter::new(fields)?.convert_columns(&columns)?.row(0).as_ref()].concat())
        };
        let start = match lower {
            Some((value, true)) => encode(Some(value))?,
            Some((value, false)) => after(&encode(Some(value))?).unwrap_or_default(),
            None => encode(None)?,
        };
        let end = match upper {
            Some((value, true)) => after(&encode(Some(value))?),
            Some((value, false)) => Some(encode(Some(value))?),
            None => after(&encode(None)?),
        };
        Ok((start, end))
    }

    fn scan(&self, partition: u32, start: &[u8], end: Option<&[u8]>, visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        let Some(store) = self.store else { return Ok(()) };
        self.state.scan(store, partition, KeyRange { start, end }, visit).map_err(external)
    }

    /// Rows of the schema that queries see.
    fn decode(&self, stored: &Stored) -> Result<RecordBatch> {
        let rows = stored.rows.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let decoded = self.table.decode(rows).map_err(external)?;
        let count = decoded.num_rows();
        // The store has all but `rowpartition` and `rowoffset`, which come last.
        let mut columns = decoded.columns().to_vec();
        columns.push(constant(stored.partition as i32, count));
        columns.push(new_null_array(&arrow::datatypes::DataType::Int64, count));
        let columns = columns
            .iter()
            .zip(self.schema.fields())
            .map(
                |(column, field)| {
                    if column.data_type() == field.data_type() { Ok(column.clone()) } else { cast(column, field.data_type()) }
                },
            )
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

/// The first key behind all that begin with `prefix`; an empty prefix has none.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    if prefix.is_empty() { None } else { successor(prefix) }
}

/// Where the windows of `key` lie whose end is within the range.
fn window_bounds(key: &[u8], windows: WindowRange) -> (Vec<u8>, Option<Vec<u8>>) {
    let start = [key, &window_suffix(i64::MIN, windows.end_ms.0)].concat();
    let end = match windows.end_ms.1.checked_add(1) {
        Some(end_ms) => Some([key, &window_suffix(i64::MIN, end_ms)].concat()),
        None => successor(key),
    };
    (start, end)
}

/// The columns of keys that are given one by one.
fn columns(source: &Source, tuples: &[Vec<ScalarValue>]) -> Result<Vec<ArrayRef>> {
    let column = |column: usize| ScalarValue::iter_to_array(tuples.iter().map(|tuple| tuple[column].clone()));
    (0..source.key_columns().count()).map(column).collect()
}

/// The partition of each key.
pub fn places(source: &Source, keys: &[ArrayRef]) -> Result<Vec<u32>> {
    partition::partitions(&schema::format(&source.key_format), keys, source.partitions, 0).map_err(external)
}

/// The partitions that have some of the keys.
pub fn partitions_of(source: &Source, tuples: &[Vec<ScalarValue>]) -> Result<Vec<u32>> {
    if tuples.is_empty() {
        return Ok(Vec::new());
    }
    let places: BTreeSet<u32> = places(source, &columns(source, tuples)?)?.into_iter().collect();
    Ok(places.into_iter().collect())
}

struct Scanner {
    reader: StoreReader,
    /// The one that is being read; `None` at the end.
    partition: Option<u32>,
    partitions: std::vec::IntoIter<u32>,
    start: Vec<u8>,
    next: Vec<u8>,
    end: Option<Vec<u8>>,
    window: WindowRange,
}

impl Scanner {
    fn step(&mut self, partition: u32) -> Result<RecordBatch> {
        let mut stored = Stored { partition, ..Stored::default() };
        let windows = self.reader.table.windowed().then_some(self.window);
        self.reader.scan(partition, &self.next, self.end.as_deref(), &mut |key, value| {
            if windows.is_some_and(|range| !overlaps(key, range)) {
                return ControlFlow::Continue(());
            }
            stored.push(key, value)
        })?;
        match stored.rows.last() {
            // The key itself has been read: go on right behind it.
            Some((key, _)) if stored.is_full() => self.next = [key.as_slice(), &[0]].concat(),
            _ => {
                self.partition = self.partitions.next();
                self.next.clone_from(&self.start);
            }
        }
        self.reader.decode(&stored)
    }
}

fn overlaps(key: &[u8], range: WindowRange) -> bool {
    if key.len() < WINDOW_BYTES {
        return false;
    }
    let (start_ms, end_ms) = window(key);
    (range.start_ms.0..=range.start_ms.1).contains(&start_ms) && (range.end_ms.0..=range.end_ms.1).contains(&end_ms)
}

impl Iterator for Scanner {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let step = self.step(self.partition?);
        if step.is_err() {
            self.partition = None;
        }
        Some(step)
    }
}
