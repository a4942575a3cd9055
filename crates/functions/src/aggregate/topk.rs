//! TOPK and TOPKDISTINCT: the k largest, descending; of equal ones those that came first.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::{Aggregate, Call, constant, list, list_of, value};

pub(super) const AGGREGATES: &[Aggregate] = &[
    Aggregate {
        name: "topk",
        usage: "topk(value [, other, …], k)",
        arguments: |types| match types {
            [sort, .., k] if is_ordered(sort) && k.is_integer() => {
                Some(types[..types.len() - 1].iter().cloned().chain([DataType::Int64]).collect())
            }
            _ => None,
        },
        returns: |types| list_of(&item(types)),
        state: |types| vec![("values", list_of(&item(types)))],
        accumulator: |call| accumulator(call, "topk", false),
    },
    Aggregate {
        name: "topkdistinct",
        usage: "topkdistinct(value, k)",
        arguments: |types| match types {
            [sort, k] if is_ordered(sort) && k.is_integer() => Some(vec![sort.clone(), DataType::Int64]),
            _ => None,
        },
        returns: |types| list_of(&item(types)),
        state: |types| vec![("values", list_of(&item(types)))],
        accumulator: |call| accumulator(call, "topkdistinct", true),
    },
];

fn is_ordered(data_type: &DataType) -> bool {
    !data_type.is_nested() && !matches!(data_type, DataType::Boolean | DataType::Null)
}

/// The value itself, or with others beside it a struct of all.
fn item(types: &[DataType]) -> DataType {
    match types {
        [sort, _] => sort.clone(),
        [sort, others @ .., _] => {
            let others = others.iter().enumerate().map(|(index, other)| Field::new(format!("col{index}"), other.clone(), true));
            DataType::Struct(std::iter::once(Field::new("sort_col", sort.clone(), true)).chain(others).collect())
        }
        _ => DataType::Null,
    }
}

fn accumulator(call: &Call, name: &str, distinct: bool) -> Result<Box<dyn Accumulator>> {
    let most = constant::count(call, call.types.len() - 1, name)?;
    Ok(Box::new(TopK { item: item(&call.types), most, distinct, sorts: Vec::new(), items: Vec::new() }))
}

#[derive(Debug)]
struct TopK {
    item: DataType,
    most: usize,
    distinct: bool,
    /// What the items are ordered by, descending; an item's is at its index.
    sorts: Vec<ScalarValue>,
    items: Vec<ScalarValue>,
}

impl TopK {
    /// Where a value that comes now belongs; `None` if it does not.
    fn place(&self, sort: &ScalarValue) -> Option<usize> {
        let before = |other: &ScalarValue| other.partial_cmp(sort).unwrap_or(Ordering::Equal) != Ordering::Less;
        let place = self.sorts.partition_point(before);
        let known = self.distinct && place > 0 && self.sorts[place - 1] == *sort;
        (place < self.most && !known).then_some(place)
    }

    fn insert(&mut self, sorts: &ArrayRef, items: &ArrayRef) -> Result<()> {
        for row in (0..sorts.len()).filter(|row| sorts.is_valid(*row)) {
            let sort = value(sorts.as_ref(), row)?;
            let Some(place) = self.place(&sort) else { continue };
            self.sorts.insert(place, sort);
            self.items.insert(place, value(items.as_ref(), row)?);
            self.sorts.truncate(self.most);
            self.items.truncate(self.most);
        }
        Ok(())
    }

    fn fields(&self) -> Option<&Fields> {
        match &self.item {
            DataType::Struct(fields) => Some(fields),
            _ => None,
        }
    }
}

impl Accumulator for TopK {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let items = match self.fields() {
            Some(fields) => Arc::new(StructArray::try_new(fields.clone(), values[..values.len() - 1].to_vec(), None)?),
            None => Arc::clone(&values[0]),
        };
        self.insert(&values[0], &items)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for items in states[0].as_list::<i32>().iter().flatten() {
            let sorts = match self.fields() {
                Some(_) => Arc::clone(items.as_struct().column(0)),
                None => Arc::clone(&items),
            };
            self.insert(&sorts, &items)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(list(&self.items, &self.item))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![list(&self.items, &self.item)])
    }

    fn size(&self) -> usize {
        size_of_val(self) + ScalarValue::size_of_vec(&self.sorts) + ScalarValue::size_of_vec(&self.items)
    }
}
