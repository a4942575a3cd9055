//! SHOW STREAMS, TABLES, QUERIES, TOPICS, FUNCTIONS, PROPERTIES.

use millpond_catalog::{Format, SourceKind};
use millpond_sql::ast::Show;

use super::{Rows, Tag, table};
use crate::error::Result;
use crate::functions::{self, Kind};
use crate::session::Session;

pub fn show(session: &Session, what: Show) -> Result<Rows> {
    let batch = match what {
        Show::Streams => sources(session, SourceKind::Stream),
        Show::Tables => sources(session, SourceKind::Table),
        Show::Queries => queries(session),
        Show::Topics => topics(session),
        Show::Functions => functions(),
        Show::Properties => properties(session),
    }?;
    Ok(Rows::ready(batch, Tag::Plain("SHOW")))
}

fn sources(session: &Session, kind: SourceKind) -> Result<arrow::array::RecordBatch> {
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
    table::of(["name", "topic", "key_format", "value_format", "windowed"], rows.collect())
}

fn queries(session: &Session) -> Result<arrow::array::RecordBatch> {
    let rows = session.engine().queries().into_iter().map(|query| {
        [
            Some(query.id),
            Some(format!("{:?}", query.state).to_lowercase()),
            Some(query.sink),
            Some(query.rows_in.to_string()),
            Some(format!("{:.1} %", query.progress_percent)),
            Some(format!("{:.0}", query.rows_per_second)),
            Some(query.lag.to_string()),
            query.reason,
            Some(query.sql),
        ]
    });
    table::of(["id", "state", "sink", "rows", "progress", "rows_per_second", "lag", "reason", "statement"], rows.collect())
}

fn topics(session: &Session) -> Result<arrow::array::RecordBatch> {
    let topics = session.engine().storage().log.topics()?;
    let rows = topics
        .into_iter()
        .filter(|topic| !topic.name.starts_with("_millpond-"))
        .map(|topic| [Some(topic.name.to_string()), Some(topic.config.partitions.to_string())]);
    table::of(["name", "partitions"], rows.collect())
}

fn functions() -> Result<arrow::array::RecordBatch> {
    let rows = functions::list()?.into_iter().map(|function| {
        let kind = match function.kind {
            Kind::Scalar => "scalar",
            Kind::Aggregate => "aggregate",
        };
        [Some(function.name), Some(kind.to_string()), Some(function.arguments)]
    });
    table::of(["name", "kind", "arguments"], rows.collect())
}

fn properties(session: &Session) -> Result<arrow::array::RecordBatch> {
    let rows = session.settings.all().into_iter().map(|setting| [Some(setting.name), Some(setting.value), Some(setting.description)]);
    table::of(["name", "setting", "description"], rows.collect())
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
