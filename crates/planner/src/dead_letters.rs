//! `millpond.dead_letters`: how its records become columns, and that none comes back for ever.
//!
//! ```text
//!   a record that cannot be decoded ─► letter ─► query over millpond.dead_letters ─► stream ─► query that cannot decode it …
//!         ▲                                                                                        │ on_error = 'dead_letter': refused
//!         └────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::collections::BTreeSet;

use millpond_catalog::{Column, OnError, Snapshot, Source, SourceKind};
use millpond_sql::Dialect;
use millpond_streams::topology::{RecordLayout, SourceColumn};

use crate::schema::{field, format, headers};
use crate::{Error, Result};

/// Where the columns are that the record's key and value give, in the layout.
const KEY: usize = 0;
const VALUE: usize = 1;
const FIRST_HEADER: usize = 2;

/// What each of the stream's columns is.
pub(crate) fn columns(source: &Source) -> Vec<SourceColumn> {
    let mut header = FIRST_HEADER;
    let of = |column: &Column| match column.name.to_lowercase().as_str() {
        "time" => SourceColumn::Rowtime,
        "record_offset" => SourceColumn::RowOffset,
        "key" => SourceColumn::Declared(KEY),
        "value" => SourceColumn::Declared(VALUE),
        _ => {
            header += 1;
            SourceColumn::Declared(header - 1)
        }
    };
    source.columns.iter().map(of).collect()
}

pub(crate) fn layout(source: &Source) -> RecordLayout {
    let raw = ["key", "value"].map(|name| source.column(&source.dialect.fold(name)).expect("letters have both"));
    RecordLayout {
        columns: raw.into_iter().chain(source.header_columns()).map(field).collect(),
        key_columns: 1,
        headers: headers(source),
        key_format: format(&source.key_format),
        value_format: format(&source.value_format),
        windowed: None,
        wrap_single_value: true,
    }
}

/// Fails where a record that cannot be decoded would become a letter that becomes such a record again, if not so in `before`. `reads` are
/// the sources of a query that is not in the catalog.
pub(crate) fn check_feedback(before: &Snapshot, after: &Snapshot, reads: &[String]) -> Result<()> {
    let found = returning(after, reads);
    if found.is_empty() {
        return Ok(());
    }
    let known = returning(before, &[]);
    let Some(name) = found.difference(&known).next() else { return Ok(()) };
    let message = format!("\"{name}\" has dead letters in it: those that cannot be decoded would come back for ever");
    Err(Error::new("42P19", message).hint(format!("Declare \"{name}\" with on_error = 'skip'.")))
}

/// Names of the sources that are read, keep dead letters, and have dead letters in their topics.
fn returning(catalog: &Snapshot, reads: &[String]) -> BTreeSet<String> {
    let Some(letters) = catalog.dead_letters(Dialect::Millpond) else { return BTreeSet::new() };
    let mut topics = BTreeSet::from([letters.topic.as_str()]);
    let is_in = |topics: &BTreeSet<&str>, name: &String| catalog.find(name).is_some_and(|source| topics.contains(source.topic.as_str()));
    loop {
        let fed = catalog.queries.values().filter(|query| query.reads.iter().any(|name| is_in(&topics, name)));
        let sinks: Vec<&str> = fed.filter_map(|query| Some(catalog.find(&query.sink)?.topic.as_str())).collect();
        let known = topics.len();
        topics.extend(sinks);
        if topics.len() == known {
            break;
        }
    }
    let tables = catalog.sources.values().filter(|source| source.kind == SourceKind::Table).map(|table| &table.name);
    let read = catalog.queries.values().flat_map(|query| &query.reads).chain(reads).chain(tables);
    let keeps = |name: &&String| catalog.find(name).is_some_and(|source| source.on_error == OnError::DeadLetter);
    read.filter(keeps).filter(|name| is_in(&topics, name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use millpond_catalog::dead_letters;

    use super::*;

    #[test]
    fn each_column_is_where_the_layout_has_it() {
        for dialect in [Dialect::Millpond, Dialect::Ksqldb] {
            let source = dead_letters::source("s", dialect);
            let layout = layout(&source);
            for (column, read) in source.columns.iter().zip(columns(&source)) {
                if let SourceColumn::Declared(index) = read {
                    assert_eq!(layout.columns[index].name(), &column.name);
                }
            }
            assert_eq!((layout.key_fields().len(), layout.value_fields().len(), layout.headers.len()), (1, 1, source.columns.len() - 4));
        }
    }
}
