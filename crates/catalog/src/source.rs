//! A stream or a table over a topic, and the queries that fill them.

use millpond_sql::{Dialect, SqlType};
use serde::{Deserialize, Serialize};

use crate::dead_letters;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    Stream,
    Table,
}

impl std::fmt::Display for SourceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SourceKind::Stream => "stream",
            SourceKind::Table => "table",
        })
    }
}

/// How keys or values are written in the topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Columns; embedded log only, and for key and value together.
    Native,
    Json,
    Delimited {
        delimiter: char,
    },
    Kafka,
    /// Keys only: there is none.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// Count it, write it to the processing log, go on.
    #[default]
    Skip,
    /// As skip, and keep the raw record in `millpond.dead_letters`.
    DeadLetter,
    /// Stop the query.
    Stop,
}

/// Where a query goes on whose next record was deleted before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDataLoss {
    /// With the first record that is still there.
    #[default]
    Earliest,
    /// With the next one that is written.
    Latest,
    /// Nowhere: the query stops.
    Stop,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub sql_type: SqlType,
    /// Part of the record key.
    pub key: bool,
    /// Of the record's headers, and no part of its key or value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
}

/// What a column has of the records' headers; nothing is written to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Header {
    /// All of them, as ARRAY<STRUCT<key VARCHAR, value BYTES>>.
    All,
    /// The value of the last one of that key; NULL where there is none.
    Last(String),
}

impl std::fmt::Display for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Header::All => f.write_str("headers"),
            Header::Last(key) => write!(f, "header('{}')", key.replace('\'', "''")),
        }
    }
}

/// The column that gives `rowtime`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimestampColumn {
    pub column: String,
    /// A Java DateTimeFormatter pattern, for VARCHAR columns.
    pub format: Option<String>,
}

/// The windows of a windowed source's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowType {
    /// Tumbling and hopping.
    Time {
        size_ms: i64,
    },
    Session,
}

/// A stream or table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub kind: SourceKind,
    pub name: String,
    /// Key columns first, header columns last.
    pub columns: Vec<Column>,
    pub topic: String,
    pub partitions: u32,
    pub key_format: Format,
    pub value_format: Format,
    pub timestamp: Option<TimestampColumn>,
    pub window: Option<WindowType>,
    pub on_error: OnError,
    #[serde(default)]
    pub on_data_loss: OnDataLoss,
    /// How long rows of a stream, or windows of a table, are kept. `None`: for ever.
    pub retention_ms: Option<i64>,
    /// `CREATE SOURCE …`: nothing may be written to it.
    pub read_only: bool,
    pub wrap_single_value: Option<bool>,
    /// The dialect it was made in: how its pseudo columns are typed does not depend on it, how its JSON fields are named does.
    pub dialect: Dialect,
    /// The statement that made it.
    pub sql: String,
}

impl Source {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.key)
    }

    pub fn value_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| !column.key && column.header.is_none())
    }

    pub fn header_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.header.is_some())
    }

    /// Whether it is [`dead_letters`], which is simply there.
    pub fn is_dead_letters(&self) -> bool {
        self.read_only && self.name == dead_letters::name(self.dialect)
    }

    /// The state store that holds a table's rows for pull queries.
    pub fn table_store(&self) -> String {
        format!("table/{}", self.name)
    }
}

/// What a persistent query is to be doing; what it is doing, the executor knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueryState {
    Running,
    Paused,
}

/// ALTER QUERY … RESET, as the query remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// Of all resets of all queries, no other has it. A query's state has the number of the reset behind which it was made.
    pub number: u64,
    /// Where inputs without a committed position begin; others than these begin at their first record.
    pub start_at: Vec<Start>,
}

/// A place in a source's topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
}

/// A persistent query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// `ctas_<table>`, `csas_<stream>`, `insert_<n>_<target>`, or the name given with QUERY_ID.
    pub id: String,
    /// The whole statement (CREATE … AS or INSERT INTO … SELECT).
    pub sql: String,
    pub dialect: Dialect,
    /// Settings of the session that matter to the plan (`emit_every_update`, `idle_timeout`, …), as text.
    pub settings: Vec<(String, String)>,
    /// Names of the sources it reads.
    pub reads: Vec<String>,
    /// Name of the source it fills.
    pub sink: String,
    pub state: QueryState,
    /// Its last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
    /// What it fills was there before it, with rows that it does not know. [`crate::Snapshot::apply`] says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rows_before: bool,
}
