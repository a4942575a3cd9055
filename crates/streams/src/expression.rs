//! Guarded evaluation (design D3): a row that fails must not fail its batch.
//!
//! A batch is evaluated at once. When a kernel errs, the batch is halved until the rows at fault are alone; those are NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{cast, concat, prep_null_mask_filter};
use arrow::datatypes::DataType;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::fmt_sql;

use crate::operator::{Context, Incident, IncidentKind};
use crate::{Batch, Error, Result};

/// So many failures of one batch are described; all are counted.
pub const DESCRIBED_MAX: usize = 100;

/// An expression that gives NULL where it fails.
#[derive(Debug, Clone)]
pub struct Guarded {
    expression: Arc<dyn PhysicalExpr>,
    /// What it gives is cast to this where the expression gives something else (`Utf8View` for `Utf8`).
    data_type: Option<DataType>,
}

/// The rows of a batch at which an expression failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures {
    pub count: u64,
    /// Row and message of the first [`DESCRIBED_MAX`]. The message begins with the expression: `a / b: divide by zero`.
    pub described: Vec<(usize, String)>,
}

impl Guarded {
    pub fn new(expression: Arc<dyn PhysicalExpr>) -> Guarded {
        Guarded { expression, data_type: None }
    }

    /// Gives `data_type`, whatever of its kin the expression gives.
    pub fn of_type(expression: Arc<dyn PhysicalExpr>, data_type: DataType) -> Guarded {
        Guarded { expression, data_type: Some(data_type) }
    }

    pub fn expression(&self) -> &Arc<dyn PhysicalExpr> {
        &self.expression
    }

    /// As many values as the batch has rows.
    pub fn evaluate(&self, rows: &RecordBatch) -> Result<(ArrayRef, Failures)> {
        let mut failures = Failures::default();
        if let Ok(values) = self.attempt(rows) {
            return Ok((values, failures));
        }
        let data_type = match &self.data_type {
            Some(data_type) => data_type.clone(),
            None => self.expression.data_type(&rows.schema())?,
        };
        let mut parts = Vec::new();
        self.bisect(rows, 0, &data_type, &mut parts, &mut failures)?;
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        let values = if parts.is_empty() { new_null_array(&data_type, 0) } else { concat(&parts)? };
        Ok((values, failures))
    }

    /// As [`Guarded::evaluate`]; failures are counted and reported as the running node's.
    pub fn values(&self, batch: &Batch, context: &mut Context<'_>) -> Result<ArrayRef> {
        let (values, failures) = self.evaluate(&batch.rows)?;
        failures.report(batch, context);
        Ok(values)
    }

    /// Of a predicate: true where it is true, false where it is not, is null, or failed.
    pub fn mask(&self, batch: &Batch, context: &mut Context<'_>) -> Result<BooleanArray> {
        let values = self.values(batch, context)?;
        let mask = match values.data_type() {
            DataType::Boolean => values.as_boolean().clone(),
            _ => cast(&values, &DataType::Boolean)?.as_boolean().clone(),
        };
        Ok(if mask.null_count() > 0 { prep_null_mask_filter(&mask) } else { mask })
    }

    fn attempt(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let values = self.expression.evaluate(rows)?.into_array(rows.num_rows())?;
        match &self.data_type {
            Some(data_type) if values.data_type() != data_type => Ok(cast(&values, data_type)?),
            _ => Ok(values),
        }
    }

    fn bisect(
        &self,
        rows: &RecordBatch,
        offset: usize,
        data_type: &DataType,
        parts: &mut Vec<ArrayRef>,
        failures: &mut Failures,
    ) -> Result<()> {
        match self.attempt(rows) {
            Ok(values) if values.data_type() == data_type => parts.push(values),
            Ok(values) => parts.push(cast(&values, data_type)?),
            Err(_) if rows.num_rows() > 1 => {
                let half = rows.num_rows() / 2;
                self.bisect(&rows.slice(0, half), offset, data_type, parts, failures)?;
                self.bisect(&rows.slice(half, rows.num_rows() - half), offset + half, data_type, parts, failures)?;
            }
            Err(error) => {
                failures.count += rows.num_rows() as u64;
                if rows.num_rows() == 1 && failures.described.len() < DESCRIBED_MAX {
                    failures.described.push((offset, format!("{}: {}", fmt_sql(self.expression.as_ref()), reason(&error))));
                }
                parts.push(new_null_array(data_type, rows.num_rows()));
            }
        }
        Ok(())
    }
}

impl Failures {
    /// Counts them, and writes those described to the processing log.
    pub fn report(self, batch: &Batch, context: &mut Context<'_>) {
        if self.count == 0 {
            return;
        }
        context.counters.failed_expressions += self.count;
        for (row, message) in self.described {
            let rowtime_ms = Some(batch.timestamps.value(row));
            let partition = Some(context.partition);
            context.incidents.push(Incident { rowtime_ms, partition, ..Incident::new(IncidentKind::Expression, context.node, message) });
        }
    }
}

/// What libraries put before what they say.
const PREFIXES: [&str; 9] = [
    "Arrow error: ",
    "Execution error: ",
    "External error: ",
    "Compute error: ",
    "Cast error: ",
    "Parser error: ",
    "Invalid argument error: ",
    "Arithmetic overflow: ",
    "Error during planning: ",
];

/// What went wrong, without the libraries that say so: in lower case (but for acronyms), without a full stop.
pub(crate) fn reason(error: &Error) -> String {
    let text = error.to_string();
    let mut text = text.lines().next().unwrap_or_default().trim();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    let text = if text == "Divide by zero error" { "divide by zero" } else { text.strip_suffix('.').unwrap_or(text) };
    let mut characters = text.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), second) if !second.is_some_and(char::is_uppercase) => first.to_lowercase().chain(characters).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::Int64Type;
    use datafusion::logical_expr::Operator::{Divide, Gt};
    use datafusion::physical_expr::expressions::{Column, binary, col, lit};

    use super::*;

    fn pairs(a: Vec<i64>, b: Vec<i64>) -> RecordBatch {
        let column = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
        RecordBatch::try_from_iter([("a", column(a)), ("b", column(b))]).unwrap()
    }

    fn rows() -> RecordBatch {
        pairs(vec![8, 6, 4, 2], vec![2, 0, 4, 0])
    }

    fn quotient(rows: &RecordBatch) -> Arc<dyn PhysicalExpr> {
        let schema = rows.schema();
        binary(col("a", &schema).unwrap(), Divide, col("b", &schema).unwrap(), &schema).unwrap()
    }

    #[test]
    fn rows_that_fail_are_null_and_the_others_are_not() {
        let rows = rows();
        let (values, failures) = Guarded::new(quotient(&rows)).evaluate(&rows).unwrap();
        assert_eq!(values.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(4), None, Some(1), None]));
        assert_eq!(failures.count, 2);
        assert_eq!(failures.described.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(failures.described[0].1, "a / b: divide by zero");
    }

    #[test]
    fn a_failed_predicate_is_false() {
        let rows = rows();
        let schema = rows.schema();
        let predicate = binary(quotient(&rows), Gt, lit(0_i64), &schema).unwrap();
        let times = Int64Array::from(vec![10, 20, 30, 40]);
        let batch = Batch { rows, timestamps: times.clone(), stream_times: times, changes: None, tombstones: None };
        let mut context = Context::default();
        let mask = Guarded::new(predicate).mask(&batch, &mut context).unwrap();
        assert_eq!(mask, BooleanArray::from(vec![true, false, true, false]));
        assert_eq!((context.counters.failed_expressions, context.incidents.len()), (2, 2));
        let incident = &context.incidents[0];
        assert_eq!((incident.message.as_str(), incident.partition), ("a / b > 0: divide by zero", Some(0)));
        assert_eq!(incident.rowtime_ms, Some(20));
    }

    #[test]
    fn only_so_many_are_described() {
        let zeros = pairs(vec![1; 1000], vec![0; 1000]);
        let (values, failures) = Guarded::new(quotient(&zeros)).evaluate(&zeros).unwrap();
        assert_eq!((values.len(), values.null_count()), (1000, 1000));
        assert_eq!((failures.count, failures.described.len()), (1000, DESCRIBED_MAX));
    }

    #[test]
    fn gives_the_wanted_type() {
        let rows = rows();
        let guarded = Guarded::of_type(Arc::new(Column::new("a", 0)), DataType::Float64);
        assert_eq!(guarded.evaluate(&rows).unwrap().0.data_type(), &DataType::Float64);
    }
}
