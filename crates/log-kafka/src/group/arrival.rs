//! Which process of an instance has come last.
//!
//! A process says in the members' topic that it has come, before it does anything else under its instance; so whoever finds such a record behind
//! its own has been replaced. The group does not tell: when the answer to a member's joining is lost, with its coordinator, say, Kafka has given the
//! instance another id, and fences the member that asks again as if another process had come.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millpond_log::opaque::{Columns, Record, batch};
use millpond_log::{Append, Entry, Error, FetchLimit, Fetched, Payload, Result, TopicConfig, TopicPartition};
use millpond_membership::{ARRIVAL, Arrival};
use parking_lot::Mutex;

use crate::cluster::Cluster;
use crate::consumer::Consumer;
use crate::producer::Producer;
use crate::reader::Reader;

const FETCH: FetchLimit = FetchLimit::of(1_000, 4 << 20);
/// What is there is waited for so long at a time.
const WAIT: Duration = Duration::from_millis(100);

/// This process's coming, and those of the same instance since.
pub(crate) struct Arrivals {
    cluster: Arc<Cluster>,
    members: TopicPartition,
    key: String,
    /// Of its arrival.
    number: u64,
    seen: Mutex<Seen>,
}

struct Seen {
    /// Everything before it has been read, from this process's coming on.
    next: u64,
    other: Option<Arrival>,
}

impl Arrivals {
    /// From here on who came before under the same instance is replaced.
    pub fn announce(cluster: &Arc<Cluster>) -> Result<Arrivals> {
        let options = cluster.options();
        let members = TopicPartition::new(millpond_membership::topic(&options.service_id), 0);
        match cluster.create_topic(&members.topic, &TopicConfig::compact(1, Vec::new())) {
            Ok(()) | Err(Error::TopicExists(_)) => {}
            Err(error) => return Err(error),
        }
        let key = format!("{ARRIVAL}{}", options.instance);
        let number = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let value = serde_json::to_vec(&Arrival { pid: std::process::id(), number }).expect("its fields are numbers");
        let record = Record { key: Some(key.as_bytes()), value: Some(&value), timestamp_ms: millpond_log::now_ms(), headers: &[] };
        let append = Append { target: members.clone(), entry: Entry::opaque(batch([record])) };
        let next = Producer::write_alone(options, &append)?.last + 1;
        Ok(Arrivals { cluster: Arc::clone(cluster), members, key, number, seen: Mutex::new(Seen { next, other: None }) })
    }

    /// Fails with [`Error::Fenced`] where another process has come since.
    pub fn check(&self) -> Result<()> {
        let mut seen = self.seen.lock();
        if seen.other.is_none() {
            self.read(&mut seen)?;
        }
        match &seen.other {
            Some(other) => Err(Error::Fenced(format!(
                "another process has come as \"{}\", with the pid {}",
                self.cluster.options().instance,
                other.pid
            ))),
            None => Ok(()),
        }
    }

    fn read(&self, seen: &mut Seen) -> Result<()> {
        // Of a transaction that was committed before this was called, all is seen then.
        self.cluster.settle(&self.members)?;
        let end = self.cluster.offsets(&self.members)?.end;
        if seen.next >= end {
            return Ok(());
        }
        let deadline = Instant::now() + self.cluster.timeout();
        let consumer = Arc::new(Consumer::new(0, &self.cluster)?);
        let mut reader = Reader::open(consumer, &self.members, seen.next, false)?;
        while seen.next < end {
            if Instant::now() >= deadline {
                return Err(Error::Storage(format!("Kafka has not given {} up to {end}, only to {}", self.members, seen.next)));
            }
            let fetch = reader.fetch(seen.next, FETCH, WAIT)?;
            for fetched in &fetch.entries {
                seen.other = self.last_of(fetched).or(seen.other.take());
            }
            seen.next = fetch.next_offset;
        }
        Ok(())
    }

    /// Of another process. One that cannot be read is none.
    fn last_of(&self, fetched: &Fetched) -> Option<Arrival> {
        let Payload::Opaque(rows) = &fetched.entry.payload else { return None };
        let rows = Columns::of(rows).ok()?;
        let arrivals = (0..rows.timestamps.len()).filter(|row| rows.key(*row) == Some(self.key.as_bytes()));
        let read = arrivals.filter_map(|row| serde_json::from_slice::<Arrival>(rows.value(row).unwrap_or_default()).ok());
        // An earlier one's may be late: its process died before a broker that stood still had written it.
        read.filter(|arrival| arrival.number == 0 || arrival.number > self.number).last()
    }
}
