//! Row counts of tasks, kept with their state so that they survive a restart: a row that is counted is committed, and the other way round.
//!
//! ```text
//!  <query>/<sub-topology>/$counters  counts  those of a task, in its partition
//!  <query>/$counters                 reset   number (u64) of the reset behind which the query's state was made, in partition 0
//! ```

use std::collections::BTreeMap;

use millpond_state::{Backend, Reader, Result, StoreConfig, StoreId, Writes};
use millpond_streams::operator::Counters;
use millpond_streams::{SubTopology, Topology};

const COUNTS: &[u8] = b"counts";
const RESET: &[u8] = b"reset";

/// The store of the counters of a sub-topology's tasks.
pub(crate) fn store(query: &str, sub_topology: u32) -> String {
    format!("{query}/{sub_topology}/$counters")
}

/// Opens the stores of a query's counters, by sub-topology.
pub(crate) fn open(backend: &dyn Backend, topology: &Topology) -> Result<BTreeMap<u32, StoreId>> {
    let open = |sub: &SubTopology| Ok((sub.id, backend.open_store(&store(&topology.query, sub.id), StoreConfig::keep(sub.partitions))?));
    topology.sub_topologies.iter().map(open).collect()
}

pub(crate) fn read(reader: &(impl Reader + ?Sized), store: StoreId, partition: u32) -> Result<Counters> {
    let found = reader.get_many(store, partition, &[COUNTS])?;
    Ok(found.into_iter().flatten().next().and_then(|bytes| decode(&bytes)).unwrap_or_default())
}

pub(crate) fn write(store: StoreId, partition: u32, counters: &Counters) -> Writes {
    let mut writes = Writes::new(store, partition);
    writes.put(COUNTS, &encode(counters));
    writes
}

/// Opens the store that says which reset a query's state was made behind.
pub(crate) fn open_reset(backend: &dyn Backend, query: &str) -> Result<StoreId> {
    backend.open_store(&format!("{query}/$counters"), StoreConfig::keep(1))
}

/// `None`: the query was not reset since it was made.
pub(crate) fn read_reset(reader: &(impl Reader + ?Sized), store: StoreId) -> Result<Option<u64>> {
    let found = reader.get_many(store, 0, &[RESET])?;
    Ok(found.into_iter().flatten().next().and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes))
}

pub(crate) fn write_reset(store: StoreId, number: u64) -> Writes {
    let mut writes = Writes::new(store, 0);
    writes.put(RESET, &number.to_be_bytes());
    writes
}

fn encode(counters: &Counters) -> Vec<u8> {
    let Counters { rows_in, rows_out, late, undecodable, null_key, bad_timestamp, failed_expressions, lost } = *counters;
    [rows_in, rows_out, late, undecodable, null_key, bad_timestamp, failed_expressions, lost]
        .iter()
        .flat_map(|count| count.to_be_bytes())
        .collect()
}

/// `None` when a later version wrote it. Those before wrote fewer: what they did not count is 0.
fn decode(bytes: &[u8]) -> Option<Counters> {
    const COUNTS: usize = 8;
    let (counts, rest) = bytes.as_chunks::<8>();
    if counts.len() > COUNTS || !rest.is_empty() {
        return None;
    }
    let mut all = [0; COUNTS];
    all.iter_mut().zip(counts).for_each(|(count, bytes)| *count = u64::from_be_bytes(*bytes));
    let [rows_in, rows_out, late, undecodable, null_key, bad_timestamp, failed_expressions, lost] = all;
    Some(Counters { rows_in, rows_out, late, undecodable, null_key, bad_timestamp, failed_expressions, lost })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_come_back() {
        let counters = Counters {
            rows_in: 1,
            rows_out: 2,
            late: 3,
            undecodable: 4,
            null_key: 5,
            bad_timestamp: 6,
            failed_expressions: u64::MAX,
            lost: 8,
        };
        assert_eq!(decode(&encode(&counters)), Some(counters));
        let before = &encode(&counters)[..7 * 8];
        assert_eq!(decode(before), Some(Counters { lost: 0, ..counters }), "what the version before wrote");
        assert_eq!(decode(&[0; 9]), None);
    }
}
