//! COUNT_DISTINCT and ATTR.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::collect::one;
use super::set::ArrivalSet;
use super::{Aggregate, each_element, list, list_of, value};

pub(super) const AGGREGATES: &[Aggregate] = &[
    Aggregate {
        name: "count_distinct",
        usage: "count_distinct(value)",
        arguments: one,
        returns: |_| DataType::Int64,
        state: |types| vec![("values", list_of(&types[0]))],
        accumulator: |call| Ok(Box::new(CountDistinct { item: call.types[0].clone(), values: ArrivalSet::default() })),
    },
    Aggregate {
        name: "attr",
        usage: "attr(value)",
        arguments: one,
        returns: |types| types[0].clone(),
        state: |types| vec![("values", list_of(&types[0]))],
        accumulator: |call| Ok(Box::new(Attr { item: call.types[0].clone(), values: Vec::new() })),
    },
];

/// How many values there are that are not NULL, exactly.
#[derive(Debug)]
struct CountDistinct {
    item: DataType,
    values: ArrivalSet,
}

impl Accumulator for CountDistinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in (0..values[0].len()).filter(|row| values[0].is_valid(*row)) {
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
        Ok(ScalarValue::Int64(Some(self.values.values().len() as i64)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![list(self.values.values(), &self.item)])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.size()
    }
}

/// The value of all rows if they have the same, NULL being one; else NULL.
#[derive(Debug)]
struct Attr {
    item: DataType,
    /// The first two distinct values: with the second the result is settled.
    values: Vec<ScalarValue>,
}

impl Attr {
    fn insert(&mut self, value: ScalarValue) {
        if self.values.len() < 2 && self.values.first() != Some(&value) {
            self.values.push(value);
        }
    }
}

impl Accumulator for Attr {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in 0..values[0].len() {
            if self.values.len() == 2 {
                break;
            }
            self.insert(value(values[0].as_ref(), row)?);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        each_element(&states[0], |value| {
            self.insert(value);
            Ok(())
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.values.as_slice() {
            [value] => Ok(value.clone()),
            _ => ScalarValue::try_from(&self.item),
        }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![list(&self.values, &self.item)])
    }

    fn size(&self) -> usize {
        size_of_val(self) + ScalarValue::size_of_vec(&self.values)
    }
}
