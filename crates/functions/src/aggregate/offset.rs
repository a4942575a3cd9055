//! EARLIEST_BY_OFFSET and LATEST_BY_OFFSET: the first or last to arrive, one value or a list of n (oldest first).

use std::collections::VecDeque;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::{Aggregate, Call, constant, each_element, list, list_of, value};

pub(super) const AGGREGATES: &[Aggregate] = &[
    Aggregate {
        name: "earliest_by_offset",
        usage: "earliest_by_offset(value [, n] [, ignore_nulls])",
        arguments,
        returns,
        state: |types| vec![("values", list_of(&types[0]))],
        accumulator: |call| accumulator(call, "earliest_by_offset", End::Earliest),
    },
    Aggregate {
        name: "latest_by_offset",
        usage: "latest_by_offset(value [, n] [, ignore_nulls])",
        arguments,
        returns,
        state: |types| vec![("values", list_of(&types[0]))],
        accumulator: |call| accumulator(call, "latest_by_offset", End::Latest),
    },
];

fn arguments(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [value] => Some(vec![value.clone()]),
        [value, DataType::Boolean] => Some(vec![value.clone(), DataType::Boolean]),
        [value, n] if n.is_integer() => Some(vec![value.clone(), DataType::Int64]),
        [value, n, DataType::Boolean] if n.is_integer() => Some(vec![value.clone(), DataType::Int64, DataType::Boolean]),
        _ => None,
    }
}

fn returns(types: &[DataType]) -> DataType {
    if is_list(types) { list_of(&types[0]) } else { types[0].clone() }
}

fn is_list(types: &[DataType]) -> bool {
    types.get(1) == Some(&DataType::Int64)
}

fn accumulator(call: &Call, name: &str, end: End) -> Result<Box<dyn Accumulator>> {
    let as_list = is_list(&call.types);
    let most = if as_list { constant::count(call, 1, name)? } else { 1 };
    let flag = if as_list { 2 } else { 1 };
    let ignore_nulls = if call.types.len() > flag { constant::flag(call, flag, name)? } else { true };
    Ok(Box::new(ByOffset { item: call.types[0].clone(), as_list, most, ignore_nulls, end, values: VecDeque::new() }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Earliest,
    Latest,
}

#[derive(Debug)]
struct ByOffset {
    item: DataType,
    as_list: bool,
    /// How many values are kept.
    most: usize,
    ignore_nulls: bool,
    end: End,
    /// In the order of arrival.
    values: VecDeque<ScalarValue>,
}

impl ByOffset {
    /// Later than all before.
    fn push(&mut self, value: ScalarValue) {
        if self.values.len() == self.most {
            if self.end == End::Earliest {
                return;
            }
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    fn list(&mut self) -> ScalarValue {
        list(self.values.make_contiguous(), &self.item)
    }

    fn is_settled(&self) -> bool {
        self.end == End::Earliest && self.values.len() == self.most
    }
}

impl Accumulator for ByOffset {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let array = values[0].as_ref();
        if self.is_settled() {
            return Ok(());
        }
        let mut rows: Vec<usize> = (0..array.len()).filter(|row| !self.ignore_nulls || array.is_valid(*row)).collect();
        if self.end == End::Latest {
            rows.drain(..rows.len().saturating_sub(self.most));
        } else {
            rows.truncate(self.most);
        }
        for row in rows {
            self.push(value(array, row)?);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        each_element(&states[0], |value| {
            self.push(value);
            Ok(())
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.as_list {
            return Ok(self.list());
        }
        match self.values.front() {
            Some(value) => Ok(value.clone()),
            None => ScalarValue::try_from(&self.item),
        }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.list()])
    }

    fn size(&self) -> usize {
        size_of_val(self) + ScalarValue::size_of_vec_deque(&self.values)
    }
}
