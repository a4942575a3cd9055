//! A table's committed rows, read from its store.
//!
//! ```text
//!   the whole key bound to parameters ─► a look-up whose keys are known when it runs: the plan is kept without them
//!   all key columns bound          ─► multi-get, or a scan of each key's windows, in the partitions the keys hash to
//!   a leading part of the key      ─► a bounded scan of each partition
//!   neither                        ─► a scan of each partition
//! ```

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{conjunction, create_physical_expr};
use datafusion::physical_plan::ExecutionPlan;
use millpond_catalog::Source;
use millpond_planner::schema;
use millpond_sql::Dialect;

use crate::access::Access;
use crate::bounds;
use crate::placeholders;
use crate::scan::{Batches, Rows, Scan, select};
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
        let known = filters.iter().map(|filter| placeholders::without_values(filter)).collect::<Result<Vec<Expr>>>()?;
        let binds_key = Access::binds_key(&self.source, known.iter());
        let mut supported = Vec::with_capacity(filters.len());
        for (filter, known) in filters.iter().zip(&known) {
            let ordered = bounds::of(known).is_some_and(|(column, _)| self.orders(column));
            supported.push(if ordered && (binds_key || !placeholders::has_any(filter)?) {
                TableProviderFilterPushDown::Exact
            } else {
                TableProviderFilterPushDown::Unsupported
            });
        }
        Ok(supported)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut parameterised = false;
        for filter in filters {
            parameterised |= placeholders::has_any(filter)?;
        }
        let (rows, filter): (Arc<dyn Rows>, _) = if parameterised {
            let (source, schema) = (self.source.clone(), self.schema.clone());
            (Arc::new(BoundRows { source, dialect: self.dialect, schema, filters: filters.to_vec() }), None)
        } else {
            let access = Access::of(&self.source, self.dialect, filters);
            let filter = filter(state, &self.schema, filters)?;
            (Arc::new(TableRows { source: self.source.clone(), schema: self.schema.clone(), access }), filter)
        };
        Ok(Arc::new(Scan::new(rows, filter, projection.cloned(), limit)?))
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

/// The rows of keys that are parameters: one partition, whatever they turn out to be.
#[derive(Debug)]
struct BoundRows {
    source: Arc<Source>,
    dialect: Dialect,
    schema: SchemaRef,
    filters: Vec<Expr>,
}

impl Rows for BoundRows {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filters: Vec<String> = self.filters.iter().map(ToString::to_string).collect();
        write!(f, "TableScan: {} lookup=[{}]", self.source.name, filters.join(" AND "))
    }

    fn open(&self, _: usize, sources: Sources) -> Result<Batches> {
        let values = sources.parameters.as_ref().map_or(&[][..], |parameters| &parameters.0);
        let filters = self.filters.iter().map(|filter| placeholders::fill(filter, values)).collect::<Result<Vec<Expr>>>()?;
        let schema = DFSchema::try_from(self.schema.as_ref().clone())?;
        let (properties, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let physical = |filter: &Expr| create_physical_expr(filter, &schema, &properties, &planning);
        let filter = conjunction(filters.iter().map(physical).collect::<Result<Vec<_>>>()?);
        let access = Access::of(&self.source, self.dialect, &filters);
        let partitions = if access.is_lookup() { 1 } else { self.source.partitions };
        let mut parts: Vec<Batches> = Vec::new();
        for partition in 0..partitions {
            let reader = StoreReader::new(&self.source, self.schema.clone(), Arc::clone(&sources.moment))?;
            parts.push(reader.read(&access, partition)?);
        }
        Ok(Box::new(parts.into_iter().flatten().map(move |batch| select(&filter, &batch?))))
    }

    fn quick(&self) -> bool {
        true
    }
}
