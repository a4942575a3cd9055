//! Aggregates that can only add: the arguments of all of a group's rows are kept, with how often each is there, and what is changed is
//! computed anew from them.
//!
//! Where the order of rows matters (LATEST_BY_OFFSET, COLLECT_LIST) each row has the number of its arrival, too, and rows are added in
//! that order. Of several rows with the same arguments the oldest goes first: which of them a change takes back makes no difference else.

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
/// as the record that brought it has not come. Of ordered rows the value is the numbers of their arrivals, or how often one is missing,
/// as a negative number.
const ROW: u8 = 3;
/// The key of the next arrival's number.
const NEXT_ARRIVAL: &[u8] = &[4];
/// Functions whose result depends on the order of the rows.
const ORDERED: [&str; 8] =
    ["latest_by_offset", "earliest_by_offset", "collect_list", "collect_set", "array_agg", "string_agg", "first_value", "last_value"];
/// So many rows are decoded and added at a time.
const CHUNK_ROWS: usize = 8192;

pub(super) struct Multiset {
    calls: Arc<Calls>,
    arguments: RowCodec,
    /// Rows that came and went since the last flush.
    touched: Groups,
    by: Vec<i64>,
    /// `None` where the order does not matter.
    arrivals: Option<Arrivals>,
    /// A row of nulls, as `arguments` encodes it.
    nothing: Vec<u8>,
    results: Vec<DataType>,
}

/// The rows that came since the last flush.
#[derive(Default)]
struct Arrivals {
    /// Counted from the last flush on.
    count: i64,
    /// For each of the touched.
    numbers: Vec<Vec<i64>>,
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
            arrivals: calls.iter().any(|call| ORDERED.contains(&call.function.fun().name())).then(Arrivals::default),
            results: calls.iter().map(|call| call.function.field().data_type().clone()).collect(),
        })
    }

    pub(super) fn result_types(&self) -> Vec<DataType> {
        self.results.clone()
    }

    /// What its rows are encoded as.
    pub(super) fn layout(&self) -> String {
        format!("{};{}", self.arguments.layout(), if self.arrivals.is_some() { "arrivals" } else { "counts" })
    }

    pub(super) fn len(&self) -> usize {
        self.arrivals.as_ref().map_or(0, |arrivals| arrivals.count as usize).max(self.touched.len())
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
            if let Some(arrivals) = &mut self.arrivals {
                arrivals.add(touched, *change);
            }
        }
        Ok(())
    }

    /// Writes the rows and computes the results of `groups` (keys with their first byte).
    pub(super) fn release(&mut self, groups: &Groups, arguments: &Arguments, store: &mut GroupStore) -> Result<Vec<ArrayRef>> {
        self.write(store)?;
        let mut chunk = Chunk::default();
        let mut accumulators = self.calls.accumulators()?;
        for (group, key) in groups.iter().enumerate() {
            let mut prefix = key.to_vec();
            prefix[0] = ROW;
            let mut empty = true;
            let mut add = |row: &[u8], mut left: i64| -> Result<()> {
                while left > 0 {
                    empty = false;
                    left = chunk.push(row, group, left, true);
                    self.add_full(&mut chunk, arguments, &mut accumulators)?;
                }
                Ok(())
            };
            if self.arrivals.is_some() {
                for (_, row) in in_order(store, &prefix)? {
                    add(&row[..], 1)?;
                }
            } else {
                scan(store, &prefix, &mut |row, times| add(row, count(times)?))?;
            }
            if empty {
                chunk.push(&self.nothing, group, 1, false);
                self.add_full(&mut chunk, arguments, &mut accumulators)?;
            }
        }
        self.add(&mut chunk, arguments, &mut accumulators)?;
        accumulators.results()
    }

    /// Brings what is stored of the touched rows up to date.
    fn write(&mut self, store: &mut GroupStore) -> Result<()> {
        let keys: Vec<&[u8]> = self.touched.iter().collect();
        let found = store.get_many(&keys)?;
        match &mut self.arrivals {
            None => {
                for ((key, by), stored) in keys.iter().zip(&self.by).zip(found) {
                    match stored.as_deref().map_or(Ok(0), count)? + by {
                        0 => store.delete(key),
                        count => store.put(key, &count.to_be_bytes()),
                    }
                }
            }
            Some(arrivals) => {
                let first = store.get_many(&[NEXT_ARRIVAL])?.pop().flatten().as_deref().map_or(Ok(0), count)?;
                for (((key, by), stored), new) in keys.iter().zip(&self.by).zip(found).zip(&arrivals.numbers) {
                    let stored = stored.as_deref().map_or(Ok(Vec::new()), numbers)?;
                    let left = settle(&stored, new.iter().map(|number| first + number), new.len() as i64 - by);
                    if left.is_empty() {
                        store.delete(key);
                    } else {
                        store.put(key, &left.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>());
                    }
                }
                if arrivals.count > 0 {
                    store.put(NEXT_ARRIVAL, &(first + arrivals.count).to_be_bytes());
                }
                *arrivals = Arrivals::default();
            }
        }
        self.touched.clear();
        self.by.clear();
        Ok(())
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

impl Arrivals {
    fn add(&mut self, touched: usize, change: i8) {
        if touched >= self.numbers.len() {
            self.numbers.resize_with(touched + 1, Vec::new);
        }
        if change > 0 {
            self.numbers[touched].push(self.count);
            self.count += 1;
        }
    }
}

/// The numbers of the rows with the same arguments after `new` ones came and `gone` went, the oldest first; when more went than came, how
/// many are missing. In which order they came and went makes no difference.
fn settle(stored: &[i64], new: impl Iterator<Item = i64>, gone: i64) -> Vec<i64> {
    let (missing, there) = match stored {
        [missing] if *missing < 0 => (-missing, &[][..]),
        there => (0, there),
    };
    let mut gone = gone + missing;
    let mut left: Vec<i64> = there.iter().copied().chain(new).collect();
    let taken = gone.min(left.len() as i64);
    left.drain(..taken as usize);
    gone -= taken;
    if gone > 0 { vec![-gone] } else { left }
}

/// Shows the rows (without `prefix`) and values of a group.
fn scan(store: &GroupStore, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
    let end = prefix_end(prefix);
    let mut failure = None;
    store.scan(KeyRange { start: prefix, end: end.as_deref() }, &mut |row, value| {
        failure = visit(&row[prefix.len()..], value).err();
        if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failure.map_or(Ok(()), Err)
}

/// The rows of a group with their numbers, as they arrived.
fn in_order(store: &GroupStore, prefix: &[u8]) -> Result<Vec<(i64, Arc<[u8]>)>> {
    let mut rows = Vec::new();
    scan(store, prefix, &mut |row, value| {
        let row: Arc<[u8]> = row.into();
        rows.extend(numbers(value)?.into_iter().filter(|number| *number >= 0).map(|number| (number, row.clone())));
        Ok(())
    })?;
    rows.sort_unstable_by_key(|(number, _)| *number);
    Ok(rows)
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

fn numbers(value: &[u8]) -> Result<Vec<i64>> {
    value.chunks(size_of::<i64>()).map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_equal_rows_goes_first() {
        let settled = |stored: &[i64], new: &[i64], gone: i64| settle(stored, new.iter().copied(), gone);
        assert_eq!(settled(&[1, 4], &[7], 0), [1, 4, 7]);
        assert_eq!(settled(&[1, 4], &[7], 2), [7]);
        assert_eq!(settled(&[1], &[], 1), Vec::<i64>::new());
        assert_eq!(settled(&[1], &[], 3), [-2], "what is missing may still come");
        assert_eq!(settled(&[-2], &[7], 0), [-1]);
        assert_eq!(settled(&[-2], &[7, 8, 9], 0), [9]);
    }
}
