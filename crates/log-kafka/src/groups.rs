//! Offsets of consumer groups without members: how far queries are, for those who look with Kafka's own tools.
//!
//! rdkafka has no safe call for it, and a consumer for each group would be a connection for each query. Sound, because every object made here is
//! destroyed here, and what librdkafka's answer points to is read before the answer is destroyed.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr::null;
use std::time::Duration;

use millpond_log::{Error, Result, TopicPartition};
use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use crate::error::told;

/// Sets the group's offsets of these partitions; its others stay.
pub(crate) fn set_offsets<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    offsets: &[(TopicPartition, u64)],
    timeout: Duration,
) -> Result<()> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets {
        let number = i32::try_from(partition.partition).unwrap_or(i32::MAX);
        let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
        list.add_partition_offset(&partition.topic, number, offset).map_err(|error| told(&error, Some(&partition.topic)))?;
    }
    let name = CString::new(group).map_err(|_| Error::Setting(format!("\"{group}\" is no name for a consumer group")))?;
    let answer = ask(client, &name, &list, timeout)?;
    match answer {
        Code::NoError => Ok(()),
        code => Err(Error::Storage(format!("Kafka, consumer group \"{group}\": {}", KafkaError::AdminOp(code)))),
    }
}

/// What the brokers say: the first error, of the group or one of its partitions.
fn ask<C: ClientContext>(client: &Client<C>, name: &CString, list: &TopicPartitionList, timeout: Duration) -> Result<Code> {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client outlives the call; the name is a C string, and both it and the list are copied. The queue and the answer are ours.
    unsafe {
        let queue = rd::rd_kafka_queue_new(client.native_ptr());
        let mut request = rd::rd_kafka_AlterConsumerGroupOffsets_new(name.as_ptr(), list.ptr());
        rd::rd_kafka_AlterConsumerGroupOffsets(client.native_ptr(), &raw mut request, 1, null(), queue);
        rd::rd_kafka_AlterConsumerGroupOffsets_destroy(request);
        let event = rd::rd_kafka_queue_poll(queue, timeout_ms);
        rd::rd_kafka_queue_destroy(queue);
        if event.is_null() {
            return Err(Error::Storage(format!("Kafka has not set a group's offsets within {timeout:?}")));
        }
        let answer = read(event);
        rd::rd_kafka_event_destroy(event);
        Ok(answer)
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
