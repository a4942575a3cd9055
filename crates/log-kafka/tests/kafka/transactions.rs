//! What of a transaction is seen, by whom, and what becomes of one whose producer is replaced.

use std::time::{Duration, Instant};

use millpond_log::opaque::{Columns, Record, batch};
use millpond_log::{Append, Entry, Error, FetchLimit, Log, TopicConfig, TopicPartition, Transaction};
use millpond_log_kafka::{KafkaLog, Options};
use millpond_sqltest::Kafka;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::broker::{open, options, raw_values};

const TIMEOUT: Duration = Duration::from_secs(30);

fn values(partition: u32, numbers: std::ops::Range<u64>) -> Append {
    let numbers: Vec<[u8; 8]> = numbers.map(u64::to_be_bytes).collect();
    let records = numbers.iter().map(|number| Record { key: None, value: Some(number), timestamp_ms: 1, headers: &[] });
    Append { target: TopicPartition::new("t", partition), entry: Entry::opaque(batch(records)) }
}

fn read(log: &KafkaLog) -> Vec<u64> {
    raw_values(log, "t").into_iter().map(|value| u64::from_be_bytes(value.try_into().unwrap())).collect()
}

/// A transactional producer of somebody else.
fn stranger(kafka: &Kafka, id: &str) -> BaseProducer {
    stranger_within(kafka, id, TIMEOUT)
}

/// One whose transactions are ended after so long.
fn stranger_within(kafka: &Kafka, id: &str, timeout: Duration) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.bootstrap).set("transactional.id", id);
    let producer: BaseProducer = config.set("transaction.timeout.ms", timeout.as_millis().to_string()).create().unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<[u8], [u8]>::to("t").partition(0).payload(&[0xff; 8])).unwrap();
    producer.flush(TIMEOUT).unwrap();
    producer
}

#[test]
fn what_is_aborted_is_read_over() {
    let (kafka, log) = open();
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    log.append(Transaction { appends: vec![values(0, 0..3)] }).unwrap();
    for _ in 0..3 {
        stranger(&kafka, "aborts").abort_transaction(TIMEOUT).unwrap();
    }
    assert_eq!(read(&log), [0, 1, 2], "nothing comes behind the last record, and the end is reached all the same");
    log.append(Transaction { appends: vec![values(0, 3..5)] }).unwrap();
    assert_eq!(read(&log), [0, 1, 2, 3, 4]);
}

#[test]
fn what_is_not_committed_is_not_waited_for() {
    let (kafka, log) = open();
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    log.append(Transaction { appends: vec![values(0, 0..3)] }).unwrap();
    let open = stranger(&kafka, "open");
    let begun = Instant::now();
    assert_eq!(read(&log), [0, 1, 2], "the end is that of what is committed");
    assert!(begun.elapsed() < Duration::from_secs(10));
    open.abort_transaction(TIMEOUT).unwrap();
}

/// Nobody says which of the two is to go.
#[test]
fn without_a_group_a_producer_that_was_fenced_is_made_anew() {
    let (kafka, log) = open();
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    let same = Options { producers: 1, ..options(&kafka) };
    let first = KafkaLog::connect(same.clone()).unwrap();
    first.append(Transaction { appends: vec![values(0, 0..1)] }).unwrap();
    let second = KafkaLog::connect(same).unwrap();
    let late = first.append(Transaction { appends: vec![values(0, 7..8)] }).unwrap_err();
    assert!(matches!(late, Error::Unresolved(_)), "{late}");
    first.append(Transaction { appends: vec![values(0, 1..2)] }).unwrap();
    let late = second.append(Transaction { appends: vec![values(0, 7..8)] }).unwrap_err();
    assert!(matches!(late, Error::Unresolved(_)), "{late}");
    assert_eq!(read(&log), [0, 1]);
}

/// As a former member's whose group offset the broker had taken, when it was thrown out.
#[test]
fn settling_waits_for_transactions_of_others() {
    let (kafka, log) = open();
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    log.append(Transaction { appends: vec![values(0, 0..1)] }).unwrap();
    for commits in [true, false] {
        let others = stranger(&kafka, "former");
        std::thread::scope(|scope| {
            let settling = scope.spawn(|| {
                log.settle(&TopicPartition::new("t", 0)).unwrap();
                read(&log)
            });
            std::thread::sleep(Duration::from_millis(500));
            assert!(!settling.is_finished());
            let end = if commits { others.commit_transaction(TIMEOUT) } else { others.abort_transaction(TIMEOUT) };
            end.unwrap();
            assert_eq!(settling.join().unwrap(), [0, u64::MAX]);
        });
    }
    // Whose process is gone.
    std::mem::forget(stranger_within(&kafka, "gone", Duration::from_secs(2)));
    let begun = Instant::now();
    log.settle(&TopicPartition::new("t", 0)).unwrap();
    assert!(begun.elapsed() > Duration::from_secs(1) && begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(read(&log), [0, u64::MAX]);
}

#[test]
fn readers_at_different_places_do_not_disturb_each_other() {
    const ROWS: u64 = 20_000;
    let (_kafka, log) = open();
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    for from in (0..ROWS).step_by(1_000) {
        log.append(Transaction { appends: vec![values(0, from..from + 1_000)] }).unwrap();
    }
    let partition = TopicPartition::new("t", 0);
    let end = log.offsets(&partition).unwrap().end;
    std::thread::scope(|scope| {
        for reader in 0..12 {
            let (log, partition) = (&log, &partition);
            scope.spawn(move || {
                let mut expected = 0;
                let (mut next, rows_max) = (0, 100 + 50 * reader);
                while next < end {
                    let fetch = log.fetch(partition, next, FetchLimit::of(rows_max, usize::MAX)).unwrap();
                    next = fetch.next_offset;
                    for fetched in &fetch.entries {
                        let columns = Columns::of(fetched.entry.payload.batch().unwrap()).unwrap();
                        for row in 0..fetched.entry.rows() {
                            assert_eq!(columns.value(row).unwrap(), u64::to_be_bytes(expected), "reader {reader}");
                            expected += 1;
                        }
                    }
                }
                assert_eq!(expected, ROWS, "reader {reader}");
            });
        }
    });
    assert!(log.consumers() > 0);
    log.delete_topic("t").unwrap();
    log.clean(0).unwrap();
    assert_eq!(log.consumers(), 0, "nothing is left to read");
}
