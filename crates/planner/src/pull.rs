//! Pull queries: DataFusion runs them; only `*` and the streaming clauses are seen to here.

use millpond_catalog::Snapshot;
use millpond_sql::ast::{self, SqlQuery};

use crate::{Result, Settings, rewrite};

/// The query as DataFusion takes it: `*` expanded without pseudo columns (windows stay in).
pub fn pull_query(query: &ast::Query, snapshot: &Snapshot, _settings: &Settings) -> Result<SqlQuery> {
    rewrite::pull(query, snapshot)
}
