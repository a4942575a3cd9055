//! Bytes ↔ Arrow: how records' keys and values are written in topics.

/// How a key or a value is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Format {
    /// Columns, not bytes: embedded log only.
    Native,
    Json,
    Delimited {
        delimiter: char,
    },
    /// Kafka's primitive serializers: INT, BIGINT and DOUBLE big-endian, VARCHAR and BYTES as they are.
    Kafka,
    /// No key.
    None,
}
