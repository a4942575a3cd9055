//! SHOW STREAMS, TABLES, QUERIES, TOPICS, FUNCTIONS, PROPERTIES.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millpond_catalog::{Format, SourceKind};
use millpond_serving::Query;
use millpond_sql::ast::Show;

use super::{Rows, Tag, table};
use crate::error::Result;
use crate::functions::{self, Kind};
use crate::interrupt::Interrupt;
use crate::session::Session;

const SOURCES: [&str; 5] = ["name", "topic", "key_format", "value_format", "windowed"];
const QUERIES: [&str; 9] = ["id", "state", "sink", "rows", "progress", "rows_per_second", "lag", "reason", "statement"];
const TOPICS: [&str; 2] = ["name", "partitions"];
const FUNCTIONS: [&str; 3] = ["name", "kind", "arguments"];
const PROPERTIES: [&str; 3] = ["name", "setting", "description"];

/// The columns of its rows.
pub fn schema(what: Show) -> SchemaRef {
    table::schema(match what {
        Show::Streams | Show::Tables => &SOURCES,
        Show::Queries => &QUERIES,
        Show::Topics => &TOPICS,
        Show::Functions => &FUNCTIONS,
        Show::Properties => &PROPERTIES,
    })
}

pub async fn show(session: &Session, interrupt: &mut Interrupt<'_>, what: Show) -> Result<Rows> {
    let batch = match what {
        Show::Streams => sources(session, SourceKind::Stream),
        Show::Tables => sources(session, SourceKind::Table),
        Show::Queries => {
            let queries = interrupt.guard(session.shared.serving.queries(session.run_with(Vec::new()))).await?;
            self::queries(queries)
        }
        Show::Topics => topics(session),
        Show::Functions => functions(),
        Show::Properties => properties(session),
    }?;
    Ok(Rows::ready(batch, Tag::Plain("SHOW")))
}

fn sources(session: &Session, kind: SourceKind) -> Result<RecordBatch> {
    let catalog = session.engine().catalog();
    let rows = catalog.sources.values().filter(|source| source.kind == kind).map(|source| {
        [
            Some(source.name.clone()),
            Some(source.topic.clone()),
            Some(format(&source.key_format)),
            Some(format(&source.value_format)),
            Some(if source.window.is_some() { "yes" } else { "no" }.to_string()),
        ]
    });
    table::of(SOURCES, rows.collect())
}

fn queries(queries: Vec<Query>) -> Result<RecordBatch> {
    let rows = queries.into_iter().map(|query| {
        let rows = query.rows_in().to_string();
        [
            Some(query.id),
            Some(query.state),
            Some(query.sink),
            Some(rows),
            Some(format!("{:.1} %", query.progress_percent)),
            Some(format!("{:.0}", query.rows_per_second)),
            Some(query.lag.to_string()),
            query.reason,
            Some(query.statement),
        ]
    });
    table::of(QUERIES, rows.collect())
}

fn topics(session: &Session) -> Result<RecordBatch> {
    let topics = session.engine().storage().log.topics()?;
    let rows = topics
        .into_iter()
        .filter(|topic| !topic.name.starts_with("_millpond-"))
        .map(|topic| [Some(topic.name.to_string()), Some(topic.config.partitions.to_string())]);
    table::of(TOPICS, rows.collect())
}

fn functions() -> Result<RecordBatch> {
    let rows = functions::list()?.into_iter().map(|function| {
        let kind = match function.kind {
            Kind::Scalar => "scalar",
            Kind::Aggregate => "aggregate",
        };
        [Some(function.name), Some(kind.to_string()), Some(function.arguments)]
    });
    table::of(FUNCTIONS, rows.collect())
}

fn properties(session: &Session) -> Result<RecordBatch> {
    let rows = session.settings.all().into_iter().map(|setting| [Some(setting.name), Some(setting.value), Some(setting.description)]);
    table::of(PROPERTIES, rows.collect())
}

/// As WITH takes it.
pub fn format(format: &Format) -> String {
    match format {
        Format::Native => "native".to_string(),
        Format::Json => "json".to_string(),
        Format::Delimited { .. } => "delimited".to_string(),
        Format::Kafka => "kafka".to_string(),
        Format::None => "none".to_string(),
    }
}
