//! From a batch to groups and arguments.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{and, filter, prep_null_mask_filter, take};
use arrow::datatypes::{DataType, Schema};
use datafusion::physical_expr::PhysicalExpr;

use crate::expression::Guarded;
use crate::operator::Context;
use crate::topology::AggregateCall;
use crate::{Batch, Error, Result};

/// `GROUP BY`.
pub(crate) struct Grouping {
    expressions: Vec<Guarded>,
}

impl Grouping {
    pub(crate) fn new(expressions: &[Arc<dyn PhysicalExpr>], types: &[DataType]) -> Result<Grouping> {
        if expressions.is_empty() || expressions.len() != types.len() {
            return Err(Error::Topology(format!("{} grouping expressions for {} columns", expressions.len(), types.len())));
        }
        let expressions = expressions.iter().zip(types).map(|(expression, wanted)| Guarded::of_type(expression.clone(), wanted.clone()));
        Ok(Grouping { expressions: expressions.collect() })
    }

    /// The group of each row, without the rows where a part of it is null, and without a stream's records that have no value.
    pub(crate) fn split(&self, batch: Batch, context: &mut Context<'_>) -> Result<(Batch, Vec<ArrayRef>)> {
        let batch = batch.with_values()?;
        let columns: Result<Vec<ArrayRef>> = self.expressions.iter().map(|expression| expression.values(&batch, context)).collect();
        without_nulls(batch, columns?, context)
    }
}

/// The rows where none of `columns` is null; others are counted.
pub(crate) fn without_nulls(batch: Batch, columns: Vec<ArrayRef>, context: &mut Context<'_>) -> Result<(Batch, Vec<ArrayRef>)> {
    let valid = columns.iter().fold(None, |valid, column| NullBuffer::union(valid.as_ref(), column.logical_nulls().as_ref()));
    let Some(valid) = valid.filter(|valid| valid.null_count() > 0) else {
        return Ok((batch, columns));
    };
    context.counters.null_key += match &batch.changes {
        // A row that leaves a table was counted when it came.
        Some(changes) => changes.values().iter().enumerate().filter(|(row, change)| **change > 0 && valid.is_null(*row)).count(),
        None => valid.null_count(),
    } as u64;
    let mask = BooleanArray::new(valid.into_inner(), None);
    let columns: Result<Vec<ArrayRef>> = columns.iter().map(|column| Ok(filter(column, &mask)?)).collect();
    Ok((batch.filter(&mask)?, columns?))
}

/// The arguments and filters of all aggregates.
pub(crate) struct Arguments {
    calls: Vec<(Vec<Guarded>, Option<Guarded>)>,
}

impl Arguments {
    pub(crate) fn new(calls: &[AggregateCall], input: &Schema) -> Result<Arguments> {
        let mut arguments = Vec::with_capacity(calls.len());
        for call in calls {
            // Accumulators that want an order take what they order by behind their arguments.
            let ordering = call.function.order_bys().iter().map(|sort| sort.expr.clone());
            let mut values = Vec::new();
            for expression in call.function.expressions().into_iter().chain(ordering) {
                let data_type = expression.data_type(input)?;
                values.push(Guarded::of_type(expression, data_type));
            }
            arguments.push((values, call.filter.clone().map(Guarded::new)));
        }
        Ok(Arguments { calls: arguments })
    }

    /// The types of the arguments of all aggregates, one after another, a filter's behind its aggregate's.
    pub(crate) fn types(&self, input: &Schema) -> Result<Vec<DataType>> {
        let mut types = Vec::new();
        for (values, filter) in &self.calls {
            for value in values {
                types.push(value.expression().data_type(input)?);
            }
            types.extend(filter.is_some().then_some(DataType::Boolean));
        }
        Ok(types)
    }

    pub(crate) fn evaluate(&self, batch: &Batch, context: &mut Context<'_>) -> Result<Values> {
        let mut calls = Vec::with_capacity(self.calls.len());
        for (values, filter) in &self.calls {
            let values: Result<Vec<ArrayRef>> = values.iter().map(|value| value.values(batch, context)).collect();
            let filter = filter.as_ref().map(|filter| filter.mask(batch, context)).transpose()?;
            calls.push((values?, filter));
        }
        Ok(Values { calls })
    }

    /// The reverse of [`Values::columns`].
    pub(crate) fn of_columns(&self, columns: Vec<ArrayRef>) -> Values {
        let mut columns = columns.into_iter();
        let calls = self.calls.iter().map(|(values, filter)| {
            let values = columns.by_ref().take(values.len()).collect();
            // What stands for no row has a null here.
            let filter = filter.as_ref().and_then(|_| columns.next()).map(|filter| without_null(filter.as_boolean()));
            (values, filter)
        });
        Values { calls: calls.collect() }
    }
}

/// Null is false.
fn without_null(mask: &BooleanArray) -> BooleanArray {
    if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() }
}

/// What [`Arguments`] give for a batch. Filters are never null.
pub(crate) struct Values {
    calls: Vec<(Vec<ArrayRef>, Option<BooleanArray>)>,
}

impl Values {
    pub(crate) fn calls(&self) -> impl Iterator<Item = (&[ArrayRef], Option<&BooleanArray>)> {
        self.calls.iter().map(|(values, filter)| (values.as_slice(), filter.as_ref()))
    }

    pub(crate) fn columns(&self) -> Vec<ArrayRef> {
        let mut columns = Vec::new();
        for (values, filter) in &self.calls {
            columns.extend(values.iter().cloned());
            columns.extend(filter.clone().map(|filter| Arc::new(filter) as ArrayRef));
        }
        columns
    }

    /// Rows where `mask` is false are not to be added to anything.
    pub(crate) fn filter(&self, mask: &BooleanArray) -> Result<Values> {
        let mut calls = Vec::with_capacity(self.calls.len());
        for (values, filter) in &self.calls {
            let filter = filter.as_ref().map_or(Ok(mask.clone()), |filter| and(filter, mask))?;
            calls.push((values.clone(), Some(filter)));
        }
        Ok(Values { calls })
    }

    pub(crate) fn slice(&self, offset: usize, length: usize) -> Values {
        self.map(|column| Ok(column.slice(offset, length))).expect("slicing cannot fail")
    }

    pub(crate) fn take(&self, rows: &UInt32Array) -> Result<Values> {
        self.map(|column| Ok(take(column, rows, None)?))
    }

    fn map(&self, each: impl Fn(&dyn Array) -> Result<ArrayRef>) -> Result<Values> {
        let mut calls = Vec::with_capacity(self.calls.len());
        for (values, filter) in &self.calls {
            let values: Result<Vec<ArrayRef>> = values.iter().map(|value| each(value)).collect();
            let filter = filter.as_ref().map(|filter| each(filter)).transpose()?.map(|filter| filter.as_boolean().clone());
            calls.push((values?, filter));
        }
        Ok(Values { calls })
    }
}
