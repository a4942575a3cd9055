//! The records of the members' topic, and its reader and writer.
//!
//! | key | value, JSON |
//! |---|---|
//! | `assignment` | [`Assignment`] |
//! | `member/<instance>` | [`Hello`] |
//! | `arrival/<instance>` | [`Arrival`]: of use to the group only |

use std::sync::Arc;

use millpond_log::{Append, Entry, FetchLimit, Fetched, Log, Payload, TopicConfig, TopicPartition, Transaction, opaque};
use serde::{Deserialize, Serialize};

use crate::{Assignment, Error, Instance, Result};

/// The key of the record by which the leader says who runs what.
pub const ASSIGNMENT: &str = "assignment";
/// And, before its instance, of that by which a member says what it has taken and let go.
pub const MEMBER: &str = "member/";
/// And, before its instance, of that by which a process says that it has come.
pub const ARRIVAL: &str = "arrival/";
/// As much as is read at a time.
const FETCH: FetchLimit = FetchLimit::of(1_000, 4 << 20);

/// The members' topic of a service: one partition, compacted.
pub fn topic(service_id: &str) -> String {
    format!("_millpond-{service_id}-members")
}

/// What a member says of itself: hello, ack and good-bye.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The id under which the group has let it in.
    pub member: String,
    /// `host:port` of its SQL port.
    pub address: String,
    /// It runs nothing that is not its own in the assignment of this epoch.
    pub acked: u64,
    /// It has committed and stopped everything, and will run nothing more under this id.
    pub gone: bool,
}

/// A process has come: who came before under the same instance has been replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// On its machine.
    pub pid: u32,
    /// Nanoseconds since 1970 when it came: what one has written may be there twice, or late. 0: an earlier version did not say.
    #[serde(default)]
    pub number: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Assignment(Assignment),
    /// `None`: as if it had never been there.
    Hello(Instance, Option<Hello>),
    /// The latest assignment is not known.
    UnreadableAssignment,
}

/// Where this process is in the members' topic.
#[derive(Debug)]
pub(crate) struct Records {
    log: Arc<dyn Log>,
    partition: TopicPartition,
    next_offset: u64,
}

impl Records {
    /// At the topic's start. Makes it when there is none.
    pub fn open(log: Arc<dyn Log>, service_id: &str) -> Result<Records> {
        let topic = topic(service_id);
        log.ensure_kept_topic(&topic, &TopicConfig::compact(1, Vec::new()))?;
        let partition = TopicPartition::new(topic, 0);
        let next_offset = log.offsets(&partition)?.start;
        Ok(Records { log, partition, next_offset })
    }

    /// One past the last record that was read.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// What has come since. Waits for nothing.
    pub fn read(&mut self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        while let Some(fetch) = self.log.fetch_ready(&self.partition, self.next_offset, FETCH)? {
            if fetch.next_offset == self.next_offset {
                break;
            }
            fetch.entries.iter().for_each(|fetched| read_entry(fetched, &mut records));
            self.next_offset = fetch.next_offset;
        }
        Ok(records)
    }

    /// What has come since, up to an offset at least. Waits for it.
    pub fn read_to(&mut self, offset: u64) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        while self.next_offset < offset {
            let fetch = self.log.fetch(&self.partition, self.next_offset, FETCH)?;
            if fetch.next_offset == self.next_offset {
                break;
            }
            fetch.entries.iter().for_each(|fetched| read_entry(fetched, &mut records));
            self.next_offset = fetch.next_offset;
        }
        Ok(records)
    }

    /// The offset that has to be reached to have read all that was written by others before this was called. Waits for their transactions.
    pub fn settled_end(&self) -> Result<u64> {
        self.log.settle(&self.partition)?;
        Ok(self.log.offsets(&self.partition)?.end)
    }

    /// Gives the offset behind it.
    pub fn write_assignment(&self, assignment: &Assignment) -> Result<u64> {
        self.write(ASSIGNMENT, &serde_json::to_vec(assignment).expect("an assignment's keys are text"))
    }

    /// Gives the offset behind it.
    pub fn write_hello(&self, instance: &str, hello: &Hello) -> Result<u64> {
        self.write(&format!("{MEMBER}{instance}"), &serde_json::to_vec(hello).expect("its fields are text and numbers"))
    }

    fn write(&self, key: &str, value: &[u8]) -> Result<u64> {
        let record = opaque::Record { key: Some(key.as_bytes()), value: Some(value), timestamp_ms: millpond_log::now_ms(), headers: &[] };
        let append = Append { target: self.partition.clone(), entry: Entry::opaque(opaque::batch([record])) };
        let appended = self.log.append(Transaction { appends: vec![append] })?;
        let last = appended.first().expect("what was appended has a place");
        Ok(last.next_offset)
    }
}

fn read_entry(fetched: &Fetched, records: &mut Vec<Record>) {
    let skip = |offset, reason: &str| {
        let error = Error::Record { offset, reason: reason.to_owned() };
        tracing::error!(%error, "skipped a record");
    };
    let columns = match &fetched.entry.payload {
        Payload::Opaque(batch) => opaque::Columns::of(batch),
        _ => return skip(fetched.base_offset, "it has columns"),
    };
    let columns = match columns {
        Ok(columns) => columns,
        Err(error) => return skip(fetched.base_offset, &error.to_string()),
    };
    for row in 0..fetched.entry.rows() {
        let (key, value) = (columns.key(row).unwrap_or_default(), columns.value(row));
        match read_record(key, value) {
            Ok(record) => records.extend(record),
            Err(reason) => {
                skip(fetched.offset(row), &reason);
                records.extend((key == ASSIGNMENT.as_bytes()).then_some(Record::UnreadableAssignment));
            }
        }
    }
}

/// `None`: it is not for members.
fn read_record(key: &[u8], value: Option<&[u8]>) -> std::result::Result<Option<Record>, String> {
    let key = std::str::from_utf8(key).map_err(|error| error.to_string())?;
    if key == ASSIGNMENT {
        let value = value.ok_or("an assignment cannot be deleted")?;
        return Ok(Some(Record::Assignment(serde_json::from_slice(value).map_err(|error| error.to_string())?)));
    }
    if key.starts_with(ARRIVAL) {
        return Ok(None);
    }
    let instance = key.strip_prefix(MEMBER).ok_or_else(|| format!("its key is \"{key}\""))?;
    let hello = value.map(serde_json::from_slice).transpose().map_err(|error| error.to_string())?;
    Ok(Some(Record::Hello(instance.to_owned(), hello)))
}

#[cfg(test)]
mod tests {
    use millpond_log::MemoryLog;

    use super::*;

    fn hello() -> Hello {
        Hello { member: "a-1".to_owned(), address: "h:6455".to_owned(), acked: 3, gone: false }
    }

    #[test]
    fn records_come_back_in_order() {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
        let mut records = Records::open(Arc::clone(&log), "s").unwrap();
        assert_eq!(records.read().unwrap(), vec![]);
        assert_eq!(records.write_hello("a/b", &hello()).unwrap(), 1);
        assert_eq!(records.write_assignment(&Assignment::default()).unwrap(), 2);
        let all = vec![Record::Hello("a/b".to_owned(), Some(hello())), Record::Assignment(Assignment::default())];
        assert_eq!((records.read().unwrap(), records.next_offset()), (all, 2));
        assert_eq!((records.read().unwrap(), records.settled_end().unwrap()), (vec![], 2));
        assert_eq!(Records::open(log, "s").unwrap().read().unwrap().len(), 2);
    }

    #[test]
    fn what_cannot_be_read_is_skipped() {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
        let mut records = Records::open(Arc::clone(&log), "s").unwrap();
        for (key, value) in
            [("arrival/a", r#"{"pid":1}"#), ("x", "{}"), ("member/a", "{}"), ("member/a", "no"), ("assignment", r#"{"epoch":1}"#), ("", "")]
        {
            records.write(key, value.as_bytes()).unwrap();
        }
        let keyless = opaque::Record { key: None, value: None, timestamp_ms: 0, headers: &[] };
        let gone = opaque::Record { key: Some(b"member/a"), ..keyless };
        let entry = Entry::opaque(opaque::batch([keyless, gone, opaque::Record { key: Some(b"\xff"), ..keyless }]));
        log.append(Transaction { appends: vec![Append { target: records.partition.clone(), entry }] }).unwrap();
        records.write_hello("a", &hello()).unwrap();
        let read = vec![Record::UnreadableAssignment, Record::Hello("a".to_owned(), None), Record::Hello("a".to_owned(), Some(hello()))];
        assert_eq!(records.read().unwrap(), read);
    }
}
