//! What every log must do, as tests that each implementation runs.
//!
//! ```ignore
//! millpond_log::log_conformance!((guard, log));            // an expression that makes an empty log, and what it lives in
//! millpond_log::log_local_conformance!((guard, log));   // for logs of one process, which clean on `Log::clean` and leave no gaps
//! ```
//! The topic of columns has the name of a repartition topic: others may hold opaque records only.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;

use crate::compaction::TOMBSTONE_MS;
use crate::entry::{TIMESTAMP, TOMBSTONE};
use crate::opaque::{Columns, Record, batch};
use crate::{
    Append, Appended, Cleanup, Control, Entry, Error, FetchLimit, Fetched, Log, OffsetRange, Payload, TopicConfig, TopicPartition,
    Transaction,
};

/// Makes a test of each rule. `$new` gives a guard that is kept until the test ends, and an `Arc` of an empty log.
#[macro_export]
macro_rules! log_conformance {
    ($new:expr) => {
        $crate::log_conformance!(@each $new,
            topics_are_made_listed_and_deleted, appends_get_offsets, a_transaction_is_atomic_over_partitions, a_fetch_starts_within_an_entry,
            a_fetch_keeps_to_its_limits, offsets_out_of_range_are_refused, opaque_records_survive, columns_and_control_entries_survive,
            small_appends_come_back_in_order, concurrent_appenders_lose_nothing, a_topic_made_again_is_empty, a_read_topic_is_trimmed,
            subscribers_hear_of_commits);
    };
    (@each $new:expr, $($case:ident),* $(,)?) => {
        $(#[test]
        fn $case() {
            let (_guard, log) = $new;
            $crate::conformance::$case(&*log);
        })*
    };
}

/// The same for the rules of logs that clean on [`Log::clean`].
#[macro_export]
macro_rules! log_local_conformance {
    ($new:expr) => {
        $crate::log_conformance!(@each $new,
            offsets_are_dense, a_transaction_is_seen_in_all_partitions_at_once, old_entries_go_by_time, old_entries_of_compacted_topics_go_by_time,
            old_entries_go_by_size, opaque_records_are_compacted, columns_are_compacted);
    };
}

/// A topic that may hold columns.
const COLUMNS: &str = "_millpond-test-columns-repartition";

pub fn topics_are_made_listed_and_deleted(log: &dyn Log) {
    let configs = [("b", TopicConfig::keep(3)), ("a", TopicConfig::compact(1, vec![]))];
    for (name, config) in &configs {
        log.create_topic(name, config).unwrap();
        assert_eq!(log.topic(name).unwrap().config, *config);
    }
    assert!(matches!(log.create_topic("a", &TopicConfig::keep(1)), Err(Error::TopicExists(name)) if name == "a"));
    // A log may keep topics of its own.
    let names = log.topics().unwrap().into_iter().map(|topic| topic.name.to_string()).filter(|name| !name.starts_with("_millpond-"));
    assert_eq!(names.collect::<Vec<_>>(), ["a", "b"]);
    log.delete_topic("a").unwrap();
    assert!(matches!(log.delete_topic("a"), Err(Error::UnknownTopic(name)) if name == "a"));
    assert!(matches!(log.topic("a"), Err(Error::UnknownTopic(_))));
    assert!(matches!(log.offsets(&at("a", 0)), Err(Error::UnknownTopic(_))));
    assert!(matches!(log.fetch(&at("a", 0), 0, FetchLimit::NONE), Err(Error::UnknownTopic(_))));
    assert!(matches!(log.offsets(&at("b", 3)), Err(Error::UnknownPartition { partition: 3, partitions: 3, .. })));
    assert!(matches!(log.fetch(&at("b", 3), 0, FetchLimit::NONE), Err(Error::UnknownPartition { .. })));
}

pub fn appends_get_offsets(log: &dyn Log) {
    log.create_topic("t", &TopicConfig::keep(2)).unwrap();
    assert_eq!(log.offsets(&at("t", 1)).unwrap(), OffsetRange { start: 0, end: 0 });
    assert_eq!(rows_from(log, &at("t", 1), 0), []);
    let appended = append(log, [(at("t", 1), values(0..3)), (at("t", 0), values(0..1)), (at("t", 1), values(3..5))]);
    let told: Vec<_> = appended.iter().map(|appended| (appended.target.clone(), appended.next_offset - appended.base_offset)).collect();
    assert_eq!(told, [(at("t", 1), 3), (at("t", 0), 1), (at("t", 1), 2)]);
    let read = rows_from(log, &at("t", 1), 0);
    assert_eq!(numbers(&read), [0, 1, 2, 3, 4]);
    assert_eq!((read[0].0, read[3].0), (appended[0].base_offset, appended[2].base_offset));
    assert!(log.offsets(&at("t", 1)).unwrap().end > read[4].0);
    assert!(log.append(Transaction::default()).unwrap().is_empty());
}

pub fn offsets_are_dense(log: &dyn Log) {
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    for value in 0..5 {
        append(log, [(at("t", 0), values(value * 2..value * 2 + 2))]);
    }
    assert_eq!(log.offsets(&at("t", 0)).unwrap(), OffsetRange { start: 0, end: 10 });
    assert_eq!(rows_from(log, &at("t", 0), 0), numbered(0..10));
}

pub fn a_transaction_is_atomic_over_partitions(log: &dyn Log) {
    log.create_topic("t", &TopicConfig::keep(2)).unwrap();
    let bad = Transaction {
        appends: [at("t", 0), at("t", 1), at("t", 2)].map(|target| Append { target, entry: values(0..2) }).into_iter().collect(),
    };
    assert!(matches!(log.append(bad), Err(Error::UnknownPartition { partition: 2, .. })));
    let bad = Transaction { appends: [at("t", 0), at("u", 0)].map(|target| Append { target, entry: values(0..2) }).into_iter().collect() };
    assert!(matches!(log.append(bad), Err(Error::UnknownTopic(name)) if name == "u"));
    for partition in 0..2 {
        assert_eq!(rows_from(log, &at("t", partition), 0), []);
    }
}

pub fn a_fetch_starts_within_an_entry(log: &dyn Log) {
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    append(log, [(at("t", 0), values(0..10))]);
    append(log, [(at("t", 0), values(10..20))]);
    let all = rows_from(log, &at("t", 0), 0);
    assert_eq!(numbers(&all), (0..20).collect::<Vec<_>>());
    for place in [1, 7, 9, 10, 15, 19] {
        assert_eq!(rows_from(log, &at("t", 0), all[place].0), all[place..], "from {place}");
    }
    assert_eq!(rows_from(log, &at("t", 0), all[19].0 + 1), []);
}

pub fn a_fetch_keeps_to_its_limits(log: &dyn Log) {
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    for entry in 0..10 {
        append(log, [(at("t", 0), values(entry * 10..entry * 10 + 10))]);
    }
    let rows = |rows_max, bytes_max| rows_of(&log.fetch(&at("t", 0), 5, FetchLimit::of(rows_max, bytes_max)).unwrap().entries).len();
    assert!((1..=25).contains(&rows(25, usize::MAX)), "within the limit of rows");
    assert!((1..=10).contains(&rows(1, usize::MAX)), "one entry comes, however many rows it has");
    assert!(rows(usize::MAX, 1) >= 1, "one entry comes, however large");
    let (mut from, end, mut all) = (0, log.offsets(&at("t", 0)).unwrap().end, Vec::new());
    while from < end {
        let fetch = log.fetch(&at("t", 0), from, FetchLimit::of(30, usize::MAX)).unwrap();
        assert!(fetch.next_offset > from, "a fetch gets on");
        from = fetch.next_offset;
        all.extend(rows_of(&fetch.entries));
    }
    assert_eq!(numbers(&all), (0..100).collect::<Vec<_>>());
}

pub fn offsets_out_of_range_are_refused(log: &dyn Log) {
    const FAR: u64 = 1_000;
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    append(log, [(at("t", 0), values(0..10))]);
    let first = log.offsets(&at("t", 0)).unwrap();
    assert!(log.fetch(&at("t", 0), first.end, FetchLimit::NONE).unwrap().entries.is_empty());
    let beyond = log.fetch(&at("t", 0), first.end + FAR, FetchLimit::NONE);
    assert!(
        matches!(beyond, Err(Error::OffsetOutOfRange { partition: 0, offset, start: 0, end, .. }) if offset == first.end + FAR && end >= first.end)
    );
    append(log, [(at("t", 0), values(10..20))]);
    log.trim(&[(at("t", 0), first.end)]).unwrap();
    let gone = log.fetch(&at("t", 0), first.end - 1, FetchLimit::NONE);
    assert!(matches!(gone, Err(Error::OffsetOutOfRange { start, .. }) if start == first.end));
    assert!(matches!(log.trim(&[(at("t", 0), first.end + FAR)]), Err(Error::OffsetOutOfRange { offset, .. }) if offset == first.end + FAR));
}

pub fn opaque_records_survive(log: &dyn Log) {
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    let large = vec![7_u8; 100_000];
    let records = [
        Record { key: Some(b"k"), value: Some(b"v"), timestamp_ms: 1_700_000_000_000, headers: &[("a", Some(b"1")), ("b", None)] },
        Record { key: None, value: Some(b""), timestamp_ms: 5, headers: &[] },
        Record { key: Some(b""), value: None, timestamp_ms: 1, headers: &[("a", Some(b"")), ("a", Some(b"2"))] },
        Record { key: Some(b"large"), value: Some(&large), timestamp_ms: 4_000_000_000_000, headers: &[] },
    ];
    append(log, [(at("t", 0), Entry::opaque(batch(records)))]);
    let fetched = read(log, &at("t", 0), 0);
    let mut records = records.iter();
    for fetched in &fetched {
        let Payload::Opaque(rows) = &fetched.entry.payload else { panic!("opaque records came back as something else") };
        let columns = Columns::of(rows).unwrap();
        for row in 0..rows.num_rows() {
            let record = records.next().unwrap();
            assert_eq!((columns.key(row), columns.value(row)), (record.key, record.value));
            assert_eq!(columns.timestamps.value(row), record.timestamp_ms);
            let headers: Vec<_> = record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))).collect();
            assert_eq!(columns.headers(row), headers);
        }
    }
    assert!(records.next().is_none());
}

pub fn columns_and_control_entries_survive(log: &dyn Log) {
    log.create_topic(COLUMNS, &TopicConfig::keep(1)).unwrap();
    let topic = at(COLUMNS, 0);
    let control = Control { stream_time_ms: -17, idle: true };
    let wide = columns(&["x"; 5000], &[1; 5000], &[false; 5000]);
    let entries = [
        Entry::columns(columns(&["a", "b"], &[1, 2], &[false, true])).with_channel(3),
        Entry::control(7, control),
        Entry::columns(wide),
        Entry::columns(columns(&["c"], &[3], &[false])),
    ];
    let bases: Vec<u64> = entries.iter().map(|entry| append(log, [(topic.clone(), entry.clone())])[0].base_offset).collect();
    let fetched = read(log, &topic, 0);
    let find = |offset: u64| fetched.iter().find(|fetched| (fetched.base_offset..fetched.next_offset).contains(&offset)).unwrap();
    assert_eq!(*find(bases[0]).entry, entries[0]);
    assert_eq!(*find(bases[1]).entry, entries[1]);
    let (Some(got), Some(put)) = (find(bases[2]).entry.payload.batch(), entries[2].payload.batch()) else { panic!("no columns") };
    assert_eq!((got.slice(0, 5000), find(bases[2]).entry.channel), (put.clone(), 0));
    assert_eq!(find(bases[2]).offset(4_999), bases[2] + 4_999, "rows of an entry follow one another");
    assert!(bases[3] > bases[2] + 4_999);
    let tail = log.fetch(&topic, bases[0] + 1, FetchLimit::of(1, 1)).unwrap();
    assert_eq!((&*tail.entries[0].entry, tail.entries[0].base_offset), (&entries[0].slice(1, 1), bases[0] + 1));
    let big = columns(&["x"; 200_000], &[1; 200_000], &[false; 200_000]);
    let base = append(log, [(topic.clone(), Entry::columns(big))])[0].base_offset;
    assert_eq!(read(log, &topic, base).iter().map(|fetched| fetched.entry.rows()).sum::<usize>(), 200_000);
}

pub fn small_appends_come_back_in_order(log: &dyn Log) {
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    for value in 0..100 {
        append(log, [(at("t", 0), values(value..value + 1))]);
    }
    let all = rows_from(log, &at("t", 0), 0);
    assert_eq!(numbers(&all), (0..100).collect::<Vec<_>>());
    assert_eq!(rows_from(log, &at("t", 0), all[37].0), all[37..]);
}

pub fn concurrent_appenders_lose_nothing(log: &dyn Log) {
    const THREADS: u64 = 4;
    const APPENDS: u64 = 50;
    log.create_topic("t", &TopicConfig::keep(2)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in 0..APPENDS {
                    let value = thread * APPENDS + number;
                    append(log, [(at("t", 0), values(value..value + 1)), (at("t", 1), values(value..value + 1))]);
                }
            });
        }
        scope.spawn(|| {
            let mut seen = 0;
            while seen < THREADS * APPENDS {
                let now = rows_from(log, &at("t", 0), 0).len() as u64;
                assert!(now >= seen, "what was seen is gone");
                seen = now;
                std::thread::yield_now();
            }
        });
    });
    for partition in 0..2 {
        let rows = rows_from(log, &at("t", partition), 0);
        for thread in 0..THREADS {
            let own: Vec<u64> = rows.iter().map(|(_, value)| *value).filter(|value| value / APPENDS == thread).collect();
            assert_eq!(own, (thread * APPENDS..(thread + 1) * APPENDS).collect::<Vec<_>>(), "each appender's order is kept");
        }
    }
}

pub fn a_transaction_is_seen_in_all_partitions_at_once(log: &dyn Log) {
    const APPENDS: u64 = 200;
    log.create_topic("t", &TopicConfig::keep(2)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in 0..APPENDS {
                append(log, [(at("t", 0), values(value..value + 1)), (at("t", 1), values(value..value + 1))]);
            }
        });
        let mut seen = 0;
        while seen < APPENDS {
            // Both partitions are written by each transaction, so the one that is read later cannot be behind.
            seen = rows_from(log, &at("t", 0), 0).len() as u64;
            assert!(rows_from(log, &at("t", 1), 0).len() as u64 >= seen);
            std::thread::yield_now();
        }
    });
}

pub fn a_topic_made_again_is_empty(log: &dyn Log) {
    for _ in 0..2 {
        log.create_topic("t", &TopicConfig::keep(1)).unwrap();
        assert_eq!(log.offsets(&at("t", 0)).unwrap(), OffsetRange { start: 0, end: 0 });
        append(log, [(at("t", 0), values(0..10))]);
        assert_eq!(numbers(&rows_from(log, &at("t", 0), 0)), (0..10).collect::<Vec<_>>());
        log.delete_topic("t").unwrap();
    }
}

pub fn old_entries_go_by_time(log: &dyn Log) {
    let cleanup = Cleanup::Delete { retention_ms: Some(100), retention_bytes: None };
    log.create_topic("t", &TopicConfig { cleanup, ..TopicConfig::keep(1) }).unwrap();
    for time in [0, 50, 200] {
        append(log, [(at("t", 0), Entry::opaque(batch([record(b"k", Some(b"v"), time), record(b"k", Some(b"v"), time - 10)])))]);
    }
    log.clean(100).unwrap();
    assert_eq!(log.offsets(&at("t", 0)).unwrap(), OffsetRange { start: 0, end: 6 });
    assert_eq!(log.clean(200).unwrap().entries_deleted, 2);
    assert_eq!(log.offsets(&at("t", 0)).unwrap(), OffsetRange { start: 4, end: 6 });
    log.clean(10_000).unwrap();
    assert_eq!(log.offsets(&at("t", 0)).unwrap(), OffsetRange { start: 6, end: 6 });
    assert_eq!(append(log, [(at("t", 0), values(0..1))])[0].base_offset, 6);
}

pub fn old_entries_of_compacted_topics_go_by_time(log: &dyn Log) {
    let cleanup = Cleanup::Compact { retention_ms: Some(100) };
    log.create_topic("t", &TopicConfig { cleanup, ..TopicConfig::keep(1) }).unwrap();
    for (key, time) in [(b"a", 0), (b"b", 150), (b"c", 200), (b"d", 201)] {
        append(log, [(at("t", 0), Entry::opaque(batch([record(key, Some(b"v"), time)])))]);
    }
    assert_eq!(log.clean(200).unwrap().entries_deleted, 1);
    let start = log.offsets(&at("t", 0)).unwrap().start;
    let left: Vec<u64> =
        read(log, &at("t", 0), start).iter().flat_map(|fetched| (0..fetched.entry.rows()).map(|row| fetched.offset(row))).collect();
    assert_eq!((start, left), (1, vec![1, 2, 3]));
}

pub fn old_entries_go_by_size(log: &dyn Log) {
    let cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: Some(500_000) };
    log.create_topic("t", &TopicConfig { cleanup, ..TopicConfig::keep(1) }).unwrap();
    let mut state = 1_u64;
    for _ in 0..10 {
        let noise: Vec<u8> = (0..100_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        append(log, [(at("t", 0), Entry::opaque(batch([record(b"k", Some(&noise), 0)])))]);
    }
    log.clean(0).unwrap();
    let OffsetRange { start, end } = log.offsets(&at("t", 0)).unwrap();
    assert!((5..=7).contains(&start) && end == 10, "{start}..{end}");
    assert_eq!(read(log, &at("t", 0), start)[0].base_offset, start);
    assert_eq!(log.clean(0).unwrap().entries_deleted, 0);
}

pub fn a_read_topic_is_trimmed(log: &dyn Log) {
    log.create_topic("t", &TopicConfig::keep(2)).unwrap();
    for entry in 0..3 {
        append(log, [(at("t", 0), values(entry * 2..entry * 2 + 2)), (at("t", 1), values(entry * 2..entry * 2 + 2))]);
    }
    let all = rows_from(log, &at("t", 0), 0);
    log.trim(&[(at("t", 0), all[3].0)]).unwrap();
    assert!(log.offsets(&at("t", 0)).unwrap().start <= all[3].0, "no record from the offset on goes");
    let end = log.offsets(&at("t", 0)).unwrap().end;
    log.trim(&[(at("t", 0), end)]).unwrap();
    log.trim(&[(at("t", 0), 1)]).unwrap();
    let OffsetRange { start, end: later } = log.offsets(&at("t", 0)).unwrap();
    assert!(start == end && later >= end, "{start}, {end}, {later}");
    assert_eq!(numbers(&rows_from(log, &at("t", 1), 0)), [0, 1, 2, 3, 4, 5]);
    let base = append(log, [(at("t", 0), values(6..7))])[0].base_offset;
    assert!(base >= end);
    assert_eq!(rows_from(log, &at("t", 0), end), [(base, 6)]);
}

pub fn opaque_records_are_compacted(log: &dyn Log) {
    log.create_topic("t", &TopicConfig::compact(1, vec![])).unwrap();
    append(
        log,
        [(at("t", 0), Entry::opaque(batch([record(b"a", Some(b"0"), 0), record(b"b", Some(b"1"), 0), record(b"c", Some(b"2"), 0)])))],
    );
    append(log, [(at("t", 0), Entry::opaque(batch([record(b"b", None, 0), record(b"a", Some(b"4"), 0)])))]);
    append(log, [(at("t", 0), Entry::opaque(batch([record(b"z", Some(b"5"), 0)])))]);
    let left = || -> Vec<(u64, Vec<u8>, Option<Vec<u8>>)> {
        let fetched = read(log, &at("t", 0), 0);
        let row = |fetched: &Fetched, row: usize| {
            let columns = Columns::of(fetched.entry.payload.batch().unwrap()).unwrap();
            (fetched.offset(row), columns.key(row).unwrap().to_vec(), columns.value(row).map(<[u8]>::to_vec))
        };
        fetched.iter().flat_map(|fetched| (0..fetched.entry.rows()).map(|place| row(fetched, place)).collect::<Vec<_>>()).collect()
    };
    let (c, b, a, z) = (
        (2, b"c".to_vec(), Some(b"2".to_vec())),
        (3, b"b".to_vec(), None),
        (4, b"a".to_vec(), Some(b"4".to_vec())),
        (5, b"z".to_vec(), Some(b"5".to_vec())),
    );
    let day = 1_000_000;
    assert_eq!(log.clean(day).unwrap().rows_compacted, 2);
    assert_eq!(left(), [c.clone(), b.clone(), a.clone(), z.clone()]);
    assert_eq!(log.offsets(&at("t", 0)).unwrap(), OffsetRange { start: 0, end: 6 });
    assert_eq!(read(log, &at("t", 0), 1)[0].offset(0), 2, "a fetch from a gap goes on behind it");
    log.clean(day + TOMBSTONE_MS - 1).unwrap();
    assert_eq!(left(), [c.clone(), b, a.clone(), z.clone()]);
    log.clean(day + TOMBSTONE_MS).unwrap();
    assert_eq!(left(), [c, a, z]);
    assert_eq!(append(log, [(at("t", 0), values(0..1))])[0].base_offset, 6);
}

pub fn columns_are_compacted(log: &dyn Log) {
    log.create_topic("t", &TopicConfig::compact(1, vec!["k".to_owned()])).unwrap();
    append(log, [(at("t", 0), Entry::columns(columns(&["a", "b", "a"], &[0, 1, 2], &[false; 3])))]);
    append(log, [(at("t", 0), Entry::columns(columns(&["b", "c"], &[3, 4], &[true, false])))]);
    append(log, [(at("t", 0), Entry::columns(columns(&["c"], &[5], &[false])))]);
    let left = || -> Vec<(u64, i64)> {
        let fetched = read(log, &at("t", 0), 0);
        let value = |fetched: &Fetched, row| fetched.entry.payload.batch().unwrap()["v"].as_primitive::<Int64Type>().value(row);
        let rows = |fetched: &Fetched| (0..fetched.entry.rows()).map(|row| (fetched.offset(row), value(fetched, row))).collect::<Vec<_>>();
        fetched.iter().flat_map(rows).collect()
    };
    log.clean(0).unwrap();
    assert_eq!(left(), [(2, 2), (3, 3), (5, 5)]);
    log.clean(TOMBSTONE_MS).unwrap();
    assert_eq!(left(), [(2, 2), (5, 5)]);
}

pub fn subscribers_hear_of_commits(log: &dyn Log) {
    let heard = Arc::new(AtomicUsize::new(0));
    let hearing = heard.clone();
    log.subscribe(Box::new(move || {
        hearing.fetch_add(1, Ordering::SeqCst);
    }));
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    append(log, [(at("t", 0), values(0..1))]);
    append(log, [(at("t", 0), values(1..2))]);
    assert!(heard.load(Ordering::SeqCst) >= 2);
}

fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn append<const N: usize>(log: &dyn Log, appends: [(TopicPartition, Entry); N]) -> Vec<Appended> {
    log.append(Transaction { appends: appends.into_iter().map(|(target, entry)| Append { target, entry }).collect() }).unwrap()
}

fn record<'a>(key: &'a [u8], value: Option<&'a [u8]>, timestamp_ms: i64) -> Record<'a> {
    Record { key: Some(key), value, timestamp_ms, headers: &[] }
}

/// Opaque records whose values are the numbers.
fn values(numbers: std::ops::Range<u64>) -> Entry {
    let numbers: Vec<[u8; 8]> = numbers.map(u64::to_be_bytes).collect();
    Entry::opaque(batch(numbers.iter().map(|number| record(b"k", Some(number), 0))))
}

/// Columns `k`, `v`, and those the log knows.
fn columns(keys: &[&str], values: &[i64], tombstones: &[bool]) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("k", Arc::new(StringArray::from_iter_values(keys))),
        ("v", Arc::new(Int64Array::from(values.to_vec()))),
        (TIMESTAMP, Arc::new(Int64Array::from(vec![0; keys.len()]))),
        (TOMBSTONE, Arc::new(BooleanArray::from(tombstones.to_vec()))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// What [`values`] gives when it is read: offsets and numbers.
fn numbered(numbers: std::ops::Range<u64>) -> Vec<(u64, u64)> {
    numbers.map(|number| (number, number)).collect()
}

/// Everything from `from` to the end.
fn read(log: &dyn Log, partition: &TopicPartition, from: u64) -> Vec<Fetched> {
    let (mut from, end, mut all) = (from, log.offsets(partition).unwrap().end, Vec::new());
    while from < end {
        let fetch = log.fetch(partition, from, FetchLimit::NONE).unwrap();
        assert!(fetch.next_offset > from, "a fetch gets on");
        from = fetch.next_offset;
        all.extend(fetch.entries);
    }
    all
}

/// The same as offsets and numbers.
fn rows_from(log: &dyn Log, partition: &TopicPartition, from: u64) -> Vec<(u64, u64)> {
    rows_of(&read(log, partition, from))
}

fn numbers(rows: &[(u64, u64)]) -> Vec<u64> {
    rows.iter().map(|(_, number)| *number).collect()
}

fn rows_of(fetched: &[Fetched]) -> Vec<(u64, u64)> {
    let mut rows = Vec::new();
    let mut next = 0;
    for fetched in fetched {
        let columns = Columns::of(fetched.entry.payload.batch().unwrap()).unwrap();
        for row in 0..columns.values.len() {
            let offset = fetched.offset(row);
            assert!(offset >= next && offset < fetched.next_offset, "offsets grow");
            next = offset + 1;
            rows.push((offset, u64::from_be_bytes(columns.values.value(row).try_into().unwrap())));
        }
    }
    rows
}
