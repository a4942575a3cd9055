//! `pg_catalog` and `information_schema`, for psql's backslash commands, tab completion and the tools that ask what there is.
//!
//! These queries run in a session of their own, over a view of the catalog without pseudo columns, so that `\d` shows what was declared
//! (and the bounds of windows). They are recognised by the schemas and functions they name.

mod columns;
mod functions;
mod procedures;
mod roles;
mod subqueries;
mod tables;
mod visible;

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::{ColumnarValue, LogicalPlan, Volatility, create_udf};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Statement as SqlStatement, visit_expressions, visit_relations};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_pg_catalog::setup_pg_catalog;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use futures::StreamExt;
use millpond_catalog::{Snapshot, Source, dead_letters};
use millpond_planner::schema;
use millpond_planner::session::{CATALOG, SCHEMA};
use millpond_sql::ast::Kind;
use millpond_sql::{Dialect, Statement};
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::functions::Function;
use crate::session::Session;
use crate::statement::{Rows, Tag};

const PG_CATALOG: &str = "pg_catalog";

/// Functions that only PostgreSQL's own session knows.
const FUNCTIONS: &[&str] = &[
    "version",
    "current_database",
    "current_catalog",
    "current_schema",
    "current_schemas",
    "current_user",
    "session_user",
    "user",
    "format_type",
    "quote_ident",
    "has_table_privilege",
    "has_schema_privilege",
    "has_database_privilege",
    "has_any_column_privilege",
];

/// A query for this session.
#[derive(Clone)]
pub struct CatalogQuery {
    statement: Box<SqlStatement>,
    parameters: Vec<ScalarValue>,
}

impl CatalogQuery {
    fn new(mut statement: SqlStatement) -> CatalogQuery {
        subqueries::rewrite(&mut statement);
        CatalogQuery { statement: Box::new(statement), parameters: Vec::new() }
    }

    pub fn with_parameters(&self, parameters: Vec<ScalarValue>) -> CatalogQuery {
        CatalogQuery { statement: self.statement.clone(), parameters }
    }
}

thread_local! {
    static PARSER: PostgresCompatibilityParser = PostgresCompatibilityParser::new();
}

/// The queries of a message, when all of them ask the system catalogs.
pub fn queries(message: &str) -> Option<Vec<CatalogQuery>> {
    let lower = message.to_ascii_lowercase();
    if !lower.contains("pg_") && !lower.contains("information_schema") {
        return None;
    }
    let statements = PARSER.with(|parser| parser.parse(message)).ok()?;
    let all_ask = |statements: &[SqlStatement]| statements.iter().all(asks_catalogs);
    // What the library writes instead may name no catalog any more.
    let asked = || Parser::parse_sql(&PostgreSqlDialect {}, message).is_ok_and(|asked| all_ask(&asked));
    if statements.is_empty() || !(all_ask(&statements) || asked()) {
        return None;
    }
    Some(statements.into_iter().map(CatalogQuery::new).collect())
}

/// `SELECT version()` and its like: a query over nothing that calls one of PostgreSQL's functions.
pub fn function_query(statement: &Statement) -> Option<CatalogQuery> {
    let Kind::Query(query) = &statement.kind else { return None };
    if query.emit.is_some() {
        return None;
    }
    let parsed = SqlStatement::Query(query.body.clone());
    let reads = visit_relations(&parsed, |_| ControlFlow::Break(()));
    if reads.is_break() || !calls_function(&parsed) {
        return None;
    }
    Some(CatalogQuery::new(PARSER.with(|parser| parser.rewrite(parsed))))
}

fn asks_catalogs(statement: &SqlStatement) -> bool {
    let catalog = |name: &ObjectName| {
        let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(|part| part.value.to_ascii_lowercase()).collect();
        match parts.as_slice() {
            [.., schema, _] => schema == PG_CATALOG || schema == "information_schema",
            [name] => name.starts_with("pg_"),
            [] => false,
        }
    };
    if !matches!(statement, SqlStatement::Query(_)) {
        return false;
    }
    visit_relations(statement, |name| if catalog(name) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }).is_break()
        || calls_function(statement)
}

fn calls_function(statement: &SqlStatement) -> bool {
    let known = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("pg_") || FUNCTIONS.contains(&name.as_str())
    };
    visit_expressions(statement, |expression| {
        let called = match expression {
            Expr::Function(function) => function.name.0.last().and_then(|part| part.as_ident()).is_some_and(|name| known(&name.value)),
            _ => false,
        };
        if called { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .is_break()
}

/// The session for them, made anew when the catalog has changed. Object ids hold as long as it does.
#[derive(Default)]
pub struct PgCatalog {
    current: Mutex<Option<(u64, SessionContext)>>,
    functions: OnceLock<Vec<Function>>,
}

impl PgCatalog {
    pub async fn run(&self, session: &Session, query: CatalogQuery) -> Result<Rows> {
        let (context, plan) = self.plan(session, &query).await?;
        let plan = plan.with_param_values(ParamValues::from(query.parameters))?;
        let frame = context.execute_logical_plan(plan).await?;
        let stream = frame.execute_stream().await?;
        let schema = stream.schema();
        Ok(Rows { schema, batches: stream.map(|batch| batch.map_err(Error::from)).boxed(), tag: Tag::Counted("SELECT") })
    }

    /// Its columns and the types of its parameters.
    pub async fn describe(&self, session: &Session, query: &CatalogQuery) -> Result<(SchemaRef, Vec<Option<DataType>>)> {
        let (_, plan) = self.plan(session, query).await?;
        Ok((Arc::new(plan.schema().as_arrow().clone()), millpond_serving::parameter_types(&plan)?))
    }

    async fn plan(&self, session: &Session, query: &CatalogQuery) -> Result<(SessionContext, LogicalPlan)> {
        let context = self.context(&session.engine().catalog()).await?;
        let statement = Parsed::Statement(query.statement.clone());
        let plan = context.state().statement_to_plan(statement).await?;
        Ok((context, plan))
    }

    async fn context(&self, catalog: &Snapshot) -> Result<SessionContext> {
        if let Some((version, context)) = &*self.current.lock()
            && *version == catalog.version
        {
            return Ok(context.clone());
        }
        let functions = match self.functions.get() {
            Some(functions) => functions,
            None => {
                let list = crate::functions::list()?;
                self.functions.get_or_init(|| list)
            }
        };
        let context = context(catalog, functions).await?;
        *self.current.lock() = Some((catalog.version, context.clone()));
        Ok(context)
    }
}

async fn context(catalog: &Snapshot, functions: &[Function]) -> Result<SessionContext> {
    let config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_target_partitions(1);
    let context = SessionContext::new_with_config(config);
    let public = MemorySchemaProvider::new();
    for source in catalog.sources.values() {
        public.register_table(source.name.clone(), shown(source))?;
    }
    let database = Arc::new(MemoryCatalogProvider::new());
    database.register_schema(SCHEMA, Arc::new(public))?;
    if let Some(letters) = catalog.dead_letters(Dialect::Millpond) {
        let system = MemorySchemaProvider::new();
        system.register_table(dead_letters::NAME.to_owned(), shown(letters))?;
        database.register_schema(dead_letters::SCHEMA, Arc::new(system))?;
    }
    context.register_catalog(CATALOG, Arc::clone(&database) as Arc<dyn CatalogProvider>);
    setup_pg_catalog(&context, CATALOG, roles::Roles).map_err(|error| Error::from(*error))?;
    tables::register(&context, &*database, functions).await?;
    let version = format!("PostgreSQL {}", crate::wire::SERVER_VERSION);
    let version = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::from(version.as_str())));
    context.register_udf(create_udf("version", vec![], DataType::Utf8, Volatility::Stable, Arc::new(version)));
    visible::register(&context).await?;
    Ok(context)
}

/// A source with the columns that were declared.
fn shown(source: &Source) -> Arc<EmptyTable> {
    let columns = schema::source_schema(source, Dialect::Millpond);
    let shown: Vec<_> = columns.fields().iter().filter(|field| !is_pseudo(field.name())).cloned().collect();
    Arc::new(EmptyTable::new(Arc::new(Schema::new(shown))))
}

fn is_pseudo(name: &str) -> bool {
    [schema::ROWTIME, schema::ROWPARTITION, schema::ROWOFFSET].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_questions_about_the_catalog_are_taken() {
        assert!(queries("SELECT * FROM pg_catalog.pg_class; SELECT 1 FROM pg_type").is_some());
        assert!(queries("SELECT table_name FROM information_schema.tables").is_some());
        assert!(queries("SELECT 'pg_class' FROM flights").is_none());
        assert!(queries("SELECT 1").is_none());
        assert!(queries("INSERT INTO t VALUES ('pg_catalog')").is_none());
    }
}
