//! What a query is made of: descriptions only; [`crate::task`] makes operators of them.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use millpond_formats::Format;

/// A query's sub-topologies, in the order data passes them; they are connected by repartition topics only.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The query's id.
    pub query: String,
    pub sub_topologies: Vec<SubTopology>,
}

/// What one task runs. There is a task for each of `partitions`.
#[derive(Debug, Clone)]
pub struct SubTopology {
    pub id: u32,
    pub partitions: u32,
    /// Inputs before those that read them.
    pub nodes: Vec<Node>,
}

/// An operator, where its input comes from, and the columns it gives.
#[derive(Debug, Clone)]
pub struct Node {
    /// Stable across plans of the same query: made of names, not of counters. Stores are named after it.
    pub id: String,
    pub operator: OperatorSpec,
    /// Indexes into `SubTopology::nodes`; the position in here is the port.
    pub inputs: Vec<usize>,
    pub schema: SchemaRef,
}

impl Node {
    /// The name of its own store, in a query of that id.
    pub fn store(&self, query: &str) -> String {
        format!("{query}/{}", self.id)
    }
}

#[derive(Debug, Clone)]
pub enum OperatorSpec {
    /// Reads a stream's topic.
    StreamSource(SourceSpec),
    /// Reads a table's topic, keeps the last row of each key in a store named after the node, gives changes.
    TableSource(SourceSpec),
    /// Reads what a [`OperatorSpec::RepartitionSink`] wrote. Its columns are the node's schema.
    RepartitionSource {
        topic: Arc<str>,
        upstream_partitions: u32,
        table: bool,
    },
    Filter {
        predicate: Arc<dyn PhysicalExpr>,
    },
    /// One expression for each field of the node's schema.
    Project {
        expressions: Vec<Arc<dyn PhysicalExpr>>,
    },
    /// Several streams of the same schema into one.
    Merge,
    /// Streams only; with `AggregateSpec::window` or without.
    Aggregate(AggregateSpec),
    /// Aggregates over a table's changes.
    TableAggregate(AggregateSpec),
    /// Port 0 is the stream, port 1 the table.
    StreamTableJoin(StreamTableJoinSpec),
    /// Writes to a repartition topic: native columns with `$timestamp`, `$stream_time`, and `$change` for tables.
    RepartitionSink(RepartitionSpec),
    /// Writes to the sink's topic and, for a table, to its table store.
    Sink(SinkSpec),
    /// Hands the batches to whoever started the query (push queries).
    Push,
}

/// A topic to be read.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// The source's name.
    pub source: String,
    pub topic: Arc<str>,
    pub layout: RecordLayout,
    /// What the node's schema is made of, in its order.
    pub columns: Vec<SourceColumn>,
    /// Index into `layout.columns` of the column that gives rowtime, with its pattern for text.
    pub timestamp: Option<(usize, Option<String>)>,
    pub on_error: OnError,
    pub on_data_loss: OnDataLoss,
    /// A channel that is caught up and silent for so long does not hold stream time back. `None`: it always does.
    pub idle_timeout_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    Skip,
    DeadLetter,
    Stop,
}

/// Where a task goes on whose next record was deleted before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDataLoss {
    Earliest,
    Latest,
    Stop,
}

/// How a topic's records are written.
#[derive(Debug, Clone)]
pub struct RecordLayout {
    /// All declared columns: those of the key, those of the value, those of headers.
    pub columns: Vec<FieldRef>,
    /// How many of them are key columns.
    pub key_columns: usize,
    /// What the last of them are. They are read and never written.
    pub headers: Vec<Header>,
    pub key_format: Format,
    pub value_format: Format,
    /// Keys carry a window: native entries have columns `windowstart` and `windowend` (Timestamp ms) after the key columns.
    pub windowed: Option<Windowed>,
    /// Column names are upper case for readers of JSON (`dialect = ksqldb`): matched case-insensitively in any case.
    pub wrap_single_value: bool,
}

/// What a column has of a record's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// All of them: List<Struct<Utf8, Binary>>, or Utf8 as `key=value, …`.
    All,
    /// The value of the last one of that key, null where there is none: Binary, or what its text is in another type.
    Last(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windowed {
    Time { size_ms: i64 },
    Session,
}

/// A column of a source node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceColumn {
    /// Index into `RecordLayout::columns`.
    Declared(usize),
    /// Timestamp(ms).
    Rowtime,
    /// Int32.
    RowPartition,
    /// Int64.
    RowOffset,
    /// Timestamp(ms), of the windowed key; nulls when the layout is not windowed.
    WindowStart,
    WindowEnd,
}

/// The node's schema is: the group expressions, then `windowstart` and `windowend` (Timestamp ms) when windowed, then one column for
/// each aggregate (`Phase::Single`, `Phase::Final`) or the aggregates' state fields one after another (`Phase::Partial`).
#[derive(Debug, Clone)]
pub struct AggregateSpec {
    pub phase: Phase,
    /// Over the input's columns; `Phase::Final` ignores them and takes the first columns. A row where one is null or fails is left out.
    pub group: Vec<Arc<dyn PhysicalExpr>>,
    pub aggregates: Vec<AggregateCall>,
    pub window: Option<WindowSpec>,
    pub emit: Emit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// All of it here: the input is partitioned by the group already. Session windows and table aggregates know only this one.
    Single,
    /// Pre-combines before a repartition: judges lateness, assigns windows, keeps nothing beyond a commit.
    Partial,
    /// Behind a `Partial`.
    Final,
}

#[derive(Debug, Clone)]
pub struct AggregateCall {
    pub function: Arc<AggregateFunctionExpr>,
    /// `FILTER (WHERE …)`.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSpec {
    pub kind: WindowKind,
    /// A row is late for a window when `window end + grace_ms <= stream time` (sessions: `<`, and gap counts too).
    pub grace_ms: i64,
    /// Windows are kept until `window end + retention beyond the window`: at least size + grace from the window's start.
    pub retention_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    /// Tumbling has `advance_ms == size_ms`.
    Time {
        size_ms: i64,
        advance_ms: i64,
    },
    Session {
        gap_ms: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// The last update of each key in a commit interval.
    Changes,
    /// Each update (`emit_every_update`).
    EveryUpdate,
    /// Once, when the window closes.
    Final,
}

/// The node's schema is the stream's columns, then the table's.
#[derive(Debug, Clone)]
pub struct StreamTableJoinSpec {
    /// Over the stream's columns, in the order of `table_key`.
    pub stream_key: Vec<Arc<dyn PhysicalExpr>>,
    /// The table's primary key: column indexes of the table side. The table's rows live in a store named after the join.
    pub table_key: Vec<usize>,
    /// LEFT: a row without a partner is given with nulls.
    pub left: bool,
    /// Over stream columns then table columns: the rest of the ON condition.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

#[derive(Debug, Clone)]
pub struct RepartitionSpec {
    pub topic: Arc<str>,
    pub partitions: u32,
    /// Indexes into the input's columns: what is hashed ([`crate::operator::partition`]).
    pub key: Vec<usize>,
    /// How the key is written to be hashed: as in the topic that the rows must be co-partitioned with.
    pub key_format: Format,
    pub idle_timeout_ms: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct SinkSpec {
    /// The sink's name.
    pub sink: String,
    pub topic: Arc<str>,
    pub partitions: u32,
    pub layout: RecordLayout,
    /// Which input column each of `layout.columns` is.
    pub columns: Vec<usize>,
    /// Input columns with the window's bounds, when `layout.windowed`.
    pub window: Option<(usize, usize)>,
    /// Where the table's rows are for pull queries; `None` for streams.
    pub table: Option<TableStore>,
    /// Windowed tables: rows are forgotten this long after their window's start; of sessions, which have no size, after the end.
    pub retention_ms: Option<i64>,
    /// Sink column that gives the record's timestamp, with its pattern for text.
    pub timestamp: Option<(usize, Option<String>)>,
    /// Tables: each change is a record, not only the last of its key in a commit interval.
    pub emit_every_update: bool,
    /// Only the table store is written, in the task's own partition; the topic is where the rows came from (a declared table).
    pub store_only: bool,
}

/// What has a table's rows for those who read it ([`crate::operator::table_rows`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableStore {
    /// The store of this name; the sink writes them.
    Own(String),
    /// That of the aggregate which this node of the sink's sub-topology is: the rows follow from its groups.
    Aggregate(usize),
    /// Nothing of this query but the table's topic: another one reads them from there.
    Topic,
}

impl SubTopology {
    /// The name of the store that has the rows of the table that this fills, if it is one of the query's.
    pub fn table_store(&self, query: &str) -> Option<String> {
        Some(match self.table_sink()?.table.as_ref()? {
            TableStore::Own(name) => name.clone(),
            TableStore::Aggregate(node) => self.nodes[*node].store(query),
            TableStore::Topic => return None,
        })
    }

    /// Whether somebody here wants the headers of the topic's records.
    pub fn reads_headers(&self, topic: &str) -> bool {
        self.nodes.iter().any(|node| match &node.operator {
            OperatorSpec::StreamSource(spec) | OperatorSpec::TableSource(spec) => *spec.topic == *topic && spec.reads_headers(),
            _ => false,
        })
    }

    /// Whether records that cannot be decoded are kept.
    pub fn keeps_dead_letters(&self) -> bool {
        self.nodes.iter().any(|node| match &node.operator {
            OperatorSpec::StreamSource(spec) | OperatorSpec::TableSource(spec) => spec.on_error == OnError::DeadLetter,
            _ => false,
        })
    }

    /// The sink of a table, if this is what fills it.
    pub fn table_sink(&self) -> Option<&SinkSpec> {
        self.nodes.iter().find_map(|node| match &node.operator {
            OperatorSpec::Sink(spec) if spec.table.is_some() => Some(spec),
            _ => None,
        })
    }
}

impl RecordLayout {
    /// How many columns are part of the record's key or value.
    pub fn written_columns(&self) -> usize {
        self.columns.len() - self.headers.len()
    }

    pub fn key_fields(&self) -> &[FieldRef] {
        &self.columns[..self.key_columns]
    }

    pub fn value_fields(&self) -> &[FieldRef] {
        &self.columns[self.key_columns..self.written_columns()]
    }
}

impl SourceSpec {
    /// Whether its node has a column of the records' headers.
    pub fn reads_headers(&self) -> bool {
        let of_headers = |column: &SourceColumn| matches!(column, SourceColumn::Declared(index) if *index >= self.layout.written_columns());
        self.columns.iter().any(of_headers)
    }
}

impl SinkSpec {
    /// How long after the end of its window a row is forgotten.
    pub fn kept_after_window_ms(&self) -> Option<i64> {
        let size_ms = match self.layout.windowed? {
            Windowed::Time { size_ms } => size_ms,
            Windowed::Session => 0,
        };
        Some(self.retention_ms?.saturating_sub(size_ms).max(0))
    }
}
