use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use datafusion::logical_expr::Operator::Gt;
use datafusion::physical_expr::expressions::{binary, col, lit};
use millpond_streams::driver::{Driver, Pace};
use millpond_streams::topology::{OperatorSpec, SinkSpec};

use crate::topologies::{layout, line, lines, node, schema, sink, source};

const COLUMNS: &str = "k:Int64 v:Int64";
const HEAD: &str = "k:Int64 v:Int64 $timestamp:Int64 $tombstone:Boolean\n";

fn table(spec: SinkSpec) -> Driver {
    let schema = schema(COLUMNS);
    let topology = line(vec![
        node("source", OperatorSpec::TableSource(source("in", layout(COLUMNS, 1))), &[], &schema),
        node("sink", OperatorSpec::Sink(spec), &[0], &schema),
    ]);
    Driver::new(topology, &[("in", 1)]).unwrap()
}

#[test]
fn a_table_has_the_last_row_of_each_key() {
    let mut driver = table(sink("out", layout(COLUMNS, 1), 1, true));
    let rows = format!("{HEAD} 1 10 1 false\n 2 20 2 false\n 1 11 3 false\n - 5 4 false\n 3 30 5 false\n 3 - 6 true\n 4 - 7 true");
    driver.write_rows("in", 0, &rows).unwrap();
    driver.run().unwrap();
    let table = "k v rowtime\n 1 11 1970-01-01T00:00:00.003\n 2 20 1970-01-01T00:00:00.002";
    assert_eq!(driver.table_text("out").unwrap(), lines(table));
    assert_eq!(driver.read_text("out").unwrap(), lines("k v $timestamp $tombstone\n 2 20 2 false\n 1 11 3 false"));
    assert_eq!(driver.counters().null_key, 1);

    driver.restart().unwrap();
    driver.write_rows("in", 0, &format!("{HEAD} 2 - 8 true")).unwrap();
    driver.run().unwrap();
    assert_eq!(driver.table_text("out").unwrap(), lines("k v rowtime\n 1 11 1970-01-01T00:00:00.003"));
    assert!(driver.read_text("out").unwrap().ends_with("\n2 - 8 true"));
}

#[test]
fn a_commit_gives_one_record_of_a_key_unless_every_update_is_wanted() {
    for (emit_every_update, expected) in [(false, "1 12 3 false"), (true, "1 10 1 false\n 1 11 2 false\n 1 12 3 false")] {
        let mut driver = table(SinkSpec { emit_every_update, ..sink("out", layout(COLUMNS, 1), 1, true) });
        driver = driver.with_pace(Pace { rows_max: 1, commit_every: 10 });
        driver.write_rows("in", 0, &format!("{HEAD} 1 10 1 false\n 1 11 2 false\n 1 12 3 false")).unwrap();
        driver.run().unwrap();
        assert_eq!(driver.read_text("out").unwrap(), lines(&format!("k v $timestamp $tombstone\n {expected}")));
        assert_eq!(driver.table_text("out").unwrap(), lines("k v rowtime\n 1 12 1970-01-01T00:00:00.003"));
    }
}

#[test]
fn a_store_only_sink_leaves_the_topic_alone() {
    let mut driver = table(SinkSpec { store_only: true, ..sink("out", layout(COLUMNS, 1), 1, true) });
    driver.write_rows("in", 0, &format!("{HEAD} 1 10 1 false")).unwrap();
    driver.run().unwrap();
    assert_eq!(driver.read("out").unwrap(), None);
    assert_eq!(driver.table_text("out").unwrap(), lines("k v rowtime\n 1 10 1970-01-01T00:00:00.001"));
}

#[test]
fn changes_are_pairs_and_a_filter_judges_each_half() {
    let schema = schema(COLUMNS);
    let predicate = binary(col("v", &schema).unwrap(), Gt, lit(10_i64), &schema).unwrap();
    let topology = line(vec![
        node("source", OperatorSpec::TableSource(source("in", layout(COLUMNS, 1))), &[], &schema),
        node("filter", OperatorSpec::Filter { predicate }, &[0], &schema),
        node("push", OperatorSpec::Push, &[1], &schema),
    ]);
    let mut driver = Driver::new(topology, &[("in", 1)]).unwrap().with_pace(Pace { rows_max: 1, commit_every: 1 });
    driver.write_rows("in", 0, &format!("{HEAD} 1 11 1 false\n 1 12 2 false\n 1 9 3 false\n 1 - 4 true")).unwrap();
    driver.run().unwrap();
    let pushed = driver.pushed();
    let changes: Vec<(i64, i8)> = pushed
        .iter()
        .flat_map(|batch| {
            let values = batch.rows.column(1).as_primitive::<Int64Type>().values().to_vec();
            let changes = batch.changes.as_ref().unwrap();
            assert_eq!(changes.null_count(), 0);
            values.into_iter().zip(changes.values().to_vec())
        })
        .collect();
    assert_eq!(changes, [(11, 1), (11, -1), (12, 1), (12, -1)]);
}

#[test]
fn a_store_of_other_columns_is_not_read() {
    let mut driver = table(sink("out", layout(COLUMNS, 1), 1, true));
    driver.write_rows("in", 0, &format!("{HEAD} 1 10 1 false")).unwrap();
    driver.run().unwrap();
    let (columns, stores) = ("k:Int64 v:Utf8", millpond_streams::task::Stores::new(driver.backend().clone()));
    let other = line(vec![node("source", OperatorSpec::TableSource(source("in", layout(columns, 1))), &[], &schema(columns))]);
    assert!(millpond_streams::Task::build("query", &other.sub_topologies[0], 0, &stores).is_err());
}
