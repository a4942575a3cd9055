//! What the tests of stateful operators share: batches and results as lines of text, and an operator with commits around it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::util::display::array_value_to_string;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{cast as cast_expression, col};
use millpond_log::Transaction;
use millpond_state::memory::MemoryBackend;
use millpond_state::{Backend, StoreConfig, WriteSet};

use super::store::StoreHandle;
use super::{Context, Counters, Incident, Operator};
use crate::Batch;
use crate::topology::{AggregateCall, AggregateSpec, Emit, Phase, WindowKind, WindowSpec};

/// Key, value, rowtime; a row of the streams and tables here.
pub(crate) type Row<'a> = (Option<&'a str>, Option<i64>, i64);

/// `k` text, `v` bigint.
pub(crate) fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8, true), Field::new("v", DataType::Int64, true)]))
}

/// A batch of [`input`], with the running maximum as stream time from `stream_time` on.
pub(crate) fn stream(rows: &[Row<'_>], stream_time: i64) -> Batch {
    let keys: StringArray = rows.iter().map(|row| row.0).collect();
    let values: Int64Array = rows.iter().map(|row| row.1).collect();
    let running = rows.iter().scan(stream_time, |time, row| {
        *time = row.2.max(*time);
        Some(*time)
    });
    Batch {
        rows: RecordBatch::try_new(input(), vec![Arc::new(keys), Arc::new(values)]).unwrap(),
        timestamps: rows.iter().map(|row| row.2).collect::<Vec<_>>().into(),
        stream_times: running.collect::<Vec<_>>().into(),
        changes: None,
        tombstones: None,
    }
}

/// A batch of changes.
pub(crate) fn changes(rows: &[(i8, Row<'_>)]) -> Batch {
    let plain: Vec<Row<'_>> = rows.iter().map(|(_, row)| *row).collect();
    Batch { changes: Some(Int8Array::from_iter_values(rows.iter().map(|(change, _)| *change))), ..stream(&plain, 0) }
}

/// `name` is one of `count`, `sum`, `avg`, `min`, `max`, `array_agg`.
pub(crate) fn function(name: &str, column: &str) -> Arc<AggregateFunctionExpr> {
    let schema = input();
    let argument = col(column, &schema).unwrap();
    let (udaf, argument) = match name {
        "count" => (count_udaf(), argument),
        "sum" => (sum_udaf(), argument),
        "avg" => (avg_udaf(), cast_expression(argument, &schema, DataType::Float64).unwrap()),
        "min" => (min_udaf(), argument),
        "max" => (max_udaf(), argument),
        _ => (array_agg_udaf(), argument),
    };
    Arc::new(AggregateExprBuilder::new(udaf, vec![argument]).schema(schema).alias(name).build().unwrap())
}

pub(crate) fn call(name: &str) -> AggregateCall {
    AggregateCall { function: function(name, "v"), filter: None }
}

/// Grouped by `k`.
pub(crate) fn spec(phase: Phase, names: &[&str], window: Option<WindowSpec>, emit: Emit) -> AggregateSpec {
    let aggregates = names.iter().map(|name| call(name)).collect();
    AggregateSpec { phase, group: vec![column("k")], aggregates, window, emit }
}

pub(crate) fn column(name: &str) -> Arc<dyn PhysicalExpr> {
    col(name, &input()).unwrap()
}

pub(crate) fn time_window(size_ms: i64, advance_ms: i64, grace_ms: i64) -> Option<WindowSpec> {
    Some(WindowSpec { kind: WindowKind::Time { size_ms, advance_ms }, grace_ms, retention_ms: size_ms + grace_ms })
}

pub(crate) fn session_window(gap_ms: i64, grace_ms: i64) -> Option<WindowSpec> {
    Some(WindowSpec { kind: WindowKind::Session { gap_ms }, grace_ms, retention_ms: gap_ms + grace_ms })
}

/// The columns that an aggregate gives.
pub(crate) fn output(spec: &AggregateSpec) -> SchemaRef {
    let mut fields = vec![Arc::new(Field::new("k", DataType::Utf8, true))];
    if spec.window.is_some() {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        fields.extend(["windowstart", "windowend"].map(|name| Arc::new(Field::new(name, time.clone(), true))));
    }
    for call in &spec.aggregates {
        match spec.phase {
            Phase::Partial => fields.extend(call.function.state_fields().unwrap()),
            _ => fields.push(call.function.field()),
        }
    }
    Arc::new(Schema::new(fields))
}

/// A store of its own, in memory.
pub(crate) fn backend() -> Arc<dyn Backend> {
    Arc::new(MemoryBackend::new())
}

pub(crate) fn store(backend: &Arc<dyn Backend>) -> StoreHandle {
    StoreHandle::open(backend, "store", 0, StoreConfig::keep(1)).unwrap()
}

/// An operator that runs, and what it has given.
pub(crate) struct Run {
    pub(crate) operator: Box<dyn Operator>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) given: Vec<Batch>,
    pub(crate) counters: Counters,
    pub(crate) incidents: Vec<Incident>,
}

impl Run {
    pub(crate) fn new(operator: impl Operator + 'static, backend: &Arc<dyn Backend>) -> Run {
        let (given, incidents) = (Vec::new(), Vec::new());
        Run { operator: Box::new(operator), backend: backend.clone(), given, counters: Counters::default(), incidents }
    }

    fn with(&mut self, act: impl FnOnce(&mut dyn Operator, &mut Context<'_>)) {
        let mut context = Context { node: "node", ..Context::default() };
        act(self.operator.as_mut(), &mut context);
        self.given.append(&mut context.forwarded);
        self.incidents.append(&mut context.incidents);
        self.counters += context.counters;
    }

    pub(crate) fn process(&mut self, batch: Batch) {
        self.process_at(0, batch);
    }

    pub(crate) fn process_at(&mut self, port: usize, batch: Batch) {
        self.with(|operator, context| operator.process(port, batch, context).unwrap());
    }

    pub(crate) fn advance(&mut self, stream_time: i64) {
        self.with(|operator, context| operator.advance(stream_time, context).unwrap());
    }

    /// Cuts the rows into batches and commits, as `cuts` says: 0 for on in the same batch, 1 for a new batch, 2 for a commit before it.
    pub(crate) fn feed(&mut self, rows: &[Row<'_>], cuts: &[u8]) {
        let (mut from, mut stream_time) = (0, 0);
        for to in 1..=rows.len() {
            let cut = if to == rows.len() { 2 } else { cuts[to % cuts.len()] };
            if cut > 0 {
                self.process(stream(&rows[from..to], stream_time));
                stream_time = rows[from..to].iter().fold(stream_time, |time, row| time.max(row.2));
                self.advance(stream_time);
                from = to;
            }
            if cut > 1 {
                self.commit();
            }
        }
    }

    pub(crate) fn commit(&mut self) {
        self.with(|operator, context| operator.flush(context).unwrap());
        let mut writes = WriteSet::default();
        self.operator.write(&mut writes).unwrap();
        self.backend.commit(Transaction::default(), writes).unwrap();
    }

    /// What was given since this was last asked, a line for each row.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        self.given.drain(..).flat_map(|batch| (0..batch.num_rows()).map(|row| line(&batch, row)).collect::<Vec<_>>()).collect()
    }

    /// The table that all changes given so far make; `key_columns` of them are the key. Each row must be taken back as it was given.
    pub(crate) fn table(&self, key_columns: usize) -> BTreeMap<Vec<String>, Vec<String>> {
        let mut table = BTreeMap::new();
        for batch in &self.given {
            let changes = batch.changes.as_ref().expect("a table gives changes");
            for row in 0..batch.num_rows() {
                let mut key = cells(batch, row);
                let value = key.split_off(key_columns);
                if changes.value(row) > 0 {
                    assert_eq!(table.insert(key.clone(), value), None, "{key:?} was not taken back");
                } else {
                    assert_eq!(table.remove(&key), Some(value), "{key:?} is taken back as it was not given");
                }
            }
        }
        table
    }
}

fn cells(batch: &Batch, row: usize) -> Vec<String> {
    batch.rows.columns().iter().map(|column| cell(column, row)).collect()
}

fn cell(column: &ArrayRef, row: usize) -> String {
    match column.data_type() {
        _ if column.is_null(row) => "null".into(),
        DataType::Timestamp(..) => cast(column, &DataType::Int64).unwrap().as_primitive::<Int64Type>().value(row).to_string(),
        _ => array_value_to_string(column, row).unwrap(),
    }
}

/// The sign of a change, the columns, and the rowtime.
fn line(batch: &Batch, row: usize) -> String {
    let sign = match &batch.changes {
        Some(changes) if changes.value(row) > 0 => "+",
        Some(_) => "-",
        None => "",
    };
    format!("{sign}{} @{}", cells(batch, row).join(" "), batch.timestamps.value(row))
}
