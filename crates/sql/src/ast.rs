//! Statements as they were written, names folded.

use crate::types::SqlType;
pub use sqlparser::ast::{Expr, Query as SqlQuery};

/// One statement of a message and the text it came from (without the semicolon).
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    pub kind: Kind,
    pub text: String,
    /// Where `text` begins in the message, in characters from 0: positions of later errors are counted from there.
    pub offset: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    CreateSource(CreateSource),
    CreateAs(CreateAs),
    InsertSelect(InsertSelect),
    InsertValues(InsertValues),
    Copy(Copy),
    Delete(Delete),
    Drop(Drop),
    /// `TERMINATE q`, `PAUSE q`, `RESUME q`; `None` is `ALL`.
    Lifecycle {
        action: Action,
        query: Option<String>,
    },
    ResetQuery(ResetQuery),
    Show(Show),
    Describe {
        name: String,
        extended: bool,
    },
    /// `EXPLAIN statement`.
    Explain {
        statement: Box<Statement>,
    },
    /// `EXPLAIN query_id`.
    ExplainQuery(String),
    Print {
        topic: String,
        from_beginning: bool,
        limit: Option<u64>,
    },
    /// `SET name = value`, `SET name TO value`, `SET 'name' = 'value'`; values as text. `DEFAULT` is `None`.
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    /// `SHOW name` of one setting.
    ShowSetting(String),
    /// `RESET name`; `None` is `ALL`.
    Reset(Option<String>),
    Flush,
    Begin,
    Commit,
    Rollback,
    Declare(Declare),
    Fetch(Fetch),
    /// `CLOSE name`; `None` is `ALL`.
    Close(Option<String>),
    Deallocate(Option<String>),
    /// `DISCARD ALL` and its like, which have nothing to discard but the session's settings.
    Discard,
    Query(Query),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    Stream,
    Table,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyMark {
    None,
    /// `KEY` (streams).
    Key,
    /// `PRIMARY KEY` (tables).
    PrimaryKey,
}

/// What a column has of the record's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderMark {
    /// `HEADERS`: all of them.
    All,
    /// `HEADER('key')`: the last one of that key.
    Last(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDef {
    pub name: String,
    pub sql_type: SqlType,
    pub key: KeyMark,
    pub header: Option<HeaderMark>,
    /// In characters from 0, from the beginning of the statement.
    pub position: u32,
}

/// `WITH (name = 'value', …)`: names lower-cased, values as text; in the order written.
pub type Properties = Vec<Property>;

#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    pub name: String,
    pub value: String,
    pub position: u32,
}

/// `CREATE [OR REPLACE] [SOURCE] STREAM|TABLE [IF NOT EXISTS] name (columns) WITH (…)`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateSource {
    pub kind: SourceKind,
    pub name: String,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub read_only: bool,
    pub columns: Vec<ColumnDef>,
    pub properties: Properties,
}

/// `CREATE [OR REPLACE] STREAM|TABLE [IF NOT EXISTS] name [WITH (…)] AS query`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateAs {
    pub kind: SourceKind,
    pub name: String,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub properties: Properties,
    pub query: Query,
}

/// `INSERT INTO name [WITH (…)] [(columns)] SELECT …`: a persistent query.
#[derive(Debug, Clone, PartialEq)]
pub struct InsertSelect {
    pub target: String,
    pub columns: Vec<String>,
    pub properties: Properties,
    pub query: Query,
}

/// `INSERT INTO name [(columns)] VALUES (…), (…)`.
#[derive(Debug, Clone, PartialEq)]
pub struct InsertValues {
    pub target: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Expr>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum CopyFormat {
    Text,
    Csv,
    Binary,
    /// An Arrow IPC stream; TO STDOUT only.
    Arrow,
}

/// `COPY name [(columns)] FROM STDIN` or `COPY (query)|name TO STDOUT`, with the options Postgres has in both spellings.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    pub direction: CopyDirection,
    pub format: CopyFormat,
    /// Defaults: tab for text, comma for csv.
    pub delimiter: char,
    /// Defaults: `\N` for text, the empty string for csv.
    pub null: String,
    pub header: bool,
    pub quote: char,
    pub escape: char,
}

#[derive(Debug, Clone, PartialEq)]
pub enum CopyDirection {
    From { target: String, columns: Vec<String> },
    To { query: Query },
}

/// `DELETE FROM table WHERE predicate`.
#[derive(Debug, Clone, PartialEq)]
pub struct Delete {
    pub target: String,
    pub predicate: Option<Expr>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Drop {
    pub kind: SourceKind,
    pub name: String,
    pub if_exists: bool,
    pub delete_topic: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Terminate,
    Pause,
    Resume,
}

/// `ALTER QUERY query RESET [TO …]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetQuery {
    pub query: String,
    pub to: ResetTo,
}

/// Where a query that is reset begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResetTo {
    Earliest,
    Latest,
    /// Partitions and offsets, each partition once.
    Offsets(Vec<(u32, u64)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Streams,
    Tables,
    Queries,
    Topics,
    Functions,
    /// `SHOW PROPERTIES` and `SHOW ALL`.
    Properties,
}

/// `DECLARE name [NO SCROLL] CURSOR [WITH|WITHOUT HOLD] FOR query`.
#[derive(Debug, Clone, PartialEq)]
pub struct Declare {
    pub name: String,
    pub query: Query,
}

/// `FETCH [FORWARD] [n | ALL | NEXT] [FROM|IN] name`; `None` is `ALL`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetch {
    pub name: String,
    pub count: Option<u64>,
}

/// A SELECT with its streaming clauses taken out of `body`.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What sqlparser understands: names folded and quoted, `a->b` rewritten to a field access. LIMIT stays in here.
    pub body: Box<SqlQuery>,
    pub window: Option<Window>,
    pub partition_by: Option<Vec<Expr>>,
    pub emit: Option<Emit>,
    /// The `WITHIN` of each JOIN, in order; `None` where there is none.
    pub within: Vec<Option<Within>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    Changes,
    Final,
}

/// `WITHIN before | (before, after) [GRACE PERIOD grace]`, all in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within {
    pub before_ms: i64,
    pub after_ms: i64,
    pub grace_ms: Option<i64>,
}

/// `WINDOW …`, all in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub kind: WindowKind,
    pub grace_ms: Option<i64>,
    pub retention_ms: Option<i64>,
    /// In characters from 0, from the beginning of the statement.
    pub position: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    Tumbling { size_ms: i64 },
    Hopping { size_ms: i64, advance_ms: i64 },
    Session { gap_ms: i64 },
}
