//! The library's `pg_catalog`, with Millpond's own tables in the place of some.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::prelude::SessionContext;

use super::{PG_CATALOG, columns, functions, procedures};
use crate::functions::Function;

const PROCEDURES: &str = "pg_proc";

/// Completes what the library has registered in `catalog`.
pub async fn register(context: &SessionContext, catalog: &dyn CatalogProvider, known: &[Function]) -> Result<()> {
    let inner = catalog.schema(PG_CATALOG).ok_or_else(|| DataFusionError::Internal("no pg_catalog".to_string()))?;
    let mut replaced = HashMap::new();
    for name in inner.table_names() {
        let Some(mut table) = inner.table(&name).await? else { continue };
        if name == PROCEDURES {
            table = procedures::provider(context, &table.schema(), known).await?;
        }
        if let Some(complete) = columns::complete(context, &name, &table)? {
            replaced.insert(name, complete);
        }
    }
    catalog.register_schema(PG_CATALOG, Arc::new(Completed { inner, replaced }))?;
    for function in functions::all().into_iter().chain(procedures::functions(known)) {
        context.register_udf(function);
    }
    Ok(())
}

#[derive(Debug)]
struct Completed {
    inner: Arc<dyn SchemaProvider>,
    replaced: HashMap<String, Arc<dyn TableProvider>>,
}

#[async_trait]
impl SchemaProvider for Completed {
    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.replaced.get(name) {
            Some(table) => Ok(Some(Arc::clone(table))),
            None => self.inner.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }
}
