//! What is left after the process ended, in order or not.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millpond_log::opaque::{Columns, Record, batch};
use millpond_log::{Append, Cleanup, Entry, FetchLimit, Log, OffsetRange, TopicConfig, TopicPartition, Transaction};
use millpond_log_embedded::{Embedded, Options};
use millpond_state::{Backend, Reader, StoreConfig, StoreId, WriteSet, Writes};
use millpond_state_rocksdb::rocksdb::checkpoint::Checkpoint;

fn open(path: &Path) -> Arc<Embedded> {
    Embedded::open(path, &Options { memory_bytes: 32 << 20, sync: false, service_id: None }).unwrap()
}

fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn append(topic: &str, partition: u32, values: &[Vec<u8>]) -> Append {
    let record = |value| Record { key: Some(b"k"), value: Some(value), timestamp_ms: 5, headers: &[] };
    Append { target: at(topic, partition), entry: Entry::opaque(batch(values.iter().map(|value| record(&value[..])))) }
}

/// One commit: a small entry, a large one, and in the state how many there are.
fn commit(embedded: &Embedded, store: StoreId, number: u64) {
    let large: Vec<Vec<u8>> = (0..20_u64).map(|row| vec![(row + number) as u8; 1000 + (row * number % 7) as usize]).collect();
    let appends = vec![append("t", 0, &[number.to_be_bytes().to_vec()]), append("t", 1, &large)];
    let mut writes = Writes::new(store, 0);
    writes.put(b"commits", &(number + 1).to_be_bytes());
    embedded.commit(Transaction { appends }, WriteSet { writes: vec![writes], expiries: Vec::new() }).unwrap();
}

/// State and log agree, and every record can be read. Gives the number of commits.
fn check(embedded: &Embedded, store: StoreId) -> u64 {
    let commits = embedded.get_many(store, 0, &[b"commits"]).unwrap().pop().flatten();
    let commits = commits.map_or(0, |commits| u64::from_be_bytes(commits[..].try_into().unwrap()));
    assert_eq!(embedded.offsets(&at("t", 0)).unwrap(), OffsetRange { start: 0, end: commits });
    assert_eq!(embedded.offsets(&at("t", 1)).unwrap(), OffsetRange { start: 0, end: 20 * commits });
    let mut number = 0;
    for fetched in embedded.fetch(&at("t", 0), 0, FetchLimit::NONE).unwrap().entries {
        let columns = Columns::of(fetched.entry.payload.batch().unwrap()).unwrap();
        for row in 0..fetched.entry.rows() {
            assert_eq!(columns.value(row), Some(&u64::to_be_bytes(number)[..]));
            number += 1;
        }
    }
    let large = embedded.fetch(&at("t", 1), 0, FetchLimit::NONE).unwrap().entries;
    assert_eq!((number, large.iter().map(|fetched| fetched.entry.rows() as u64).sum()), (commits, 20 * commits));
    commits
}

fn copy(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn what_was_committed_is_there_after_a_crash() {
    let (directory, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let embedded = open(directory.path());
    embedded.create_topic("t", &TopicConfig::keep(2)).unwrap();
    let store = embedded.open_store("s", StoreConfig::keep(1)).unwrap();
    (0..100).for_each(|number| commit(&embedded, store, number));
    // Nothing is closed or flushed: the files are as a kill would leave them.
    copy(directory.path(), crashed.path());
    let found = open(crashed.path());
    assert_eq!(check(&found, found.open_store("s", StoreConfig::keep(1)).unwrap()), 100);
    commit(&found, store, 100);
    assert_eq!(check(&found, store), 101);
}

#[test]
fn a_copy_taken_at_any_moment_is_whole() {
    const COMMITS_MAX: u64 = 1500;
    let directory = tempfile::tempdir().unwrap();
    let embedded = open(directory.path());
    embedded.create_topic("t", &TopicConfig::keep(2)).unwrap();
    let store = embedded.open_store("s", StoreConfig::keep(1)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::SeqCst) && number < COMMITS_MAX {
                commit(&embedded, store, number);
                number += 1;
            }
        });
        let mut last = 0;
        for copy in 0..5 {
            let path = directory.path().join(format!("copy {copy}"));
            Checkpoint::new(embedded.database().rocks()).unwrap().create_checkpoint(&path).unwrap();
            let commits = check(&open(&path), store);
            assert!(commits >= last);
            last = commits;
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn topics_offsets_and_gaps_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = open(directory.path());
    let values = |count: usize| vec![vec![0; 500]; count];
    let cleanup = Cleanup::Delete { retention_ms: Some(10), retention_bytes: None };
    embedded.create_topic("emptied", &TopicConfig { cleanup, ..TopicConfig::keep(1) }).unwrap();
    embedded.create_topic("trimmed", &TopicConfig::keep(3)).unwrap();
    embedded.create_topic("deleted", &TopicConfig::keep(1)).unwrap();
    embedded.create_topic("compacted", &TopicConfig::compact(1, vec![])).unwrap();
    for _ in 0..3 {
        let names = [("emptied", 0), ("trimmed", 2), ("deleted", 0), ("compacted", 0)];
        let appends = names.map(|(topic, partition)| append(topic, partition, &values(20))).into_iter().collect();
        embedded.append(Transaction { appends }).unwrap();
    }
    embedded.clean(1000).unwrap();
    embedded.trim(&[(at("trimmed", 2), 45)]).unwrap();
    embedded.delete_topic("deleted").unwrap();
    embedded.create_topic("deleted", &TopicConfig::keep(2)).unwrap();
    let look = |embedded: &Embedded| {
        let topics = embedded.topics().unwrap();
        let offsets: Vec<_> = topics
            .iter()
            .flat_map(|topic| (0..topic.config.partitions).map(|partition| at(&topic.name, partition)).collect::<Vec<_>>())
            .map(|at| (at.to_string(), embedded.offsets(&at).unwrap()))
            .collect();
        let left = embedded.fetch(&at("compacted", 0), 0, FetchLimit::NONE).unwrap().entries;
        let left: Vec<_> =
            left.iter().flat_map(|fetched| (0..fetched.entry.rows()).map(|row| fetched.offset(row)).collect::<Vec<_>>()).collect();
        (topics, offsets, left)
    };
    let before = look(&embedded);
    let range = |start, end| OffsetRange { start, end };
    let expected = [
        ("compacted/0", range(0, 60)),
        ("deleted/0", range(0, 0)),
        ("deleted/1", range(0, 0)),
        ("emptied/0", range(60, 60)),
        ("trimmed/0", range(0, 0)),
        ("trimmed/1", range(0, 0)),
        ("trimmed/2", range(40, 60)),
    ];
    assert_eq!(before.1, expected.map(|(name, range)| (name.to_owned(), range)));
    assert_eq!(before.2, (40..60).collect::<Vec<u64>>());
    drop(embedded);
    let embedded = open(directory.path());
    assert_eq!(look(&embedded), before);
    let appended = embedded.append(Transaction { appends: vec![append("emptied", 0, &values(1))] }).unwrap();
    assert_eq!(appended[0].base_offset, 60);
}
