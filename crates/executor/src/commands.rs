//! The command log: the catalog's one and only truth, a topic of one partition that is never trimmed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_catalog::Command;
use millpond_log::{Append, Entry, Fetch, FetchLimit, Log, Payload, TopicConfig, TopicPartition, Transaction, opaque};

use crate::{Error, Result};

#[derive(Debug)]
pub(crate) struct CommandLog {
    log: Arc<dyn Log>,
    partition: TopicPartition,
    /// Up to where commands were read.
    next: u64,
}

/// A process that was out of its group for a moment is in again by then.
const MEMBER_AGAIN_WITHIN: Duration = Duration::from_secs(10);
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// As much of it as is read at a time.
const FETCH: FetchLimit = FetchLimit::of(1_000, 4 << 20);

impl CommandLog {
    /// Makes the topic when there is none.
    pub fn open(log: Arc<dyn Log>, service_id: &str) -> Result<CommandLog> {
        let topic = format!("_millpond-{service_id}-commands");
        log.ensure_kept_topic(&topic, &TopicConfig::keep(1))?;
        let partition = TopicPartition::new(topic, 0);
        let next = log.offsets(&partition)?.start;
        Ok(CommandLog { log, partition, next })
    }

    /// The commands that were not read yet, with their offsets, oldest first.
    pub fn read(&mut self) -> Result<Vec<(u64, Command)>> {
        let end = self.log.offsets(&self.partition)?.end;
        let mut commands = Vec::new();
        while self.next < end {
            let fetch = self.log.fetch(&self.partition, self.next, FETCH)?;
            self.take(fetch, &mut commands)?;
        }
        Ok(commands)
    }

    /// As [`CommandLog::read`], of what has come by now: asks nobody, and waits for nothing.
    pub fn read_ready(&mut self) -> Result<Vec<(u64, Command)>> {
        let mut commands = Vec::new();
        while let Some(fetch) = self.log.fetch_ready(&self.partition, self.next, FETCH)?.filter(|fetch| fetch.next_offset > self.next) {
            self.take(fetch, &mut commands)?;
        }
        Ok(commands)
    }

    fn take(&mut self, fetch: Fetch, commands: &mut Vec<(u64, Command)>) -> Result<()> {
        for fetched in &fetch.entries {
            let Payload::Opaque(batch) = &fetched.entry.payload else {
                return Err(Error::Commands(format!("offset {} is not a command", fetched.base_offset)));
            };
            let records = opaque::Columns::of(batch)?;
            for row in 0..batch.num_rows() {
                let offset = fetched.offset(row);
                let value = records.value(row).unwrap_or_default();
                let command = serde_json::from_slice(value).map_err(|error| Error::Commands(format!("offset {offset}: {error}")))?;
                commands.push((offset, command));
            }
        }
        self.next = fetch.next_offset;
        Ok(())
    }

    /// The offset that the command got. Waits a while for the process to be a member of its service again, where it has just been none.
    pub fn append(&self, command: &Command, now_ms: i64) -> Result<u64> {
        let value = serde_json::to_vec(command).map_err(|error| Error::Commands(error.to_string()))?;
        let record = opaque::Record { key: None, value: Some(&value), timestamp_ms: now_ms, headers: &[] };
        let append = Append { target: self.partition.clone(), entry: Entry::opaque(opaque::batch([record])) };
        let deadline = Instant::now() + MEMBER_AGAIN_WITHIN;
        loop {
            match self.log.append(Transaction { appends: vec![append.clone()] }) {
                Ok(appended) => return Ok(appended[0].base_offset),
                Err(millpond_log::Error::Fenced(_)) if Instant::now() < deadline => std::thread::sleep(TRY_AGAIN),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use millpond_log::MemoryLog;

    use super::*;

    #[test]
    fn commands_come_back_in_order() {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::default());
        let mut commands = CommandLog::open(Arc::clone(&log), "s").unwrap();
        let of = |name: &str| Command::Drop { name: name.to_owned(), delete_topic: false };
        let a = commands.append(&of("a"), 0).unwrap();
        let b = commands.append(&of("b"), 1).unwrap();
        assert_eq!(CommandLog::open(log, "s").unwrap().read().unwrap(), vec![(a, of("a")), (b, of("b"))]);
        assert_eq!(commands.read_ready().unwrap(), vec![(a, of("a")), (b, of("b"))]);
        let c = commands.append(&of("c"), 2).unwrap();
        assert_eq!(commands.read().unwrap(), vec![(c, of("c"))], "each is read once");
        assert_eq!(commands.read_ready().unwrap(), vec![]);
    }

    #[test]
    fn what_is_not_a_command_is_said_with_its_offset() {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::default());
        let mut commands = CommandLog::open(Arc::clone(&log), "s").unwrap();
        let record = opaque::Record { key: None, value: Some(b"{}"), timestamp_ms: 0, headers: &[] };
        let append = Append { target: commands.partition.clone(), entry: Entry::opaque(opaque::batch([record])) };
        log.append(Transaction { appends: vec![append] }).unwrap();
        assert!(commands.read().unwrap_err().to_string().contains("offset 0"));
    }
}
