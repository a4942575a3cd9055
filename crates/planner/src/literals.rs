//! Dates and times in quotes as PostgreSQL reads them: Arrow's casts want seconds and a `T` or blank, and refuse `'2020-01-01 11:00'`.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRewriter};
use datafusion::logical_expr::{Cast, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use millpond_formats::text::parse_column;

/// Runs after the coercion of types, which is what puts a literal into a cast.
#[derive(Debug)]
pub struct TemporalLiterals;

impl AnalyzerRule for TemporalLiterals {
    fn name(&self) -> &str {
        "temporal_literals"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        // The cast stays, so that names and types of columns stay, too.
        plan.transform_up_with_subqueries(|plan| plan.map_expressions(|expression| expression.rewrite(&mut Literals))).map(|plan| plan.data)
    }
}

struct Literals;

impl TreeNodeRewriter for Literals {
    type Node = Expr;

    fn f_up(&mut self, expression: Expr) -> Result<Transformed<Expr>> {
        if let Expr::Cast(Cast { expr, field }) = &expression
            && let Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) = &**expr
            && let Some(value) = temporal(text, field.data_type())
        {
            let literal = Box::new(Expr::Literal(value, metadata.clone()));
            return Ok(Transformed::yes(Expr::Cast(Cast { expr: literal, field: field.clone() })));
        }
        Ok(Transformed::no(expression))
    }
}

/// The date or time that `text` is, where Arrow does not read it.
fn temporal(text: &str, data_type: &DataType) -> Option<ScalarValue> {
    let stored = match data_type {
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date32 => DataType::Date32,
        _ => return None,
    };
    if ScalarValue::from(text).cast_to(data_type).is_ok() {
        return None;
    }
    let column = parse_column(std::iter::once(Some(text)), &stored).ok()?;
    ScalarValue::try_from_array(&column, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_arrow_does_not_read_is_replaced() {
        let timestamp = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let eleven = ScalarValue::TimestampMillisecond(Some(1_577_876_400_000), None);
        assert_eq!(temporal("2020-01-01 11:00", &timestamp), Some(eleven));
        assert_eq!(temporal("2020-01-01 11:00:00.123456", &timestamp), None);
        assert_eq!(temporal("yesterday", &timestamp), None);
        assert_eq!(temporal("11:00", &DataType::Utf8), None);
    }
}
