//! Rows of one table's store, batch by batch.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use millpond_catalog::Source;
use millpond_planner::schema;
use millpond_state::{KeyRange, StoreId};
use millpond_streams::operator::partition;
use millpond_streams::operator::table_key::{TableCodec, WINDOW_BYTES, successor, window, window_suffix};

use crate::Moment;
use crate::access::{Access, Keys, WindowRange};
use crate::scan::Batches;
use crate::stream_table::{constant, external};

/// What one step of a scan reads at most.
const STEP_ROWS_MAX: usize = 8_192;
const STEP_BYTES_MAX: usize = 4 << 20;

pub struct StoreReader {
    source: Source,
    schema: SchemaRef,
    codec: TableCodec,
    /// `None`: no task has begun to fill it.
    store: Option<StoreId>,
    moment: Arc<Moment>,
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
    pub fn new(source: &Source, schema: SchemaRef, moment: Arc<Moment>) -> Result<StoreReader> {
        let codec = TableCodec::new(&schema::layout(source)).map_err(external)?;
        let store = moment.engine.storage().state.find_store(&source.table_store());
        Ok(StoreReader { source: source.clone(), schema, codec, store, moment })
    }

    /// The rows of `partition`; of all partitions for a look-up.
    pub fn read(self, access: &Access, partition: u32) -> Result<Batches> {
        match &access.keys {
            Keys::Lookup(tuples) => Ok(Box::new(self.look_up(tuples, access.window)?.into_iter().map(Ok))),
            Keys::All => Ok(Box::new(Scanner { reader: self, partition, next: Vec::new(), end: None, done: false, window: access.window })),
            Keys::Range { prefix, lower, upper } => {
                let (next, end) = self.range(prefix, lower.as_ref(), upper.as_ref())?;
                Ok(Box::new(Scanner { reader: self, partition, next, end, done: false, window: access.window }))
            }
        }
    }

    fn look_up(&self, tuples: &[Vec<ScalarValue>], windows: WindowRange) -> Result<Vec<RecordBatch>> {
        let Some(store) = self.store.filter(|_| !tuples.is_empty()) else { return Ok(Vec::new()) };
        let width = self.source.key_columns().count();
        let columns = (0..width)
            .map(|column| ScalarValue::iter_to_array(tuples.iter().map(|tuple| tuple[column].clone())))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let keys = self.codec.encode_keys(&columns, None).map_err(external)?;
        let format = schema::format(&self.source.key_format);
        let places = partition::partitions(&format, &columns, self.source.partitions, 0).map_err(external)?;
        let mut batches = Vec::new();
        for partition in 0..self.source.partitions {
            let here: Vec<&[u8]> =
                places.iter().enumerate().filter(|(_, place)| **place == partition).map(|(row, _)| keys.value(row)).collect();
            if here.is_empty() {
                continue;
            }
            let mut stored = Stored { partition, ..Stored::default() };
            if self.codec.windowed() {
                for key in here {
                    let (start, end) = window_bounds(key, windows);
                    self.scan(partition, &start, end.as_deref(), &mut |key, value| {
                        stored.rows.push((key.to_vec(), value.to_vec()));
                        ControlFlow::Continue(())
                    })?;
                }
            } else {
                let values = self.moment.state.get_many(store, partition, &here).map_err(external)?;
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
                return Ok(Vec::new());
            }
            let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
            Ok(RowConverter::new(fields)?.convert_columns(&columns)?.row(0).as_ref().to_vec())
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
        self.moment.state.scan(store, partition, KeyRange { start, end }, visit).map_err(external)
    }

    /// Rows of the schema that queries see.
    fn decode(&self, stored: &Stored) -> Result<RecordBatch> {
        let rows = stored.rows.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let decoded = self.codec.decode(rows).map_err(external)?;
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

/// The values of all `keys` of a table, for DELETE to know which there are.
pub(crate) fn existing(source: &Source, keys: &[ArrayRef], moment: &Moment) -> Result<Vec<bool>> {
    let codec = TableCodec::new(&schema::layout(source)).map_err(external)?;
    let Some(store) = moment.engine.storage().state.find_store(&source.table_store()) else { return Ok(vec![false; keys[0].len()]) };
    let encoded: BinaryArray = codec.encode_keys(keys, None).map_err(external)?;
    let places = partition::partitions(&schema::format(&source.key_format), keys, source.partitions, 0).map_err(external)?;
    let found = places.iter().enumerate().map(|(row, place)| {
        let values = moment.state.get_many(store, *place, &[encoded.value(row)]).map_err(external)?;
        Ok(values.first().is_some_and(Option::is_some))
    });
    found.collect()
}

struct Scanner {
    reader: StoreReader,
    partition: u32,
    next: Vec<u8>,
    end: Option<Vec<u8>>,
    done: bool,
    window: WindowRange,
}

impl Scanner {
    fn step(&mut self) -> Result<RecordBatch> {
        let mut stored = Stored { partition: self.partition, ..Stored::default() };
        let windows = self.reader.codec.windowed().then_some(self.window);
        self.reader.scan(self.partition, &self.next, self.end.as_deref(), &mut |key, value| {
            if windows.is_some_and(|range| !overlaps(key, range)) {
                return ControlFlow::Continue(());
            }
            stored.push(key, value)
        })?;
        match stored.rows.last() {
            // The key itself has been read: go on right behind it.
            Some((key, _)) if stored.is_full() => self.next = [key.as_slice(), &[0]].concat(),
            _ => self.done = true,
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
        if self.done {
            return None;
        }
        let step = self.step();
        self.done |= step.is_err();
        Some(step)
    }
}
