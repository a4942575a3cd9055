//! A DataFusion session as Millpond uses it: our functions, names taken as they are.

use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::execution::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::optimizer::Analyzer;
use datafusion::prelude::SessionConfig;

use crate::arithmetic::CheckedArithmetic;
use crate::doubles::Doubles;
use crate::integers::IntegerLiterals;
use crate::literals::QuotedLiterals;
use crate::{Error, Result};

/// The catalog and schema that streams and tables are in.
pub const CATALOG: &str = "millpond";
pub const SCHEMA: &str = "public";

/// A session state with `tables` in schema `public`. Identifiers are not folded (the parser has done it), text is Utf8.
pub fn session_state(tables: Vec<(String, Arc<dyn TableProvider>)>) -> Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_target_partitions(1);
    let options = config.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.collect_spans = true;
    let mut analyzer = Analyzer::new().rules;
    analyzer.insert(0, Arc::new(IntegerLiterals));
    analyzer.insert(1, Arc::new(Doubles));
    analyzer.push(Arc::new(QuotedLiterals));
    analyzer.push(Arc::new(CheckedArithmetic));
    let mut state = SessionStateBuilder::new().with_default_features().with_config(config).with_analyzer_rules(analyzer).build();
    let schema = MemorySchemaProvider::new();
    for (name, table) in tables {
        schema.register_table(name, table)?;
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, Arc::new(schema))?;
    state.catalog_list().register_catalog(CATALOG.to_string(), Arc::new(catalog));
    register_functions(&mut state).map_err(Error::from)?;
    Ok(state)
}

/// A schema beside `public`.
pub fn register_schema(state: &SessionState, name: &str, schema: MemorySchemaProvider) -> datafusion::error::Result<()> {
    if let Some(database) = state.catalog_list().catalog(CATALOG) {
        database.register_schema(name, Arc::new(schema))?;
    }
    Ok(())
}

fn register_functions(state: &mut SessionState) -> datafusion::error::Result<()> {
    use datafusion::execution::FunctionRegistry;
    for function in millpond_functions::scalar_functions() {
        state.register_udf(function)?;
    }
    for function in millpond_functions::aggregate_functions() {
        state.register_udaf(function)?;
    }
    Ok(())
}
