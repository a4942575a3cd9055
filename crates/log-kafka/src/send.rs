//! Hands rows to a producer, without an allocation for each.
//!
//! rdkafka's safe interface makes a C string of the topic's name for every record; here a topic's handle is made once for an append. Sound,
//! because librdkafka copies key and value (`MSG_F_COPY`) before the call returns, and takes headers over only when the call succeeds.
#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::ptr::{NonNull, null, null_mut};
use std::time::{Duration, Instant};

use millpond_log::opaque::Columns;
use millpond_log::{Error, Result};
use rdkafka::bindings as rd;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};

use crate::context::Context;
use crate::error::told;

/// What a record carries through librdkafka to its delivery report, as a number: whose first or last record it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub append: usize,
    pub first: bool,
    pub last: bool,
}

impl Mark {
    fn number(self) -> usize {
        if !self.first && !self.last {
            return 0;
        }
        ((self.append + 1) << 2) | (usize::from(self.first) << 1) | usize::from(self.last)
    }

    /// `None`: a record in the middle.
    pub fn read(number: usize) -> Option<Mark> {
        let append = (number >> 2).checked_sub(1)?;
        Some(Mark { append, first: number & 2 > 0, last: number & 1 > 0 })
    }
}

/// One append's way to its partition.
pub(crate) struct Sender<'a> {
    producer: &'a BaseProducer<Context>,
    topic: NonNull<rd::rd_kafka_topic_t>,
    name: &'a str,
    partition: i32,
    append: usize,
    deadline: Instant,
}

#[derive(Clone, Copy)]
struct Headers(*mut rd::rd_kafka_headers_t);

impl<'a> Sender<'a> {
    pub fn new(producer: &'a BaseProducer<Context>, name: &'a str, partition: u32, append: usize, timeout: Duration) -> Result<Sender<'a>> {
        let topic = CString::new(name).map_err(|_| Error::UnknownTopic(name.to_owned()))?;
        // SAFETY: the client outlives the handle; the name is a C string.
        let topic = unsafe { rd::rd_kafka_topic_new(producer.client().native_ptr(), topic.as_ptr(), null_mut()) };
        let topic = NonNull::new(topic).ok_or_else(|| Error::Storage(format!("Kafka: no handle for topic \"{name}\"")))?;
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        Ok(Sender { producer, topic, name, partition, append, deadline: Instant::now() + timeout })
    }

    pub fn rows(&self, rows: &Columns<'_>) -> Result<()> {
        let count = rows.timestamps.len();
        for row in 0..count {
            let headers = Headers::of(&rows.headers(row));
            self.record(rows.key(row), rows.value(row), rows.timestamps.value(row), headers, self.mark(row, count))?;
        }
        Ok(())
    }

    /// Records that have a value only.
    pub fn values(&self, values: &[Vec<u8>], timestamp_ms: i64) -> Result<()> {
        for (number, value) in values.iter().enumerate() {
            self.record(None, Some(value), timestamp_ms, Headers::NONE, self.mark(number, values.len()))?;
        }
        Ok(())
    }

    fn mark(&self, number: usize, count: usize) -> usize {
        Mark { append: self.append, first: number == 0, last: number + 1 == count }.number()
    }

    fn record(&self, key: Option<&[u8]>, value: Option<&[u8]>, timestamp_ms: i64, headers: Headers, mark: usize) -> Result<()> {
        loop {
            match self.produce(key, value, timestamp_ms, headers, mark) {
                RDKafkaErrorCode::NoError => return Ok(()),
                // The queue is as large as it may be: some of it has to be on its way first.
                RDKafkaErrorCode::QueueFull if Instant::now() < self.deadline => self.producer.poll(Duration::from_millis(10)),
                code => {
                    headers.destroy();
                    return Err(told(&KafkaError::MessageProduction(code), Some(self.name)));
                }
            }
        }
    }

    fn produce(&self, key: Option<&[u8]>, value: Option<&[u8]>, timestamp_ms: i64, headers: Headers, mark: usize) -> RDKafkaErrorCode {
        use rd::rd_kafka_vtype_t as V;
        let memory = |bytes: Option<&[u8]>| rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
            ptr: bytes.map_or(null::<u8>(), not_null).cast::<c_void>().cast_mut(),
            size: bytes.map_or(0, <[u8]>::len),
        };
        type Union = rd::rd_kafka_vu_s__bindgen_ty_1;
        let field = |vtype, u| rd::rd_kafka_vu_t { vtype, u };
        let fields = [
            field(V::RD_KAFKA_VTYPE_RKT, Union { rkt: self.topic.as_ptr() }),
            field(V::RD_KAFKA_VTYPE_PARTITION, Union { i32_: self.partition }),
            field(V::RD_KAFKA_VTYPE_MSGFLAGS, Union { i: rd::RD_KAFKA_MSG_F_COPY }),
            field(V::RD_KAFKA_VTYPE_KEY, Union { mem: memory(key) }),
            field(V::RD_KAFKA_VTYPE_VALUE, Union { mem: memory(value) }),
            // 0 would be "now".
            field(V::RD_KAFKA_VTYPE_TIMESTAMP, Union { i64_: if timestamp_ms == 0 { 1 } else { timestamp_ms } }),
            field(V::RD_KAFKA_VTYPE_OPAQUE, Union { ptr: mark as *mut c_void }),
            field(V::RD_KAFKA_VTYPE_HEADERS, Union { headers: headers.0 }),
        ];
        let count = if headers.0.is_null() { fields.len() - 1 } else { fields.len() };
        // SAFETY: the fields are of the kinds that are said, and what they point to lives until the call returns.
        unsafe {
            let error = rd::rd_kafka_produceva(self.producer.client().native_ptr(), fields.as_ptr(), count);
            if error.is_null() {
                return RDKafkaErrorCode::NoError;
            }
            let code = RDKafkaErrorCode::from(rd::rd_kafka_error_code(error));
            rd::rd_kafka_error_destroy(error);
            code
        }
    }
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is ours; records that are on their way hold their own.
        unsafe { rd::rd_kafka_topic_destroy(self.topic.as_ptr()) };
    }
}

impl Headers {
    const NONE: Headers = Headers(null_mut());

    fn of(headers: &[(String, Option<Vec<u8>>)]) -> Headers {
        if headers.is_empty() {
            return Headers::NONE;
        }
        // SAFETY: names and values are copied; lengths are those of the slices.
        unsafe {
            let list = rd::rd_kafka_headers_new(headers.len());
            for (name, value) in headers {
                let start = value.as_deref().map_or(null(), not_null).cast::<c_void>();
                let length = value.as_ref().map_or(0, Vec::len).cast_signed();
                rd::rd_kafka_header_add(list, name.as_ptr().cast(), name.len().cast_signed(), start, length);
            }
            Headers(list)
        }
    }

    /// For those that librdkafka has not taken over.
    fn destroy(self) {
        if !self.0.is_null() {
            // SAFETY: they are still ours.
            unsafe { rd::rd_kafka_headers_destroy(self.0) };
        }
    }
}

/// An empty slice's pointer may be anything; null would say that there is none.
fn not_null(bytes: &[u8]) -> *const u8 {
    bytes.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back() {
        for (append, first, last) in [(0, true, false), (0, false, true), (7, true, true)] {
            let mark = Mark { append, first, last };
            assert_eq!(Mark::read(mark.number()), Some(mark));
        }
        assert_eq!(Mark::read(Mark { append: 7, first: false, last: false }.number()), None);
    }
}
