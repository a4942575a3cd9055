//! HISTOGRAM: how often each text came, for the first thousand texts. NULLs are not counted: a map has no key for them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, ListArray, MapArray, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::{Aggregate, list_of};

const ENTRIES_MAX: usize = 1000;

pub(super) const AGGREGATES: &[Aggregate] = &[Aggregate {
    name: "histogram",
    usage: "histogram(text)",
    arguments: |types| matches!(types, [DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View]).then(|| vec![DataType::Utf8]),
    returns: |_| DataType::Map(entries(), false),
    state: |_| vec![("texts", list_of(&DataType::Utf8)), ("counts", list_of(&DataType::Int64))],
    accumulator: |_| Ok(Box::new(Histogram::default())),
}];

fn entries() -> Arc<Field> {
    Arc::new(Field::new("entries", DataType::Struct(fields()), false))
}

fn fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)])
}

/// Counts every text, and shows the first thousand: which those are is known only when all parts have come together.
#[derive(Debug, Default)]
struct Histogram {
    /// In the order of arrival.
    texts: Vec<String>,
    counts: Vec<i64>,
    places: HashMap<String, usize>,
}

impl Histogram {
    fn add(&mut self, text: &str, count: i64) {
        match self.places.get(text) {
            Some(place) => self.counts[*place] += count,
            None => {
                self.places.insert(text.to_string(), self.texts.len());
                self.texts.push(text.to_string());
                self.counts.push(count);
            }
        }
    }
}

impl Accumulator for Histogram {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values[0].as_string::<i32>().iter().flatten().for_each(|text| self.add(text, 1));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (texts, counts) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        for (texts, counts) in texts.iter().flatten().zip(counts.iter().flatten()) {
            for (text, count) in texts.as_string::<i32>().iter().zip(counts.as_primitive::<Int64Type>()) {
                if let (Some(text), Some(count)) = (text, count) {
                    self.add(text, count);
                }
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let shown = self.texts.len().min(ENTRIES_MAX);
        let keys = StringArray::from_iter_values(&self.texts[..shown]);
        let values = Int64Array::from_iter_values(self.counts[..shown].iter().copied());
        let pairs = StructArray::try_new(fields(), vec![Arc::new(keys), Arc::new(values)], None)?;
        let map = MapArray::try_new(entries(), OffsetBuffer::from_lengths([shown]), pairs, None, false)?;
        Ok(ScalarValue::Map(Arc::new(map)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let one = |item: DataType, values: ArrayRef| -> Result<ScalarValue> {
            let offsets = OffsetBuffer::from_lengths([values.len()]);
            Ok(ScalarValue::List(Arc::new(ListArray::try_new(Arc::new(Field::new("item", item, true)), offsets, values, None)?)))
        };
        Ok(vec![
            one(DataType::Utf8, Arc::new(StringArray::from_iter_values(&self.texts)))?,
            one(DataType::Int64, Arc::new(Int64Array::from_iter_values(self.counts.iter().copied())))?,
        ])
    }

    fn size(&self) -> usize {
        let texts: usize = self.texts.iter().map(String::capacity).sum();
        let entry = 3 * size_of::<String>() + 2 * size_of::<i64>();
        size_of_val(self) + 2 * texts + self.texts.capacity() * entry
    }
}
