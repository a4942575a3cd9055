//! Several processes of a service over one log: tasks are shared out, move, and nothing is lost, doubled or seen too early.

use std::collections::BTreeSet;
use std::sync::Arc;

use millpond_executor::{Error, MemberConfig, Place, QueryState, Storage, Waiting};
use millpond_log::{Log, MemoryLog};
use millpond_membership::memory::{MemoryGroup, MemoryMember};
use millpond_state_changelog::Changelogged;
use millpond_state_rocksdb::{Database, Options};
use tempfile::TempDir;

use crate::rig::{Random, Rig, STREAM, WINDOWED, by_hand, events, rows};

/// A service: its group, its log, and the directories of its processes.
struct Service {
    group: MemoryGroup,
    log: Arc<MemoryLog>,
}

struct Process {
    rig: Rig,
    directory: TempDir,
}

impl std::ops::Deref for Process {
    type Target = Rig;

    fn deref(&self) -> &Rig {
        &self.rig
    }
}

impl Service {
    fn new() -> Service {
        Service { group: MemoryGroup::new(), log: Arc::new(MemoryLog::new()) }
    }

    fn start(&self, instance: &str) -> Process {
        self.start_in(instance, tempfile::tempdir().unwrap())
    }

    fn start_in(&self, instance: &str, directory: TempDir) -> Process {
        let group: Arc<MemoryMember> = self.group.join(instance);
        let log: Arc<dyn Log> = Arc::new(group.fence(self.log.clone()));
        let options = Options { memory_bytes: 16 << 20, sync: false, service_id: Some("test".to_owned()) };
        let state = Changelogged::open(Database::open(directory.path(), &options).unwrap(), Arc::clone(&log), "test").unwrap();
        let member = MemberConfig { instance: instance.to_owned(), address: format!("{instance}:6455"), group };
        Process { rig: Rig::member(Storage { log, state }, 2, member), directory }
    }
}

impl Process {
    /// Partitions of `counts` whose rows are here.
    fn here(&self) -> BTreeSet<u32> {
        // Statements come to the others a moment later.
        let Ok(table) = self.engine.catalog().source("counts").cloned() else { return BTreeSet::new() };
        let places = self.engine.places(&table);
        (0..).zip(places).filter(|(_, place)| *place == Place::Here).map(|(partition, _)| partition).collect()
    }

    /// As `kill -9`, noticed by the group at once.
    fn die(self, service: &Service, instance: &str) -> TempDir {
        service.group.kick(instance);
        self.faults.refuse_commits(true);
        let Process { rig, directory } = self;
        rig.engine.shutdown();
        directory
    }
}

/// Each of the four partitions is at one of them, evenly.
fn settle(processes: &[&Process]) {
    processes[0].eventually(|| {
        let here: Vec<BTreeSet<u32>> = processes.iter().map(|process| process.here()).collect();
        let all: BTreeSet<u32> = here.iter().flatten().copied().collect();
        let (least, most) = (here.iter().map(BTreeSet::len).min(), here.iter().map(BTreeSet::len).max());
        all.len() == 4 && here.iter().map(BTreeSet::len).sum::<usize>() == 4 && most.unwrap() - least.unwrap() <= 1
    });
}

#[test]
fn two_share_the_work_and_either_one_can_be_asked_to_flush() {
    let service = Service::new();
    let a = service.start("a");
    a.sql(STREAM).unwrap();
    a.sql(WINDOWED).unwrap();
    let all = events(30_000, 1, 100, &mut Random(5));
    a.write("events", &rows(&all[..10_000]));
    a.flush();
    assert_eq!(a.here().len(), 4);
    let b = service.start("b");
    settle(&[&a, &b]);
    b.write("events", &rows(&all[10_000..20_000]));
    b.flush();
    assert_eq!(b.counts(), by_hand(&all[..20_000]));
    a.write("events", &rows(&all[20_000..]));
    a.flush();
    assert_eq!((a.counts(), b.counts()), (by_hand(&all), by_hand(&all)));
    let sum: u64 = [&a, &b].iter().map(|process| process.status("ctas_counts").rows_in).sum();
    assert_eq!(sum, 30_000, "each counts what it has done");
}

#[test]
fn when_one_dies_the_other_goes_on_from_its_last_commit_and_back() {
    let service = Service::new();
    let a = service.start("a");
    a.sql(STREAM).unwrap();
    a.sql(WINDOWED).unwrap();
    let b = service.start("b");
    settle(&[&a, &b]);
    let all = events(40_000, 1, 100, &mut Random(6));
    a.write("events", &rows(&all[..10_000]));
    a.flush();
    a.write("events", &rows(&all[10_000..20_000]));
    let directory = b.die(&service, "b");
    a.write("events", &rows(&all[20_000..30_000]));
    a.flush();
    assert_eq!((a.here().len(), a.counts()), (4, by_hand(&all[..30_000])));
    let b = service.start_in("b", directory);
    settle(&[&a, &b]);
    a.write("events", &rows(&all[30_000..]));
    let directory = a.die(&service, "a");
    b.flush();
    assert_eq!((b.here().len(), b.counts()), (4, by_hand(&all)), "the one that placed has died, too");
    drop(directory);
}

#[test]
fn one_that_was_thrown_out_writes_nothing_more_and_comes_back() {
    let service = Service::new();
    let a = service.start("a");
    a.sql(STREAM).unwrap();
    a.sql(WINDOWED).unwrap();
    let b = service.start("b");
    settle(&[&a, &b]);
    let all = events(30_000, 1, 100, &mut Random(7));
    a.write("events", &rows(&all[..10_000]));
    a.flush();
    service.group.freeze("b");
    service.group.kick("b");
    a.write("events", &rows(&all[10_000..20_000]));
    a.flush();
    assert_eq!((a.here().len(), a.counts()), (4, by_hand(&all[..20_000])));
    service.group.thaw("b");
    b.eventually(|| b.here().is_empty());
    service.group.readmit("b");
    settle(&[&a, &b]);
    b.write("events", &rows(&all[20_000..]));
    b.flush();
    assert_eq!(b.counts(), by_hand(&all));
    assert_eq!(b.status("ctas_counts").failures, 0, "that is no failure of the query");
}

#[test]
fn a_statement_is_seen_by_all_and_the_second_of_two_is_refused() {
    let service = Service::new();
    let (a, b) = (service.start("a"), service.start("b"));
    a.sql(STREAM).unwrap();
    let error = b.sql(STREAM).unwrap_err();
    assert_eq!(error.sqlstate(), "42P07", "{error}");
    b.sql(WINDOWED).unwrap();
    a.eventually(|| a.engine.catalog().query("ctas_counts").is_ok());
    settle(&[&a, &b]);
    a.sql("PAUSE ctas_counts").unwrap();
    b.until("ctas_counts", QueryState::Paused);
    let all = events(1_000, 1, 100, &mut Random(8));
    b.write("events", &rows(&all));
    b.sql("RESUME ctas_counts").unwrap();
    a.until("ctas_counts", QueryState::Running);
    a.flush();
    assert_eq!(a.counts(), by_hand(&all));
    let error = a.sql("ALTER QUERY ctas_counts RESET").unwrap_err();
    assert!(error.to_string().contains("other members run parts of it: b"), "{error}");
    a.sql("DROP TABLE counts DELETE TOPIC").unwrap();
    b.eventually(|| b.engine.queries().is_empty() && b.stores().iter().all(|store| !store.contains("counts")));
    b.sql(WINDOWED).unwrap();
    settle(&[&a, &b]);
    b.flush();
    assert_eq!(a.counts(), by_hand(&all), "nothing of the former one is left");
}

#[test]
fn what_is_paused_or_joined_moves_with_its_state() {
    let service = Service::new();
    let a = service.start("a");
    a.sql(STREAM).unwrap();
    a.sql(WINDOWED).unwrap();
    a.sql("CREATE TABLE names (k BIGINT PRIMARY KEY, name BIGINT) WITH (kafka_topic = 'names', partitions = 3)").unwrap();
    a.write("names", &(0..50).map(|k| ([k, k * 10], 0)).collect::<Vec<_>>().iter().map(|(row, at)| (&row[..], *at)).collect::<Vec<_>>());
    a.sql("CREATE STREAM named AS SELECT e.k AS k, e.v AS v, n.name AS name FROM events e JOIN names n ON e.k = n.k").unwrap();
    let all = events(4_000, 1, 100, &mut Random(9));
    a.write("events", &rows(&all[..2_000]));
    a.flush();
    a.sql("PAUSE ctas_counts").unwrap();
    let b = service.start("b");
    settle(&[&a, &b]);
    b.write("events", &rows(&all[2_000..]));
    b.flush();
    let joined: usize = b.entries("named").iter().map(|rows| rows.num_rows()).sum();
    assert_eq!(joined, 4_000);
    b.sql("RESUME ctas_counts").unwrap();
    b.flush();
    assert_eq!(b.counts(), by_hand(&all));
    b.engine.shutdown();
    a.eventually(|| a.here().len() == 4);
}

#[test]
fn a_flush_does_not_wait_for_what_has_failed_at_another_one() {
    let service = Service::new();
    let a = service.start("a");
    a.sql(STREAM).unwrap();
    a.sql(WINDOWED).unwrap();
    let b = service.start("b");
    settle(&[&a, &b]);
    b.faults.refuse_commits(true);
    a.write("events", &rows(&events(1_000, 1, 100, &mut Random(10))));
    b.until("ctas_counts", QueryState::Failed);
    let failed = || {
        let queries = b.engine.queries().into_iter().filter(|query| query.state == QueryState::Failed);
        queries.map(|query| (query.id, query.reason.unwrap_or_default())).collect()
    };
    let error = a.engine.flush_for(&Waiting { goes_on: &|| true, failed_elsewhere: &failed }).unwrap_err();
    assert!(matches!(&error, Error::NotRunning { failed } if failed[0].query == "ctas_counts"), "{error}");
    b.faults.refuse_commits(false);
    b.until("ctas_counts", QueryState::Running);
    a.engine.flush_for(&Waiting { goes_on: &|| true, failed_elsewhere: &failed }).unwrap();
}

#[test]
fn what_was_given_is_not_built_before_others_commits_are_brought_in() {
    let service = Service::new();
    let a = service.start("a");
    a.sql(STREAM).unwrap();
    a.sql(WINDOWED).unwrap();
    let b = service.start("b");
    settle(&[&a, &b]);
    let all = events(20_000, 1, 100, &mut Random(11));
    a.write("events", &rows(&all[..10_000]));
    b.faults.refuse_catch_up(true);
    a.flush();
    a.engine.shutdown();
    // It would be built with the changelogs of now and the positions of then.
    b.sql("PAUSE ctas_counts").unwrap();
    b.sql("RESUME ctas_counts").unwrap();
    b.write("events", &rows(&all[10_000..]));
    // Its workers have built what they may.
    b.until("ctas_counts", QueryState::Running);
    assert!(b.here().len() < 4);
    b.faults.refuse_catch_up(false);
    b.flush();
    assert_eq!(b.counts(), by_hand(&all));
}

#[test]
fn a_command_that_cannot_be_obeyed_is_obeyed_later() {
    let service = Service::new();
    let a = service.start("a");
    a.sql(STREAM).unwrap();
    let b = service.start("b");
    b.eventually(|| b.engine.catalog().source("events").is_ok());
    b.faults.refuse_catch_up(true);
    a.sql(WINDOWED).unwrap();
    a.sql("CREATE STREAM others (k VARCHAR) WITH (partitions = 1)").unwrap();
    b.eventually(|| b.engine.catalog().query("ctas_counts").is_ok());
    assert!(b.engine.catalog().source("others").is_err(), "one after the other");
    b.faults.refuse_catch_up(false);
    settle(&[&a, &b]);
    b.eventually(|| b.engine.catalog().source("others").is_ok());
    let all = events(5_000, 1, 100, &mut Random(12));
    a.write("events", &rows(&all));
    b.flush();
    assert_eq!((a.counts(), b.counts()), (by_hand(&all), by_hand(&all)));
}

#[test]
fn one_that_was_out_during_a_reset_cleans_up_nothing() {
    let service = Service::new();
    let a = service.start("a");
    a.sql(STREAM).unwrap();
    a.sql(WINDOWED).unwrap();
    let b = service.start("b");
    settle(&[&a, &b]);
    let all = events(10_000, 1, 100, &mut Random(13));
    a.write("events", &rows(&all[..5_000]));
    a.flush();
    let refused = a.sql("ALTER QUERY ctas_counts RESET TO EARLIEST").unwrap_err();
    assert!(refused.to_string().contains("other members run parts of it: b"), "{refused}");
    service.group.kick("b");
    a.sql("ALTER QUERY ctas_counts RESET TO EARLIEST").unwrap();
    a.flush();
    assert_eq!(a.counts(), by_hand(&all[..5_000]));
    service.group.readmit("b");
    settle(&[&a, &b]);
    b.write("events", &rows(&all[5_000..]));
    b.flush();
    a.flush();
    assert_eq!((a.counts(), b.counts()), (by_hand(&all), by_hand(&all)));
}

#[test]
fn what_a_drop_has_left_behind_does_not_come_again() {
    let service = Service::new();
    let a = service.start("a");
    a.sql(STREAM).unwrap();
    a.sql(WINDOWED).unwrap();
    let b = service.start("b");
    settle(&[&a, &b]);
    let all = events(10_000, 1, 100, &mut Random(14));
    a.write("events", &rows(&all));
    a.flush();
    a.faults.refuse_drops(true);
    a.sql("DROP TABLE counts").unwrap_err();
    a.faults.refuse_drops(false);
    b.eventually(|| b.engine.catalog().source("counts").is_err());
    b.sql(WINDOWED).unwrap();
    a.eventually(|| a.engine.catalog().source("counts").is_ok());
    settle(&[&b, &a]);
    b.flush();
    assert_eq!((a.counts(), b.counts()), (by_hand(&all), by_hand(&all)));
}
