//! A consumer of librdkafka's that belongs to no group: partitions are given to it and taken from it one by one, each with a place of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_log::{Result, TopicPartition};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::cluster::Cluster;
use crate::context::Context;
use crate::error::told;

/// A partition that was just assigned cannot be sought in yet.
const SEEK_PAUSE: Duration = Duration::from_millis(5);
/// A broker says within that who leads a topic's partitions, or librdkafka finds out by itself.
const LEADERS_TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) struct Consumer {
    /// Which of several it is.
    pub number: usize,
    pub client: BaseConsumer<Context>,
    pub cluster: Arc<Cluster>,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Consumer {
    pub fn new(number: usize, cluster: &Arc<Cluster>) -> Result<Consumer> {
        Ok(Consumer { number, client: cluster.consumer()?, cluster: Arc::clone(cluster) })
    }

    /// Hands on what it has to say as a whole.
    pub fn poll(&self) {
        self.client.poll(Duration::ZERO);
    }

    /// Librdkafka looks once a second only who leads the partitions of a topic that is new to a consumer.
    pub fn ask_for_leaders(&self, topic: &str) {
        if let Err(error) = self.client.fetch_metadata(Some(topic), LEADERS_TIMEOUT) {
            tracing::debug!(target: "kafka", topic, %error, "who leads is not known yet");
        }
    }

    pub fn assign(&self, partition: &TopicPartition, start: u64) -> Result<()> {
        let assigned = at(partition, Some(start)).and_then(|list| self.client.incremental_assign(&list));
        assigned.map_err(|error| told(&error, Some(&partition.topic)))
    }

    pub fn unassign(&self, partition: &TopicPartition) {
        let gone = at(partition, None).and_then(|list| self.client.incremental_unassign(&list));
        if let Err(error) = gone {
            tracing::warn!(target: "kafka", %partition, %error, "a partition could not be given back");
        }
    }

    /// When it returns, what was fetched before is dropped by librdkafka.
    pub fn seek(&self, partition: &TopicPartition, offset: u64) -> Result<()> {
        let timeout = self.cluster.timeout();
        let deadline = Instant::now() + timeout;
        let fails = |error: KafkaError| told(&error, Some(&partition.topic));
        loop {
            let sought = self.client.seek_partitions(at(partition, Some(offset)).map_err(fails)?, timeout).map_err(fails)?;
            match sought.elements().first().map(|element| element.error()) {
                None | Some(Ok(())) => return Ok(()),
                Some(Err(error)) if Instant::now() >= deadline => return Err(fails(error)),
                Some(Err(_)) => std::thread::sleep(SEEK_PAUSE),
            }
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
