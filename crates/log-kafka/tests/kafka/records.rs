//! What is Kafka's own: settings of topics, retention, and what a log of bytes cannot hold.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use millpond_log::opaque::{Record, batch};
use millpond_log::{Append, Cleanup, Entry, Error, FetchLimit, Log, TopicConfig, TopicPartition, Transaction};
use millpond_log_kafka::{KafkaLog, Options};
use millpond_sqltest::Kafka;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::broker::{open, options};

fn one(timestamp_ms: i64) -> Entry {
    Entry::opaque(batch([Record { key: Some(b"k"), value: Some(b"v"), timestamp_ms, headers: &[] }]))
}

fn to(topic: &str, entry: Entry) -> Transaction {
    Transaction { appends: vec![Append { target: TopicPartition::new(topic, 0), entry }] }
}

#[test]
fn topics_keep_their_settings() {
    let (_guard, log) = open();
    for cleanup in [
        Cleanup::Compact { retention_ms: None },
        Cleanup::Compact { retention_ms: Some(86_400_000) },
        Cleanup::Delete { retention_ms: None, retention_bytes: None },
        Cleanup::Delete { retention_ms: Some(86_400_000), retention_bytes: Some(1 << 30) },
    ] {
        log.create_topic("t", &TopicConfig { cleanup, ..TopicConfig::keep(2) }).unwrap();
        assert_eq!(log.topic("t").unwrap().config, TopicConfig { cleanup, ..TopicConfig::keep(2) });
        log.delete_topic("t").unwrap();
    }
}

#[test]
fn records_that_are_too_old_go() {
    let (_guard, log) = open();
    let cleanup = Cleanup::Delete { retention_ms: Some(60_000), retention_bytes: None };
    log.create_topic("t", &TopicConfig { cleanup, ..TopicConfig::keep(1) }).unwrap();
    log.append(to("t", one(1_000))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while log.offsets(&TopicPartition::new("t", 0)).unwrap().start == 0 {
        assert!(Instant::now() < deadline, "the broker's retention has not come");
        std::thread::sleep(Duration::from_millis(100));
    }
    let gone = log.fetch(&TopicPartition::new("t", 0), 0, FetchLimit::NONE);
    assert!(matches!(gone, Err(Error::OffsetOutOfRange { offset: 0, .. })), "{gone:?}");
}

#[test]
fn what_kafka_does_not_take_is_refused() {
    let (_guard, log) = open();
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    let early = log.append(to("t", one(-1))).unwrap_err();
    assert!(matches!(&early, Error::Unfit { reason, .. } if reason.contains("before 1970")), "{early}");
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let columns = Entry::columns(RecordBatch::try_from_iter([("n", column)]).unwrap());
    let columns = log.append(to("t", columns)).unwrap_err();
    assert!(matches!(&columns, Error::Setting(reason) if reason.contains("records of bytes only")), "{columns}");
    // Noise, which does not become small.
    let large: Vec<u8> = (0..2_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ (at >> 7) as u8).collect();
    let record = Record { key: None, value: Some(&large), timestamp_ms: 1, headers: &[] };
    let large = log.append(to("t", Entry::opaque(batch([record])))).unwrap_err();
    assert!(matches!(&large, Error::Unfit { topic, .. } if topic == "t"), "{large}");
    let name = log.create_topic("not a name", &TopicConfig::keep(1)).unwrap_err();
    assert!(matches!(name, Error::Unfit { .. }), "{name}");
    log.append(to("t", one(7))).unwrap();
    let fetch = log.fetch(&TopicPartition::new("t", 0), 0, FetchLimit::NONE).unwrap();
    assert_eq!(fetch.entries.iter().map(|fetched| fetched.entry.rows()).sum::<usize>(), 1, "nothing of the others is there");
}

#[test]
fn a_topic_that_somebody_deleted_is_not_waited_for() {
    let (kafka, log) = open();
    let other = KafkaLog::connect(options(&kafka)).unwrap();
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    log.append(to("t", one(7))).unwrap();
    let read = |from| log.fetch(&TopicPartition::new("t", 0), from, FetchLimit::NONE);
    let end = read(0).unwrap().next_offset;
    other.delete_topic("t").unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match read(end) {
            Err(Error::UnknownTopic(topic)) if topic == "t" => break,
            Ok(fetch) => assert!(fetch.entries.is_empty()),
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < deadline, "the topic is still thought to be there");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn brokers_that_do_not_answer_are_named() {
    let options = Options { timeout: Duration::from_secs(2), ..Options::new("127.0.0.1:1", "test") };
    let error = KafkaLog::connect(options).unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1") && error.contains("does not answer"), "{error}");
}

/// A worker looks at the end it knows, fetches what is there, and sleeps until it hears of more.
#[test]
fn what_others_write_is_heard_of() {
    let (kafka, log) = open();
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    let partition = TopicPartition::new("t", 0);
    let (tell, told) = std::sync::mpsc::channel();
    log.subscribe(Box::new(move || tell.send(()).unwrap_or_default()));
    let other: BaseProducer = ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap).create().unwrap();
    let mut next = 0;
    let mut read = || {
        while log.known_end(&partition).unwrap() > next {
            let Some(fetch) = log.fetch_ready(&partition, next, FetchLimit::NONE).unwrap() else { break };
            next = fetch.next_offset;
        }
        next
    };
    assert!(log.fetch_ready(&partition, 0, FetchLimit::NONE).unwrap().is_none());
    for number in 0..5 {
        other.send(BaseRecord::<[u8], [u8]>::to("t").payload(b"v")).unwrap();
        other.flush(Duration::from_secs(10)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while read() <= number {
            told.recv_timeout(deadline.saturating_duration_since(Instant::now())).expect("nobody told of the record");
        }
        // It is told of the end of the partition, too.
        while told.recv_timeout(Duration::from_millis(300)).is_ok() {
            read();
        }
    }
}

#[test]
fn progress_is_seen_as_offsets_of_a_group() {
    let kafka = Kafka::acquire().unwrap();
    let options = options(&kafka);
    let log = KafkaLog::connect(options.clone()).unwrap();
    log.create_topic("t", &TopicConfig::keep(2)).unwrap();
    let told = [(TopicPartition::new("t", 0), 7), (TopicPartition::new("t", 1), 0)];
    log.publish_progress("ctas_counts", &told).unwrap();
    log.publish_progress("ctas_counts", &[(TopicPartition::new("t", 0), 9)]).unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.bootstrap).set("group.id", format!("millpond-{}-ctas_counts", options.service_id));
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range("t", 0, 1);
    let committed = consumer.committed_offsets(list, Duration::from_secs(10)).unwrap();
    assert_eq!(committed.elements().iter().map(|element| element.offset()).collect::<Vec<_>>(), [Offset::Offset(9), Offset::Offset(0)]);
}
