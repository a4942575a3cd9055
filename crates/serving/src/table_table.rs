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
use crate::remote::select::can_go_along;
use crate::scan::{Batches, Rows, Scan, select};
use crate::stream_table::filter;
use crate::system::Sources;
use crate::table_read::{TableRead, looked_at};

#[derive(Debug)]
pub struct TableTable {
    source: Arc<Source>,
    dialect: Dialect,
    schema: SchemaRef,
    /// Some rows may be at other members: filters that can go along spare their way.
    shared: bool,
}

impl TableTable {
    pub fn new(source: Arc<Source>, dialect: Dialect, shared: bool) -> TableTable {
        let schema = schema::source_schema(&source, dialect);
        TableTable { source, dialect, schema, shared }
    }

    /// Whether `filter` bounds what is read of the store.
    fn bounds(&self, filter: &Expr) -> bool {
        bounds::of(filter).is_some_and(|(column, _)| self.orders(column))
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
            let bound = self.bounds(known) && (binds_key || !placeholders::has_any(filter)?);
            supported.push(if bound {
                TableProviderFilterPushDown::Exact
            } else if self.shared && can_go_along(filter) {
                TableProviderFilterPushDown::Inexact
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
        let read = TableRead {
            source: Arc::clone(&self.source),
            dialect: self.dialect,
            schema: Arc::clone(&self.schema),
            access: if parameterised { Access::all() } else { Access::of(&self.source, self.dialect, filters) },
            filters: filters.to_vec(),
            columns: looked_at(&self.schema, projection, filters),
            limit,
        };
        let read = Arc::new(read);
        let (rows, filter): (Arc<dyn Rows>, _) = if parameterised {
            (Arc::new(BoundRows { read }), None)
        } else {
            // The others are applied above.
            let exact: Vec<Expr> = filters.iter().filter(|filter| self.bounds(filter)).cloned().collect();
            (Arc::new(TableRows { read }), filter(state, &self.schema, &exact)?)
        };
        Ok(Arc::new(Scan::new(rows, filter, projection.cloned(), limit)?))
    }
}

#[derive(Debug)]
struct TableRows {
    read: Arc<TableRead>,
}

impl Rows for TableRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.read.schema)
    }

    fn partitions(&self) -> usize {
        if self.read.access.is_lookup() { 1 } else { self.read.source.partitions as usize }
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableScan: {}{}", self.read.source.name, self.read.access)
    }

    fn open(&self, partition: usize, sources: &Arc<Sources>) -> Result<Batches> {
        let index = (!self.read.access.is_lookup()).then_some(partition as u32);
        self.read.open(index, sources)
    }
}

/// The rows of keys that are parameters: one partition, whatever they turn out to be.
#[derive(Debug)]
struct BoundRows {
    /// Its filters have parameters.
    read: Arc<TableRead>,
}

impl Rows for BoundRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.read.schema)
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filters: Vec<String> = self.read.filters.iter().map(ToString::to_string).collect();
        write!(f, "TableScan: {} lookup=[{}]", self.read.source.name, filters.join(" AND "))
    }

    fn open(&self, _: usize, sources: &Arc<Sources>) -> Result<Batches> {
        let fill = |filter: &Expr| placeholders::fill(filter, &sources.parameters);
        let filters = self.read.filters.iter().map(fill).collect::<Result<Vec<Expr>>>()?;
        let schema = DFSchema::try_from(self.read.schema.as_ref().clone())?;
        let (properties, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let physical = |filter: &Expr| create_physical_expr(filter, &schema, &properties, &planning);
        let filter = conjunction(filters.iter().map(physical).collect::<Result<Vec<_>>>()?);
        let TableRead { source, dialect, schema, columns, limit, .. } = self.read.as_ref();
        let read = TableRead {
            source: Arc::clone(source),
            dialect: *dialect,
            schema: Arc::clone(schema),
            access: Access::of(source, *dialect, &filters),
            filters,
            columns: Arc::clone(columns),
            limit: *limit,
        };
        Ok(Arc::new(read).open(None, sources)?.map(move |batch| select(&filter, &batch)))
    }
}
