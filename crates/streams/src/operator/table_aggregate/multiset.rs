//! Aggregates that can only add: the arguments of all of a group's rows are kept, with how often each is there, and what is changed is
//! computed anew from them.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow::datatypes::DataType;
use arrow::row::Rows;
use millpond_state::{KeyRange, prefix_end};

use crate::operator::aggregate::accumulators::{Accumulators, Calls};
use crate::operator::aggregate::group_store::GroupStore;
use crate::operator::aggregate::groups::Groups;
use crate::operator::aggregate::input::{Arguments, Values};
use crate::operator::row_codec::RowCodec;
use crate::topology::AggregateCall;
use crate::{Error, Result};

/// The first byte of a row's key: `3 ++ group ++ arguments`. The value is how often it is there, which may be less than nothing as long
/// as the record that brought it has not come.
const ROW: u8 = 3;
/// So many rows are decoded and added at a time.
const CHUNK_ROWS: usize = 8192;

pub(super) struct Multiset {
    calls: Arc<Calls>,
    arguments: RowCodec,
    /// Rows that came and went since the last flush.
    touched: Groups,
    by: Vec<i64>,
    /// A row of nulls, as `arguments` encodes it.
    nothing: Vec<u8>,
    results: Vec<DataType>,
}

impl Multiset {
    pub(super) fn new(calls: &[AggregateCall], types: Vec<DataType>) -> Result<Multiset> {
        let arguments = RowCodec::new(types.clone())?;
        let nulls: Vec<ArrayRef> = types.iter().map(|data_type| new_null_array(data_type, 1)).collect();
        Ok(Multiset {
            calls: Arc::new(Calls::new(calls)?),
            nothing: arguments.encode(&nulls)?.row(0).as_ref().to_vec(),
            arguments,
            touched: Groups::default(),
            by: Vec::new(),
            results: calls.iter().map(|call| call.function.field().data_type().clone()).collect(),
        })
    }

    pub(super) fn result_types(&self) -> Vec<DataType> {
        self.results.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.touched.len()
    }

    /// `groups` has the group of the first row at `from`.
    pub(super) fn apply(&mut self, values: &Values, groups: &Rows, from: usize, changes: &[i8]) -> Result<()> {
        let arguments = self.arguments.encode(&values.columns())?;
        let mut key = vec![ROW];
        for (row, change) in changes.iter().enumerate() {
            key.truncate(1);
            key.extend_from_slice(groups.row(from + row).as_ref());
            key.extend_from_slice(arguments.row(row).as_ref());
            let (touched, new) = self.touched.intern(&key);
            if new {
                self.by.push(0);
            }
            self.by[touched] += i64::from(*change);
        }
        Ok(())
    }

    /// Writes the rows' counts and computes the results of `groups` (keys with their first byte).
    pub(super) fn release(&mut self, groups: &Groups, arguments: &Arguments, store: &mut GroupStore) -> Result<Vec<ArrayRef>> {
        let keys: Vec<&[u8]> = self.touched.iter().collect();
        let found = store.get_many(&keys)?;
        for ((key, by), stored) in keys.iter().zip(&self.by).zip(found) {
            let stored = stored.as_deref().map_or(Ok(0), count)?;
            match stored + by {
                0 => store.delete(key),
                count => store.put(key, &count.to_be_bytes()),
            }
        }
        self.touched.clear();
        self.by.clear();

        let mut chunk = Chunk::default();
        let mut accumulators = self.calls.accumulators()?;
        for (group, key) in groups.iter().enumerate() {
            let mut prefix = key.to_vec();
            prefix[0] = ROW;
            let end = prefix_end(&prefix);
            let (mut empty, mut failure) = (true, None);
            store.scan(KeyRange { start: &prefix, end: end.as_deref() }, &mut |row, times| {
                let mut add = || {
                    let mut left = count(times)?;
                    while left > 0 {
                        empty = false;
                        left = chunk.push(&row[prefix.len()..], group, left, true);
                        self.add_full(&mut chunk, arguments, &mut accumulators)?;
                    }
                    Ok(())
                };
                failure = add().err();
                if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if let Some(error) = failure {
                return Err(error);
            }
            if empty {
                chunk.push(&self.nothing, group, 1, false);
                self.add_full(&mut chunk, arguments, &mut accumulators)?;
            }
        }
        self.add(&mut chunk, arguments, &mut accumulators)?;
        accumulators.results()
    }

    fn add_full(&self, chunk: &mut Chunk, arguments: &Arguments, accumulators: &mut Accumulators) -> Result<()> {
        if chunk.groups.len() < CHUNK_ROWS { Ok(()) } else { self.add(chunk, arguments, accumulators) }
    }

    /// Adds the chunk and empties it. Groups come in order, so those up to its last are what the accumulators have heard of.
    fn add(&self, chunk: &mut Chunk, arguments: &Arguments, accumulators: &mut Accumulators) -> Result<()> {
        let chunk = std::mem::take(chunk);
        let Some(last) = chunk.groups.last() else {
            return Ok(());
        };
        let columns = self.arguments.decode(chunk.rows.iter().map(Vec::as_slice))?;
        let mut values = arguments.of_columns(columns).take(&UInt32Array::from(chunk.repeated))?;
        if chunk.counts.contains(&false) {
            values = values.filter(&BooleanArray::from(chunk.counts))?;
        }
        accumulators.update(&values, &chunk.groups, last + 1)
    }
}

/// Rows to be added: each as often as it is there. A row that is there a million times goes through many chunks.
#[derive(Default)]
struct Chunk {
    rows: Vec<Vec<u8>>,
    repeated: Vec<u32>,
    groups: Vec<usize>,
    /// False for what stands for a group without rows.
    counts: Vec<bool>,
}

impl Chunk {
    /// Adds the row `times` times, or as often as there is room. Gives how often it is still to be added.
    fn push(&mut self, row: &[u8], group: usize, times: i64, counts: bool) -> i64 {
        let number = self.rows.len() as u32;
        self.rows.push(row.to_vec());
        let room = CHUNK_ROWS - self.groups.len();
        let taken = usize::try_from(times).map_or(room, |times| times.min(room));
        self.repeated.extend(std::iter::repeat_n(number, taken));
        self.groups.extend(std::iter::repeat_n(group, taken));
        self.counts.extend(std::iter::repeat_n(counts, taken));
        times - taken as i64
    }
}

fn count(value: &[u8]) -> Result<i64> {
    match value.try_into() {
        Ok(bytes) => Ok(i64::from_be_bytes(bytes)),
        Err(_) => Err(Error::State(millpond_state::Error::Storage("how often a row is there is not as it was written".into()))),
    }
}
