//! SHOW STREAMS, TABLES, QUERIES, TOPICS, FUNCTIONS, PROPERTIES.

use millpond_catalog::{Format, SourceKind};
use millpond_sql::ast::Show;

use super::{Rows, Tag, table};
use crate::error::Result;
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
    use datafusion::functions_aggregate::all_default_aggregate_functions;
    let state = millpond_planner::session_state(Vec::new()).map_err(|error| crate::error::Error::planned(error, 0))?;
    let mut rows: Vec<(String, &str)> = state.scalar_functions().keys().map(|name| (name.clone(), "scalar")).collect();
    rows.extend(state.aggregate_functions().keys().map(|name| (name.clone(), "aggregate")));
    rows.extend(all_default_aggregate_functions().iter().map(|function| (function.name().to_string(), "aggregate")));
    rows.sort();
    rows.dedup();
    table::of(["name", "kind"], rows.into_iter().map(|(name, kind)| [Some(name), Some(kind.to_string())]).collect())
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
