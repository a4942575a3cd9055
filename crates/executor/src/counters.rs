//! Row counts of tasks, kept with their state so that they survive a restart: a row that is counted is committed, and the other way round.
//!
//! ```text
//!  <sub-topology (u32)>  the counts of a task, in its partition
//!  reset                 number (u64) of the reset behind which the query's state was made, in partition 0
//! ```

use millpond_state::{Backend, Reader, Result, StoreConfig, StoreId, Writes};
use millpond_streams::operator::Counters;

const RESET: &[u8] = b"reset";

/// Opens the store of a query's counters.
pub(crate) fn open(backend: &dyn Backend, query: &str, partitions: u32) -> Result<StoreId> {
    backend.open_store(&format!("{query}/$counters"), StoreConfig::keep(partitions))
}

pub(crate) fn read(reader: &(impl Reader + ?Sized), store: StoreId, sub_topology: u32, partition: u32) -> Result<Counters> {
    let found = reader.get_many(store, partition, &[&sub_topology.to_be_bytes()])?;
    Ok(found.into_iter().flatten().next().and_then(|bytes| decode(&bytes)).unwrap_or_default())
}

pub(crate) fn write(store: StoreId, sub_topology: u32, partition: u32, counters: &Counters) -> Writes {
    let mut writes = Writes::new(store, partition);
    writes.put(&sub_topology.to_be_bytes(), &encode(counters));
    writes
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
    let Counters { rows_in, rows_out, late, undecodable, null_key, bad_timestamp, failed_expressions } = *counters;
    [rows_in, rows_out, late, undecodable, null_key, bad_timestamp, failed_expressions]
        .iter()
        .flat_map(|count| count.to_be_bytes())
        .collect()
}

/// `None` when another version wrote it.
fn decode(bytes: &[u8]) -> Option<Counters> {
    let (counts, rest) = bytes.as_chunks::<8>();
    let counts: Vec<u64> = counts.iter().map(|count| u64::from_be_bytes(*count)).collect();
    let [rows_in, rows_out, late, undecodable, null_key, bad_timestamp, failed_expressions] = counts[..] else { return None };
    rest.is_empty().then_some(Counters { rows_in, rows_out, late, undecodable, null_key, bad_timestamp, failed_expressions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_come_back() {
        let counters =
            Counters { rows_in: 1, rows_out: 2, late: 3, undecodable: 4, null_key: 5, bad_timestamp: 6, failed_expressions: u64::MAX };
        assert_eq!(decode(&encode(&counters)), Some(counters));
        assert_eq!(decode(&[0; 9]), None);
    }
}
