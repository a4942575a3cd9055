//! What a statement or the server is told when the engine cannot.

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Catalog(#[from] millpond_catalog::Error),
    #[error(transparent)]
    Plan(#[from] millpond_planner::Error),
    #[error(transparent)]
    Streams(#[from] millpond_streams::Error),
    #[error(transparent)]
    State(#[from] millpond_state::Error),
    #[error(transparent)]
    Log(#[from] millpond_log::Error),
    #[error(transparent)]
    Membership(#[from] millpond_membership::Error),
    #[error(transparent)]
    Format(#[from] millpond_formats::Error),
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    /// The commands topic holds something this version cannot read.
    #[error("the command log cannot be read: {0}")]
    Commands(String),
    /// Rows that cannot be written.
    #[error("cannot write to \"{source_name}\": {reason}")]
    Rows { source_name: String, reason: String },
    /// `FLUSH` waited for everything but these.
    #[error("{}", told(failed))]
    NotRunning { failed: Vec<FailedQuery> },
    /// `ALTER QUERY … RESET` to where the query cannot begin.
    #[error("cannot reset query \"{query}\": {reason}")]
    Reset { query: String, reason: String, hint: String },
    /// Its last reset is in the command log, and could not be completed.
    #[error("query \"{query}\" is reset and does not start: {reason}")]
    NotStarted { query: String, reason: String },
    /// A source's topic was expanded, or made anew.
    #[error(
        "topic \"{topic}\" has {existing} partitions now, and {read} when its source was declared: drop the source and what reads it, and create them again"
    )]
    Partitions { topic: String, existing: u32, read: u32 },
    /// The system has no thread for a worker.
    #[error("a worker cannot be started: {0}")]
    Thread(#[from] std::io::Error),
    #[error("the server is shutting down")]
    ShuttingDown,
    /// By whoever waited.
    #[error("given up")]
    GivenUp,
}

/// A query that has failed and that FLUSH did not wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedQuery {
    pub query: String,
    /// The declared table that it keeps readable: the query is an internal one, which users cannot stop.
    pub table: Option<String>,
    pub reason: String,
}

impl Error {
    /// Whether what was tried may succeed in a while.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Error::Log(_) | Error::State(_) | Error::NotStarted { .. })
    }

    pub fn sqlstate(&self) -> &'static str {
        match self {
            Error::Catalog(error) => error.sqlstate(),
            Error::Plan(error) => error.sqlstate,
            Error::Rows { .. } => "22000",
            Error::Format(_) | Error::Arrow(_) => "22000",
            Error::NotRunning { .. } | Error::NotStarted { .. } | Error::Partitions { .. } => "55000",
            Error::Reset { .. } => "22023",
            Error::ShuttingDown => "57P01",
            Error::GivenUp => "57014",
            Error::Commands(_) => "XX001",
            Error::State(_) | Error::Log(_) | Error::Thread(_) => "58030",
            Error::Membership(millpond_membership::Error::Record { .. }) => "XX001",
            Error::Membership(_) => "58030",
            Error::Streams(_) => "XX000",
        }
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Catalog(error) => error.hint(),
            Error::Plan(error) => error.hint.clone(),
            Error::NotRunning { failed } => Some(way_out(failed)),
            Error::Reset { hint, .. } => Some(hint.clone()),
            Error::NotStarted { query, .. } => Some(format!("When that is mended, write RESUME {query};")),
            _ => None,
        }
    }
}

fn told(failed: &[FailedQuery]) -> String {
    let one = |failed: &FailedQuery| {
        let what = match &failed.table {
            Some(table) => format!("table \"{table}\""),
            None => format!("query \"{}\"", failed.query),
        };
        format!("{what} has failed and will not catch up: {}", failed.reason)
    };
    failed.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn way_out(failed: &[FailedQuery]) -> String {
    let one = |failed: &FailedQuery| match &failed.table {
        Some(table) => format!("DROP TABLE {table};"),
        None => format!("PAUSE {query}; or TERMINATE {query};", query = failed.query),
    };
    let ways: Vec<String> = failed.iter().map(one).collect();
    format!("See millpond.queries and millpond.processing_log. FLUSH passes after {}", ways.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_table_is_to_be_dropped_and_a_failed_query_to_be_stopped() {
        let of = |query: &str, table: Option<&str>| FailedQuery {
            query: query.to_owned(),
            table: table.map(str::to_owned),
            reason: "no room".to_owned(),
        };
        let error = Error::NotRunning { failed: vec![of("materialize_t", Some("t")), of("csas_s", None)] };
        assert_eq!(
            error.to_string(),
            "table \"t\" has failed and will not catch up: no room; query \"csas_s\" has failed and will not catch up: no room"
        );
        let hint = error.hint().unwrap();
        assert!(hint.contains("DROP TABLE t;") && hint.contains("TERMINATE csas_s;"), "{hint}");
        assert!(!hint.contains("materialize"), "{hint}");
    }
}
