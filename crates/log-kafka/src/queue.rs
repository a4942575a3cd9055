//! A partition's queue of fetched messages, read many at a time.
//!
//! rdkafka's safe interface hands out one message per call, at half the speed of librdkafka's own batch call; so this module uses that. What
//! makes it sound: a message taken is owned here, read while it lives, and destroyed once, by [`Taken`]'s drop.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::time::Duration;

use millpond_log::TopicPartition;
use rdkafka::bindings as rd;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;

use crate::events::EventQueue;
use crate::notifier::Notifier;

/// So many messages are taken in one call.
pub(crate) const CHUNK: usize = 1_024;

#[derive(Debug)]
pub(crate) struct PartitionQueue {
    events: EventQueue,
    topic: CString,
    number: i32,
}

/// What a queue holds.
pub(crate) enum Message<'a> {
    Record(Record<'a>),
    /// Everything before this offset has been read.
    End(u64),
    Error {
        code: RDKafkaErrorCode,
        text: String,
    },
}

pub(crate) struct Record<'a> {
    pub offset: u64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub timestamp_ms: i64,
    message: &'a rd::rd_kafka_message_t,
}

impl PartitionQueue {
    /// The partition's queue, apart from the consumer's: its messages come here only. `None`: librdkafka has no memory or the name is none.
    pub fn open<C: ConsumerContext + ClientContext>(
        consumer: &BaseConsumer<C>,
        partition: &TopicPartition,
        notifier: &Arc<Notifier>,
    ) -> Option<PartitionQueue> {
        let topic = CString::new(&*partition.topic).ok()?;
        let number = i32::try_from(partition.partition).ok()?;
        // SAFETY: the client outlives the call; the name is a C string; a queue that comes back is ours.
        let events = unsafe {
            let queue = rd::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), number);
            EventQueue::adopt(queue, notifier)?
        };
        // SAFETY: the queue is ours.
        unsafe { rd::rd_kafka_queue_forward(events.as_ptr(), null_mut()) };
        Some(PartitionQueue { events, topic, number })
    }

    /// Where the partition ended at the last answer of its broker, uncommitted records included; `None`: there was none yet.
    pub fn known_end<C: ConsumerContext + ClientContext>(&self, consumer: &BaseConsumer<C>) -> Option<u64> {
        let (mut low, mut high) = (0, -1);
        // SAFETY: the client outlives the call; the name is a C string; both numbers are ours.
        let code = unsafe {
            let client = consumer.client().native_ptr();
            rd::rd_kafka_get_watermark_offsets(client, self.topic.as_ptr(), self.number, &raw mut low, &raw mut high)
        };
        let known = code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        u64::try_from(high).ok().filter(|_| known)
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Shows up to `max` (at most [`CHUNK`]) messages to `visit`; waits for the first. How many there were.
    pub fn take(&self, max: usize, wait: Duration, mut visit: impl FnMut(Message<'_>)) -> usize {
        let mut taken = Taken { messages: [null_mut(); CHUNK], count: 0 };
        let max = max.clamp(1, CHUNK);
        if !wait.is_zero() {
            // With more than one wanted the call would wait for all of them.
            self.take_into(&mut taken, 1, wait);
        }
        if wait.is_zero() || taken.count > 0 {
            self.take_into(&mut taken, max, Duration::ZERO);
        }
        for message in &taken.messages[..taken.count] {
            // SAFETY: librdkafka gave `count` valid messages, which live as long as `taken`.
            visit(unsafe { read(&**message) });
        }
        taken.count
    }

    fn take_into(&self, taken: &mut Taken, max: usize, wait: Duration) {
        let free = &mut taken.messages[taken.count..max];
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is ours, and `free` is as long as is said.
        let count = unsafe { rd::rd_kafka_consume_batch_queue(self.events.as_ptr(), wait_ms, free.as_mut_ptr(), free.len()) };
        taken.count += usize::try_from(count).unwrap_or_default();
    }

    /// Drops what is in the queue.
    pub fn clear(&self) {
        while self.take(CHUNK, Duration::ZERO, |_| {}) > 0 {}
    }
}

/// Messages that are ours.
struct Taken {
    messages: [*mut rd::rd_kafka_message_t; CHUNK],
    count: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        for message in &self.messages[..self.count] {
            // SAFETY: each was given to us by librdkafka and is destroyed here only.
            unsafe { rd::rd_kafka_message_destroy(*message) };
        }
    }
}

/// # Safety
/// The message must be one that librdkafka gave.
unsafe fn read(message: &rd::rd_kafka_message_t) -> Message<'_> {
    let offset = u64::try_from(message.offset).unwrap_or_default();
    match RDKafkaErrorCode::from(message.err) {
        RDKafkaErrorCode::NoError => {}
        RDKafkaErrorCode::PartitionEOF => return Message::End(offset),
        code => {
            // SAFETY: the text is a C string within the message, or null.
            let text = unsafe {
                let text = rd::rd_kafka_message_errstr(message);
                if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
            };
            return Message::Error { code, text };
        }
    }
    // SAFETY: payload and key are null or as long as the message says; a timestamp is read only.
    unsafe {
        let timestamp_ms = rd::rd_kafka_message_timestamp(message, null_mut());
        let (key, value) = (bytes(message.key, message.key_len), bytes(message.payload, message.len));
        Message::Record(Record { offset, key, value, timestamp_ms, message })
    }
}

/// # Safety
/// `start` must be null or point to `length` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) })
}

impl<'a> Record<'a> {
    /// Names that are not UTF-8 are mended.
    pub fn headers(&self) -> Vec<(String, Option<&'a [u8]>)> {
        let mut found = Vec::new();
        let mut headers = null_mut();
        let message = std::ptr::from_ref(self.message);
        // SAFETY: the headers belong to the message, and live as long as it does; names are C strings, values as long as is said.
        unsafe {
            if rd::rd_kafka_message_headers(message, &raw mut headers) != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return found;
            }
            let (mut name, mut value, mut length): (*const c_char, *const c_void, usize) = (null(), null(), 0);
            while rd::rd_kafka_header_get_all(headers, found.len(), &raw mut name, &raw mut value, &raw mut length)
                == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                found.push((CStr::from_ptr(name).to_string_lossy().into_owned(), bytes(value, length)));
            }
        }
        found
    }
}
