//! ALTER QUERY … RESET: what was there is gone, what comes again is counted once, whatever crashes in between.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use millpond_catalog::{Command, Reset, Start};
use millpond_executor::{Error, QueryState, Storage};
use millpond_log::{Append, Entry, MemoryLog, TopicPartition, Transaction, opaque};
use millpond_log_embedded::{Embedded, Options};
use millpond_state_changelog::Changelogged;
use millpond_state_rocksdb::{Database, Options as DatabaseOptions};

use crate::rig::{Random, Rig, STREAM, WINDOWED, by_hand, events, rows};

/// A stream of one partition, and a copy of it: each row that is taken once more is there once more.
const COPIED: &str = "CREATE STREAM s (k BIGINT, v BIGINT) WITH (kafka_topic = 's', partitions = 1); \
     CREATE STREAM copy AS SELECT k, v FROM s";

/// The values that are in the copy, in their order.
fn copied(rig: &Rig) -> Vec<i64> {
    rig.entries("copy").iter().flat_map(|rows| column(rows, "v")).collect()
}

fn column(rows: &RecordBatch, name: &str) -> Vec<i64> {
    rows.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec()
}

fn write(rig: &Rig, values: impl IntoIterator<Item = i64>) {
    let values: Vec<[i64; 2]> = values.into_iter().map(|value| [1, value]).collect();
    rig.write("s", &values.iter().map(|row| (&row[..], 1)).collect::<Vec<_>>());
}

/// The command is in the log, and nothing was done about it yet.
fn only_logged(rig: &Rig, query: &str, start_at: Vec<Start>) {
    let reset = Reset { number: rig.engine.catalog().version + 1, start_at };
    let command = serde_json::to_vec(&Command::Reset { query: query.to_owned(), reset }).unwrap();
    let record = opaque::Record { key: None, value: Some(&command), timestamp_ms: 0, headers: &[] };
    let append = Append { target: TopicPartition::new("_millpond-test-commands", 0), entry: Entry::opaque(opaque::batch([record])) };
    rig.storage().log.append(Transaction { appends: vec![append] }).unwrap();
}

#[test]
fn it_begins_from_the_beginning_and_its_sink_stays() {
    let rig = Rig::new(2);
    rig.sql(COPIED).unwrap();
    write(&rig, 0..3);
    rig.flush();
    rig.sql("ALTER QUERY csas_copy RESET").unwrap();
    write(&rig, 3..5);
    rig.flush();
    assert_eq!(copied(&rig), [0, 1, 2, 0, 1, 2, 3, 4]);
    assert_eq!(rig.status("csas_copy").rows_in, 5, "the counters are forgotten");
    let rig = rig.crashed(1);
    write(&rig, [5]);
    rig.flush();
    assert_eq!(copied(&rig), [0, 1, 2, 0, 1, 2, 3, 4, 5], "what was committed behind the reset stays");
    assert_eq!(rig.status("csas_copy").rows_in, 6);
    let error = rig.sql("ALTER QUERY csas_cpoy RESET").unwrap_err();
    assert_eq!((error.sqlstate(), error.to_string().as_str()), ("42704", "query \"csas_cpoy\" does not exist"));
}

#[test]
fn its_aggregates_and_repartition_topics_are_made_anew() {
    let rig = Rig::new(2);
    rig.sql(STREAM).unwrap();
    rig.sql(WINDOWED).unwrap();
    let all = events(20_000, 1, 100, &mut Random(3));
    rig.write("events", &rows(&all[..15_000]));
    rig.flush();
    let (mut stores, topics) = (rig.stores(), rig.topics());
    // Which reset the state was made behind.
    stores.push("ctas_counts/$counters".to_owned());
    // Its table is read from the topic then.
    let of_table = ["materialize_counts/0/$counters", "materialize_counts/0/positions", "materialize_counts/source-counts", "table/counts"];
    stores.extend(of_table.map(str::to_owned));
    for to in ["", " TO EARLIEST"] {
        rig.sql(&format!("ALTER QUERY ctas_counts RESET{to}")).unwrap();
        rig.flush();
        assert_eq!(rig.counts(), by_hand(&all[..15_000]), "no row counts twice");
    }
    rig.write("events", &rows(&all[15_000..]));
    rig.flush();
    assert_eq!((rig.counts(), rig.status("ctas_counts").late), (by_hand(&all), 0), "stream time is forgotten, too");
    let sorted = |names: Vec<String>| names.into_iter().collect::<BTreeSet<_>>();
    assert_eq!((sorted(rig.stores()), sorted(rig.topics())), (sorted(stores), sorted(topics)));
}

#[test]
fn the_latest_is_where_the_topics_end_at_the_statement() {
    let rig = Rig::new(1);
    rig.sql(COPIED).unwrap();
    write(&rig, 0..3);
    rig.flush();
    rig.sql("PAUSE csas_copy").unwrap();
    write(&rig, 3..6);
    rig.sql("ALTER QUERY csas_copy RESET TO LATEST").unwrap();
    write(&rig, 6..8);
    let rig = rig.crashed(2);
    assert_eq!(rig.status("csas_copy").state, QueryState::Paused, "it stays paused");
    write(&rig, 8..9);
    rig.sql("RESUME csas_copy").unwrap();
    rig.flush();
    assert_eq!(copied(&rig), [0, 1, 2, 6, 7, 8]);
    let rig = rig.restarted(1);
    rig.flush();
    assert_eq!(copied(&rig), [0, 1, 2, 6, 7, 8]);
}

#[test]
fn no_row_comes_twice_while_a_running_query_goes_to_the_latest() {
    let rig = Rig::new(2);
    rig.sql(COPIED).unwrap();
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut value = 0;
            while !stop.load(Ordering::Relaxed) {
                write(&rig, value..value + 10);
                value += 10;
            }
            value
        });
        for _ in 0..50 {
            rig.sql("ALTER QUERY csas_copy RESET TO LATEST").unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    write(&rig, [written]);
    rig.flush();
    let copied = copied(&rig);
    assert!(copied.is_sorted_by(|one, next| one < next), "{copied:?}");
    assert_eq!(copied.last(), Some(&written));
}

#[test]
fn offsets_lead_past_a_record_that_stops_the_query() {
    let rig = Rig::new(1);
    rig.sql("CREATE STREAM strict (k BIGINT, v BIGINT) WITH (kafka_topic = 's', value_format = 'json', partitions = 2, on_error = 'stop')")
        .unwrap();
    rig.sql("CREATE STREAM copy WITH (format = 'native') AS SELECT k, v FROM strict").unwrap();
    let append = |partition, values: &[&'static str]| {
        let record = |value: &&'static str| opaque::Record { key: None, value: Some(value.as_bytes()), timestamp_ms: 5, headers: &[] };
        let entry = Entry::opaque(opaque::batch(values.iter().map(record)));
        rig.storage().log.append(Transaction { appends: vec![Append { target: TopicPartition::new("s", partition), entry }] }).unwrap();
    };
    append(0, &["{\"v\": 1}", "nonsense", "{\"v\": 2}", "{\"v\": 3}"]);
    rig.engine.flush().unwrap_err();
    assert_eq!(rig.status("csas_copy").state, QueryState::Failed);
    append(1, &["{\"v\": 4}"]);
    rig.sql("ALTER QUERY csas_copy RESET TO OFFSETS (0 = 2)").unwrap();
    rig.flush();
    let mut values = copied(&rig);
    values.sort_unstable();
    assert_eq!(values, [1, 2, 3, 4], "partition 1 begins at its first record");
    assert_eq!(rig.status("csas_copy").state, QueryState::Running);
    rig.sql("ALTER QUERY csas_copy RESET TO OFFSETS (1 = 1, 0 = 4)").unwrap();
    append(1, &["{\"v\": 5}"]);
    let rig = rig.crashed(1);
    rig.flush();
    let mut values = copied(&rig);
    values.sort_unstable();
    assert_eq!(values, [1, 2, 3, 4, 5]);
}

#[test]
fn offsets_that_cannot_be_change_nothing() {
    let rig = Rig::new(1);
    rig.sql(COPIED).unwrap();
    rig.sql("CREATE TABLE users (k BIGINT PRIMARY KEY, age BIGINT) WITH (kafka_topic = 'users', partitions = 1)").unwrap();
    rig.sql("CREATE STREAM joined AS SELECT s.k, v, age FROM s JOIN users ON s.k = users.k").unwrap();
    rig.sql("CREATE TABLE ages AS SELECT age, COUNT(*) AS n FROM users GROUP BY age").unwrap();
    write(&rig, 0..3);
    rig.flush();
    let version = rig.engine.catalog().version;
    for (query, offsets, message, hint) in [
        ("csas_copy", "1 = 0", "topic s has no partition 1", "Its partitions are 0 to 0."),
        ("csas_copy", "0 = 4", "partition 0 of topic s ends at 3, before 4", "up to 3"),
        ("csas_joined", "0 = 0", "offsets are for a query that reads one topic, and it reads s, users", "TO EARLIEST or TO LATEST"),
        ("ctas_ages", "0 = 0", "it aggregates a table, whose topic users is always read whole", "TO EARLIEST or TO LATEST"),
    ] {
        let error = rig.sql(&format!("ALTER QUERY {query} RESET TO OFFSETS ({offsets})")).unwrap_err();
        assert_eq!((error.sqlstate(), error.to_string()), ("22023", format!("cannot reset query \"{query}\": {message}")));
        assert!(error.hint().unwrap().contains(hint), "{error:?}");
    }
    rig.flush();
    assert_eq!((rig.engine.catalog().version, rig.status("csas_copy").rows_in), (version, 3));
    assert_eq!(copied(&rig), [0, 1, 2]);
    rig.sql("ALTER QUERY csas_copy RESET TO OFFSETS (0 = 3)").unwrap();
    write(&rig, [3]);
    rig.flush();
    assert_eq!(copied(&rig), [0, 1, 2, 3], "the end is an offset, too");
}

#[test]
fn tables_are_read_whole_all_the_same() {
    let rig = Rig::new(1);
    rig.sql("CREATE STREAM s (k BIGINT KEY, v BIGINT) WITH (kafka_topic = 's', partitions = 1)").unwrap();
    rig.sql("CREATE TABLE users (k BIGINT PRIMARY KEY, age BIGINT) WITH (kafka_topic = 'users', partitions = 1)").unwrap();
    rig.sql("CREATE STREAM joined AS SELECT s.k, v, age FROM s JOIN users ON s.k = users.k").unwrap();
    rig.write("users", &[(&[1, 30], 0)]);
    rig.flush();
    rig.write("s", &[(&[1, 5], 1)]);
    rig.flush();
    rig.sql("ALTER QUERY csas_joined RESET TO LATEST").unwrap();
    rig.write("s", &[(&[1, 6], 2)]);
    rig.flush();
    let ages: Vec<i64> = rig.entries("joined").iter().flat_map(|rows| column(rows, "age")).collect();
    assert_eq!(ages, [30, 30], "a row from before and one from behind the reset");
}

#[test]
fn a_crash_right_behind_the_command_leaves_nothing_undone() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(directory.path(), &Options::default()).unwrap();
    for rig in [Rig::new(2), Rig::over(Storage { log: embedded.clone(), state: embedded }, 2)] {
        rig.sql(COPIED).unwrap();
        rig.sql("CREATE TABLE sums AS SELECT k, SUM(v) AS total FROM s GROUP BY k").unwrap();
        write(&rig, 0..4);
        rig.flush();
        only_logged(&rig, "ctas_sums", Vec::new());
        let rig = rig.crashed(2);
        only_logged(&rig, "csas_copy", vec![Start { topic: "s".to_owned(), partition: 0, offset: 2 }]);
        let rig = rig.crashed(2);
        rig.flush();
        assert_eq!(rig.table("sums", &["k"], &["total"])["1"], "6");
        assert_eq!(copied(&rig), [0, 1, 2, 3, 2, 3]);
        // Now it has committed behind the reset, and the reset still is the last command.
        let rig = rig.crashed(1);
        rig.flush();
        assert_eq!(copied(&rig), [0, 1, 2, 3, 2, 3]);
        assert_eq!((rig.status("ctas_sums").rows_in, rig.status("csas_copy").rows_in), (4, 2));
    }
}

#[test]
fn what_cannot_be_cleaned_up_does_not_start() {
    let rig = Rig::new(1);
    rig.sql(COPIED).unwrap();
    write(&rig, 0..3);
    rig.flush();
    rig.faults.refuse_commits(true);
    let error = rig.sql("ALTER QUERY csas_copy RESET").unwrap_err();
    assert!(matches!(&error, Error::NotStarted { query, .. } if query == "csas_copy"), "{error}");
    assert!(error.to_string().contains("no space left"), "{error}");
    assert_eq!(rig.status("csas_copy").state, QueryState::Failed);
    let rig = rig.restarted(1);
    rig.flush();
    assert_eq!(copied(&rig), [0, 1, 2, 0, 1, 2]);
    rig.faults.refuse_commits(true);
    rig.sql("ALTER QUERY csas_copy RESET TO LATEST").unwrap_err();
    rig.faults.refuse_commits(false);
    rig.sql("RESUME csas_copy").unwrap();
    write(&rig, [3]);
    rig.flush();
    assert_eq!(copied(&rig), [0, 1, 2, 0, 1, 2, 3]);
}

#[test]
fn a_query_that_takes_its_place_goes_on_from_there() {
    let rig = Rig::new(1);
    rig.sql(COPIED).unwrap();
    write(&rig, 0..3);
    rig.flush();
    rig.sql("ALTER QUERY csas_copy RESET TO OFFSETS (0 = 1)").unwrap();
    rig.faults.refuse_commits(true);
    rig.sql("CREATE OR REPLACE STREAM copy AS SELECT k, v FROM s WHERE v <> 2").unwrap();
    let rig = rig.restarted(2);
    rig.flush();
    assert_eq!(copied(&rig), [0, 1, 2, 1], "begins where the reset says");
    rig.sql("CREATE OR REPLACE STREAM copy AS SELECT k, v FROM s WHERE v <> 7").unwrap();
    let rig = rig.crashed(1);
    write(&rig, 7..9);
    rig.flush();
    assert_eq!(copied(&rig), [0, 1, 2, 1, 8], "what it has is not cleaned up again");
}

/// As over Kafka: the state in RocksDB is a copy of changelogs.
fn changelogged(path: &Path, log: &Arc<MemoryLog>) -> Storage {
    let options = DatabaseOptions { memory_bytes: 16 << 20, sync: false, service_id: Some("test".to_owned()) };
    let state = Changelogged::open(Database::open(path, &options).unwrap(), log.clone(), "test").unwrap();
    Storage { log: log.clone(), state }
}

#[test]
fn changelogs_of_a_lost_directory_are_cleaned_up() {
    let log = Arc::new(MemoryLog::new());
    let all = events(5_000, 1, 0, &mut Random(9));
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let rig = Rig::over(changelogged(directories[0].path(), &log), 2);
    rig.sql(STREAM).unwrap();
    rig.sql(WINDOWED).unwrap();
    rig.sql("CREATE TABLE sums AS SELECT k, SUM(v) AS total FROM events GROUP BY k").unwrap();
    rig.write("events", &rows(&all[..4_000]));
    rig.flush();
    let sums = rig.table("sums", &["k"], &["total"]);
    only_logged(&rig, "ctas_counts", Vec::new());
    drop(rig);
    let rig = Rig::over(changelogged(directories[1].path(), &log), 1);
    rig.flush();
    assert_eq!(rig.counts(), by_hand(&all[..4_000]));
    assert_eq!((rig.table("sums", &["k"], &["total"]), rig.status("ctas_counts").rows_in), (sums, 4_000));
    rig.write("events", &rows(&all[4_000..]));
    rig.flush();
    drop(rig.crashed(1));
    let rig = Rig::over(changelogged(directories[2].path(), &log), 2);
    rig.flush();
    assert_eq!((rig.counts(), rig.status("ctas_counts").rows_in), (by_hand(&all), 5_000));
}
