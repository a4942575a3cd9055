//! Which process of a service writes: the one that came last, and wrote that down.
//!
//! Kafka lets the newest producer of a transactional id write only, and tells the older one no more than that it is not the newest: another
//! process has taken over, or the coordinator has ended a transaction that took too long because this process stood still. So whoever is
//! fenced looks who came last.
//!
//! OWN-1  a process makes its producers first and writes its name then; until that is committed, it has not come.
//! OWN-2  who makes a producer anew looks before and after: behind the second look no other process has come without fencing it again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::SystemTime;

use millpond_log::opaque::{Columns, Record, batch};
use millpond_log::{Append, Entry, Error, FetchLimit, OffsetRange, Payload, Result, TopicConfig, TopicPartition};

use crate::cluster::Cluster;
use crate::readers::Readers;

const KEY: &[u8] = b"owner";

#[derive(Debug)]
pub(crate) struct Owner {
    cluster: Arc<Cluster>,
    readers: Arc<Readers>,
    partition: TopicPartition,
    process: String,
}

/// What a process wrote down when it came.
#[derive(Debug, PartialEq, Eq)]
struct Arrival {
    process: String,
    /// How many producers it has.
    producers: usize,
}

impl Owner {
    /// Makes the topic when there is none.
    pub fn open(cluster: &Arc<Cluster>, readers: &Arc<Readers>) -> Result<Owner> {
        let topic = format!("_millpond-{}-owner", cluster.options().service_id);
        match cluster.create_topic(&topic, &TopicConfig::compact(1, Vec::new())) {
            Ok(()) | Err(Error::TopicExists(_)) => {}
            Err(error) => return Err(error),
        }
        let process = format!("{}-{:016x}", std::process::id(), RandomState::new().build_hasher().finish());
        Ok(Owner { cluster: Arc::clone(cluster), readers: Arc::clone(readers), partition: TopicPartition::new(topic, 0), process })
    }

    /// What is to be committed when all producers are made.
    pub fn arrival(&self, producers: usize) -> Append {
        let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_millis());
        let value = Arrival { process: self.process.clone(), producers }.write();
        let record = Record { key: Some(KEY), value: Some(&value), timestamp_ms: i64::try_from(now_ms).unwrap_or(i64::MAX), headers: &[] };
        Append { target: self.partition.clone(), entry: Entry::opaque(batch([record])) }
    }

    /// The arrival is committed: it is seen from now on.
    pub fn arrived(&self, record: u64) {
        self.cluster.wrote(&self.partition, record);
    }

    /// How many producers the process has that came last.
    pub fn producers(&self) -> Result<usize> {
        Ok(self.last()?.map_or(0, |arrival| arrival.producers))
    }

    /// Fails when another process has come since this one did.
    pub fn verify(&self) -> Result<()> {
        match self.last()? {
            Some(arrival) if arrival.process != self.process => {
                Err(Error::Fenced(format!("process {} of the service came after this one, {}", arrival.process, self.process)))
            }
            _ => Ok(()),
        }
    }

    fn last(&self) -> Result<Option<Arrival>> {
        let OffsetRange { start, end } = self.cluster.offsets(&self.partition)?;
        let (mut next, mut last) = (start, None);
        while next < end {
            let fetch = self.readers.read(&self.partition, next, FetchLimit::NONE)?;
            next = fetch.next_offset;
            for fetched in &fetch.entries {
                let Payload::Opaque(rows) = &fetched.entry.payload else { continue };
                let rows = Columns::of(rows)?;
                let mut arrivals = (0..fetched.entry.rows()).filter_map(|row| Arrival::read(rows.value(row)?));
                last = arrivals.next_back().or(last);
            }
        }
        Ok(last)
    }
}

impl Arrival {
    fn write(&self) -> Vec<u8> {
        format!("{} {}", self.process, self.producers).into_bytes()
    }

    fn read(value: &[u8]) -> Option<Arrival> {
        let (process, producers) = std::str::from_utf8(value).ok()?.split_once(' ')?;
        Some(Arrival { process: process.to_owned(), producers: producers.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_come_back() {
        let arrival = Arrival { process: "17-00ff".to_owned(), producers: 4 };
        assert_eq!(Arrival::read(&arrival.write()), Some(arrival));
        assert_eq!([&b"x"[..], b"x y", b"\xff 1"].map(Arrival::read), [None, None, None]);
    }
}
