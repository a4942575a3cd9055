//! DataFusion's accumulators for all groups at hand.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::input::Values;
use crate::Result;
use crate::operator::row_codec::conform;
use crate::topology::AggregateCall;

/// What is computed for each group.
pub(crate) struct Calls {
    functions: Vec<Arc<AggregateFunctionExpr>>,
    /// Of each function.
    states: Vec<Vec<DataType>>,
    results: Vec<DataType>,
}

impl Calls {
    pub(crate) fn new(calls: &[AggregateCall]) -> Result<Calls> {
        let functions: Vec<_> = calls.iter().map(|call| call.function.clone()).collect();
        let mut states = Vec::with_capacity(functions.len());
        for function in &functions {
            states.push(function.state_fields()?.iter().map(|field| field.data_type().clone()).collect());
        }
        let results = functions.iter().map(|function| function.field().data_type().clone()).collect();
        Ok(Calls { functions, states, results })
    }

    /// The types of all state columns, function by function.
    pub(crate) fn state_types(&self) -> impl Iterator<Item = &DataType> {
        self.states.iter().flatten()
    }

    pub(crate) fn accumulators(self: &Arc<Calls>) -> Result<Accumulators> {
        let mut sets: Vec<Box<dyn GroupsAccumulator>> = Vec::with_capacity(self.functions.len());
        for function in &self.functions {
            sets.push(if function.groups_accumulator_supported() {
                function.create_groups_accumulator()?
            } else {
                let function = function.clone();
                Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator()))
            });
        }
        Ok(Accumulators { calls: self.clone(), sets })
    }

    /// The results of these states, row by row.
    pub(crate) fn evaluate(self: &Arc<Calls>, states: &[ArrayRef], count: usize) -> Result<Vec<ArrayRef>> {
        let groups: Vec<usize> = (0..count).collect();
        let mut accumulators = self.accumulators()?;
        accumulators.merge(states, &groups, count)?;
        accumulators.results()
    }
}

/// One accumulator for each function; each holds all groups. A group must have a row or a state in the call whose `total` counts it first:
/// the functions take groups that they have not heard of for such that had a value.
pub(crate) struct Accumulators {
    calls: Arc<Calls>,
    sets: Vec<Box<dyn GroupsAccumulator>>,
}

impl Accumulators {
    /// Adds rows; `groups` has the group of each. Groups are numbered up to `total`.
    pub(crate) fn update(&mut self, values: &Values, groups: &[usize], total: usize) -> Result<()> {
        for (set, (arguments, filter)) in self.sets.iter_mut().zip(values.calls()) {
            set.update_batch(arguments, groups, filter, total)?;
        }
        Ok(())
    }

    /// Adds states: the columns of all functions, one after another.
    pub(crate) fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let mut states = states;
        for (set, types) in self.sets.iter_mut().zip(&self.calls.states) {
            let (these, others) = states.split_at(types.len());
            set.merge_batch(these, groups, total)?;
            states = others;
        }
        Ok(())
    }

    /// The state columns of all functions; a row for each group. There must be a group.
    pub(crate) fn states(mut self) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        for (set, types) in self.sets.iter_mut().zip(&self.calls.states) {
            for (column, wanted) in set.state(EmitTo::All)?.iter().zip(types) {
                columns.push(conform(column, wanted)?);
            }
        }
        Ok(columns)
    }

    /// A column for each function, a row for each group. There must be a group.
    pub(crate) fn results(mut self) -> Result<Vec<ArrayRef>> {
        let results = self.sets.iter_mut().zip(&self.calls.results);
        results.map(|(set, wanted)| conform(&set.evaluate(EmitTo::All)?, wanted)).collect()
    }
}
