//! Integer literals as PostgreSQL and ksqlDB have them: an INT where 32 bits hold it, else a BIGINT, else a DECIMAL.
//!
//! DataFusion reads all of them as BIGINT. So each is put into a cast before it is bound ([`cast_literals`]), where the plan's schemas
//! and names are yet to be made, and the casts are taken out again right behind ([`IntegerLiterals`]), before anything looks for literals.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Cast, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType as SqlType, Distinct, Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    NamedWindowExpr, OrderByKind, Query, Select, TableFactor, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut, WindowSpec,
    WindowType,
};

use crate::expressions;

/// Gives each integer of `query` its type, but for those that are no values: positions, limits, frames, lengths of time.
pub fn cast_literals(query: &mut Query) {
    let _ = query.visit(&mut Literals);
    let _ = query.visit(&mut Flags);
}

/// A number that is to stay as it is has the flag of `1L` meanwhile.
struct Literals;

impl VisitorMut for Literals {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        keep_all(&mut query.limit_clause);
        keep_all(&mut query.fetch);
        if let Some(order_by) = &mut query.order_by
            && let OrderByKind::Expressions(expressions) = &mut order_by.kind
        {
            expressions.iter_mut().for_each(|expression| keep(&mut expression.expr));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
            expressions.iter_mut().for_each(keep);
        }
        if let Some(Distinct::On(expressions)) = &mut select.distinct {
            expressions.iter_mut().for_each(keep);
        }
        for window in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(window) = &mut window.1 {
                keep_frame(window);
            }
        }
        ControlFlow::Continue(())
    }

    /// Table functions take literals and nothing else.
    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { args, .. } => keep_all(args),
            TableFactor::Function { args, .. } => keep_all(args),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut SqlExpr) -> ControlFlow<()> {
        match expression {
            SqlExpr::Interval(interval) => keep_all(&mut interval.value),
            // Its type is said.
            SqlExpr::Cast { expr, .. } => keep(expr),
            SqlExpr::Function(function) => {
                if let Some(WindowType::WindowSpec(window)) = &mut function.over {
                    keep_frame(window);
                }
                // DataFusion's COUNT(*) is COUNT(1), and the two have one name.
                if let FunctionArguments::List(arguments) = &mut function.args
                    && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(only))] = arguments.args.as_mut_slice()
                    && function.name.to_string().eq_ignore_ascii_case("count")
                {
                    keep(only);
                }
            }
            other => cast(other),
        }
        ControlFlow::Continue(())
    }
}

/// Takes the flags away again.
struct Flags;

impl VisitorMut for Flags {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Value::Number(_, long) = &mut value.value {
            *long = false;
        }
        ControlFlow::Continue(())
    }
}

/// Leaves a number as it is, signs and parentheses included.
fn keep(expression: &mut SqlExpr) {
    match expression {
        SqlExpr::Value(value) => {
            if let Value::Number(_, long) = &mut value.value {
                *long = true;
            }
        }
        SqlExpr::Nested(inner) | SqlExpr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => keep(inner),
        SqlExpr::Tuple(parts) => parts.iter_mut().for_each(keep),
        SqlExpr::GroupingSets(sets) | SqlExpr::Cube(sets) | SqlExpr::Rollup(sets) => sets.iter_mut().flatten().for_each(keep),
        _ => {}
    }
}

fn keep_frame(window: &mut WindowSpec) {
    if let Some(frame) = &mut window.window_frame {
        keep_all(&mut frame.start_bound);
        keep_all(&mut frame.end_bound);
    }
}

/// Leaves all numbers in `part` as they are.
fn keep_all(part: &mut impl VisitMut) {
    struct Numbers;
    impl VisitorMut for Numbers {
        type Break = ();

        fn pre_visit_expr(&mut self, expression: &mut SqlExpr) -> ControlFlow<()> {
            keep(expression);
            ControlFlow::Continue(())
        }
    }
    let _ = part.visit(&mut Numbers);
}

/// Puts an integer literal, a sign before it included, into a cast.
fn cast(expression: &mut SqlExpr) {
    let Some((number, negative)) = number(expression) else { return };
    let digits: String = number.chars().filter(|character| *character != '_').collect();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return;
    }
    let signed = if negative { format!("-{digits}") } else { digits };
    if signed.parse::<i32>().is_ok() {
        keep(expression);
        let literal = std::mem::replace(expression, SqlExpr::Tuple(Vec::new()));
        *expression =
            SqlExpr::Cast { kind: CastKind::Cast, expr: Box::new(literal), data_type: SqlType::Int(None), array: false, format: None };
    } else if signed.parse::<i64>().is_ok() {
        keep(expression);
    } else {
        // With a point it is a DECIMAL.
        number.push('.');
    }
}

fn number(expression: &mut SqlExpr) -> Option<(&mut String, bool)> {
    match expression {
        SqlExpr::Value(value) => match &mut value.value {
            Value::Number(text, false) => Some((text, false)),
            _ => None,
        },
        SqlExpr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_mut() {
            SqlExpr::Value(_) => number(expr).map(|(text, _)| (text, true)),
            _ => None,
        },
        _ => None,
    }
}

/// Makes an INT literal of a BIGINT one in a cast: types of functions' results and aggregates' arguments hang on literals.
#[derive(Debug)]
pub struct IntegerLiterals;

impl AnalyzerRule for IntegerLiterals {
    fn name(&self) -> &str {
        "integer_literals"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        expressions::rewrite(plan, folded)
    }
}

fn folded(expression: Expr) -> Result<Transformed<Expr>> {
    if let Expr::Cast(Cast { expr, field }) = &expression
        && *field.data_type() == DataType::Int32
        && let Expr::Literal(ScalarValue::Int64(Some(number)), metadata) = expr.as_ref()
        && let Ok(number) = i32::try_from(*number)
    {
        return Ok(Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(number)), metadata.clone())));
    }
    Ok(Transformed::no(expression))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::Statement;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn cast(sql: &str) -> String {
        let Statement::Query(mut query) = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0) else { panic!("{sql}") };
        cast_literals(&mut query);
        query.to_string().replace(" AS INT)", ")").replace("CAST(", "int(")
    }

    #[test]
    fn a_literal_is_an_int_where_32_bits_hold_it() {
        assert_eq!(cast("SELECT 1, n + 2, -3, 2147483648"), "SELECT int(1), n + int(2), int(-3), 2147483648");
        assert_eq!(
            cast("SELECT -2147483648, -2147483649, -9223372036854775808"),
            "SELECT int(-2147483648), -2147483649, -9223372036854775808"
        );
        assert_eq!(cast("SELECT 9223372036854775808, 1.5, 1e3"), "SELECT 9223372036854775808., 1.5, 1e3");
        assert_eq!(
            cast("SELECT * FROM (VALUES (1)) v WHERE a[1] IN (2, 3)"),
            "SELECT * FROM (VALUES (int(1))) v WHERE a[int(1)] IN (int(2), int(3))"
        );
    }

    #[test]
    fn positions_limits_and_frames_stay() {
        assert_eq!(
            cast("SELECT a FROM t GROUP BY 1, (2) ORDER BY 1, a + 1 LIMIT 3 OFFSET 4"),
            "SELECT a FROM t GROUP BY 1, (2) ORDER BY 1, a + int(1) LIMIT 3 OFFSET 4"
        );
        assert_eq!(
            cast("SELECT sum(a + 1) OVER (ORDER BY b ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM t"),
            "SELECT sum(a + int(1)) OVER (ORDER BY b ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM t"
        );
        assert_eq!(
            cast("SELECT CAST(1 AS BIGINT), (-1)::TEXT, count(1), INTERVAL 1 DAY"),
            "SELECT int(1 AS BIGINT), (-1)::TEXT, count(1), INTERVAL 1 DAY"
        );
        assert_eq!(cast("SELECT * FROM generate_series(1, 2 + 3) g"), "SELECT * FROM generate_series(1, 2 + 3) g");
    }
}
