//! Backfill gives what live gives (design D16): partitions of one topic are read at different speeds, through a repartition, and no
//! row comes too late that would not have done so live.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::col;
use millpond_formats::Format;
use millpond_log::Entry;
use millpond_log::entry::TIMESTAMP;
use millpond_streams::driver::{Driver, Pace};
use millpond_streams::topology::{
    AggregateCall, AggregateSpec, Emit, Node, OnDataLoss, OnError, OperatorSpec, Phase, RecordLayout, RepartitionSpec, SourceColumn,
    SourceSpec, WindowKind, WindowSpec,
};
use millpond_streams::{SubTopology, Topology};

const PARTITIONS: usize = 4;
const ROWS: usize = 500_000;
const DISORDER_MS: u64 = 1_000;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]))
}

fn source() -> Node {
    let layout = RecordLayout {
        columns: schema().fields().to_vec(),
        key_columns: 0,
        headers: Vec::new(),
        key_format: Format::Native,
        value_format: Format::Native,
        windowed: None,
        wrap_single_value: true,
    };
    let spec = SourceSpec {
        source: "events".into(),
        topic: "events".into(),
        layout,
        columns: vec![SourceColumn::Declared(0)],
        timestamp: None,
        on_error: OnError::Stop,
        on_data_loss: OnDataLoss::Earliest,
        idle_timeout_ms: Some(1_000),
    };
    Node { id: "source".into(), operator: OperatorSpec::StreamSource(spec), inputs: vec![], schema: schema() }
}

/// `SELECT k, count(*) FROM events WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 5 SECONDS) GROUP BY k`
fn windowed_count(emit: Emit) -> Topology {
    let window = WindowSpec { kind: WindowKind::Time { size_ms: 10_000, advance_ms: 10_000 }, grace_ms: 5_000, retention_ms: 15_000 };
    let key = col("k", &schema()).unwrap();
    let count = AggregateExprBuilder::new(count_udaf(), vec![key.clone()]).schema(schema()).alias("n").build().unwrap();
    let count = AggregateCall { function: Arc::new(count), filter: None };
    let spec = |phase| AggregateSpec { phase, group: vec![key.clone()], aggregates: vec![count.clone()], window: Some(window), emit };
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let columns = ["k", "windowstart", "windowend", "n"].into_iter().zip([DataType::Int64, time.clone(), time, DataType::Int64]);
    let counts: SchemaRef = Arc::new(Schema::new(columns.map(|(name, data_type)| Field::new(name, data_type, true)).collect::<Vec<_>>()));
    let node = |id: &str, operator, inputs| Node { id: id.into(), operator, inputs, schema: counts.clone() };
    let repartition =
        RepartitionSpec { topic: "by-k".into(), partitions: 3, key: vec![0], key_format: Format::Native, idle_timeout_ms: Some(1_000) };
    let behind = OperatorSpec::RepartitionSource { topic: "by-k".into(), upstream_partitions: PARTITIONS as u32, table: false };
    Topology {
        query: "counts".into(),
        sub_topologies: vec![
            SubTopology {
                id: 0,
                partitions: PARTITIONS as u32,
                nodes: vec![
                    source(),
                    node("partial", OperatorSpec::Aggregate(spec(Phase::Partial)), vec![0]),
                    node("by-k", OperatorSpec::RepartitionSink(repartition), vec![1]),
                ],
            },
            SubTopology {
                id: 1,
                partitions: 3,
                nodes: vec![
                    node("by-k-source", behind, vec![]),
                    node("final", OperatorSpec::Aggregate(spec(Phase::Final)), vec![0]),
                    node("push", OperatorSpec::Push, vec![1]),
                ],
            },
        ],
    }
}

/// Keys and times of each partition: a row a millisecond over all of them, up to a second out of order.
fn events() -> Vec<Vec<(i64, i64)>> {
    let mut state = 42_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut event = |row: usize| ((random() % 7) as i64, (row + DISORDER_MS as usize) as i64 - (random() % DISORDER_MS) as i64);
    (0..PARTITIONS).map(|partition| (0..ROWS).map(|row| event(row * PARTITIONS + partition)).collect()).collect()
}

fn entry(rows: &[(i64, i64)]) -> Entry {
    let columns =
        [("k", Int64Array::from_iter_values(rows.iter().map(|row| row.0))), (TIMESTAMP, rows.iter().map(|row| Some(row.1)).collect())];
    Entry::columns(RecordBatch::try_from_iter(columns.map(|(name, column)| (name, Arc::new(column) as _))).unwrap())
}

type Counts = BTreeMap<(i64, i64), i64>;

fn by_hand(events: &[Vec<(i64, i64)>]) -> Counts {
    let mut counts = Counts::new();
    for (key, time) in events.iter().flatten() {
        *counts.entry((time - time % 10_000, *key)).or_default() += 1;
    }
    counts
}

/// What the changes that were given make, by window and key.
fn collected(driver: &Driver) -> Counts {
    let mut counts = Counts::new();
    for batch in driver.pushed() {
        let column = |index: usize| cast(batch.rows.column(index), &DataType::Int64).unwrap().as_primitive::<Int64Type>().clone();
        let (keys, starts, values) = (column(0), column(1), column(3));
        let changes = batch.changes.unwrap();
        for row in 0..keys.len() {
            let group = (starts.value(row), keys.value(row));
            if changes.value(row) > 0 {
                assert_eq!(counts.insert(group, values.value(row)), None, "{group:?} was not taken back");
            } else {
                assert_eq!(counts.remove(&group), Some(values.value(row)), "{group:?} was given otherwise");
            }
        }
    }
    counts
}

fn driver(emit: Emit) -> Driver {
    Driver::new(windowed_count(emit), &[("events", PARTITIONS as u32)]).unwrap().with_pace(Pace { rows_max: 20_000, commit_every: 2 })
}

#[test]
fn a_partition_that_is_held_back_loses_no_row() {
    let events = events();
    let expected = by_hand(&events);
    for emit in [Emit::Changes, Emit::Final] {
        let mut driver = driver(emit);
        for (partition, rows) in events.iter().enumerate() {
            for rows in rows.chunks(50_000) {
                driver.write("events", partition as u32, entry(rows)).unwrap();
            }
        }
        let (readers, behind) = (driver.tasks(0), driver.tasks(1));
        let mut moved = true;
        while moved {
            moved = false;
            for task in readers[..PARTITIONS - 1].iter().chain(&behind) {
                moved |= driver.step(*task).unwrap();
                driver.commit(*task).unwrap();
            }
        }
        driver.idle().unwrap();
        assert_eq!((driver.counters().late, driver.take_incidents().len()), (0, 0));
        assert_eq!(collected(&driver), expected);
    }
}

#[test]
fn the_same_rows_live_give_the_same_table() {
    let events: Vec<_> = events().into_iter().map(|rows| rows[..50_000].to_vec()).collect();
    let expected = by_hand(&events);
    let mut driver = driver(Emit::Changes);
    for piece in 0..50_000 / 500 {
        for (partition, rows) in events.iter().enumerate() {
            driver.write("events", partition as u32, entry(&rows[piece * 500..(piece + 1) * 500])).unwrap();
        }
        driver.run().unwrap();
    }
    assert_eq!(driver.counters().late, 0);
    assert_eq!(collected(&driver), expected);
}
