//! A rewritten query → DataFusion's logical plan, its types settled and its columns pruned.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::Optimizer;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use futures::FutureExt;
use millpond_catalog::{Snapshot, dead_letters};

use crate::rewrite::{HIDDEN, Rewritten};
use crate::schema::source_columns;
use crate::session::{register_schema, session_state};
use crate::{Error, Result, Settings};

/// A query whose names and types are known.
#[derive(Debug)]
pub struct Bound {
    pub state: SessionState,
    pub plan: LogicalPlan,
    /// Positions of the visible columns; hidden ones follow.
    pub visible: usize,
    /// For each key column of the result, its position among the visible columns; `None` where it is not selected.
    pub keys: Option<Vec<Option<usize>>>,
    /// Positions of the hidden window bounds.
    pub window: Option<(usize, usize)>,
}

/// Binds `rewritten` against the sources of `snapshot`; `windowed`: the query has a WINDOW clause over its left-most source.
pub fn bind(rewritten: &Rewritten, snapshot: &Snapshot, settings: &Settings, windowed: bool) -> Result<Bound> {
    let mut tables: Vec<(String, Arc<dyn TableProvider>)> = Vec::new();
    let mut built_in = Vec::new();
    for (i, name) in rewritten.reads.iter().enumerate() {
        let source = snapshot.source(name)?;
        let windows = source.window.is_some() || (windowed && i == 0);
        let fields: Vec<FieldRef> = source_columns(source, settings.dialect, windows).into_iter().map(|(field, _)| field).collect();
        let table = Arc::new(EmptyTable::new(Arc::new(Schema::new(fields))));
        match snapshot.built_in(name) {
            Some(source) => built_in.push((source.dialect, table)),
            None => tables.push((name.clone(), table)),
        }
    }
    let state = session_state(tables)?;
    for (dialect, letters) in built_in {
        let schema = MemorySchemaProvider::new();
        schema.register_table(dialect.fold(dead_letters::NAME), letters)?;
        register_schema(&state, &dialect.fold(dead_letters::SCHEMA), schema)?;
    }
    let statement = Statement::Statement(Box::new(SqlStatement::Query(Box::new(rewritten.query.clone()))));
    let plan = state
        .statement_to_plan(statement)
        .now_or_never()
        .ok_or_else(|| Error::new("XX000", "binding waited for a table that is in memory"))?
        .map_err(Error::from)?;
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let schema = plan.schema();
    let visible = schema.fields().iter().position(|field| field.name().starts_with(HIDDEN)).unwrap_or(schema.fields().len());
    let position = |name: &str| schema.fields().iter().position(|field| field.name() == name);
    let expressions = top_expressions(&plan);
    let keys = rewritten.keys.as_ref().map(|keys| {
        keys.iter()
            .map(|alternatives| {
                alternatives.iter().find_map(|hidden| {
                    let hidden = unaliased(&expressions[position(hidden)?]);
                    expressions[..visible].iter().position(|visible| unaliased(visible) == hidden)
                })
            })
            .collect()
    });
    let window = rewritten.window.as_ref().and_then(|(start, end)| Some((position(start)?, position(end)?)));
    let optimizer = Optimizer::with_rules(vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(OptimizeProjections::new()),
    ]);
    let plan = optimizer.optimize(plan, &state, |_, _| {})?;
    Ok(Bound { plan, visible, keys, window, state })
}

/// What the plan's columns are made of, as far as its top says.
fn top_expressions(plan: &LogicalPlan) -> Vec<Expr> {
    match plan {
        LogicalPlan::Projection(projection) => projection.expr.clone(),
        other => other.schema().columns().into_iter().map(Expr::Column).collect(),
    }
}

fn unaliased(expression: &Expr) -> Expr {
    expression.clone().unalias_nested().data
}
