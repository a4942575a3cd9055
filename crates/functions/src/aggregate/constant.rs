//! Arguments that must be literals: k, n, ignoreNulls.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;

use super::Call;

/// The value of an expression over constants, casts included.
pub(super) fn value(expression: &Arc<dyn PhysicalExpr>) -> Option<ScalarValue> {
    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
    match expression.evaluate(&nothing) {
        Ok(ColumnarValue::Scalar(value)) => Some(value),
        _ => None,
    }
}

/// A number from 1 on.
pub(super) fn count(call: &Call, index: usize, name: &str) -> Result<usize> {
    match call.constants.get(index) {
        Some(Some(ScalarValue::Int64(Some(count)))) if *count > 0 => Ok(usize::try_from(*count).unwrap_or(usize::MAX)),
        Some(Some(_)) => Err(DataFusionError::Plan(format!("{name} takes a number greater than 0"))),
        _ => Err(DataFusionError::Plan(format!("the number that {name} takes must be a literal"))),
    }
}

pub(super) fn flag(call: &Call, index: usize, name: &str) -> Result<bool> {
    match call.constants.get(index) {
        Some(Some(ScalarValue::Boolean(Some(flag)))) => Ok(*flag),
        _ => Err(DataFusionError::Plan(format!("the flag that {name} takes must be true or false, as a literal"))),
    }
}
