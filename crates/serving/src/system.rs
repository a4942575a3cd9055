//! System tables: what the server knows of itself, in schema `millpond`.

mod columns;
mod dead_letters;

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use millpond_log::{Cleanup, TopicPartition};
use millpond_sql::Dialect;

use self::columns::Columns;
use crate::scan::{Batches, Rows, Scan};
use crate::stream_table::external;
use crate::{Member, Moment};

/// The schema they are in.
pub const SCHEMA: &str = "millpond";

/// A row of `millpond.settings`.
#[derive(Debug, Clone)]
pub struct Setting {
    pub name: String,
    pub value: String,
    pub description: String,
}

/// What goes into a table, read when the query runs.
#[derive(Clone)]
pub(crate) struct Sources {
    pub moment: Arc<Moment>,
    pub member: Option<Arc<Member>>,
    pub settings: Option<Arc<Vec<Setting>>>,
    pub parameters: Option<Arc<Parameters>>,
}

/// The values of `$1`, `$2`, … where the plan was made without them.
#[derive(Debug)]
pub(crate) struct Parameters(pub Vec<ScalarValue>);

#[derive(Clone, Copy)]
struct SystemTable {
    name: &'static str,
    fill: fn(&Sources) -> Result<Columns>,
}

const TABLES: [SystemTable; 8] = [
    SystemTable { name: "queries", fill: queries },
    SystemTable { name: "tasks", fill: tasks },
    SystemTable { name: "members", fill: members },
    SystemTable { name: "processing_log", fill: processing_log },
    SystemTable { name: "dead_letters", fill: dead_letters::fill },
    SystemTable { name: "topics", fill: topics },
    SystemTable { name: "settings", fill: settings },
    SystemTable { name: "stores", fill: stores },
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

    fn open(&self, _: usize, sources: Sources) -> Result<Batches> {
        let (table, schema) = (self.table, self.schema.clone());
        let rows = std::iter::once_with(move || -> Result<RecordBatch> { (table.fill)(&sources)?.finish(schema) });
        Ok(Box::new(rows))
    }
}

fn queries(sources: &Sources) -> Result<Columns> {
    let queries = sources.moment.engine.queries();
    let mut columns = Columns::new(queries.len());
    columns.text(queries.iter().map(|query| Some(query.id.clone())));
    columns.text(queries.iter().map(|query| Some(format!("{:?}", query.state).to_lowercase())));
    columns.text(queries.iter().map(|query| query.reason.clone()));
    columns.text(queries.iter().map(|query| Some(query.sink.clone())));
    columns.number(queries.iter().map(|query| Some(query.rows_in as i64)));
    columns.number(queries.iter().map(|query| Some(query.rows_out as i64)));
    columns.number(queries.iter().map(|query| Some(query.late as i64)));
    columns.number(queries.iter().map(|query| Some(query.undecodable as i64)));
    columns.number(queries.iter().map(|query| Some(query.null_key as i64)));
    columns.number(queries.iter().map(|query| Some(query.bad_timestamp as i64)));
    columns.number(queries.iter().map(|query| Some(query.failed_expressions as i64)));
    columns.number(queries.iter().map(|query| Some(i64::from(query.failures))));
    columns.double(queries.iter().map(|query| Some(query.progress_percent)));
    columns.double(queries.iter().map(|query| Some(query.rows_per_second)));
    columns.number(queries.iter().map(|query| Some(query.lag as i64)));
    columns.text(queries.iter().map(|query| Some(query.sql.clone())));
    Ok(columns)
}

fn tasks(sources: &Sources) -> Result<Columns> {
    let tasks: Vec<_> = sources.moment.engine.queries().into_iter().flat_map(|query| query.tasks).collect();
    let mut columns = Columns::new(tasks.len());
    columns.text(tasks.iter().map(|task| Some(task.id.clone())));
    columns.text(tasks.iter().map(|task| Some(task.query.clone())));
    columns.number(tasks.iter().map(|task| Some(i64::from(task.sub_topology))));
    columns.number(tasks.iter().map(|task| Some(i64::from(task.partition))));
    columns.number(tasks.iter().map(|task| Some(task.worker as i64)));
    columns.number(tasks.iter().map(|task| Some(task.rows_in as i64)));
    columns.number(tasks.iter().map(|task| Some(task.rows_out as i64)));
    columns.number(tasks.iter().map(|task| Some(task.lag as i64)));
    columns.double(tasks.iter().map(|task| Some(task.progress_percent)));
    columns.double(tasks.iter().map(|task| Some(task.rows_per_second)));
    columns.time(tasks.iter().map(|task| task.stream_time_ms));
    columns.time(tasks.iter().map(|task| task.last_commit.map(millis)));
    Ok(columns)
}

fn members(sources: &Sources) -> Result<Columns> {
    let members: Vec<_> = sources.member.iter().collect();
    let mut columns = Columns::new(members.len());
    columns.text(members.iter().map(|member| Some(member.service.clone())));
    columns.text(members.iter().map(|member| Some(member.address.clone())));
    columns.text(members.iter().map(|member| Some(member.http.clone())));
    columns.text(members.iter().map(|member| Some(member.version.to_string())));
    columns.time(members.iter().map(|member| Some(millis(member.started))));
    columns.number(members.iter().map(|member| Some(member.workers as i64)));
    Ok(columns)
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
    let settings: Vec<&Setting> = sources.settings.iter().flat_map(|settings| settings.iter()).collect();
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
