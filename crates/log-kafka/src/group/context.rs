//! What librdkafka asks and tells the group's consumer: to take the partition, to let it go.

use std::sync::Arc;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::identity::identity;
use super::seat::Seat;
use crate::context::Context;

/// Called on the group's thread, from its poll.
pub(super) struct GroupContext {
    seat: Arc<Seat>,
    log: Context,
}

impl GroupContext {
    pub fn new(seat: Arc<Seat>) -> GroupContext {
        GroupContext { seat, log: Context::default() }
    }

    /// Also called with nothing that is new: whenever the group has made up its mind. What is had counts, because a member that claimed
    /// the partition when it joined is not told that it keeps it.
    fn assign(&self, consumer: &BaseConsumer<GroupContext>, partitions: &mut TopicPartitionList) -> KafkaResult<()> {
        // From a place that need not be asked for. Another reader takes what is in it; this one is there for whom it is assigned to.
        partitions.set_all_offsets(Offset::Offset(0))?;
        consumer.incremental_assign(partitions)?;
        consumer.pause(partitions)?;
        let leads = consumer.assignment()?.count() > 0;
        self.seat.assigned(identity(consumer).map(|identity| identity.member), leads);
        Ok(())
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.log.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.error(error, reason);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<GroupContext>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, partitions),
            _ => {
                // First: once it is let go, another member may be given it.
                self.seat.revoked();
                consumer.incremental_unassign(partitions)
            }
        };
        if let Err(error) = done {
            tracing::error!(target: "kafka", %error, "the group's partition could not be taken or given back");
        }
    }
}
