//! Subqueries that PostgreSQL has and DataFusion has not: `ARRAY(SELECT …)`, and scalar ones that read the row outside without an
//! aggregate. Both become aggregates, which DataFusion can take out of the row.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, ObjectName, OrderByKind, Query, SelectItem, SetExpr, Statement, TableFactor, TableWithJoins, Value,
    visit_expressions, visit_expressions_mut,
};
use datafusion::sql::sqlparser::ast::{JoinOperator, OrderByExpr};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::functions::{ARRAY, NO_TEXTS};

/// What Millpond has none of: a subquery over one of them has no rows.
const NONE: &[&str] = &[
    "pg_auth_members",
    "pg_constraint",
    "pg_enum",
    "pg_event_trigger",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_inherits",
    "pg_policy",
    "pg_publication",
    "pg_publication_rel",
    "pg_rewrite",
    "pg_statistic_ext",
    "pg_subscription",
    "pg_trigger",
    "pg_user_mapping",
];
const AGGREGATES: &[&str] = &["array_agg", "avg", "bool_and", "bool_or", "count", "first_value", "max", "min", "string_agg", "sum"];

pub fn rewrite(statement: &mut Statement) {
    // Inner ones come first.
    let _: ControlFlow<()> = visit_expressions_mut(statement, |expression| {
        match expression {
            Expr::Function(function) => {
                if let Some(array) = array(function) {
                    *expression = array;
                }
            }
            Expr::Subquery(query) if !aggregates(query) => {
                collect(query, "first_value");
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
}

/// `ARRAY(SELECT …)` as an aggregate.
fn array(function: &Function) -> Option<Expr> {
    let FunctionArguments::Subquery(query) = &function.args else { return None };
    if !named(&function.name, &["array"]) {
        return None;
    }
    if is_empty(query) {
        return parsed(&format!("{NO_TEXTS}()"));
    }
    let mut query = query.clone();
    if !collect(&mut query, "array_agg") {
        return None;
    }
    parsed(&format!("{ARRAY}({})", Expr::Subquery(query)))
}

/// Puts the one column of `query` into an aggregate, with its order; false where that would mean something else.
fn collect(query: &mut Query, aggregate: &str) -> bool {
    let SetExpr::Select(select) = query.body.as_mut() else { return false };
    let [SelectItem::UnnamedExpr(column) | SelectItem::ExprWithAlias { expr: column, .. }] = select.projection.as_mut_slice() else {
        return false;
    };
    let plain = query.limit_clause.is_none() && query.fetch.is_none() && select.distinct.is_none() && select.having.is_none();
    if !plain {
        return false;
    }
    let order = match query.order_by.as_ref().map(|order| &order.kind) {
        Some(OrderByKind::Expressions(keys)) => format!(" ORDER BY {}", ordered(keys, column)),
        Some(OrderByKind::All(_)) => return false,
        None => String::new(),
    };
    let Some(collected) = parsed(&format!("{aggregate}({column}{order})")) else { return false };
    *column = collected;
    query.order_by = None;
    true
}

/// The keys as they are written inside an aggregate, where `1` is no column.
fn ordered(keys: &[OrderByExpr], column: &Expr) -> String {
    let key = |key: &OrderByExpr| match &key.expr {
        Expr::Value(value) if matches!(&value.value, Value::Number(..)) => OrderByExpr { expr: column.clone(), ..key.clone() }.to_string(),
        _ => key.to_string(),
    };
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}

fn aggregates(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return true };
    select.projection.iter().any(|item| {
        let (SelectItem::UnnamedExpr(column) | SelectItem::ExprWithAlias { expr: column, .. }) = item else { return true };
        let found = visit_expressions(column, |inner| match inner {
            Expr::Function(function) if named(&function.name, AGGREGATES) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        found.is_break()
    })
}

/// Whether a relation without rows is joined in.
fn is_empty(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let has_none = |from: &TableWithJoins| {
        let inner = from.joins.iter().all(|join| {
            matches!(
                &join.join_operator,
                JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::Left(_) | JoinOperator::LeftOuter(_)
            )
        });
        inner && is_none(&from.relation)
    };
    select.from.iter().any(has_none)
}

/// Columns that are arrays are NULL throughout (`columns.rs`), so that unnesting one gives nothing.
fn is_none(relation: &TableFactor) -> bool {
    match relation {
        TableFactor::Table { name, args: Some(_), .. } => named(name, &["unnest"]),
        TableFactor::Table { name, args: None, .. } => named(name, NONE),
        TableFactor::UNNEST { array_exprs, .. } => array_exprs.iter().all(|array| matches!(array, Expr::CompoundIdentifier(_))),
        TableFactor::Function { name, .. } => named(name, &["unnest"]),
        _ => false,
    }
}

fn named(name: &ObjectName, names: &[&str]) -> bool {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|last| names.iter().any(|name| last.value.eq_ignore_ascii_case(name)))
}

fn parsed(sql: &str) -> Option<Expr> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).ok()?.parse_expr().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(sql: &str) -> String {
        let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        rewrite(&mut statement);
        statement.to_string()
    }

    #[test]
    fn arrays_and_scalars_are_aggregated() {
        for (sql, expected) in [
            (
                "SELECT ARRAY(SELECT b.n FROM b WHERE b.i = a.i ORDER BY 1 DESC) FROM a",
                "SELECT millpond_array((SELECT array_agg(b.n ORDER BY b.n DESC) FROM b WHERE b.i = a.i)) FROM a",
            ),
            ("SELECT array_to_string(ARRAY(SELECT l FROM pg_catalog.pg_enum), ',')", "SELECT array_to_string(millpond_no_texts(), ',')"),
            ("SELECT ARRAY(SELECT 'x' || o FROM pg_catalog.unnest(c.options) AS o) FROM c", "SELECT millpond_no_texts() FROM c"),
            (
                "SELECT 1 FROM a WHERE (SELECT b.k = 'c' FROM b WHERE b.i = a.i)",
                "SELECT 1 FROM a WHERE (SELECT first_value(b.k = 'c') FROM b WHERE b.i = a.i)",
            ),
        ] {
            assert_eq!(rewritten(sql), expected);
        }
        for same in ["SELECT (SELECT max(v) FROM b)", "SELECT (SELECT v FROM b LIMIT 1)", "SELECT ARRAY[1, 2]"] {
            assert_eq!(rewritten(same), same);
        }
    }
}
