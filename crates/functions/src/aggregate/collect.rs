//! COLLECT_LIST and COLLECT_SET: values in the order of their arrival, NULLs too.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::set::ArrivalSet;
use super::{Aggregate, each_element, list, list_of, value};

pub(super) const AGGREGATES: &[Aggregate] = &[
    Aggregate {
        name: "collect_list",
        usage: "collect_list(value)",
        arguments: one,
        returns: |types| list_of(&types[0]),
        state: |types| vec![("values", list_of(&types[0]))],
        accumulator: |call| Ok(Box::new(CollectList { item: call.types[0].clone(), values: Vec::new() })),
    },
    Aggregate {
        name: "collect_set",
        usage: "collect_set(value)",
        arguments: one,
        returns: |types| list_of(&types[0]),
        state: |types| vec![("values", list_of(&types[0]))],
        accumulator: |call| Ok(Box::new(CollectSet { item: call.types[0].clone(), values: ArrivalSet::default() })),
    },
];

pub(super) fn one(types: &[DataType]) -> Option<Vec<DataType>> {
    (types.len() == 1).then(|| types.to_vec())
}

#[derive(Debug)]
struct CollectList {
    item: DataType,
    values: Vec<ScalarValue>,
}

impl Accumulator for CollectList {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in 0..values[0].len() {
            self.values.push(value(values[0].as_ref(), row)?);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        each_element(&states[0], |value| {
            self.values.push(value);
            Ok(())
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(list(&self.values, &self.item))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![list(&self.values, &self.item)])
    }

    fn size(&self) -> usize {
        size_of_val(self) + ScalarValue::size_of_vec(&self.values)
    }
}

#[derive(Debug)]
struct CollectSet {
    item: DataType,
    values: ArrivalSet,
}

impl Accumulator for CollectSet {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in 0..values[0].len() {
            self.values.insert(value(values[0].as_ref(), row)?);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        each_element(&states[0], |value| {
            self.values.insert(value);
            Ok(())
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(list(self.values.values(), &self.item))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![list(self.values.values(), &self.item)])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.size()
    }
}
