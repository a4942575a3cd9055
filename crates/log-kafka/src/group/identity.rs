//! Under which id, and in which generation, librdkafka has this process in the group at the moment.
//!
//! rdkafka hands out the group's metadata closed, so this opens it through the bindings. Sound, because what it points to is copied before it is
//! destroyed, here.
#![allow(unsafe_code)]

use std::ffi::CStr;

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub member: String,
    pub generation: i32,
}

/// `None`: it is no member, or none of a known generation. Such metadata must not be sent: a group that is empty lets it through.
pub(super) fn identity<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<Identity> {
    // SAFETY: the client outlives the call; the metadata is ours, and the id a C string within it.
    unsafe {
        let metadata = rd::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return None;
        }
        let member = CStr::from_ptr(rd::rd_kafka_consumer_group_metadata_member_id(metadata)).to_string_lossy().into_owned();
        let generation = rd::rd_kafka_consumer_group_metadata_generation_id(metadata);
        rd::rd_kafka_consumer_group_metadata_destroy(metadata);
        (!member.is_empty() && generation >= 0).then_some(Identity { member, generation })
    }
}
