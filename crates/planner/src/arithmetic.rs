//! `+`, `-` (of one and of two) and `*` of INT and BIGINT that fail where the result does not fit: DataFusion's wrap around in silence.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

use crate::expressions;

/// Runs after the coercion of types: both sides have the type of the result.
#[derive(Debug)]
pub struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn name(&self) -> &str {
        "checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        expressions::rewrite_typed(plan, checked)
    }
}

fn checked(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (operator, left, right) = match &expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => (*op, Some(left), right),
        // Of the least integer there is no positive one.
        Expr::Negative(inner) if !matches!(inner.as_ref(), Expr::Literal(..)) => (Operator::Minus, None, inner),
        _ => return Ok(Transformed::no(expression)),
    };
    let Some(operation) = Operation::of(operator) else { return Ok(Transformed::no(expression)) };
    let data_type = right.get_type(schema)?;
    let left = match left {
        Some(left) if left.get_type(schema)? != data_type => return Ok(Transformed::no(expression)),
        _ if !matches!(data_type, DataType::Int32 | DataType::Int64) => return Ok(Transformed::no(expression)),
        Some(left) => Expr::clone(left),
        None => Expr::Literal(ScalarValue::new_zero(&data_type)?, None),
    };
    let function = Arc::new(ScalarUDF::from(operation));
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![left, Expr::clone(right)]))))
}

/// An operator, as a function: DataFusion has no switch for its own.
#[derive(Debug)]
struct Operation {
    operator: Operator,
    name: &'static str,
    kernel: fn(&dyn Datum, &dyn Datum) -> std::result::Result<ArrayRef, ArrowError>,
    signature: Signature,
}

impl Operation {
    fn of(operator: Operator) -> Option<Operation> {
        let (name, kernel): (_, fn(&dyn Datum, &dyn Datum) -> _) = match operator {
            Operator::Plus => ("add", add),
            Operator::Minus => ("subtract", sub),
            Operator::Multiply => ("multiply", mul),
            _ => return None,
        };
        let integers = vec![DataType::Int32, DataType::Int64];
        Some(Operation { operator, name, kernel, signature: Signature::uniform(2, integers, Volatility::Immutable) })
    }
}

impl PartialEq for Operation {
    fn eq(&self, other: &Operation) -> bool {
        self.operator == other.operator
    }
}

impl Eq for Operation {}

impl Hash for Operation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.operator.hash(state);
    }
}

impl ScalarUDFImpl for Operation {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let out_of_range = |error| match error {
            ArrowError::ArithmeticOverflow(_) => {
                let name = if *args.return_type() == DataType::Int32 { "integer" } else { "bigint" };
                ArrowError::ArithmeticOverflow(format!("{name} out of range"))
            }
            other => other,
        };
        apply(&args.args[0], &args.args[1], |left, right| (self.kernel)(left, right).map_err(out_of_range))
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion::common::ScalarValue;
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn integers_are_checked_and_nothing_else() {
        let fields = vec![Field::new("n", DataType::Int32, true), Field::new("d", DataType::Float64, true)];
        let schema = DFSchema::try_from(Schema::new(fields)).unwrap();
        let is_checked = |expression: Expr| checked(expression, &schema).unwrap().transformed;
        assert!(is_checked(col("n") + lit(1)));
        assert!(is_checked(lit(1i64) * lit(2i64)));
        assert!(!is_checked(col("n") / lit(1)));
        assert!(!is_checked(col("d") + lit(1.0)));
        assert!(!is_checked(col("n").gt(lit(1))));
    }

    #[test]
    fn what_does_not_fit_fails() {
        let computed = |operator: Operator, left: ScalarValue, right: ScalarValue| {
            let data_type = left.data_type();
            let result = Operation::of(operator).unwrap().invoke_with_args(ScalarFunctionArgs {
                args: vec![ColumnarValue::Scalar(left), ColumnarValue::Scalar(right)],
                arg_fields: Vec::new(),
                number_rows: 1,
                return_field: Arc::new(Field::new("r", data_type, true)),
                config_options: Arc::new(ConfigOptions::default()),
            });
            match result {
                Ok(ColumnarValue::Scalar(value)) => value.to_string(),
                Ok(ColumnarValue::Array(_)) => panic!("scalars give a scalar"),
                Err(error) => error.strip_backtrace(),
            }
        };
        assert_eq!(computed(Operator::Plus, ScalarValue::from(1), ScalarValue::from(2)), "3");
        assert_eq!(computed(Operator::Minus, ScalarValue::from(1), ScalarValue::Int32(None)), "NULL");
        let overflow = computed(Operator::Plus, ScalarValue::from(i32::MAX), ScalarValue::from(1));
        assert!(overflow.ends_with("integer out of range"), "{overflow}");
        let overflow = computed(Operator::Multiply, ScalarValue::from(i64::MAX), ScalarValue::from(2i64));
        assert!(overflow.ends_with("bigint out of range"), "{overflow}");
    }
}
