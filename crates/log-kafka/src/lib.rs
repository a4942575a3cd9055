//! The log over Apache Kafka: topics are Kafka topics, transactions Kafka transactions. The only crate that knows librdkafka.
//!
//! ```text
//!   append ──► a producer of the pool: begin ─► send ─► drain ─► commit      transactional.id = service, instance, number
//!   fetch  ──► a reader: consumer ─► queue of the partition ─► a batch of messages ─► Arrow columns
//!   join   ──► group: a consumer that reads nothing ─► member, leader ─► fence: the group's offset, before a commit to the service's topics
//!   topics ──► admin client; offsets, metadata ──► a consumer that reads nothing
//!   progress ──► groups ──► coordinators: a client of its own, thrown away where it is not answered
//! ```
//!
//! **What is read** is committed (`isolation.level=read_committed`): a partition's end is its last stable offset. The ends of transactions and
//! what was aborted take offsets, too, so offsets have gaps and [`Fetch::next_offset`](millpond_log::Fetch) may lie behind the last entry.
//!
//! **Topics of columns** (names `_millpond-…-repartition`) are written and read by Millpond only. A Kafka record of theirs is a whole entry (see
//! `columns`), so that a batch crosses the broker as one; rows are numbered within it: `record offset × 65,536 + row`.
//!
//! **Timestamps**: Kafka has none before 1970, and librdkafka takes 0 for "now": records of 1970-01-01 00:00:00 are written a millisecond later.

mod cluster;
mod columns;
mod connected;
mod consumer;
mod context;
mod coordinators;
mod error;
mod events;
mod fence;
mod group;
mod log;
mod notifier;
mod options;
mod producer;
mod producers;
mod progress;
mod queue;
mod reader;
mod readers;
mod records;
mod send;

pub use group::KafkaGroup;
pub use log::KafkaLog;
pub use options::Options;
