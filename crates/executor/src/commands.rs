//! The command log: the catalog's one and only truth, a topic of one partition that is never trimmed.

use std::sync::Arc;

use millpond_catalog::Command;
use millpond_log::{Append, Entry, FetchLimit, Log, Payload, TopicConfig, TopicPartition, Transaction, opaque};

use crate::{Error, Result};

#[derive(Debug)]
pub(crate) struct CommandLog {
    log: Arc<dyn Log>,
    partition: TopicPartition,
}

/// As much of it as is read at a time.
const FETCH: FetchLimit = FetchLimit { rows_max: 1_000, bytes_max: 4 << 20 };

impl CommandLog {
    /// Makes the topic when there is none.
    pub fn open(log: Arc<dyn Log>, service_id: &str) -> Result<CommandLog> {
        let topic = format!("_millpond-{service_id}-commands");
        match log.create_topic(&topic, &TopicConfig::keep(1)) {
            Ok(()) | Err(millpond_log::Error::TopicExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(CommandLog { log, partition: TopicPartition::new(topic, 0) })
    }

    /// All commands, oldest first.
    pub fn read(&self) -> Result<Vec<Command>> {
        let range = self.log.offsets(&self.partition)?;
        let (mut from, mut commands) = (range.start, Vec::new());
        while from < range.end {
            let fetch = self.log.fetch(&self.partition, from, FETCH)?;
            from = fetch.next_offset;
            for fetched in &fetch.entries {
                let Payload::Opaque(batch) = &fetched.entry.payload else {
                    return Err(Error::Commands(format!("offset {} is not a command", fetched.base_offset)));
                };
                let records = opaque::Columns::of(batch)?;
                for row in 0..batch.num_rows() {
                    let value = records.value(row).unwrap_or_default();
                    let command = serde_json::from_slice(value)
                        .map_err(|error| Error::Commands(format!("offset {}: {error}", fetched.offset(row))))?;
                    commands.push(command);
                }
            }
        }
        Ok(commands)
    }

    pub fn append(&self, command: &Command, now_ms: i64) -> Result<()> {
        let value = serde_json::to_vec(command).map_err(|error| Error::Commands(error.to_string()))?;
        let record = opaque::Record { key: None, value: Some(&value), timestamp_ms: now_ms, headers: &[] };
        let append = Append { target: self.partition.clone(), entry: Entry::opaque(opaque::batch([record])) };
        self.log.append(Transaction { appends: vec![append] })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millpond_log::MemoryLog;

    use super::*;

    #[test]
    fn commands_come_back_in_order() {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::default());
        let commands = CommandLog::open(Arc::clone(&log), "s").unwrap();
        let of = |name: &str| Command::Drop { name: name.to_owned(), delete_topic: false };
        commands.append(&of("a"), 0).unwrap();
        commands.append(&of("b"), 1).unwrap();
        assert_eq!(CommandLog::open(log, "s").unwrap().read().unwrap(), vec![of("a"), of("b")]);
    }

    #[test]
    fn what_is_not_a_command_is_said_with_its_offset() {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::default());
        let commands = CommandLog::open(Arc::clone(&log), "s").unwrap();
        let record = opaque::Record { key: None, value: Some(b"{}"), timestamp_ms: 0, headers: &[] };
        let append = Append { target: commands.partition.clone(), entry: Entry::opaque(opaque::batch([record])) };
        log.append(Transaction { appends: vec![append] }).unwrap();
        assert!(commands.read().unwrap_err().to_string().contains("offset 0"));
    }
}
