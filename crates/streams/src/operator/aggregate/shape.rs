//! The columns of aggregates.

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

use super::accumulators::Calls;
use crate::topology::{AggregateSpec, Phase};
use crate::{Error, Result};

/// What the columns of an aggregate's input and output are.
pub(crate) struct Shape {
    pub(crate) group_types: Vec<DataType>,
    pub(crate) windowed: bool,
}

impl Shape {
    /// Checks the output's columns.
    pub(crate) fn of(spec: &AggregateSpec, output: &SchemaRef, windowed: bool, states: usize) -> Result<Shape> {
        let results = if spec.phase == Phase::Partial { states } else { spec.aggregates.len() };
        let fixed = results + if windowed { 2 } else { 0 };
        let count = output.fields().len();
        if count <= fixed || (spec.phase != Phase::Final && count - fixed != spec.group.len()) {
            return Err(Error::Topology(format!("an aggregate with {count} columns, {results} of them results: what is grouped by?")));
        }
        let shape =
            Shape { group_types: output.fields()[..count - fixed].iter().map(|field| field.data_type().clone()).collect(), windowed };
        shape.check_bounds(output)?;
        Ok(shape)
    }

    fn check_bounds(&self, schema: &SchemaRef) -> Result<()> {
        let at = self.group_types.len();
        let is_time = |column: usize| matches!(schema.field(column).data_type(), DataType::Timestamp(TimeUnit::Millisecond, _));
        if self.windowed && !(schema.fields().len() > at + 1 && is_time(at) && is_time(at + 1)) {
            return Err(Error::Topology("a window's bounds are not behind the group".into()));
        }
        Ok(())
    }

    /// Checks that `input` is what a partial gives.
    pub(super) fn check_partial(&self, input: &SchemaRef, calls: &Calls) -> Result<()> {
        self.check_bounds(input)?;
        let before = self.group_types.len() + if self.windowed { 2 } else { 0 };
        let types = |columns: std::ops::Range<usize>| input.fields()[columns].iter().map(|field| field.data_type());
        if input.fields().len() < before
            || !types(0..self.group_types.len()).eq(&self.group_types)
            || !types(before..input.fields().len()).eq(calls.state_types())
        {
            return Err(Error::Topology("the input of a final aggregate is not what its partial gives".into()));
        }
        Ok(())
    }
}
