//! Reads one partition from wherever it is asked to, through a consumer that others use for theirs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_log::opaque::{Columns, Sizes};
use millpond_log::{Error, Fetch, FetchLimit, Payload, Result, TopicPartition};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::columns::{offset_of, record_at};
use crate::consumer::Consumer;
use crate::error::told;
use crate::queue::{CHUNK, Message, PartitionQueue};
use crate::records::Entries;

/// The partition is the consumer's from [`Reader::open`] to [`Reader::close`].
#[derive(Debug)]
pub(crate) struct Reader {
    partition: TopicPartition,
    // Before the consumer, whose queue it is.
    queue: PartitionQueue,
    consumer: Arc<Consumer>,
    /// The offset of the record that is read next.
    next: u64,
    /// When it was last read.
    used: Instant,
    /// When somebody last counted on hearing of it.
    heard: Instant,
    /// Rows that the last fetch took. As many are likely to come again, though fewer wait: more arrive while it reads.
    taken: usize,
    /// Of the last records read.
    sizes: Sizes,
}

/// What the messages of one fetch came to.
struct Taken {
    entries: Entries,
    rows: usize,
    bytes: usize,
    next: u64,
    failed: Option<Failed>,
}

enum Failed {
    Record(Error),
    Partition(Code, String),
}

impl Reader {
    /// Nobody else may read the partition through this consumer. `known`: the consumer reads others of the topic.
    pub fn open(consumer: Arc<Consumer>, partition: &TopicPartition, start: u64, known: bool) -> Result<Reader> {
        if !known {
            consumer.ask_for_leaders(&partition.topic);
        }
        let queue = PartitionQueue::open(&consumer.client, partition, consumer.cluster.notifier())
            .ok_or_else(|| Error::Storage(format!("Kafka: no queue for {partition}")))?;
        queue.clear();
        consumer.assign(partition, start)?;
        tracing::debug!(target: "kafka", %partition, start, consumer = consumer.number, "reading");
        let now = Instant::now();
        Ok(Reader { partition: partition.clone(), queue, consumer, next: start, used: now, heard: now, taken: 0, sizes: Sizes::default() })
    }

    /// Gives back what it had: the partition, and the consumer's number.
    pub fn close(self) -> (TopicPartition, usize) {
        self.consumer.unassign(&self.partition);
        self.queue.clear();
        (self.partition, self.consumer.number)
    }

    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The consumer's number.
    pub fn consumer(&self) -> usize {
        self.consumer.number
    }

    pub fn next(&self) -> u64 {
        self.next
    }

    pub fn used(&self) -> Instant {
        self.used
    }

    /// When somebody last counted on hearing of more.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether there is more here, which nobody has asked for so long.
    pub fn has_left(&self, since: Duration) -> bool {
        self.used.elapsed() >= since && !self.queue.is_empty()
    }

    /// Who asks counts on hearing of more.
    pub fn known_end(&mut self) -> Option<u64> {
        // Where more waits, who asks may read elsewhere.
        if self.queue.is_empty() {
            self.heard = Instant::now();
        }
        // As long as something is in the queue, the end of what was read for one, librdkafka does not tell of more: it has to be taken out.
        let taken_out = (!self.queue.is_empty()).then_some(self.next + 1);
        self.queue.known_end(&self.consumer.client).map(|end| end.max(self.next)).max(taken_out)
    }

    /// What has come. Waits up to `wait` when nothing has; then only [`Fetch::next_offset`] tells whether it came further.
    /// After an error it is to be closed.
    pub fn fetch(&mut self, from: u64, limit: FetchLimit, wait: Duration) -> Result<Fetch> {
        let topic = &self.partition.topic;
        let columns = millpond_log::is_repartition(topic);
        let start = record_at(topic, from);
        if self.next != start {
            self.consumer.seek(&self.partition, start)?;
        }
        let entries = if columns { Entries::columns(from) } else { Entries::opaque(self.queue.len().max(self.taken), self.sizes, limit) };
        let mut taken = Taken { entries, rows: 0, bytes: 0, next: start, failed: None };
        let deadline = Instant::now() + wait;
        while taken.failed.is_none() && taken.rows < limit.rows_max && taken.bytes < limit.bytes_max {
            // A record of columns is many rows: one at a time.
            let max = if columns { 1 } else { CHUNK.min(limit.rows_max - taken.rows) };
            let wait = if taken.next > start { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
            if self.queue.take(max, wait, |message| taken.add(message)) == 0 {
                break;
            }
        }
        let now = Instant::now();
        (self.next, self.taken, self.used, self.heard) = (taken.next, taken.rows, now, now);
        // Errors of the client as a whole are told to its context.
        self.consumer.poll();
        match taken.failed {
            None => {}
            Some(Failed::Record(error)) => return Err(error),
            Some(Failed::Partition(code, text)) => return Err(self.why(from, code, &text)),
        }
        let next_offset = offset_of(topic, taken.next).max(from);
        let entries = taken.entries.finish();
        if let Some(Payload::Opaque(records)) = entries.last().map(|last| &last.entry.payload) {
            self.sizes = Sizes::of(&Columns::of(records)?);
        }
        Ok(Fetch { entries, next_offset })
    }

    fn why(&self, from: u64, code: Code, text: &str) -> Error {
        let (partition, cluster) = (&self.partition, &self.consumer.cluster);
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => match cluster.offsets(partition) {
                Ok(range) => range.out_of_range(partition, from),
                Err(error) => error,
            },
            Code::UnknownPartition | Code::UnknownTopic | Code::UnknownTopicOrPartition => {
                cluster.forget_topic(&partition.topic);
                match cluster.check_partition(partition) {
                    Ok(_) => Error::Storage(format!("Kafka, {partition}: {text}")),
                    Err(error) => error,
                }
            }
            code => told(&KafkaError::MessageConsumption(code), Some(&partition.topic)),
        }
    }
}

impl Taken {
    fn add(&mut self, message: Message<'_>) {
        if self.failed.is_some() {
            return;
        }
        match message {
            Message::Record(record) => match self.entries.push(&record) {
                Ok((rows, bytes)) => {
                    self.rows += rows;
                    self.bytes += bytes;
                    self.next = record.offset + 1;
                }
                Err(error) => self.failed = Some(Failed::Record(error)),
            },
            Message::End(offset) => self.next = self.next.max(offset),
            // librdkafka goes on by itself when the brokers are back.
            Message::Error {
                code: Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::OperationTimedOut, ..
            } => {}
            Message::Error { code, text } => self.failed = Some(Failed::Partition(code, text)),
        }
    }
}
