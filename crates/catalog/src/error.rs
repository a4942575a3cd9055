//! Why a command cannot be applied.

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{kind} \"{name}\" already exists")]
    SourceExists { kind: crate::SourceKind, name: String },
    #[error("relation \"{name}\" does not exist")]
    UnknownSource { name: String, similar: Option<String> },
    #[error("query \"{id}\" does not exist")]
    UnknownQuery { id: String, similar: Option<String> },
    #[error("query \"{id}\" already exists")]
    QueryExists { id: String },
    #[error("cannot drop {kind} \"{name}\" because other queries depend on it: {}", queries.join(", "))]
    InUse { kind: crate::SourceKind, name: String, queries: Vec<String> },
    #[error("{kind} \"{name}\" is built in")]
    BuiltIn { kind: crate::SourceKind, name: String },
    /// DROP … DELETE TOPIC of a topic that other sources are over.
    #[error("cannot delete topic \"{topic}\" because other streams or tables use it: {}", sources.join(", "))]
    TopicInUse { topic: String, sources: Vec<String> },
    /// A topic that is there already has another number of partitions than is wanted.
    #[error("topic \"{topic}\" has {existing} partitions already, not {wanted}")]
    Partitions { topic: String, existing: u32, wanted: u32 },
    #[error("cannot replace \"{name}\": {reason}")]
    Incompatible { name: String, reason: String },
    /// A WITH property that is wrong.
    #[error("{message}")]
    Property { name: String, message: String, hint: Option<String> },
    /// Columns that cannot be.
    #[error("{message}")]
    Columns { message: String, hint: Option<String> },
}

impl Error {
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Error::SourceExists { .. } => "42P07",
            Error::UnknownSource { .. } => "42P01",
            Error::UnknownQuery { .. } => "42704",
            Error::QueryExists { .. } => "42710",
            Error::InUse { .. } | Error::TopicInUse { .. } => "2BP01",
            Error::BuiltIn { .. } => "42809",
            Error::Partitions { .. } => "22023",
            Error::Incompatible { .. } => "42P16",
            Error::Property { .. } => "22023",
            Error::Columns { .. } => "42P16",
        }
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Error::UnknownSource { similar: Some(similar), .. } => Some(format!("Perhaps you meant \"{similar}\".")),
            Error::UnknownQuery { similar: Some(similar), .. } => Some(format!("Perhaps you meant \"{similar}\".")),
            Error::UnknownQuery { similar: None, .. } => Some("SHOW QUERIES lists the queries there are.".to_string()),
            Error::InUse { queries, .. } => queries.first().map(|query| format!("Stop it first: TERMINATE {query};")),
            Error::TopicInUse { sources, .. } => Some(format!("Leave DELETE TOPIC out, or drop {} first.", sources.join(", "))),
            Error::Partitions { .. } => Some("Leave PARTITIONS out, or give the number there is.".to_string()),
            Error::Incompatible { .. } => Some("DROP it and CREATE it again; its topic can be kept.".to_string()),
            Error::BuiltIn { .. } => Some("It can only be read; give what you make another name.".to_string()),
            Error::SourceExists { .. } => Some("Use IF NOT EXISTS or OR REPLACE, or another name.".to_string()),
            Error::Property { hint, .. } | Error::Columns { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}
