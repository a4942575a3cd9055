//! What the tests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use millpond_log::opaque::{Columns, Record, batch};
use millpond_log::{Append, Appended, Entry, FetchLimit, Log, Result, TopicPartition, Transaction};
use millpond_log_kafka::{KafkaLog, Options};
use millpond_sqltest::Kafka;

/// Another service, each time.
pub fn options(kafka: &Kafka) -> Options {
    static SERVICES: AtomicUsize = AtomicUsize::new(0);
    let service = format!("test-{}-{}", std::process::id(), SERVICES.fetch_add(1, Ordering::Relaxed));
    Options { producers: 2, ..Options::new(&kafka.bootstrap, service) }
}

/// A broker without topics, until the first is dropped.
pub fn open() -> (Kafka, Arc<KafkaLog>) {
    let kafka = Kafka::acquire().unwrap();
    let log = KafkaLog::connect(options(&kafka)).unwrap();
    (kafka, Arc::new(log))
}

/// A record for partition 0.
pub fn append(topic: &str, key: &str, value: &str) -> Append {
    let record = Record { key: Some(key.as_bytes()), value: Some(value.as_bytes()), timestamp_ms: 1, headers: &[] };
    Append { target: TopicPartition::new(topic, 0), entry: Entry::opaque(batch([record])) }
}

pub fn write(log: &KafkaLog, appends: impl Into<Vec<Append>>) -> Result<Vec<Appended>> {
    log.append(Transaction { appends: appends.into() })
}

/// All values of partition 0.
pub fn values(log: &KafkaLog, topic: &str) -> Vec<String> {
    raw_values(log, topic).into_iter().map(|value| String::from_utf8(value).unwrap()).collect()
}

pub fn raw_values(log: &KafkaLog, topic: &str) -> Vec<Vec<u8>> {
    let partition = TopicPartition::new(topic, 0);
    let (mut from, end, mut all) = (0, log.offsets(&partition).unwrap().end, Vec::new());
    while from < end {
        let fetch = log.fetch(&partition, from, FetchLimit::NONE).unwrap();
        from = fetch.next_offset;
        for fetched in &fetch.entries {
            let columns = Columns::of(fetched.entry.payload.batch().unwrap()).unwrap();
            all.extend((0..fetched.entry.rows()).map(|row| columns.value(row).unwrap().to_vec()));
        }
    }
    all
}

/// Waits until it is so, and gives how long that took.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}
