//! What the command log holds.

use serde::{Deserialize, Serialize};

use crate::{Query, QueryState, Reset, Source};

/// One validated change of the catalog. Sources and queries are resolved: applying one needs neither parser nor planner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// A declared source.
    Create {
        source: Source,
        or_replace: bool,
    },
    /// CREATE … AS: the source and the query that fills it.
    CreateAs {
        source: Source,
        query: Query,
        or_replace: bool,
    },
    /// INSERT INTO … SELECT.
    Insert {
        query: Query,
    },
    /// Drops the source and the query that fills it.
    Drop {
        name: String,
        delete_topic: bool,
    },
    /// Ends a query; its sink stays.
    Terminate {
        query: String,
    },
    Query {
        query: String,
        state: QueryState,
    },
    /// The query forgets what it has and starts again; its sink stays.
    Reset {
        query: String,
        reset: Reset,
    },
}
