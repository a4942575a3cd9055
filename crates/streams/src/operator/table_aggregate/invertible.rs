//! Aggregates that can take a row back: the state of a group is all there is to keep.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::take_arrays;
use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::CastExpr;
use datafusion::scalar::ScalarValue;

use crate::Result;
use crate::operator::aggregate::input::Values;
use crate::topology::AggregateCall;

pub(super) struct Invertible {
    functions: Vec<Arc<AggregateFunctionExpr>>,
    /// The types of their states: not always those of the accumulators that cannot take back.
    states: Vec<Vec<DataType>>,
    results: Vec<DataType>,
    /// Which of them are means.
    fail_hard: Vec<bool>,
    /// By group, then function.
    held: Vec<Vec<Box<dyn Accumulator>>>,
}

impl Invertible {
    /// `None`: one of them can only add.
    pub(super) fn new(calls: &[AggregateCall], input: &Schema) -> Result<Option<Invertible>> {
        let functions: Vec<_> = calls.iter().map(|call| call.function.clone()).collect();
        let mut states = Vec::with_capacity(functions.len());
        for function in &functions {
            if !is_invertible(function, input)? {
                return Ok(None);
            }
            let Ok(mut accumulator) = function.create_sliding_accumulator() else {
                return Ok(None);
            };
            states.push(accumulator.state()?.iter().map(ScalarValue::data_type).collect());
        }
        let results = functions.iter().map(|function| function.field().data_type().clone()).collect();
        let fail_hard = functions.iter().map(|function| function.fun().name() == "avg").collect();
        Ok(Some(Invertible { functions, states, results, fail_hard, held: Vec::new() }))
    }

    pub(super) fn state_types(&self) -> Vec<DataType> {
        self.states.iter().flatten().cloned().collect()
    }

    /// One more group, with what is stored of it at `row` of `states`.
    pub(super) fn add(&mut self, states: Option<(&[ArrayRef], usize)>) -> Result<()> {
        let mut accumulators = Vec::with_capacity(self.functions.len());
        let mut at = 0;
        for (function, types) in self.functions.iter().zip(&self.states) {
            let mut accumulator = function.create_sliding_accumulator()?;
            if let Some((states, row)) = states {
                let state: Vec<ArrayRef> = states[at..at + types.len()].iter().map(|column| column.slice(row, 1)).collect();
                accumulator.merge_batch(&state)?;
            }
            at += types.len();
            accumulators.push(accumulator);
        }
        self.held.push(accumulators);
        Ok(())
    }

    /// The results of the groups from `from` on.
    pub(super) fn results(&mut self, from: usize) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::with_capacity(self.functions.len());
        for (function, data_type) in self.results.iter().enumerate() {
            let values: datafusion::error::Result<Vec<ScalarValue>> =
                self.held[from..].iter_mut().map(|group| group[function].evaluate()).collect();
            columns.push(column(values?, data_type)?);
        }
        Ok(columns)
    }

    pub(super) fn states(&mut self) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(self.held.len()); self.states.iter().map(Vec::len).sum()];
        for group in &mut self.held {
            let mut at = 0;
            for accumulator in group {
                for value in accumulator.state()? {
                    columns[at].push(value);
                    at += 1;
                }
            }
        }
        columns.into_iter().zip(self.states.iter().flatten()).map(|(values, data_type)| column(values, data_type)).collect()
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    /// Adds and takes back the rows of a batch. The order of rows does not matter to the functions here; adding first keeps their
    /// counts from going below zero in between.
    pub(super) fn apply(&mut self, values: &Values, groups: &[usize], changes: &[i8]) -> Result<()> {
        let mut rows: Vec<u32> = (0..groups.len() as u32).collect();
        rows.sort_by_key(|row| (groups[*row as usize], changes[*row as usize] < 0));
        for run in rows.chunk_by(|a, b| groups[*a as usize] == groups[*b as usize]) {
            let group = &mut self.held[groups[run[0] as usize]];
            let added = run.partition_point(|row| changes[*row as usize] >= 0);
            for ((accumulator, fails_hard), (arguments, filter)) in group.iter_mut().zip(&self.fail_hard).zip(values.calls()) {
                if let Some(arguments) = pick(arguments, filter, &run[..added])? {
                    accumulator.update_batch(&arguments)?;
                }
                if let Some(arguments) = pick(arguments, filter, &run[added..])? {
                    // A mean of nothing yet cannot take anything back, and fails hard when it is asked to.
                    if *fails_hard && accumulator.state()?.iter().any(ScalarValue::is_null) {
                        continue;
                    }
                    accumulator.retract_batch(&arguments)?;
                }
            }
        }
        Ok(())
    }
}

fn pick(arguments: &[ArrayRef], filter: Option<&BooleanArray>, rows: &[u32]) -> Result<Option<Vec<ArrayRef>>> {
    let rows: Vec<u32> = rows.iter().copied().filter(|row| filter.is_none_or(|filter| filter.value(*row as usize))).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(take_arrays(arguments, &UInt32Array::from(rows), None)?))
}

fn column(values: Vec<ScalarValue>, data_type: &DataType) -> Result<ArrayRef> {
    if values.is_empty() {
        return Ok(arrow::array::new_empty_array(data_type));
    }
    Ok(ScalarValue::iter_to_array(values)?)
}

/// Whether taking a row back gives exactly the state without it: no floats (their sums depend on the order), no extremes.
fn is_invertible(function: &AggregateFunctionExpr, input: &Schema) -> Result<bool> {
    if function.is_distinct() || !function.order_bys().is_empty() {
        return Ok(false);
    }
    let arguments = function.expressions();
    let is_exact =
        |data_type: &DataType| data_type.is_integer() || matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..));
    Ok(match (function.fun().name(), arguments.as_slice()) {
        ("count", _) => true,
        ("sum", [argument]) => is_exact(&argument.data_type(input)?),
        ("avg", [argument]) => match argument.downcast_ref::<CastExpr>() {
            // Sums of integers of 32 bits are exact as doubles for the first four million rows of a group at the extreme.
            Some(cast) if cast.cast_type() == &DataType::Float64 => {
                matches!(cast.expr().data_type(input)?, DataType::Int8 | DataType::Int16 | DataType::Int32)
            }
            _ => matches!(argument.data_type(input)?, DataType::Decimal128(..) | DataType::Decimal256(..)),
        },
        _ => false,
    })
}
