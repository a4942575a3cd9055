//! A DOUBLE meets a DECIMAL as a DOUBLE, as in PostgreSQL: DataFusion compares the two as DECIMAL(30, 15), which most doubles are not.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{Between, BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator, cast};
use datafusion::optimizer::AnalyzerRule;

use crate::expressions;

/// Runs before the coercion of types.
#[derive(Debug)]
pub struct Doubles;

impl AnalyzerRule for Doubles {
    fn name(&self) -> &str {
        "doubles"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        expressions::rewrite_typed(plan, meet)
    }
}

fn meet(mut expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let changed = match &mut expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => level(vec![left, right], schema)?,
        Expr::InList(InList { expr, list, .. }) => level(std::iter::once(expr.as_mut()).chain(list).collect(), schema)?,
        Expr::Between(Between { expr, low, high, .. }) => level(vec![expr, low, high], schema)?,
        Expr::ScalarFunction(ScalarFunction { args, .. }) => level(args.iter_mut().collect(), schema)?,
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let (whens, thens): (Vec<&mut Expr>, Vec<&mut Expr>) =
                when_then_expr.iter_mut().map(|(when, then)| (when.as_mut(), then.as_mut())).unzip();
            let compared = match expr {
                Some(expr) => level(std::iter::once(expr.as_mut()).chain(whens).collect(), schema)?,
                None => false,
            };
            level(thens.into_iter().chain(else_expr.as_deref_mut()).collect(), schema)? || compared
        }
        _ => false,
    };
    Ok(if changed { Transformed::yes(expression) } else { Transformed::no(expression) })
}

fn compares(operator: Operator) -> bool {
    use Operator::*;
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// Makes doubles of the decimals among `expressions` when there is a double among them, too.
fn level(expressions: Vec<&mut Expr>, schema: &DFSchema) -> Result<bool> {
    let mut types = Vec::with_capacity(expressions.len());
    for expression in &expressions {
        // What has no type yet is for the coercion to complain of.
        types.push(expression.get_type(schema).ok());
    }
    let is_double = |data_type: &Option<DataType>| matches!(data_type, Some(DataType::Float64 | DataType::Float32));
    let is_decimal = |data_type: &Option<DataType>| data_type.as_ref().is_some_and(DataType::is_decimal);
    if !types.iter().any(is_double) || !types.iter().any(is_decimal) {
        return Ok(false);
    }
    for (expression, _) in expressions.into_iter().zip(&types).filter(|(_, data_type)| is_decimal(data_type)) {
        *expression = match &*expression {
            Expr::Literal(value, metadata) => Expr::Literal(value.cast_to(&DataType::Float64)?, metadata.clone()),
            other => cast(other.clone(), DataType::Float64),
        };
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion::common::ScalarValue;
    use datafusion::common::tree_node::TreeNode;
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn decimals_follow_doubles() {
        let fields = vec![Field::new("d", DataType::Float64, true), Field::new("m", DataType::Decimal128(9, 2), true)];
        let schema = DFSchema::try_from(Schema::new(fields)).unwrap();
        let decimal = lit(ScalarValue::Decimal128(Some(15), 2, 1));
        for (expression, leveled) in [
            (col("d").gt(decimal.clone()), col("d").gt(lit(1.5))),
            (col("d").in_list(vec![decimal.clone(), lit(1)], false), col("d").in_list(vec![lit(1.5), lit(1)], false)),
            (decimal.clone().between(col("m"), col("d")), lit(1.5).between(cast(col("m"), DataType::Float64), col("d"))),
            (col("m").eq(decimal.clone()), col("m").eq(decimal.clone())),
            (col("d").eq(lit(1)), col("d").eq(lit(1))),
        ] {
            assert_eq!(expression.transform_up(|expression| meet(expression, &schema)).unwrap().data, leveled);
        }
    }
}
