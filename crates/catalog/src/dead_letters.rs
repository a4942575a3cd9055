//! `millpond.dead_letters`: the stream of the records that could not be decoded. It is simply there: no command makes it.

use millpond_sql::{Dialect, SqlType};

use crate::{Column, Format, Header, OnError, Source, SourceKind};

pub const SCHEMA: &str = "millpond";
pub const NAME: &str = "dead_letters";

/// With its schema, as `dialect` folds names.
pub fn name(dialect: Dialect) -> String {
    dialect.fold(&format!("{SCHEMA}.{NAME}"))
}

/// Where `on_error = 'dead_letter'` keeps them, in one partition: keys and values as they were, and whence they are in headers.
pub fn topic(service_id: &str) -> String {
    format!("_millpond-{service_id}-dead-letters")
}

/// The names of a letter's headers, in their order, which are those of columns, and their types.
pub const HEADERS: [(&str, SqlType); 6] = [
    ("query", SqlType::Varchar),
    ("node", SqlType::Varchar),
    ("topic", SqlType::Varchar),
    ("partition", SqlType::Int),
    ("offset", SqlType::Bigint),
    ("error", SqlType::Varchar),
];

/// As a query in `dialect` sees it.
pub fn source(service_id: &str, dialect: Dialect) -> Source {
    let column = |name: &str, sql_type: SqlType, header: Option<Header>| Column { name: dialect.fold(name), sql_type, key: false, header };
    let mut columns = vec![column("time", SqlType::Timestamp, None), column("record_offset", SqlType::Bigint, None)];
    columns.extend(HEADERS.map(|(name, sql_type)| column(name, sql_type, Some(Header::Last(name.to_owned())))));
    columns.push(column("key", SqlType::Bytes, None));
    columns.push(column("value", SqlType::Bytes, None));
    columns.push(column("headers", SqlType::Varchar, Some(Header::All)));
    Source {
        kind: SourceKind::Stream,
        name: name(dialect),
        columns,
        topic: topic(service_id),
        partitions: 1,
        key_format: Format::Kafka,
        value_format: Format::Kafka,
        timestamp: None,
        window: None,
        on_error: OnError::Skip,
        on_data_loss: Default::default(),
        retention_ms: None,
        read_only: true,
        wrap_single_value: None,
        dialect,
        sql: String::new(),
    }
}
