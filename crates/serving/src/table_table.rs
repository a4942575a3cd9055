//! A table's committed rows, read from its store.
//!
//! ```text
//!   all key columns bound          ─► multi-get, or a scan of each key's windows, in the partitions the keys hash to
//!   a leading part of the key      ─► a bounded scan of each partition
//!   neither                        ─► a scan of each partition
//! ```

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use millpond_catalog::Source;
use millpond_planner::schema;
use millpond_sql::Dialect;

use crate::access::Access;
use crate::bounds;
use crate::scan::{Batches, Rows, Scan};
use crate::store::StoreReader;
use crate::stream_table::filter;
use crate::system::Sources;

#[derive(Debug)]
pub struct TableTable {
    source: Arc<Source>,
    dialect: Dialect,
    schema: SchemaRef,
}

impl TableTable {
    pub fn new(source: Arc<Source>, dialect: Dialect) -> TableTable {
        let schema = schema::source_schema(&source, dialect);
        TableTable { source, dialect, schema }
    }

    /// Whether the store is ordered by `column`.
    fn orders(&self, column: &str) -> bool {
        let windowed = self.source.window.is_some();
        self.source.key_columns().any(|key| key.name == column)
            || windowed && [schema::WINDOWSTART, schema::WINDOWEND].iter().any(|name| self.dialect.fold(name) == column)
    }
}

#[async_trait]
impl TableProvider for TableTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match bounds::of(filter) {
            Some((column, _)) if self.orders(column) => TableProviderFilterPushDown::Exact,
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let access = Access::of(&self.source, self.dialect, filters);
        let rows = TableRows { source: self.source.clone(), schema: self.schema.clone(), access };
        let filter = filter(state, &self.schema, filters)?;
        Ok(Arc::new(Scan::new(Arc::new(rows), filter, projection.cloned(), limit)?))
    }
}

#[derive(Debug)]
struct TableRows {
    source: Arc<Source>,
    schema: SchemaRef,
    access: Access,
}

impl Rows for TableRows {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn partitions(&self) -> usize {
        if self.access.is_lookup() { 1 } else { self.source.partitions as usize }
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableScan: {}{}", self.source.name, self.access)
    }

    fn open(&self, partition: usize, sources: Sources) -> Result<Batches> {
        let moment = sources.moment;
        let reader = StoreReader::new(&self.source, self.schema.clone(), moment)?;
        reader.read(&self.access, partition as u32)
    }

    fn quick(&self) -> bool {
        self.access.is_lookup()
    }
}
