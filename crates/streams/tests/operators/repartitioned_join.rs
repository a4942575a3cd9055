//! A join behind a repartition: whichever upstream task was faster, rows meet the table as it was at their times.

use std::collections::BTreeMap;

use datafusion::physical_expr::expressions::col;
use millpond_formats::Format;
use millpond_log::{Control, Entry, murmur2};
use millpond_streams::driver::{Driver, Pace, rows, text};
use millpond_streams::task::WAITING_BYTES_MAX;
use millpond_streams::topology::{OperatorSpec, RepartitionSpec, StreamTableJoinSpec};
use proptest::prelude::*;

use crate::topologies::{layout, node, schema, sink, source, sub_topology, topology};

const HEAD: &str = "k:Int64 v:Utf8 $timestamp:Int64\n";
const NAMES: &str = "id:Int64 name:Utf8 $timestamp:Int64\n";
/// Of the table, and so of what is joined with it.
const PARTITIONS: u32 = 2;

/// `rows`, in `channels` partitions, by `k` to `names`.
fn join(channels: u32) -> Driver {
    let (stream, table) = ("k:Int64 v:Utf8", "id:Int64 name:Utf8");
    let both = format!("{stream} {table}");
    let repartition = RepartitionSpec {
        topic: "by-k".into(),
        partitions: PARTITIONS,
        key: vec![0],
        key_format: Format::Native,
        idle_timeout_ms: Some(1_000),
    };
    let behind = OperatorSpec::RepartitionSource { topic: "by-k".into(), upstream_partitions: channels, table: false };
    let spec = StreamTableJoinSpec { stream_key: vec![col("k", &schema(stream)).unwrap()], table_key: vec![0], left: true, filter: None };
    let before = vec![
        node("rows", OperatorSpec::StreamSource(source("rows", layout(stream, 0))), &[], &schema(stream)),
        node("to", OperatorSpec::RepartitionSink(repartition), &[0], &schema(stream)),
    ];
    let after = vec![
        node("from", behind, &[], &schema(stream)),
        node("names", OperatorSpec::TableSource(source("names", layout(table, 1))), &[], &schema(table)),
        node("join", OperatorSpec::StreamTableJoin(spec), &[0, 1], &schema(&both)),
        node("sink", OperatorSpec::Sink(sink("out", layout(&both, 1), PARTITIONS, false)), &[2], &schema(&both)),
    ];
    let topology = topology(vec![sub_topology(0, channels, before), sub_topology(1, PARTITIONS, after)]);
    Driver::new(topology, &[("rows", channels), ("names", PARTITIONS)]).unwrap()
}

fn partition(key: i64) -> u32 {
    murmur2::partition(&key.to_be_bytes(), PARTITIONS)
}

/// A key of each partition, and the task that joins the first.
fn keys(driver: &Driver) -> (i64, i64, usize) {
    let here = partition(1);
    let other = (2..).find(|key| partition(*key) != here).unwrap();
    (1, other, driver.tasks(1)[here as usize])
}

/// Runs a task until nothing comes.
fn take(driver: &mut Driver, task: usize) {
    while driver.step(task).unwrap() {}
    driver.commit(task).unwrap();
}

/// The stream's value and the table's, of the rows of key 1.
fn joined(driver: &Driver) -> Vec<String> {
    let text = driver.read_text("out").unwrap();
    let rows = text.lines().map(|line| line.split(' ').collect::<Vec<_>>()).filter(|row| row[0] == "1");
    rows.map(|row| format!("{} {}", row[1], row[3])).collect()
}

#[test]
fn rows_wait_for_an_upstream_task_that_is_slower() {
    let mut driver = join(2);
    let (key, other, task) = keys(&driver);
    driver.write_rows("names", partition(key), &format!("{NAMES} {key} x 10\n {key} y 20\n {key} z 30")).unwrap();
    driver.write_rows("rows", 0, &format!("{HEAD} {key} b 19\n {key} d 25\n {key} e 30")).unwrap();
    driver.write_rows("rows", 1, &format!("{HEAD} {key} a 12\n {key} c 20\n {other} - 29")).unwrap();
    take(&mut driver, 0);
    take(&mut driver, task);
    assert_eq!(joined(&driver), [""; 0]);
    take(&mut driver, 1);
    driver.write_rows("rows", 1, &format!("{HEAD} {key} f 31")).unwrap();
    take(&mut driver, task);
    // It has announced that what it brings is not before 29.
    assert_eq!(joined(&driver), ["a x", "b x", "c y", "d y"]);
    assert!(driver.task(task).waiting() && driver.task(task).wants(0));
    driver.run().unwrap();
    assert_eq!(joined(&driver), ["a x", "b x", "c y", "d y", "e z", "f z"]);
}

#[test]
fn an_idle_upstream_task_is_not_waited_for() {
    let mut driver = join(2);
    let (key, _, task) = keys(&driver);
    driver.write_rows("names", partition(key), &format!("{NAMES} {key} x 10")).unwrap();
    driver.write_rows("rows", 0, &format!("{HEAD} {key} a 12")).unwrap();
    driver.task(1).set_idle(0, true);
    driver.commit(1).unwrap();
    driver.write_rows("rows", 1, &format!("{HEAD} {key} b 9")).unwrap();
    take(&mut driver, 0);
    take(&mut driver, task);
    assert_eq!(joined(&driver), ["a x"]);
    driver.run().unwrap();
    assert_eq!(joined(&driver), ["a x", "b x"]);
}

#[test]
fn rows_need_not_wait_once_what_was_on_its_way_has_come() {
    let mut driver = join(2);
    let (key, _, task) = keys(&driver);
    driver.write_rows("rows", 1, &format!("{HEAD} {key} c 30")).unwrap();
    for row in ["a 10", "b 20"] {
        driver.write_rows("rows", 0, &format!("{HEAD} {key} {row}")).unwrap();
        take(&mut driver, 0);
    }
    while driver.step(task).unwrap() {}
    // The first entry is a row and an announcement.
    driver.task(task).release(0, 1, 0).unwrap();
    driver.task(task).set_end(1, 0).unwrap();
    driver.commit(task).unwrap();
    assert_eq!(joined(&driver), ["a -"]);
    driver.write_rows("names", partition(key), &format!("{NAMES} {key} x 10")).unwrap();
    driver.run().unwrap();
    assert_eq!(joined(&driver), ["a -", "b x", "c x"]);
}

#[test]
fn rows_that_were_taken_out_of_order_are_neither_lost_nor_doubled() {
    let mut driver = join(2);
    let (key, _, task) = keys(&driver);
    driver.write_rows("names", partition(key), &format!("{NAMES} {key} x 10\n {key} y 25")).unwrap();
    driver.write_rows("rows", 0, &format!("{HEAD} {key} a 10\n {key} e 50")).unwrap();
    driver.write_rows("rows", 1, &format!("{HEAD} {key} b 20\n {key} c 30")).unwrap();
    take(&mut driver, 0);
    take(&mut driver, 1);
    driver.write_rows("rows", 1, &format!("{HEAD} {key} d 40")).unwrap();
    take(&mut driver, task);
    let position = |driver: &mut Driver| {
        let input = driver.task(task).inputs().swap_remove(0);
        (input.position, input.next_offset)
    };
    // Row e and what stands behind it was read, the last three records of it taken: b, c, and that 30 is reached.
    assert_eq!((joined(&driver), position(&mut driver)), (vec!["a x".into(), "b x".into(), "c y".into()], (Some(1), Some(6))));
    driver.restart().unwrap();
    assert_eq!(position(&mut driver), (Some(1), Some(1)));
    driver.run().unwrap();
    assert_eq!((joined(&driver).join(", "), position(&mut driver).0), ("a x, b x, c y, d y, e y".into(), Some(8)));
}

#[test]
fn only_so_much_waits_for_an_upstream_task_that_brings_nothing() {
    let mut driver = join(2);
    let (key, _, task) = keys(&driver);
    let long = "v".repeat(WAITING_BYTES_MAX / 3);
    driver.write_rows("rows", 1, &format!("{HEAD} {key} z 1")).unwrap();
    for time_ms in 10..13 {
        driver.write_rows("rows", 0, &format!("{HEAD} {key} {long} {time_ms}")).unwrap();
        assert_eq!(joined(&driver).len(), 0);
        take(&mut driver, 0);
        take(&mut driver, task);
    }
    assert_eq!(joined(&driver).len(), 1);
    assert!(driver.task(task).wants(0), "there is room again");
    driver.run().unwrap();
    assert_eq!(joined(&driver).len(), 4);
}

#[test]
fn a_channel_that_the_topology_does_not_know_loses_no_row() {
    let mut driver = join(2);
    let (key, ..) = keys(&driver);
    let row = |row: &str| Entry::columns(rows(&format!("c0:Int64 c1:Utf8 $timestamp:Int64 $stream_time:Int64\n {key} {row}")).unwrap());
    let strange = [row("a 5 5"), Entry::control(0, Control { stream_time_ms: 9, idle: false }), row("b 7 7")];
    for entry in strange {
        driver.write("by-k", partition(key), entry.with_channel(u32::MAX)).unwrap();
    }
    driver.run().unwrap();
    driver.restart().unwrap();
    driver.run().unwrap();
    assert_eq!(joined(&driver), ["a -", "b -"]);
}

/// Partition, key, time.
type Row = (u32, i64, i64);

/// Rows of the stream and of the table (whose partition is that of its key), each partition's in its order.
#[derive(Debug, Clone)]
struct Inputs {
    channels: u32,
    stream: Vec<Row>,
    table: Vec<(i64, i64)>,
}

fn inputs() -> impl Strategy<Value = Inputs> {
    let table = prop::collection::vec((0..4_i64, 0..40_i64), 0..20);
    (1..5_u32, table).prop_flat_map(|(channels, table)| {
        let stream = prop::collection::vec((0..channels, 0..4_i64, 0..40_i64), 1..40);
        stream.prop_map(move |stream| Inputs { channels, stream, table: table.clone() })
    })
}

impl Inputs {
    fn driver(&self, pace: Pace) -> Driver {
        let mut driver = join(self.channels).with_pace(pace);
        for (row, (channel, key, time_ms)) in self.stream.iter().enumerate() {
            driver.write_rows("rows", *channel, &format!("{HEAD} {key} {row} {time_ms}")).unwrap();
        }
        for (row, (key, time_ms)) in self.table.iter().enumerate() {
            driver.write_rows("names", partition(*key), &format!("{NAMES} {key} {row} {time_ms}")).unwrap();
        }
        driver
    }

    /// What each partition gives when all rows are taken in the order of their times. Rows out of order go with those before them.
    fn in_order(&self) -> Vec<Vec<String>> {
        let mut events: Vec<Vec<((i64, bool, u32), String)>> = vec![Vec::new(); PARTITIONS as usize];
        let (mut channels, mut tables) = (BTreeMap::new(), BTreeMap::new());
        let running = |max_ms: &mut i64, time_ms: i64| {
            *max_ms = time_ms.max(*max_ms);
            *max_ms
        };
        for (row, (key, time_ms)) in self.table.iter().enumerate() {
            let place_ms = running(tables.entry(partition(*key)).or_default(), *time_ms);
            events[partition(*key) as usize].push(((place_ms, false, 0), format!("{key} {row}")));
        }
        for (row, (channel, key, time_ms)) in self.stream.iter().enumerate() {
            let place_ms = running(channels.entry(channel).or_default(), *time_ms);
            events[partition(*key) as usize].push(((place_ms, true, *channel), format!("{key} {row} {time_ms}")));
        }
        let run = |mut events: Vec<((i64, bool, u32), String)>| {
            events.sort_by_key(|(place, _)| *place);
            let (mut names, mut joined) = (BTreeMap::new(), Vec::new());
            for ((_, is_stream, _), event) in events {
                let cells: Vec<&str> = event.split(' ').collect();
                match (is_stream, names.get(cells[0])) {
                    (false, _) => drop(names.insert(cells[0].to_owned(), cells[1].to_owned())),
                    (true, Some(name)) => joined.push(format!("{} {} {} {name} {}", cells[0], cells[1], cells[0], cells[2])),
                    (true, None) => joined.push(format!("{} {} - - {}", cells[0], cells[1], cells[2])),
                }
            }
            joined
        };
        events.into_iter().map(run).collect()
    }
}

/// The rows of `out`, partition by partition.
fn out(driver: &Driver) -> Vec<Vec<String>> {
    let partition = |entries: &Vec<_>| {
        let lines = |entry: &std::sync::Arc<Entry>| text(entry.payload.batch().unwrap()).unwrap();
        entries.iter().flat_map(|entry| lines(entry).lines().skip(1).map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    driver.entries("out").unwrap().iter().map(partition).collect()
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Step(usize),
    Commit(usize),
    Restart,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        12 => any::<usize>().prop_map(Deed::Step),
        3 => any::<usize>().prop_map(Deed::Commit),
        1 => Just(Deed::Restart),
    ];
    prop::collection::vec(deed, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_course_gives_what_the_order_of_times_gives(
        inputs in inputs(),
        deeds in deeds(),
        rows_max in 1..8_usize,
        commit_every in 1..6_usize,
    ) {
        let mut driver = inputs.driver(Pace { rows_max, commit_every });
        let tasks = (inputs.channels + PARTITIONS) as usize;
        for deed in deeds {
            match deed {
                Deed::Step(task) => drop(driver.step(task % tasks).unwrap()),
                Deed::Commit(task) => drop(driver.commit(task % tasks).unwrap()),
                Deed::Restart => driver.restart().unwrap(),
            }
        }
        driver.run().unwrap();
        prop_assert_eq!(out(&driver), inputs.in_order());
    }
}
