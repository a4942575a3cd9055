//! Pull queries: DataFusion runs them; only `*` and the streaming clauses are seen to here.

use millpond_catalog::Snapshot;
use millpond_sql::Dialect;
use millpond_sql::ast::{self, SqlQuery};

use crate::{Result, rewrite};

/// The query as DataFusion takes it: `*` expanded without pseudo columns (windows stay in), every column with a name of its own. With
/// it come the names that the client is to see, where they are others.
pub fn pull_query(query: &ast::Query, snapshot: &Snapshot, dialect: Dialect) -> Result<(SqlQuery, Option<Vec<String>>)> {
    rewrite::pull(query, snapshot, dialect)
}
