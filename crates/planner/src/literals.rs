//! Dates, times and bytes in quotes as PostgreSQL reads them: Arrow's casts refuse `'2020-01-01 11:00'`, and take the characters of
//! `'\x00ff'` for its bytes.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use millpond_formats::text::parse_column;

use crate::expressions;

/// Runs after the coercion of types, which is what puts a literal into a cast.
#[derive(Debug)]
pub struct QuotedLiterals;

impl AnalyzerRule for QuotedLiterals {
    fn name(&self) -> &str {
        "quoted_literals"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        expressions::rewrite(plan, read)
    }
}

/// The cast stays, so that types of columns stay.
fn read(expression: Expr) -> Result<Transformed<Expr>> {
    if let Expr::Cast(Cast { expr, field }) = &expression
        && let Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) = &**expr
        && let Some(value) = quoted(text, field.data_type())
    {
        let literal = Box::new(Expr::Literal(value, metadata.clone()));
        return Ok(Transformed::yes(Expr::Cast(Cast { expr: literal, field: field.clone() })));
    }
    Ok(Transformed::no(expression))
}

/// What `text` is, where Arrow reads it otherwise or not at all.
fn quoted(text: &str, data_type: &DataType) -> Option<ScalarValue> {
    let stored = match data_type {
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date32 => DataType::Date32,
        // Arrow takes the text for the only item.
        DataType::List(_) => return parsed(text, data_type),
        // Arrow takes the characters for the bytes.
        DataType::Binary if text.starts_with("\\x") => return parsed(text, data_type),
        _ => return None,
    };
    if ScalarValue::from(text).cast_to(data_type).is_ok() {
        return None;
    }
    parsed(text, &stored)
}

fn parsed(text: &str, data_type: &DataType) -> Option<ScalarValue> {
    let column = parse_column(std::iter::once(Some(text)), data_type).ok()?;
    ScalarValue::try_from_array(&column, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_arrow_does_not_read_is_replaced() {
        let timestamp = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let eleven = ScalarValue::TimestampMillisecond(Some(1_577_876_400_000), None);
        assert_eq!(quoted("2020-01-01 11:00", &timestamp), Some(eleven));
        assert_eq!(quoted("2020-01-01 11:00:00.123456", &timestamp), None);
        assert_eq!(quoted("yesterday", &timestamp), None);
        assert_eq!(quoted("11:00", &DataType::Utf8), None);
        let one = quoted("{1}", &DataType::new_list(DataType::Int32, true)).unwrap();
        assert_eq!(one.to_string(), "[1]");
        assert_eq!(quoted("\\x00ff", &DataType::Binary), Some(ScalarValue::Binary(Some(vec![0, 0xff]))));
    }
}
