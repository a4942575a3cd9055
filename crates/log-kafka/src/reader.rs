//! A consumer that reads partitions from wherever it is asked to, one place per partition.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use millpond_log::opaque::{Columns, Sizes};
use millpond_log::{Error, Fetch, FetchLimit, Payload, Result, TopicPartition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use crate::cluster::Cluster;
use crate::columns::{offset_of, record_at};
use crate::context::Context;
use crate::error::told;
use crate::queue::{CHUNK, Message, PartitionQueue};
use crate::records::Entries;

/// A partition that was just assigned cannot be sought in yet.
const SEEK_PAUSE: Duration = Duration::from_millis(5);
/// A broker says within that who leads a topic's partitions, or librdkafka finds out by itself.
const LEADERS_TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) struct Reader {
    // Before the consumer, whose queues they are.
    partitions: HashMap<TopicPartition, Assigned>,
    consumer: BaseConsumer<Context>,
    cluster: Arc<Cluster>,
}

#[derive(Debug)]
struct Assigned {
    queue: PartitionQueue,
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

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

impl Reader {
    pub fn new(cluster: &Arc<Cluster>) -> Result<Reader> {
        Ok(Reader { partitions: HashMap::new(), consumer: cluster.consumer()?, cluster: Arc::clone(cluster) })
    }

    /// Where it stands in the partition, and since when; `None`: it does not read it.
    pub fn place(&self, partition: &TopicPartition) -> Option<(u64, Instant)> {
        self.partitions.get(partition).map(|assigned| (assigned.next, assigned.used))
    }

    /// Whether there is more of the partition here, which nobody has asked for so long.
    pub fn has_left(&self, partition: &TopicPartition, since: Duration) -> bool {
        self.partitions.get(partition).is_some_and(|assigned| assigned.used.elapsed() >= since && !assigned.queue.is_empty())
    }

    /// Whether it reads nothing.
    pub fn is_idle(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Who asks counts on hearing of more.
    pub fn known_end(&mut self, partition: &TopicPartition) -> Option<u64> {
        let assigned = self.partitions.get_mut(partition)?;
        // Where more waits, who asks may read elsewhere.
        if assigned.queue.is_empty() {
            assigned.heard = Instant::now();
        }
        // As long as something is in the queue, the end of what was read for one, librdkafka does not tell of more: it has to be taken out.
        let taken_out = (!assigned.queue.is_empty()).then_some(assigned.next + 1);
        assigned.queue.known_end(&self.consumer, partition).map(|end| end.max(assigned.next)).max(taken_out)
    }

    pub fn poll(&self) {
        self.consumer.poll(Duration::ZERO);
    }

    /// What has come. Waits up to `wait` when nothing has; then only [`Fetch::next_offset`] tells whether it came further.
    pub fn fetch(&mut self, partition: &TopicPartition, from: u64, limit: FetchLimit, wait: Duration) -> Result<Fetch> {
        let columns = millpond_log::is_repartition(&partition.topic);
        let start = record_at(&partition.topic, from);
        self.stand_at(partition, start)?;
        let assigned = self.partitions.get_mut(partition).expect("it was assigned just now");
        let entries =
            if columns { Entries::columns(from) } else { Entries::opaque(assigned.queue.len().max(assigned.taken), assigned.sizes, limit) };
        let mut taken = Taken { entries, rows: 0, bytes: 0, next: start, failed: None };
        let deadline = Instant::now() + wait;
        while taken.failed.is_none() && taken.rows < limit.rows_max && taken.bytes < limit.bytes_max {
            // A record of columns is many rows: one at a time.
            let max = if columns { 1 } else { CHUNK.min(limit.rows_max - taken.rows) };
            let wait = if taken.next > start { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
            if assigned.queue.take(max, wait, |message| taken.add(message)) == 0 {
                break;
            }
        }
        let now = Instant::now();
        (assigned.next, assigned.taken, assigned.used, assigned.heard) = (taken.next, taken.rows, now, now);
        // Errors of the client as a whole are told to its context.
        self.poll();
        match taken.failed {
            None => {}
            Some(Failed::Record(error)) => {
                self.forget(partition);
                return Err(error);
            }
            Some(Failed::Partition(code, text)) => {
                self.forget(partition);
                return Err(self.why(partition, from, code, &text));
            }
        }
        let next_offset = offset_of(&partition.topic, taken.next).max(from);
        let entries = taken.entries.finish();
        if let Some(Payload::Opaque(records)) = entries.last().map(|last| &last.entry.payload)
            && let Some(assigned) = self.partitions.get_mut(partition)
        {
            assigned.sizes = Sizes::of(&Columns::of(records)?);
        }
        Ok(Fetch { entries, next_offset })
    }

    fn stand_at(&mut self, partition: &TopicPartition, start: u64) -> Result<()> {
        let fails = |error: KafkaError| told(&error, Some(&partition.topic));
        match self.partitions.get_mut(partition) {
            Some(assigned) if assigned.next == start => {}
            Some(assigned) => {
                seek(&self.consumer, partition, start, self.cluster.timeout())?;
                assigned.next = start;
            }
            None => {
                self.ask_for_leaders(&partition.topic);
                let queue = PartitionQueue::open(&self.consumer, partition, self.cluster.notifier())
                    .ok_or_else(|| Error::Storage(format!("Kafka: no queue for {partition}")))?;
                queue.clear();
                self.consumer.incremental_assign(&at(partition, Some(start)).map_err(fails)?).map_err(fails)?;
                let now = Instant::now();
                self.partitions
                    .insert(partition.clone(), Assigned { queue, next: start, used: now, heard: now, taken: 0, sizes: Sizes::default() });
            }
        }
        Ok(())
    }

    /// Librdkafka looks once a second only who leads the partitions of a topic that is new to a consumer.
    fn ask_for_leaders(&self, topic: &str) {
        if self.partitions.keys().any(|known| *known.topic == *topic) {
            return;
        }
        if let Err(error) = self.consumer.fetch_metadata(Some(topic), LEADERS_TIMEOUT) {
            tracing::debug!(target: "kafka", topic, %error, "who leads is not known yet");
        }
    }

    /// Stops reading what nobody has asked for, or about, since `moment`; what that was.
    pub fn release_unused(&mut self, moment: Instant) -> Vec<TopicPartition> {
        self.release(|_, assigned| assigned.heard < moment)
    }

    pub fn release_topic(&mut self, topic: &str) {
        self.release(|partition, _| *partition.topic == *topic);
    }

    fn release(&mut self, goes: impl Fn(&TopicPartition, &Assigned) -> bool) -> Vec<TopicPartition> {
        let gone: Vec<_> =
            self.partitions.iter().filter(|(partition, assigned)| goes(partition, assigned)).map(|(p, _)| p.clone()).collect();
        gone.iter().for_each(|partition| self.forget(partition));
        gone
    }

    fn why(&self, partition: &TopicPartition, from: u64, code: Code, text: &str) -> Error {
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => match self.cluster.offsets(partition) {
                Ok(range) => range.out_of_range(partition, from),
                Err(error) => error,
            },
            Code::UnknownPartition | Code::UnknownTopic | Code::UnknownTopicOrPartition => {
                self.cluster.forget_topic(&partition.topic);
                match self.cluster.check_partition(partition) {
                    Ok(_) => Error::Storage(format!("Kafka, {partition}: {text}")),
                    Err(error) => error,
                }
            }
            code => told(&KafkaError::MessageConsumption(code), Some(&partition.topic)),
        }
    }

    fn forget(&mut self, partition: &TopicPartition) {
        if let Some(assigned) = self.partitions.remove(partition) {
            let gone = at(partition, None).and_then(|list| self.consumer.incremental_unassign(&list));
            if let Err(error) = gone {
                tracing::warn!(target: "kafka", %partition, %error, "a partition could not be given back");
            }
            assigned.queue.clear();
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

fn at(partition: &TopicPartition, offset: Option<u64>) -> std::result::Result<TopicPartitionList, KafkaError> {
    let number = i32::try_from(partition.partition).unwrap_or(i32::MAX);
    let mut list = TopicPartitionList::with_capacity(1);
    match offset {
        Some(offset) => {
            let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
            list.add_partition_offset(&partition.topic, number, offset)?;
        }
        None => {
            list.add_partition(&partition.topic, number);
        }
    }
    Ok(list)
}

/// When it returns, what was fetched before is dropped by librdkafka.
fn seek(consumer: &BaseConsumer<Context>, partition: &TopicPartition, offset: u64, timeout: Duration) -> Result<()> {
    let deadline = Instant::now() + timeout;
    loop {
        let list = at(partition, Some(offset)).map_err(|error| told(&error, Some(&partition.topic)))?;
        let sought = consumer.seek_partitions(list, timeout).map_err(|error| told(&error, Some(&partition.topic)))?;
        match sought.elements().first().map(|element| element.error()) {
            None | Some(Ok(())) => return Ok(()),
            Some(Err(error)) if Instant::now() >= deadline => return Err(told(&error, Some(&partition.topic))),
            Some(Err(_)) => std::thread::sleep(SEEK_PAUSE),
        }
    }
}
