//! SUM_LIST: the sum of all elements of all lists. Integers wrap, as ksqlDB's do; without any element it is 0.

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{ArrowNativeTypeOp, ArrowPrimitiveType, DataType, Float64Type, Int32Type, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::{Aggregate, list_of};

pub(super) const AGGREGATES: &[Aggregate] = &[Aggregate {
    name: "sum_list",
    usage: "sum_list(array of INT, BIGINT or DOUBLE)",
    arguments: |types| match types {
        [DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)] => {
            matches!(item.data_type(), DataType::Int32 | DataType::Int64 | DataType::Float64).then(|| vec![list_of(item.data_type())])
        }
        _ => None,
    },
    returns: element,
    state: |types| vec![("sum", element(types))],
    accumulator: |call| match element(&call.types) {
        DataType::Int32 => Ok(Box::new(SumList::<Int32Type>::new())),
        DataType::Int64 => Ok(Box::new(SumList::<Int64Type>::new())),
        DataType::Float64 => Ok(Box::new(SumList::<Float64Type>::new())),
        other => Err(DataFusionError::Plan(format!("sum_list does not sum up {other}"))),
    },
}];

fn element(types: &[DataType]) -> DataType {
    match types {
        [DataType::List(item)] => item.data_type().clone(),
        _ => DataType::Null,
    }
}

#[derive(Debug)]
struct SumList<T: ArrowPrimitiveType + std::fmt::Debug> {
    sum: T::Native,
}

impl<T: ArrowPrimitiveType + std::fmt::Debug> SumList<T> {
    fn new() -> SumList<T> {
        SumList { sum: T::default_value() }
    }

    fn add(&mut self, values: &PrimitiveArray<T>) {
        self.sum = values.iter().flatten().fold(self.sum, |sum, value| sum.add_wrapping(value));
    }
}

impl<T: ArrowPrimitiveType + std::fmt::Debug> Accumulator for SumList<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values[0].as_list::<i32>().iter().flatten().for_each(|elements| self.add(elements.as_primitive()));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add(states[0].as_primitive());
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::new_primitive::<T>(Some(self.sum), &T::DATA_TYPE)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
