//! `CREATE STREAM|TABLE name (columns) WITH (…)` → a source.

use arrow::datatypes::FieldRef;
use millpond_catalog::properties::{Place, Properties};
use millpond_catalog::{Column, Command, Format, Header, Snapshot, Source, SourceKind, TimestampColumn};
use millpond_formats::timestamp::Pattern;
use millpond_sql::ast::{ColumnDef, CreateSource, HeaderMark, KeyMark};
use millpond_sql::{Dialect, SqlType, ast};

use crate::dead_letters::check_feedback;
use crate::replace::{check_declaration, check_readers};
use crate::schema::{ROWOFFSET, ROWPARTITION, ROWTIME, WINDOWEND, WINDOWSTART, layout};
use crate::{Error, Result, Settings};

/// The command that declares what `statement` says; `text` is the statement's text.
pub fn create_source(statement: &CreateSource, text: &str, snapshot: &Snapshot, settings: &Settings) -> Result<Command> {
    let kind = source_kind(statement.kind);
    let columns = columns(statement, kind)?;
    let properties = properties(&statement.properties, Place::Create, settings.dialect)?;
    if columns.iter().all(|column| column.key || column.header.is_some()) {
        return Err(Error::new("42P16", format!("{kind} \"{}\" has no value columns", statement.name))
            .hint("Declare at least one column that is part of neither the key nor the headers."));
    }
    let keys = columns.iter().filter(|column| column.key).count();
    if kind == SourceKind::Table && keys == 0 {
        return Err(Error::new("42P16", format!("table \"{}\" has no primary key", statement.name))
            .hint("Mark the key's columns with PRIMARY KEY, or create a STREAM."));
    }
    let (key_format, value_format) = formats(&properties, keys, settings.columnar);
    let topic = properties.topic.clone().unwrap_or_else(|| statement.name.clone());
    let source = Source {
        kind,
        name: statement.name.clone(),
        partitions: properties.partitions.or_else(|| topic_partitions(snapshot, &topic)).unwrap_or(1),
        topic,
        key_format,
        value_format,
        timestamp: properties.timestamp,
        window: properties.window,
        on_error: properties.on_error.unwrap_or_default(),
        on_data_loss: properties.on_data_loss.unwrap_or_default(),
        retention_ms: properties.retention_ms,
        read_only: statement.read_only,
        wrap_single_value: properties.wrap_single_value,
        columns,
        dialect: settings.dialect,
        sql: text.to_string(),
    };
    validate(&source, settings)?;
    if statement.or_replace {
        check_declaration(&source, snapshot)?;
    }
    let command = Command::Create { source, or_replace: statement.or_replace };
    let after = snapshot.apply(&command)?;
    check_readers(&statement.name, snapshot, &after)?;
    check_feedback(snapshot, &after, &[])?;
    Ok(command)
}

pub(crate) fn source_kind(kind: ast::SourceKind) -> SourceKind {
    match kind {
        ast::SourceKind::Stream => SourceKind::Stream,
        ast::SourceKind::Table => SourceKind::Table,
    }
}

/// The WITH clause, its errors at the property they are about.
pub(crate) fn properties(properties: &ast::Properties, place: Place, dialect: Dialect) -> Result<Properties> {
    let pairs = properties.iter().map(|property| (property.name.as_str(), property.value.as_str()));
    let at = |error: Error, name: &str| match properties.iter().find(|property| property.name == name) {
        Some(property) => error.at(property.position),
        None => error,
    };
    let parsed = Properties::parse(pairs, place, |name| dialect.fold(name)).map_err(|error| match &error {
        millpond_catalog::Error::Property { name, .. } => at(Error::from(error.clone()), name),
        _ => Error::from(error),
    })?;
    if let Some(TimestampColumn { format: Some(pattern), .. }) = &parsed.timestamp {
        Pattern::new(pattern).map_err(|error| at(Error::new("22023", error.to_string()).hint(PATTERN), "timestamp_format"))?;
    }
    Ok(parsed)
}

const PATTERN: &str = "Letters are those of Java's DateTimeFormatter, as in 'yyyy-MM-dd HH:mm:ss'; other text with letters is quoted: 'yyyy-MM-dd''T''HH:mm'.";

/// Key and value format where nothing is said: native for both, or JSON for values where topics hold no columns; a key beside another value
/// format is KAFKA if it has one column, else JSON.
pub(crate) fn formats(properties: &Properties, keys: usize, columnar: bool) -> (Format, Format) {
    match (&properties.key_format, &properties.value_format) {
        (Some(key), Some(value)) => (key.clone(), value.clone()),
        (None, None) if columnar => (Format::Native, Format::Native),
        (None, None) => (if keys > 1 { Format::Json } else { Format::Kafka }, Format::Json),
        (Some(Format::Native), None) => (Format::Native, Format::Native),
        (Some(key), None) => (key.clone(), Format::Json),
        (None, Some(Format::Native)) => (Format::Native, Format::Native),
        (None, Some(value)) if keys > 1 => (Format::Json, value.clone()),
        (None, Some(value)) => (Format::Kafka, value.clone()),
    }
}

/// How many partitions a topic has, as far as the catalog knows: a topic that no source is over any more may be there, too.
pub(crate) fn topic_partitions(snapshot: &Snapshot, topic: &str) -> Option<u32> {
    snapshot.sources.values().find(|source| source.topic == topic).map(|source| source.partitions)
}

fn columns(statement: &CreateSource, kind: SourceKind) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::with_capacity(statement.columns.len());
    for definition in &statement.columns {
        let at = |error: Error| error.at(definition.position);
        match (kind, definition.key) {
            (SourceKind::Stream, KeyMark::PrimaryKey) => {
                return Err(at(Error::new("42P16", format!("stream column \"{}\" cannot be a PRIMARY KEY", definition.name))
                    .hint("Streams have KEY columns; tables have PRIMARY KEY columns.")));
            }
            (SourceKind::Table, KeyMark::Key) => {
                return Err(at(Error::new("42P16", format!("table column \"{}\" cannot be a KEY", definition.name))
                    .hint("Tables have PRIMARY KEY columns; streams have KEY columns.")));
            }
            _ => {}
        }
        let lower = definition.name.to_lowercase();
        if [ROWTIME, ROWPARTITION, ROWOFFSET, WINDOWSTART, WINDOWEND].contains(&lower.as_str()) {
            return Err(at(Error::new("42939", format!("column name \"{}\" is reserved", definition.name))));
        }
        if columns.iter().any(|column| column.name == definition.name) {
            return Err(at(Error::new("42701", format!("column \"{}\" specified more than once", definition.name))));
        }
        let key = definition.key != KeyMark::None;
        if key && has_map(&definition.sql_type) {
            return Err(at(Error::new("42P16", format!("key column \"{}\" cannot contain a MAP", definition.name))));
        }
        let header = definition.header.as_ref().map(|mark| match mark {
            HeaderMark::All => Header::All,
            HeaderMark::Last(key) => Header::Last(key.clone()),
        });
        if let Some(header) = &header {
            check_header(definition, header, &columns).map_err(at)?;
        }
        columns.push(Column { name: definition.name.clone(), sql_type: definition.sql_type.clone(), key, header });
    }
    columns.sort_by_key(|column| (!column.key, column.header.is_some()));
    Ok(columns)
}

/// `before`: the columns in front of it.
fn check_header(definition: &ColumnDef, header: &Header, before: &[Column]) -> Result<()> {
    let name = &definition.name;
    let invalid = |message: String, hint: &str| Err(Error::new("42P16", message).hint(hint));
    if definition.key != KeyMark::None {
        return invalid(format!("header column \"{name}\" cannot be part of the key"), "PARTITION BY or GROUP BY it in a query.");
    }
    let (holds, wanted) = match header {
        Header::All => (is_headers(&definition.sql_type), "ARRAY<STRUCT<key VARCHAR, value BYTES>>"),
        Header::Last(_) => (definition.sql_type == SqlType::Bytes, "BYTES"),
    };
    if !holds {
        let message = format!("column \"{name}\" of {header} is of type {}, not {wanted}", definition.sql_type);
        return Err(Error::new("42804", message).hint(format!("Declare it as {wanted}, and CAST it in the query that reads it.")));
    }
    for other in before.iter().filter_map(|column| column.header.as_ref()) {
        match (header, other) {
            (Header::All, _) | (_, Header::All) => {
                return invalid(
                    "HEADERS stands beside another header column".to_string(),
                    "Declare HEADERS alone, or a HEADER('…') for each key.",
                );
            }
            (Header::Last(key), Header::Last(other)) if key == other => {
                return invalid(format!("header '{key}' has a column already"), "Declare one column for each key.");
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_headers(sql_type: &SqlType) -> bool {
    let SqlType::Array(element) = sql_type else { return false };
    let SqlType::Struct(fields) = element.as_ref() else { return false };
    let is = |(name, sql_type): &(String, SqlType), wanted: &str, of: &SqlType| name.eq_ignore_ascii_case(wanted) && sql_type == of;
    matches!(fields.as_slice(), [key, value] if is(key, "key", &SqlType::Varchar) && is(value, "value", &SqlType::Bytes))
}

fn has_map(sql_type: &SqlType) -> bool {
    match sql_type {
        SqlType::Map(..) => true,
        SqlType::Array(element) => has_map(element),
        SqlType::Struct(fields) => fields.iter().any(|(_, field)| has_map(field)),
        _ => false,
    }
}

/// What must hold of a source, declared or made by AS.
pub(crate) fn validate(source: &Source, settings: &Settings) -> Result<()> {
    if !settings.columnar && [&source.key_format, &source.value_format].contains(&&Format::Native) {
        return Err(Error::unsupported("the native format over Kafka").hint("Give FORMAT = 'json', or another that others can read, too."));
    }
    let keys = source.key_columns().count();
    let invalid = |message: String, hint: &str| Err(Error::new("42P16", message).hint(hint));
    if (source.key_format == Format::Native) != (source.value_format == Format::Native) && keys > 0 {
        return invalid(
            "the native format is for key and value together".to_string(),
            "Give FORMAT = 'native', or other formats for both.",
        );
    }
    if source.key_format == Format::Kafka && keys > 1 {
        return invalid("the KAFKA format cannot hold several key columns".to_string(), "Give KEY_FORMAT = 'json'.");
    }
    if source.value_format == Format::Kafka && source.value_columns().count() > 1 {
        return invalid("the KAFKA format cannot hold several value columns".to_string(), "Give VALUE_FORMAT = 'json'.");
    }
    if source.key_format == Format::None && keys > 0 {
        return invalid("the NONE format cannot hold key columns".to_string(), "Give another KEY_FORMAT.");
    }
    check_formats(source)?;
    if source.window.is_some() && keys == 0 {
        return invalid("a windowed source needs a key column".to_string(), "Mark a column with KEY.");
    }
    match &source.timestamp {
        Some(timestamp) => timestamp_column(source, timestamp),
        None => Ok(()),
    }
}

/// A format that cannot hold a column would fail at each record.
fn check_formats(source: &Source) -> Result<()> {
    let layout = layout(source);
    check_format("KEY_FORMAT", &layout.key_format, layout.key_fields(), source)?;
    check_format("VALUE_FORMAT", &layout.value_format, layout.value_fields(), source)
}

fn check_format(property: &str, format: &millpond_formats::Format, fields: &[FieldRef], source: &Source) -> Result<()> {
    let Err(error) = format.check(fields) else { return Ok(()) };
    let message = match &error {
        millpond_formats::Error::Type { column, holds, .. } => {
            let sql_type = source.column(column).map(|column| column.sql_type.to_string()).unwrap_or_default();
            let format = format.name().to_uppercase();
            format!("the {format} format cannot hold column \"{column}\" of type {sql_type}: it holds {holds}")
        }
        other => other.to_string(),
    };
    let hint = match millpond_formats::Format::Json.check(fields) {
        Ok(()) => format!("Give {property} = 'json'."),
        Err(_) => "Give FORMAT = 'native'.".to_string(),
    };
    Err(Error::new("42P16", message).hint(hint))
}

fn timestamp_column(source: &Source, timestamp: &TimestampColumn) -> Result<()> {
    let Some(column) = source.column(&timestamp.column) else {
        return Err(Error::new("42703", format!("timestamp column \"{}\" does not exist", timestamp.column))
            .hint("Name one of the columns in the property \"timestamp\"."));
    };
    match (&column.sql_type, &timestamp.format) {
        (SqlType::Bigint | SqlType::Timestamp, None) | (SqlType::Varchar, Some(_)) => Ok(()),
        (SqlType::Varchar, None) => Err(Error::new("42804", format!("timestamp column \"{}\" is text", column.name))
            .hint("Say how it is written in the property \"timestamp_format\".")),
        (_, Some(_)) => Err(Error::new("42804", "timestamp_format is for VARCHAR columns".to_string())),
        (other, None) => Err(Error::new("42804", format!("timestamp column \"{}\" is of type {other}", column.name))
            .hint("It must be BIGINT, TIMESTAMP, or VARCHAR with timestamp_format.")),
    }
}

#[cfg(test)]
mod tests {
    use millpond_sql::ast::Kind;

    use super::*;

    fn create(sql: &str) -> Result<Source> {
        let statement = millpond_sql::parse(sql, Dialect::Millpond)?.remove(0);
        let Kind::CreateSource(create) = &statement.kind else { panic!("{sql}") };
        match create_source(create, sql, &Snapshot::default(), &Settings::default())? {
            Command::Create { source, .. } => Ok(source),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn header_columns_come_last_and_are_no_values() {
        let source = create("CREATE TABLE t (h BYTES HEADER('a'), v INT, k INT PRIMARY KEY, i BYTES HEADER('b'));").unwrap();
        assert_eq!(source.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["k", "v", "h", "i"]);
        assert_eq!((source.value_columns().count(), layout(&source).value_fields().len()), (1, 1));
        let error = create("CREATE STREAM s (k INT KEY, h BYTES HEADER('a'));").unwrap_err();
        assert_eq!((error.sqlstate, error.message.as_str()), ("42P16", "stream \"s\" has no value columns"));
    }

    #[test]
    fn a_header_column_that_cannot_be_is_refused_at_its_place() {
        let cases = [
            ("k INT, ^h BYTES KEY HEADER('a')", "42P16", "header column \"h\" cannot be part of the key"),
            ("k INT, ^h VARCHAR HEADER('a')", "42804", "column \"h\" of header('a') is of type VARCHAR, not BYTES"),
            ("k INT, ^h BYTES HEADERS", "42804", "column \"h\" of headers is of type BYTES, not ARRAY<STRUCT<key VARCHAR, value BYTES>>"),
            ("k INT, h BYTES HEADER('a'), g BYTES HEADER('A'), ^i BYTES HEADER('a')", "42P16", "header 'a' has a column already"),
            (
                "k INT, h BYTES HEADER('a'), ^g ARRAY<STRUCT<key VARCHAR, value BYTES>> HEADERS",
                "42P16",
                "HEADERS stands beside another header column",
            ),
            (
                "k INT, g ARRAY<STRUCT<KEY STRING, VALUE BYTES>> HEADERS, ^h BYTES HEADER('a')",
                "42P16",
                "HEADERS stands beside another header column",
            ),
        ];
        for (marked, sqlstate, message) in cases {
            let begin = "CREATE STREAM x (";
            let sql = format!("{begin}{}) WITH (partitions = 1);", marked.replace('^', ""));
            let error = create(&sql).err().unwrap_or_else(|| panic!("{sql} was planned"));
            assert_eq!((error.sqlstate, error.message.as_str()), (sqlstate, message));
            assert!(error.hint.is_some());
            let at = marked.find('^').map(|offset| (begin.len() + offset) as u32 + 1);
            assert_eq!(error.position.map(|position| position.0), at, "{sql}");
        }
    }
}
