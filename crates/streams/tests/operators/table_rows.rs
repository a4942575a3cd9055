//! A table that is read from its aggregate's groups has the rows that it would have in a store of its own.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::Operator::{Lt, Multiply};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{binary, col, lit};
use millpond_streams::Topology;
use millpond_streams::driver::{Driver, Pace};
use millpond_streams::topology::{
    AggregateCall, AggregateSpec, Emit, OperatorSpec, Phase, RecordLayout, SinkSpec, TableStore, WindowKind, WindowSpec, Windowed,
};

use crate::topologies::{layout, line, node, schema, sink, source};

const IN: &str = "k:Int64";
const SIZE_MS: i64 = 100;

#[derive(Debug, Clone, Copy)]
struct Case {
    windowed: bool,
    emit: Emit,
}

/// `SELECT count(k) * 10 AS tens, k FROM in [WINDOW TUMBLING …] GROUP BY k HAVING count(k) < 4`
fn tens(case: Case, table: TableStore) -> Topology {
    let rows = schema(IN);
    let key = col("k", &rows).unwrap();
    let count = AggregateExprBuilder::new(count_udaf(), vec![key.clone()]).schema(rows.clone()).alias("n").build().unwrap();
    let window = case.windowed.then_some(WindowSpec {
        kind: WindowKind::Time { size_ms: SIZE_MS, advance_ms: SIZE_MS },
        grace_ms: 50,
        retention_ms: 150,
    });
    let calls = vec![AggregateCall { function: Arc::new(count), filter: None }];
    let spec = AggregateSpec { phase: Phase::Single, group: vec![key], aggregates: calls, window, emit: case.emit };
    let counts = described(&["k"], case.windowed, &["n"]);
    let having = binary(col("n", &counts).unwrap(), Lt, lit(4_i64), &counts).unwrap();
    let mut list = vec![binary(col("n", &counts).unwrap(), Multiply, lit(10_i64), &counts).unwrap(), col("k", &counts).unwrap()];
    if case.windowed {
        list.extend([col("windowstart", &counts).unwrap(), col("windowend", &counts).unwrap()]);
    }
    let selected = described(&["tens", "k"], case.windowed, &[]);
    let sink = SinkSpec {
        layout: RecordLayout { windowed: case.windowed.then_some(Windowed::Time { size_ms: SIZE_MS }), ..layout("k:Int64 tens:Int64", 1) },
        columns: vec![1, 0],
        window: case.windowed.then_some((2, 3)),
        table: Some(table),
        ..sink("out", layout("k:Int64 tens:Int64", 1), 1, true)
    };
    line(vec![
        node("source", OperatorSpec::StreamSource(source("in", layout(IN, 0))), &[], &rows),
        node("aggregate", OperatorSpec::Aggregate(spec), &[0], &counts),
        node("having", OperatorSpec::Filter { predicate: having }, &[1], &counts),
        node("select", OperatorSpec::Project { expressions: list }, &[2], &selected),
        node("sink", OperatorSpec::Sink(sink), &[3], &selected),
    ])
}

fn described(before: &[&str], windowed: bool, behind: &[&str]) -> SchemaRef {
    let number = |name: &&str| Field::new(*name, DataType::Int64, true);
    let bound = |name: &&str| Field::new(*name, DataType::Timestamp(TimeUnit::Millisecond, None), true);
    let bounds: &[&str] = if windowed { &["windowstart", "windowend"] } else { &[] };
    let fields = before.iter().map(number).chain(bounds.iter().map(bound)).chain(behind.iter().map(number));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[test]
fn what_is_read_from_groups_is_what_the_sink_would_have_kept() {
    let mut state = 42_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let unwindowed = Case { windowed: false, emit: Emit::Changes };
    for case in [unwindowed, Case { emit: Emit::EveryUpdate, ..unwindowed }, Case { windowed: true, ..unwindowed }] {
        let stores = [TableStore::Own("table/out".into()), TableStore::Aggregate(1)];
        let pace = Pace { rows_max: 7, commit_every: 2 };
        let mut drivers = stores.map(|store| Driver::new(tens(case, store), &[("in", 1)]).unwrap().with_pace(pace));
        let mut seen = 0;
        for step in 0..60_u64 {
            let rows: Vec<String> = (0..=random(12)).map(|_| format!("{} {}", random(30), step * 20 + random(120))).collect();
            for driver in &mut drivers {
                driver.write_rows("in", 0, &format!("k:Int64 $timestamp:Int64\n{}", rows.join("\n"))).unwrap();
                driver.run().unwrap();
                if step % 11 == 10 {
                    driver.restart().unwrap();
                }
            }
            let [own, groups] = drivers.each_ref().map(|driver| driver.table_text("out").unwrap());
            assert_eq!(groups, own, "{case:?}, step {step}");
            seen += own.lines().count() - 1;
        }
        assert!(seen > 60, "{case:?}");
        let [own, groups] = drivers.map(|driver| driver.read_text("out").unwrap());
        assert_eq!(groups, own, "{case:?}");
    }
}
