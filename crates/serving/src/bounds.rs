//! What a WHERE clause says of a column, as far as a scan can use it.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

/// `column = value`, `column IN (…)` or one side of a range.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    Among(Vec<ScalarValue>),
    /// Inclusive or not.
    AtLeast(ScalarValue, bool),
    AtMost(ScalarValue, bool),
}

/// The column of `filter` and its bounds; `None` when it is of another shape.
pub fn of(filter: &Expr) -> Option<(&str, Vec<Bound>)> {
    match filter {
        // The optimizer makes this of a short IN list.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let ((column, left), (other, right)) = (of(left)?, of(right)?);
            match (left.as_slice(), right.as_slice()) {
                ([Bound::Among(left)], [Bound::Among(right)]) if column == other => {
                    Some((column, vec![Bound::Among([left.as_slice(), right].concat())]))
                }
                _ => None,
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, value) = match (bare(left), bare(right)) {
                (Expr::Column(column), Expr::Literal(value, _)) => (column, *op, value),
                (Expr::Literal(value, _), Expr::Column(column)) => (column, op.swap()?, value),
                _ => return None,
            };
            let value = value.clone();
            let bound = match op {
                Operator::Eq => Bound::Among(vec![value]),
                Operator::Gt => Bound::AtLeast(value, false),
                Operator::GtEq => Bound::AtLeast(value, true),
                Operator::Lt => Bound::AtMost(value, false),
                Operator::LtEq => Bound::AtMost(value, true),
                _ => return None,
            };
            Some((column.name.as_str(), vec![bound]))
        }
        Expr::InList(InList { expr, list, negated: false }) => {
            let Expr::Column(column) = bare(expr) else { return None };
            let values = list.iter().map(|value| literal(value).cloned()).collect::<Option<Vec<_>>>()?;
            Some((column.name.as_str(), vec![Bound::Among(values)]))
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let Expr::Column(column) = bare(expr) else { return None };
            let bounds = vec![Bound::AtLeast(literal(low)?.clone(), true), Bound::AtMost(literal(high)?.clone(), true)];
            Some((column.name.as_str(), bounds))
        }
        _ => None,
    }
}

/// Milliseconds of a time, or the number as it is; rounded down.
pub fn millis(value: &ScalarValue) -> Option<i64> {
    let millis = match value {
        ScalarValue::Int64(_) | ScalarValue::TimestampMillisecond(..) => value.clone(),
        _ => value.cast_to(&DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None)).ok()?,
    };
    match millis {
        ScalarValue::Int64(value) | ScalarValue::TimestampMillisecond(value, _) => value,
        _ => None,
    }
}

/// As an integer.
pub fn integer(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(value) => value,
        _ => None,
    }
}

/// The values of `bound` as `data_type`, when that changes none of them.
pub fn fitting(values: &[ScalarValue], data_type: &DataType) -> Option<Vec<ScalarValue>> {
    let fit = |value: &ScalarValue| {
        let fitted = value.cast_to(data_type).ok()?;
        let back = fitted.cast_to(&value.data_type()).ok()?;
        (back == *value && !fitted.is_null()).then_some(fitted)
    };
    values.iter().map(fit).collect()
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match bare(expr) {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn knows_the_shapes_a_scan_can_use() {
        assert_eq!(of(&col("k").eq(lit(7))), Some(("k", vec![Bound::Among(vec![ScalarValue::from(7)])])));
        assert_eq!(of(&lit(7).gt(col("k"))), Some(("k", vec![Bound::AtMost(ScalarValue::from(7), false)])));
        assert_eq!(
            of(&col("k").in_list(vec![lit(1), lit(2)], false)),
            Some(("k", vec![Bound::Among(vec![ScalarValue::from(1), ScalarValue::from(2)])]))
        );
        assert_eq!(of(&col("k").in_list(vec![lit(1)], true)), None);
        assert_eq!(of(&col("k").eq(col("l"))), None);
        let either = of(&col("k").eq(lit(1)).or(col("k").eq(lit(2)))).unwrap().1;
        assert_eq!(either, [Bound::Among(vec![ScalarValue::from(1), ScalarValue::from(2)])]);
        assert_eq!(of(&col("k").eq(lit(1)).or(col("l").eq(lit(2)))), None);
        let between = Expr::Between(Between::new(Box::new(col("k")), false, Box::new(lit(1)), Box::new(lit(2))));
        assert_eq!(of(&between).unwrap().1.len(), 2);
    }

    #[test]
    fn a_value_that_would_change_fits_nothing() {
        assert_eq!(fitting(&[ScalarValue::from(7i64)], &DataType::Int32), Some(vec![ScalarValue::from(7i32)]));
        assert_eq!(fitting(&[ScalarValue::from(1.5)], &DataType::Int32), None);
        assert_eq!(fitting(&[ScalarValue::Int64(None)], &DataType::Int32), None);
        assert_eq!(fitting(&[ScalarValue::from(i64::MAX)], &DataType::Int32), None);
    }
}
