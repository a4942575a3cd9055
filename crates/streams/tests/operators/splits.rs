//! However the input is cut, wherever commits and restarts fall: the table is the same.

use std::collections::BTreeMap;

use millpond_formats::Format;
use millpond_streams::Topology;
use millpond_streams::driver::{Driver, Pace, sorted_text};
use millpond_streams::topology::{OperatorSpec, RepartitionSpec};
use proptest::prelude::*;

use crate::topologies::{layout, node, schema, sink, source, sub_topology, topology};

const COLUMNS: &str = "k:Int64 v:Int64";

/// A table through a repartition by its own key, and into a table.
fn moved() -> Topology {
    let schema = schema(COLUMNS);
    let spec = RepartitionSpec { topic: "by-k".into(), partitions: 2, key: vec![0], key_format: Format::Native, idle_timeout_ms: None };
    let behind = OperatorSpec::RepartitionSource { topic: "by-k".into(), upstream_partitions: 1, table: true };
    let source = OperatorSpec::TableSource(source("in", layout(COLUMNS, 1)));
    let sink = OperatorSpec::Sink(sink("out", layout(COLUMNS, 1), 2, true));
    topology(vec![
        sub_topology(0, 1, vec![node("source", source, &[], &schema), node("to", OperatorSpec::RepartitionSink(spec), &[0], &schema)]),
        sub_topology(1, 2, vec![node("from", behind, &[], &schema), node("sink", sink, &[0], &schema)]),
    ])
}

/// Key, value (`None` deletes).
type Change = (i64, Option<i64>);

fn run(changes: &[Change], pace: Pace, restart_at: Option<usize>) -> (String, String) {
    let mut driver = Driver::new(moved(), &[("in", 1)]).unwrap().with_pace(pace);
    let mut rows = "k:Int64 v:Int64 $timestamp:Int64 $tombstone:Boolean\n".to_owned();
    for (time, (key, value)) in changes.iter().enumerate() {
        let text = value.map_or("-".to_owned(), |value| value.to_string());
        rows.push_str(&format!("{key} {text} {time} {}\n", value.is_none()));
    }
    driver.write_rows("in", 0, &rows).unwrap();
    if let Some(steps) = restart_at {
        for step in 0..steps {
            driver.step(step % 3).unwrap();
        }
        driver.restart().unwrap();
    }
    driver.run().unwrap();
    let read = driver.read("out").unwrap().map(|rows| last_records(&sorted_text(&rows).unwrap())).unwrap_or_default();
    (driver.table_text("out").unwrap(), read)
}

/// What the topic's records leave of each key: by the latest time.
fn last_records(text: &str) -> String {
    let mut last: BTreeMap<i64, (i64, String)> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(' ').collect();
        let (key, time): (i64, i64) = (cells[0].parse().unwrap(), cells[2].parse().unwrap());
        let now = last.entry(key).or_insert((time, line.to_owned()));
        if time >= now.0 {
            *now = (time, line.to_owned());
        }
    }
    let rows = last.values().map(|(_, line)| line.as_str()).filter(|line| line.ends_with("false"));
    rows.collect::<Vec<_>>().join("\n")
}

fn expected(changes: &[Change]) -> BTreeMap<i64, (i64, usize)> {
    let mut table = BTreeMap::new();
    for (time, (key, value)) in changes.iter().enumerate() {
        match value {
            Some(value) => table.insert(*key, (*value, time)),
            None => table.remove(key),
        };
    }
    table
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cut_gives_the_same_table(
        changes in prop::collection::vec((0..6_i64, prop::option::weighted(0.7, 0..100_i64)), 1..40),
        rows_max in 1..10_usize,
        commit_every in 1..6_usize,
        restart_at in prop::option::of(0..12_usize),
    ) {
        let table = expected(&changes);
        let records: Vec<String> = table.iter().map(|(key, (value, time))| format!("{key} {value} {time} false")).collect();
        let whole = run(&changes, Pace::default(), None);
        prop_assert_eq!(&whole.1, &records.join("\n"));
        prop_assert_eq!(whole.0.lines().count(), table.len() + 1);
        prop_assert_eq!(run(&changes, Pace { rows_max, commit_every }, restart_at), whole);
    }
}
