//! System tables: what the server knows of itself, in schema `millpond`.

mod columns;
mod members;
mod queries;
mod shared;

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::stream;
use futures::{StreamExt, TryStreamExt};
use millpond_log::{Cleanup, TopicPartition};
use millpond_sql::Dialect;

use self::columns::Columns;
pub use self::queries::Query;
pub(crate) use self::shared::all_queries;
use crate::remote::Remote;
use crate::scan::{Batches, Rows, Scan};
use crate::stream_table::external;
use crate::{Member, Moment, Scope, Warnings};

/// The schema they are in.
pub const SCHEMA: &str = millpond_catalog::dead_letters::SCHEMA;

/// A row of `millpond.settings`.
#[derive(Debug, Clone)]
pub struct Setting {
    pub name: String,
    pub value: String,
    pub description: String,
}

/// What goes into tables, read when the query runs.
pub(crate) struct Sources {
    pub moment: Arc<Moment>,
    pub member: Arc<Member>,
    pub settings: Vec<Setting>,
    /// The values of `$1`, `$2`, … where the plan was made without them.
    pub parameters: Vec<ScalarValue>,
    /// `None`: there are no other members.
    pub remote: Option<Arc<Remote>>,
    pub scope: Scope,
    pub warnings: Warnings,
}

impl Sources {
    /// The other members, if they are to be asked, too.
    fn others(&self) -> Option<&Arc<Remote>> {
        self.remote.as_ref().filter(|_| self.scope == Scope::Everywhere)
    }
}

#[derive(Clone, Copy)]
struct SystemTable {
    name: &'static str,
    fill: fn(&Sources) -> Result<Columns>,
    sharing: Sharing,
}

/// What a table's rows are in a service of several members.
#[derive(Clone, Copy)]
enum Sharing {
    /// Every member gives the same, or what concerns itself only.
    One,
    /// Each member has some of them.
    Union,
    /// Each member has a part of each.
    Queries,
    /// One for each member.
    Members,
}

const TABLES: [SystemTable; 7] = [
    SystemTable { name: "queries", fill: queries::fill, sharing: Sharing::Queries },
    SystemTable { name: "tasks", fill: queries::fill_tasks, sharing: Sharing::Union },
    SystemTable { name: "members", fill: members::fill, sharing: Sharing::Members },
    SystemTable { name: "processing_log", fill: processing_log, sharing: Sharing::Union },
    SystemTable { name: "topics", fill: topics, sharing: Sharing::One },
    SystemTable { name: "settings", fill: settings, sharing: Sharing::One },
    SystemTable { name: "stores", fill: stores, sharing: Sharing::One },
];

/// The schema with all of them, their names and columns folded as `dialect` folds.
pub(crate) fn schema_provider(dialect: Dialect) -> Result<MemorySchemaProvider> {
    let provider = MemorySchemaProvider::new();
    for table in TABLES {
        let schema = columns::schema(table.name, dialect);
        provider.register_table(dialect.fold(table.name), Arc::new(Provider { table, schema }))?;
    }
    Ok(provider)
}

struct Provider {
    table: SystemTable,
    schema: SchemaRef,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("table", &self.table.name).finish()
    }
}

#[async_trait]
impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let _ = state;
        let rows = SystemRows { table: self.table, schema: self.schema.clone() };
        Ok(Arc::new(Scan::new(Arc::new(rows), None, projection.cloned(), limit)?))
    }
}

struct SystemRows {
    table: SystemTable,
    schema: SchemaRef,
}

impl fmt::Debug for SystemRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemRows").field("table", &self.table.name).finish()
    }
}

impl Rows for SystemRows {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SystemScan: {SCHEMA}.{}", self.table.name)
    }

    fn open(&self, _: usize, sources: &Arc<Sources>) -> Result<Batches> {
        let (table, schema, sources) = (self.table, Arc::clone(&self.schema), Arc::clone(sources));
        if sources.others().is_none() || matches!(table.sharing, Sharing::One) {
            let rows = std::iter::once_with(move || -> Result<RecordBatch> { (table.fill)(&sources)?.finish(schema) });
            return Ok(Batches::Blocking(Box::new(rows)));
        }
        let rows = stream::once(async move {
            let batches = shared::rows(table, &schema, &sources).await?;
            Ok::<_, DataFusionError>(stream::iter(batches.into_iter().map(Ok)))
        });
        Ok(Batches::Stream(rows.try_flatten().boxed()))
    }
}

fn processing_log(sources: &Sources) -> Result<Columns> {
    let lines = sources.moment.engine.processing_log();
    let mut columns = Columns::new(lines.len());
    columns.time(lines.iter().map(|line| Some(line.time_ms)));
    columns.text(lines.iter().map(|line| Some(line.query.clone())));
    columns.text(lines.iter().map(|line| (!line.task.is_empty()).then(|| line.task.clone())));
    columns.text(lines.iter().map(|line| Some(line.kind.to_string())));
    columns.text(lines.iter().map(|line| Some(line.message.clone())));
    columns.text(lines.iter().map(|line| line.topic.clone()));
    columns.number(lines.iter().map(|line| line.partition.map(i64::from)));
    columns.number(lines.iter().map(|line| line.offset.map(|offset| offset as i64)));
    columns.time(lines.iter().map(|line| line.rowtime_ms));
    Ok(columns)
}

fn topics(sources: &Sources) -> Result<Columns> {
    let topics = sources.moment.engine.storage().log.topics().map_err(external)?;
    let mut columns = Columns::new(topics.len());
    let mut rows = Vec::with_capacity(topics.len());
    for topic in &topics {
        let mut count = 0;
        for partition in 0..topic.config.partitions {
            let at = TopicPartition { topic: Arc::clone(&topic.name), partition };
            // A topic that was made or dropped since the snapshot has no rows in it.
            count += sources.moment.state.offsets(&at).map_or(0, |range| range.end - range.start);
        }
        rows.push(count as i64);
    }
    columns.text(topics.iter().map(|topic| Some(topic.name.to_string())));
    columns.number(topics.iter().map(|topic| Some(i64::from(topic.config.partitions))));
    columns.text(topics.iter().map(|topic| {
        Some(match topic.config.cleanup {
            Cleanup::Delete { .. } => "delete".to_string(),
            Cleanup::Compact { retention_ms: None } => "compact".to_string(),
            Cleanup::Compact { retention_ms: Some(_) } => "compact,delete".to_string(),
        })
    }));
    columns.number(topics.iter().map(|topic| match topic.config.cleanup {
        Cleanup::Delete { retention_ms, .. } | Cleanup::Compact { retention_ms } => retention_ms,
    }));
    columns.number(rows.into_iter().map(Some));
    columns.truth(topics.iter().map(|topic| Some(topic.name.starts_with("_millpond-"))));
    Ok(columns)
}

fn settings(sources: &Sources) -> Result<Columns> {
    let settings = &sources.settings;
    let mut columns = Columns::new(settings.len());
    columns.text(settings.iter().map(|setting| Some(setting.name.clone())));
    columns.text(settings.iter().map(|setting| Some(setting.value.clone())));
    columns.text(settings.iter().map(|setting| Some(setting.description.clone())));
    Ok(columns)
}

fn stores(sources: &Sources) -> Result<Columns> {
    let state = &sources.moment.engine.storage().state;
    let stores = state.stores().map_err(external)?;
    let mut columns = Columns::new(stores.len());
    columns.text(stores.iter().map(|(name, _)| Some(name.clone())));
    columns.number(stores.iter().map(|(_, store)| Some(state.size_bytes(*store) as i64)));
    Ok(columns)
}

fn millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
