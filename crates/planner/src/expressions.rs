//! Rewrites of all expressions of a plan, for analyzer rules.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// `plan` with each expression as `rule` makes it, inner ones first. Columns keep their names.
pub fn rewrite(plan: LogicalPlan, rule: impl Fn(Expr) -> Result<Transformed<Expr>>) -> Result<LogicalPlan> {
    walk(plan, |_| Ok(()), |expression, ()| rule(expression))
}

/// The same for a rule that has to know types: it gets the columns that the expression can name.
pub fn rewrite_typed(plan: LogicalPlan, rule: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>) -> Result<LogicalPlan> {
    walk(plan, columns, rule)
}

fn walk<Known>(
    plan: LogicalPlan,
    known: impl Fn(&LogicalPlan) -> Result<Known>,
    rule: impl Fn(Expr, &Known) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let known = known(&plan)?;
        plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let rewritten = expression.transform_up(|expression| rule(expression, &known))?;
            Ok(rewritten.update_data(|expression| name.restore(expression)))
        })
    })?;
    Ok(rewritten.data)
}

fn columns(plan: &LogicalPlan) -> Result<DFSchema> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    Ok(schema)
}
