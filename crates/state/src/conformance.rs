//! What every backend must do, as tests that each implementation runs.
//!
//! ```ignore
//! millpond_state::state_conformance!((guard, backend, log));           // an empty backend, its log, and what they live in
//! millpond_state::state_moment_conformance!((guard, backend, log));    // where one database keeps both
//! ```

use std::ops::ControlFlow;

use millpond_log::opaque::{Record, batch};
use millpond_log::{Append, Entry, FetchLimit, Log, OffsetRange, TopicConfig, TopicPartition, Transaction};

use crate::window_key::encode_suffix;
use crate::{Backend, Error, Expiry, KeyRange, Reader, StoreConfig, StoreId, WriteSet, Writes, prefix_end};

/// Makes a test of each rule. `$new` gives a guard that is kept until the test ends, and `Arc`s of an empty backend and of its log.
#[macro_export]
macro_rules! state_conformance {
    ($new:expr) => {
        $crate::state_conformance!(@each $new,
            values_are_read_in_the_order_of_the_keys, stores_and_partitions_are_apart, ranges_are_scanned_in_order, a_scan_stops_when_told,
            a_commit_is_atomic_with_the_log, a_refused_commit_changes_nothing, a_snapshot_stays_as_it_is, expired_rows_are_hidden, a_horizon_moves_with_a_commit, a_dropped_store_is_empty, ids_are_stable);
    };
    (@each $new:expr, $($case:ident),* $(,)?) => {
        $(#[test]
        fn $case() {
            let (_guard, backend, log) = $new;
            $crate::conformance::$case(&*backend, &*log);
        })*
    };
}

/// The same for the rules of backends whose log and stores have moments in common.
#[macro_export]
macro_rules! state_moment_conformance {
    ($new:expr) => {
        $crate::state_conformance!(@each $new, a_snapshot_has_the_log_of_its_moment, readers_see_commits_whole);
    };
}

pub fn values_are_read_in_the_order_of_the_keys(backend: &dyn Backend, _log: &dyn Log) {
    let store = backend.open_store("s", StoreConfig::keep(4)).unwrap();
    put(backend, store, 0, &[(b"a", Some(b"1")), (b"b", Some(b"")), (b"", Some(b"empty")), (b"c", Some(b"3"))]);
    put(backend, store, 0, &[(b"c", None), (b"a", Some(b"2"))]);
    let values = backend.get_many(store, 0, &[b"c", b"b", b"x", b"a", b"", b"a"]).unwrap();
    let expected = [None, Some(&b""[..]), None, Some(b"2"), Some(b"empty"), Some(b"2")];
    assert_eq!(values.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
    assert!(backend.get_many(store, 0, &[]).unwrap().is_empty());
}

pub fn stores_and_partitions_are_apart(backend: &dyn Backend, _log: &dyn Log) {
    let (one, two) = (backend.open_store("one", StoreConfig::keep(4)).unwrap(), backend.open_store("two", StoreConfig::keep(4)).unwrap());
    put(backend, one, 0, &[(b"k", Some(b"one/0"))]);
    put(backend, one, 1, &[(b"k", Some(b"one/1"))]);
    put(backend, two, 0, &[(b"k", Some(b"two/0"))]);
    for (store, partition, expected) in [(one, 0, Some("one/0")), (one, 1, Some("one/1")), (two, 0, Some("two/0")), (two, 1, None)] {
        let expected: Vec<_> = expected.map(|value| ("k".to_owned(), value.to_owned())).into_iter().collect();
        assert_eq!(rows(backend, store, partition, KeyRange::ALL), expected);
    }
}

pub fn ranges_are_scanned_in_order(backend: &dyn Backend, _log: &dyn Log) {
    let store = backend.open_store("s", StoreConfig::keep(4)).unwrap();
    let keys: [&[u8]; 6] = [b"", b"a", b"a\x00", b"ab", b"b", b"\xff\xff"];
    for key in keys.iter().rev() {
        put(backend, store, 3, &[(key, Some(b"v"))]);
    }
    let scanned = |start: &[u8], end: Option<&[u8]>| {
        let mut found = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            found.push(key.to_vec());
            ControlFlow::Continue(())
        };
        backend.scan(store, 3, KeyRange { start, end }, &mut visit).unwrap();
        found
    };
    assert_eq!(scanned(b"", None), keys);
    assert_eq!(scanned(b"a", prefix_end(b"a").as_deref()), keys[1..4]);
    assert_eq!(scanned(b"a\x01", Some(b"b")), keys[3..4]);
    assert_eq!(scanned(b"\xff", prefix_end(b"\xff").as_deref()), keys[5..]);
    assert!(scanned(b"b", Some(b"b")).is_empty() && scanned(b"b", Some(b"a")).is_empty());
}

pub fn a_scan_stops_when_told(backend: &dyn Backend, _log: &dyn Log) {
    let store = backend.open_store("s", StoreConfig::keep(4)).unwrap();
    put(backend, store, 0, &[(b"a", Some(b"1")), (b"b", Some(b"2")), (b"c", Some(b"3"))]);
    let mut seen = 0;
    let mut visit = |_: &[u8], _: &[u8]| {
        seen += 1;
        if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    backend.scan(store, 0, KeyRange::ALL, &mut visit).unwrap();
    assert_eq!(seen, 2);
}

pub fn a_commit_is_atomic_with_the_log(backend: &dyn Backend, log: &dyn Log) {
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    let store = backend.open_store("s", StoreConfig::keep(4)).unwrap();
    let appended = backend.commit(append("t", 1), set(store, 0, &[(b"k", Some(b"1"))])).unwrap();
    assert_eq!((appended[0].base_offset, appended[0].next_offset), (0, 1));
    assert_eq!(log.offsets(&at("t")).unwrap().end, 1);
    assert_eq!(rows(backend, store, 0, KeyRange::ALL), [("k".to_owned(), "1".to_owned())]);
    assert!(backend.commit(Transaction::default(), set(store, 0, &[(b"k", None)])).unwrap().is_empty());
    assert!(rows(backend, store, 0, KeyRange::ALL).is_empty());
}

pub fn a_refused_commit_changes_nothing(backend: &dyn Backend, log: &dyn Log) {
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    let store = backend.open_store("s", StoreConfig::keep(4)).unwrap();
    let mut transaction = append("t", 1);
    transaction.appends.append(&mut append("unknown", 1).appends);
    let refused = backend.commit(transaction, set(store, 0, &[(b"k", Some(b"1"))]));
    assert!(matches!(refused, Err(Error::Log(millpond_log::Error::UnknownTopic(name))) if name == "unknown"));
    assert_eq!(log.offsets(&at("t")).unwrap().end, 0);
    assert!(rows(backend, store, 0, KeyRange::ALL).is_empty());
}

pub fn a_snapshot_stays_as_it_is(backend: &dyn Backend, log: &dyn Log) {
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    let store = backend.open_store("s", StoreConfig::keep(4)).unwrap();
    backend.commit(append("t", 2), set(store, 0, &[(b"a", Some(b"1")), (b"b", Some(b"1"))])).unwrap();
    let snapshot = backend.snapshot().unwrap();
    let OffsetRange { start, end } = snapshot.offsets(&at("t")).unwrap();
    backend.commit(append("t", 3), set(store, 0, &[(b"a", Some(b"2")), (b"b", None), (b"c", Some(b"2"))])).unwrap();
    assert_eq!(snapshot.get_many(store, 0, &[b"a", b"b", b"c"]).unwrap(), [Some(b"1".to_vec()), Some(b"1".to_vec()), None]);
    let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(rows(&*snapshot, store, 0, KeyRange::ALL), [text("a", "1"), text("b", "1")]);
    assert_eq!(rows(backend, store, 0, KeyRange::ALL), [text("a", "2"), text("c", "2")]);
    assert_eq!(snapshot.offsets(&at("t")).unwrap(), OffsetRange { start, end });
    let fetch = snapshot.fetch(&at("t"), start, FetchLimit::NONE).unwrap();
    assert_eq!((fetch.entries.iter().map(|fetched| fetched.entry.rows()).sum::<usize>(), fetch.next_offset), (2, end));
    assert!(snapshot.fetch(&at("t"), end, FetchLimit::NONE).unwrap().entries.is_empty());
    assert!(snapshot.fetch(&at("t"), end + 1, FetchLimit::NONE).is_err(), "beyond the snapshot's end");
    backend.drop_stores(&["s"]).unwrap();
    assert_eq!(rows(&*snapshot, store, 0, KeyRange::ALL), [text("a", "1"), text("b", "1")]);
}

pub fn a_snapshot_has_the_log_of_its_moment(backend: &dyn Backend, log: &dyn Log) {
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    backend.commit(append("t", 2), WriteSet::default()).unwrap();
    let snapshot = backend.snapshot().unwrap();
    backend.commit(append("t", 3), WriteSet::default()).unwrap();
    assert_eq!(snapshot.offsets(&at("t")).unwrap().end, 2);
    let fetch = snapshot.fetch(&at("t"), 0, FetchLimit::NONE).unwrap();
    assert_eq!(fetch.entries.iter().map(|fetched| fetched.entry.rows()).sum::<usize>(), 2);
}

pub fn readers_see_commits_whole(backend: &dyn Backend, log: &dyn Log) {
    const COMMITS: u64 = 200;
    log.create_topic("t", &TopicConfig::keep(1)).unwrap();
    let store = backend.open_store("s", StoreConfig::keep(4)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=COMMITS {
                let value = number.to_string();
                let both: [(&[u8], Option<&[u8]>); 2] = [(b"a", Some(value.as_bytes())), (b"b", Some(value.as_bytes()))];
                backend.commit(append("t", 1), set(store, 0, &both)).unwrap();
            }
        });
        scope.spawn(|| {
            let mut end = 0;
            while end < COMMITS {
                let snapshot = backend.snapshot().unwrap();
                end = snapshot.offsets(&at("t")).unwrap().end;
                let expected = (end > 0).then(|| end.to_string().into_bytes());
                assert_eq!(snapshot.get_many(store, 0, &[b"a", b"b"]).unwrap(), [expected.clone(), expected]);
                std::thread::yield_now();
            }
        });
    });
}

pub fn expired_rows_are_hidden(backend: &dyn Backend, _log: &dyn Log) {
    let store = backend.open_store("s", StoreConfig::keep(4)).unwrap();
    let keys: Vec<Vec<u8>> = [10, 20, 30].map(|end| [&b"g"[..], &encode_suffix(end, end - 10)].concat()).into();
    for partition in 0..2 {
        let rows: Vec<(&[u8], Option<&[u8]>)> = keys.iter().map(|key| (&key[..], Some(&b"v"[..]))).collect();
        put(backend, store, partition, &rows);
    }
    let before = backend.snapshot().unwrap();
    backend.set_expiry(store, 0, Expiry { expired_before_ms: 20 });
    backend.set_expiry(store, 0, Expiry { expired_before_ms: 5 });
    let wanted: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let seen = |reader: &dyn Reader, partition| {
        let mut scanned = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            scanned.push(key.to_vec());
            ControlFlow::Continue(())
        };
        reader.scan(store, partition, KeyRange::ALL, &mut visit).unwrap();
        let got = reader.get_many(store, partition, &wanted).unwrap();
        assert_eq!(got.iter().flatten().count(), scanned.len());
        scanned
    };
    assert_eq!(seen(backend, 0), keys[2..]);
    assert_eq!(seen(&*backend.snapshot().unwrap(), 0), keys[2..]);
    assert_eq!(seen(backend, 1), keys);
    assert_eq!(seen(&*before, 0), keys);
}

pub fn a_horizon_moves_with_a_commit(backend: &dyn Backend, _log: &dyn Log) {
    let store = backend.open_store("s", StoreConfig::keep(4)).unwrap();
    assert_eq!(backend.expiry(store, 4), None);
    let expiries = vec![(store, 4, Expiry { expired_before_ms: 7 })];
    backend.commit(Transaction::default(), WriteSet { writes: Vec::new(), expiries }).unwrap();
    assert_eq!(backend.expiry(store, 4), Some(Expiry { expired_before_ms: 7 }));
    assert_eq!(backend.expiry(store, 5), None);
}

pub fn a_dropped_store_is_empty(backend: &dyn Backend, _log: &dyn Log) {
    let (gone, kept) =
        (backend.open_store("gone", StoreConfig::keep(4)).unwrap(), backend.open_store("kept", StoreConfig::keep(4)).unwrap());
    for store in [gone, kept] {
        put(backend, store, 0, &[(b"k", Some(b"v"))]);
    }
    backend.drop_stores(&["gone", "never was"]).unwrap();
    backend.drop_stores(&[]).unwrap();
    assert!(rows(backend, gone, 0, KeyRange::ALL).is_empty());
    let again = backend.open_store("gone", StoreConfig::keep(4)).unwrap();
    assert!(rows(backend, again, 0, KeyRange::ALL).is_empty());
    put(backend, again, 0, &[(b"k", Some(b"new"))]);
    assert_eq!(rows(backend, again, 0, KeyRange::ALL).len(), 1);
    assert_eq!(rows(backend, kept, 0, KeyRange::ALL).len(), 1);
}

pub fn ids_are_stable(backend: &dyn Backend, _log: &dyn Log) {
    let (a, b) = (backend.open_store("a", StoreConfig::keep(4)).unwrap(), backend.open_store("b", StoreConfig::keep(4)).unwrap());
    assert_ne!(a, b);
    assert_eq!((backend.open_store("a", StoreConfig::keep(4)).unwrap(), backend.open_store("b", StoreConfig::keep(4)).unwrap()), (a, b));
    assert_eq!(backend.stores().unwrap(), [("a".to_owned(), a), ("b".to_owned(), b)]);
}

fn at(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

fn append(topic: &str, rows: usize) -> Transaction {
    let record = Record { key: None, value: Some(b"v"), timestamp_ms: 0, headers: &[] };
    Transaction { appends: vec![Append { target: at(topic), entry: Entry::opaque(batch(vec![record; rows])) }] }
}

fn set(store: StoreId, partition: u32, rows: &[(&[u8], Option<&[u8]>)]) -> WriteSet {
    let mut writes = Writes::new(store, partition);
    for (key, value) in rows {
        match value {
            Some(value) => writes.put(key, value),
            None => writes.delete(key),
        }
    }
    WriteSet { writes: vec![writes], expiries: Vec::new() }
}

fn put(backend: &dyn Backend, store: StoreId, partition: u32, rows: &[(&[u8], Option<&[u8]>)]) {
    backend.commit(Transaction::default(), set(store, partition, rows)).unwrap();
}

fn rows<R: Reader + ?Sized>(reader: &R, store: StoreId, partition: u32, range: KeyRange<'_>) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut visit = |key: &[u8], value: &[u8]| {
        rows.push((text(key), text(value)));
        ControlFlow::Continue(())
    };
    reader.scan(store, partition, range, &mut visit).unwrap();
    rows
}
