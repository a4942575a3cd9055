//! The suite that every backend must pass, and what becomes of state that was lost, is behind, or belongs to another changelog.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millpond_log::{
    Appended, Cleaned, Cleanup, Fetch, FetchLimit, Log, MemoryLog, OffsetRange, TopicConfig, TopicInfo, TopicPartition, Transaction,
};
use millpond_state::{Backend, Error, Expiry, Reader, StoreConfig, StoreId, WriteSet, Writes};
use millpond_state_changelog::Changelogged;
use millpond_state_rocksdb::{Database, Options};
use tempfile::TempDir;

fn open(path: &Path, log: &Arc<MemoryLog>) -> Arc<Changelogged> {
    let options = Options { memory_bytes: 16 << 20, sync: false, service_id: Some("mill".to_owned()) };
    Changelogged::open(Database::open(path, &options).unwrap(), log.clone(), "mill").unwrap()
}

fn new() -> (TempDir, Arc<Changelogged>, Arc<MemoryLog>) {
    let (directory, log) = (tempfile::tempdir().unwrap(), Arc::new(MemoryLog::new()));
    let backend = open(directory.path(), &log);
    (directory, backend, log)
}

millpond_state::state_conformance!(new());

/// Opens the store and takes all its partitions over.
fn take(backend: &Changelogged, name: &str, partitions: u32) -> StoreId {
    let store = backend.open_store(name, StoreConfig::keep(partitions)).unwrap();
    (0..partitions).for_each(|partition| backend.take_over(store, partition).unwrap());
    store
}

fn put(backend: &Changelogged, store: StoreId, partition: u32, rows: &[(&str, Option<&str>)]) {
    let mut writes = Writes::new(store, partition);
    for (key, value) in rows {
        match value {
            Some(value) => writes.put(key.as_bytes(), value.as_bytes()),
            None => writes.delete(key.as_bytes()),
        }
    }
    backend.commit(Transaction::default(), WriteSet { writes: vec![writes], expiries: Vec::new() }).unwrap();
}

fn value(backend: &Changelogged, store: StoreId, partition: u32, key: &str) -> Option<String> {
    let found = backend.get_many(store, partition, &[key.as_bytes()]).unwrap().pop().flatten();
    found.map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn what_is_lost_here_comes_back_from_the_log() {
    let (directory, backend, log) = new();
    let (store, positions) = (
        backend.open_store("q/aggregate", StoreConfig::keep(2)).unwrap(),
        backend.open_store("q/0/positions", StoreConfig::keep(2)).unwrap(),
    );
    put(&backend, store, 0, &[("a", Some("1")), ("b", Some("1"))]);
    put(&backend, store, 1, &[("a", Some("7"))]);
    put(&backend, store, 0, &[("a", Some("2")), ("b", None)]);
    put(&backend, positions, 1, &[("clock", Some("5"))]);
    drop((backend, directory));

    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path(), &log);
    let (store, positions) = (take(&backend, "q/aggregate", 2), take(&backend, "q/0/positions", 2));
    assert_eq!((value(&backend, store, 0, "a").as_deref(), value(&backend, store, 0, "b")), (Some("2"), None));
    assert_eq!(value(&backend, store, 1, "a").as_deref(), Some("7"));
    assert_eq!(value(&backend, positions, 1, "clock").as_deref(), Some("5"));
}

#[test]
fn what_the_log_alone_has_is_brought_in() {
    let (directory, backend, log) = new();
    let store = backend.open_store("q/aggregate", StoreConfig::keep(1)).unwrap();
    put(&backend, store, 0, &[("a", Some("1"))]);
    drop(backend);
    // Another copy of the state goes on; this one is where a crash between the log's commit and the database's would have left it.
    let copy = tempfile::tempdir().unwrap();
    let other = open(copy.path(), &log);
    let elsewhere = take(&other, "q/aggregate", 1);
    put(&other, elsewhere, 0, &[("a", Some("2")), ("b", Some("2"))]);
    drop(other);

    let backend = open(directory.path(), &log);
    assert_eq!(value(&backend, store, 0, "a").as_deref(), Some("1"), "not taken over yet");
    let store = take(&backend, "q/aggregate", 1);
    assert_eq!((value(&backend, store, 0, "a").as_deref(), value(&backend, store, 0, "b").as_deref()), (Some("2"), Some("2")));
}

#[test]
fn state_that_does_not_fit_its_changelog_is_made_anew() {
    let (directory, backend, log) = new();
    let store = backend.open_store("q/aggregate", StoreConfig::keep(1)).unwrap();
    for round in 0..5 {
        put(&backend, store, 0, &[("a", Some("1")), (&format!("b{round}"), Some("1"))]);
    }
    drop(backend);
    log.delete_topic("_millpond-mill-q-aggregate-changelog").unwrap();
    log.create_topic("_millpond-mill-q-aggregate-changelog", &TopicConfig::compact(1, Vec::new())).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let other = open(copy.path(), &log);
    let elsewhere = take(&other, "q/aggregate", 1);
    put(&other, elsewhere, 0, &[("c", Some("3"))]);
    drop(other);

    let backend = open(directory.path(), &log);
    let store = take(&backend, "q/aggregate", 1);
    let found = ["a", "b0", "c"].map(|key| value(&backend, store, 0, key));
    assert_eq!(found, [None, None, Some("3".to_owned())]);
}

#[test]
fn state_of_a_store_that_was_dropped_and_made_anew_elsewhere_is_not_mixed_with_the_new() {
    let (_directory, one, log) = new();
    let second = tempfile::tempdir().unwrap();
    let other = open(second.path(), &log);
    let store = take(&one, "q/aggregate", 1);
    put(&one, store, 0, &[("old", Some("1"))]);
    take(&other, "q/aggregate", 1);
    drop(other);
    one.drop_stores(&["q/aggregate"]).unwrap();
    let store = take(&one, "q/aggregate", 1);
    for round in 0..5 {
        put(&one, store, 0, &[("new", Some(&format!("{round}")))]);
    }
    let other = open(second.path(), &log);
    let store = take(&other, "q/aggregate", 1);
    assert_eq!((value(&other, store, 0, "old"), value(&other, store, 0, "new").as_deref()), (None, Some("4")));
}

#[test]
fn what_is_committed_after_a_drop_elsewhere_does_not_stay() {
    let (_directory, one, log) = new();
    let second = tempfile::tempdir().unwrap();
    let other = open(second.path(), &log);
    let store = take(&other, "q/0/positions", 1);
    put(&other, store, 0, &[("input", Some("1"))]);
    one.catch_up().unwrap();
    one.drop_stores(&["q/0/positions"]).unwrap();
    // It has not heard of that yet.
    put(&other, store, 0, &[("input", Some("2"))]);
    other.forget_store("q/0/positions").unwrap();
    for process in [&one, &other] {
        process.catch_up().unwrap();
        let store = take(process, "q/0/positions", 1);
        assert_eq!(value(process, store, 0, "input"), None);
    }
}

#[test]
fn a_changelog_that_is_gone_is_missed() {
    let (directory, backend, log) = new();
    let store = take(&backend, "q/aggregate", 1);
    put(&backend, store, 0, &[("a", Some("1"))]);
    drop(backend);
    log.delete_topic("_millpond-mill-q-aggregate-changelog").unwrap();
    let copy = tempfile::tempdir().unwrap();
    for path in [directory.path(), copy.path()] {
        let backend = open(path, &log);
        for _ in 0..2 {
            let error = backend.open_store("q/aggregate", StoreConfig::keep(1)).unwrap_err().to_string();
            assert!(error.contains("-q-aggregate-changelog\" is gone") && error.contains("RESET"), "{error}");
        }
    }
    // As RESET does.
    let backend = open(directory.path(), &log);
    backend.drop_stores(&["q/aggregate"]).unwrap();
    let store = take(&backend, "q/aggregate", 1);
    assert_eq!(value(&backend, store, 0, "a"), None);
}

#[test]
fn offsets_that_would_be_forgotten_are_refused() {
    for (config, reason) in [
        (TopicConfig::keep(1), "cleanup.policy=compact"),
        (TopicConfig { cleanup: Cleanup::Compact { retention_ms: Some(1) }, ..TopicConfig::keep(1) }, "cleanup.policy=compact"),
        (TopicConfig::compact(2, Vec::new()), "has 2 partitions, not 1"),
    ] {
        let (directory, log) = (tempfile::tempdir().unwrap(), Arc::new(MemoryLog::new()));
        log.create_topic("_millpond-mill-offsets", &config).unwrap();
        let options = Options { memory_bytes: 16 << 20, sync: false, service_id: Some("mill".to_owned()) };
        let opened = Changelogged::open(Database::open(directory.path(), &options).unwrap(), log, "mill");
        let error = opened.unwrap_err().to_string();
        assert!(error.contains("_millpond-mill-offsets") && error.ends_with(reason), "{error}");
    }
}

#[test]
fn a_changelog_of_other_partitions_is_refused() {
    let (_directory, backend, log) = new();
    log.create_topic("_millpond-mill-q-aggregate-changelog", &TopicConfig::compact(3, Vec::new())).unwrap();
    let error = backend.open_store("q/aggregate", StoreConfig::keep(2)).unwrap_err();
    assert!(matches!(&error, Error::Storage(message) if message.contains("has 3 partitions, not 2")), "{error}");
}

#[test]
fn rows_that_expire_leave_the_changelog_by_age() {
    let (_directory, backend, log) = new();
    let windows = |retention_ms| StoreConfig { partitions: 1, retention_ms: Some(retention_ms) };
    backend.open_store("q/windows", windows(10_000)).unwrap();
    let cleanup = log.topic("_millpond-mill-q-windows-changelog").unwrap().config.cleanup;
    assert_eq!(cleanup, Cleanup::Compact { retention_ms: Some(10_000 + 86_400_000) });
}

#[test]
fn a_changelog_that_does_not_keep_enough_is_refused() {
    let (_directory, backend, log) = new();
    let with = |name: &str, cleanup| {
        let topic = format!("_millpond-mill-q-{name}-changelog");
        log.create_topic(&topic, &TopicConfig { cleanup, ..TopicConfig::keep(1) }).unwrap();
        format!("q/{name}")
    };
    let day = with("day", Cleanup::Compact { retention_ms: Some(86_400_000) });
    let deleted = with("deleted", Cleanup::Delete { retention_ms: None, retention_bytes: None });
    let all = with("all", Cleanup::Compact { retention_ms: None });
    let windows = StoreConfig { partitions: 1, retention_ms: Some(1) };
    for (store, config, settings) in [
        (&day, windows, "cleanup.policy=compact,delete and retention.ms=86400001"),
        (&day, StoreConfig::keep(1), "cleanup.policy=compact"),
        (&deleted, StoreConfig::keep(1), "cleanup.policy=compact"),
    ] {
        let error = backend.open_store(store, config).unwrap_err().to_string();
        assert!(error.ends_with(settings), "{error}");
    }
    backend.open_store(&all, windows).unwrap();
}

#[test]
fn partitions_are_passed_on_between_processes_and_back() {
    let (_directory, one, log) = new();
    let second = tempfile::tempdir().unwrap();
    let other = open(second.path(), &log);
    let names = ["q/aggregate", "q/0/positions"];
    for (round, (from, to)) in [(&one, &other), (&other, &one), (&one, &other)].into_iter().enumerate() {
        let stores = names.map(|name| (take(from, name, 2), to.open_store(name, StoreConfig::keep(2)).unwrap()));
        let (before, after) = (format!("{round}"), format!("{round} elsewhere"));
        for (here, _) in stores {
            put(from, here, 0, &[("a", Some(&before)), ("b", Some(&before))]);
            put(from, here, 1, &[("a", Some(&before))]);
        }
        names.iter().for_each(|name| from.let_go(name, 0));
        to.catch_up().unwrap();
        for (here, there) in stores {
            to.take_over(there, 0).unwrap();
            assert_eq!(value(to, there, 0, "a"), Some(before.clone()));
            put(to, there, 0, &[("a", Some(&after)), ("b", None)]);
            // The one that was kept goes on meanwhile, and the other's changes are no business of its own.
            put(from, here, 1, &[("a", Some(&after))]);
        }
        from.catch_up().unwrap();
        for (here, _) in stores {
            assert_eq!(value(from, here, 1, "a"), Some(after.clone()));
        }
        names.iter().for_each(|name| (0..2).for_each(|partition| to.let_go(name, partition)));
        names.iter().for_each(|name| from.let_go(name, 1));
        to.catch_up().unwrap();
        from.catch_up().unwrap();
    }
}

#[test]
fn horizons_come_back() {
    let (directory, backend, log) = new();
    let store = backend.open_store("q/windows", StoreConfig::keep(1)).unwrap();
    let expiries = vec![(store, 0, Expiry { expired_before_ms: 77 })];
    backend.commit(Transaction::default(), WriteSet { writes: Vec::new(), expiries }).unwrap();
    drop((backend, directory));
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path(), &log);
    let store = backend.open_store("q/windows", StoreConfig::keep(1)).unwrap();
    assert_eq!(backend.expiry(store, 0), Some(Expiry { expired_before_ms: 77 }));
}

#[test]
fn a_dropped_store_does_not_come_back() {
    let (directory, backend, log) = new();
    for name in ["q/aggregate", "q/0/positions"] {
        let store = backend.open_store(name, StoreConfig::keep(1)).unwrap();
        put(&backend, store, 0, &[("a", Some("1"))]);
        backend.drop_stores(&[name]).unwrap();
        let again = take(&backend, name, 1);
        assert_eq!(value(&backend, again, 0, "a"), None, "{name}");
        backend.drop_stores(&[name]).unwrap();
    }
    drop((backend, directory));
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path(), &log);
    assert_eq!(backend.stores().unwrap(), []);
    assert_eq!(log.topics().unwrap().len(), 1, "only the offsets topic is left");
    assert!(log.offsets(&TopicPartition::new("_millpond-mill-offsets", 0)).unwrap().end > 0);
}

/// A log that commits and then says that it does not know.
#[derive(Debug)]
struct Forgetful {
    log: MemoryLog,
    forgets: AtomicBool,
}

impl Log for Forgetful {
    fn create_topic(&self, name: &str, config: &TopicConfig) -> millpond_log::Result<()> {
        self.log.create_topic(name, config)
    }

    fn delete_topic(&self, name: &str) -> millpond_log::Result<()> {
        self.log.delete_topic(name)
    }

    fn topics(&self) -> millpond_log::Result<Vec<TopicInfo>> {
        self.log.topics()
    }

    fn topic(&self, name: &str) -> millpond_log::Result<TopicInfo> {
        self.log.topic(name)
    }

    fn offsets(&self, partition: &TopicPartition) -> millpond_log::Result<OffsetRange> {
        self.log.offsets(partition)
    }

    fn append(&self, transaction: Transaction) -> millpond_log::Result<Vec<Appended>> {
        let appended = self.log.append(transaction)?;
        match self.forgets.load(Ordering::Relaxed) {
            true => Err(millpond_log::Error::Unresolved("the coordinator does not answer".to_owned())),
            false => Ok(appended),
        }
    }

    fn fetch(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> millpond_log::Result<Fetch> {
        self.log.fetch(partition, from, limit)
    }

    fn trim(&self, before: &[(TopicPartition, u64)]) -> millpond_log::Result<()> {
        self.log.trim(before)
    }

    fn clean(&self, now_ms: i64) -> millpond_log::Result<Cleaned> {
        self.log.clean(now_ms)
    }

    fn subscribe(&self, notify: Box<dyn Fn() + Send + Sync>) {
        self.log.subscribe(notify);
    }
}

#[test]
fn a_commit_of_unknown_outcome_is_looked_up() {
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(Forgetful { log: MemoryLog::new(), forgets: AtomicBool::new(false) });
    let database = Database::open(directory.path(), &Options { sync: false, ..Options::default() }).unwrap();
    let backend = Changelogged::open(database, log.clone(), "mill").unwrap();
    let (store, positions) = (take(&backend, "q/aggregate", 1), take(&backend, "q/0/positions", 2));
    log.forgets.store(true, Ordering::Relaxed);
    let row = |store, partition, value: &str| {
        let mut writes = Writes::new(store, partition);
        writes.put(b"k", value.as_bytes());
        writes
    };
    let writes = vec![row(store, 0, "1"), row(positions, 1, "2")];
    let error = backend.commit(Transaction::default(), WriteSet { writes, expiries: Vec::new() }).unwrap_err();
    assert!(matches!(error, Error::Log(millpond_log::Error::Unresolved(_))), "{error}");
    assert_eq!((value(&backend, store, 0, "k"), value(&backend, positions, 1, "k")), (None, None));
    take(&backend, "q/aggregate", 1);
    take(&backend, "q/0/positions", 2);
    let found = (value(&backend, store, 0, "k"), value(&backend, positions, 1, "k"));
    assert_eq!(found, (Some("1".to_owned()), Some("2".to_owned())));
}
