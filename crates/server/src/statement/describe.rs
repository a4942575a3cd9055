//! `DESCRIBE [EXTENDED]`.

use millpond_catalog::{Column, Source, SourceKind, WindowType};

use super::{Rows, Tag, show, table};
use crate::error::Result;
use crate::session::Session;

pub fn describe(session: &Session, name: &str, extended: bool) -> Result<Rows> {
    let catalog = session.engine().catalog();
    let source = catalog.source(name)?;
    let mut rows = columns(source);
    let batch = if extended {
        let property = |name: &str, value: Option<String>| value.map(|value| [Some(name.to_string()), Some(value), None]);
        let window = source.window.map(|window| match window {
            WindowType::Time { size_ms } => format!("time, {size_ms} ms"),
            WindowType::Session => "session".to_string(),
        });
        let list = |ids: Vec<String>| (!ids.is_empty()).then(|| ids.join(", "));
        let properties = [
            property("kind", Some(source.kind.to_string())),
            property("topic", Some(source.topic.clone())),
            property("partitions", Some(source.partitions.to_string())),
            property("key format", Some(show::format(&source.key_format))),
            property("value format", Some(show::format(&source.value_format))),
            property("timestamp", source.timestamp.as_ref().map(|timestamp| timestamp.column.clone())),
            property("timestamp format", source.timestamp.as_ref().and_then(|timestamp| timestamp.format.clone())),
            property("window", window),
            property("retention", source.retention_ms.map(|millis| format!("{millis} ms"))),
            property("read by", list(catalog.readers(name))),
            property("written by", list(catalog.writers(name))),
            property("statement", Some(source.sql.clone()).filter(|sql| !sql.is_empty())),
        ];
        rows.extend(properties.into_iter().flatten());
        table::of(["name", "value", "key"], rows)?
    } else {
        table::of(["column", "type", "key"], rows)?
    };
    Ok(Rows::ready(batch, Tag::Plain("DESCRIBE")))
}

fn columns(source: &Source) -> Vec<[Option<String>; 3]> {
    let key = match source.kind {
        SourceKind::Stream => "key",
        SourceKind::Table => "primary key",
    };
    let column = |name: &str, sql_type: String, mark: Option<String>| [Some(name.to_string()), Some(sql_type), mark];
    let mark = |declared: &Column| match &declared.header {
        Some(header) => Some(header.to_string()),
        None => declared.key.then(|| key.to_string()),
    };
    let mut rows: Vec<_> =
        source.columns.iter().map(|declared| column(&declared.name, declared.sql_type.to_string(), mark(declared))).collect();
    if source.window.is_some() {
        for bound in ["windowstart", "windowend"] {
            rows.push(column(bound, "TIMESTAMP".to_string(), Some("window".to_string())));
        }
    }
    rows
}
