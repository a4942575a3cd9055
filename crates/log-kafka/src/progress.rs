//! Offsets of consumer groups without members: how far queries are, for those who look with Kafka's own tools.
//!
//! A consumer for each group would be a connection for each query, so this asks as [`crate::coordinators`] does. Sound, because every object made
//! here is destroyed here, and what the answer points to is read while it lives.
#![allow(unsafe_code)]

use std::time::Duration;

use millpond_log::{Error, Result, TopicPartition};
use rdkafka::bindings as rd;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use crate::coordinators::{Coordinators, group_name};
use crate::error::told;

/// Sets the group's offsets of these partitions; its others stay. `false`: nobody has answered within `timeout`.
pub(crate) fn set_offsets(coordinators: &Coordinators, group: &str, offsets: &[(TopicPartition, u64)], timeout: Duration) -> Result<bool> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets {
        let number = i32::try_from(partition.partition).unwrap_or(i32::MAX);
        let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
        list.add_partition_offset(&partition.topic, number, offset).map_err(|error| told(&error, Some(&partition.topic)))?;
    }
    let name = group_name(group)?;
    let answer = coordinators.ask(
        rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
        timeout,
        // SAFETY: name and list live until the request has copied them, and the request until it was sent.
        |client, options, queue| unsafe {
            let mut request = rd::rd_kafka_AlterConsumerGroupOffsets_new(name.as_ptr(), list.ptr());
            rd::rd_kafka_AlterConsumerGroupOffsets(client, &raw mut request, 1, options, queue);
            rd::rd_kafka_AlterConsumerGroupOffsets_destroy(request);
        },
        // SAFETY: it is the answer to that.
        |event| unsafe { read(event) },
    )?;
    match answer {
        Some(Code::NoError) => Ok(true),
        Some(code) => Err(Error::Storage(format!("Kafka, consumer group \"{group}\": {}", KafkaError::AdminOp(code)))),
        None => Ok(false),
    }
}

/// # Safety
/// `event` is the answer to a request for one group.
unsafe fn read(event: *mut rd::rd_kafka_event_t) -> Code {
    // SAFETY: the event lives until the caller destroys it, and so do the result, its groups and their partitions.
    unsafe {
        let failed = Code::from(rd::rd_kafka_event_error(event));
        let result = rd::rd_kafka_event_AlterConsumerGroupOffsets_result(event);
        if failed != Code::NoError || result.is_null() {
            return failed;
        }
        let mut count = 0;
        let groups = rd::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count);
        if count == 0 {
            return Code::NoError;
        }
        let group = *groups;
        let error = rd::rd_kafka_group_result_error(group);
        if !error.is_null() {
            return Code::from(rd::rd_kafka_error_code(error));
        }
        let partitions = rd::rd_kafka_group_result_partitions(group);
        if partitions.is_null() || (*partitions).cnt <= 0 {
            return Code::NoError;
        }
        let partitions = std::slice::from_raw_parts((*partitions).elems, (*partitions).cnt as usize);
        partitions.iter().map(|partition| Code::from(partition.err)).find(|code| *code != Code::NoError).unwrap_or(Code::NoError)
    }
}
