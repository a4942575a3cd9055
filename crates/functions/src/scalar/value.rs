//! AS_VALUE, and choosing among arguments: ELT, FIELD.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;

use super::{Function, is_integer, is_text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "as_value",
        usage: "as_value(value)",
        arguments: |types| (types.len() == 1).then(|| types.to_vec()),
        returns: |types| types[0].clone(),
        invoke: |arrays| Ok(Arc::clone(&arrays[0])),
    },
    Function {
        name: "elt",
        usage: "elt(n, text, …)",
        arguments: |types| match types {
            [n, texts @ ..] if is_integer(n) && !texts.is_empty() && texts.iter().all(is_text) => {
                Some(std::iter::once(DataType::Int64).chain(texts.iter().map(|_| DataType::Utf8)).collect())
            }
            _ => None,
        },
        returns: |_| DataType::Utf8,
        invoke: elt,
    },
    Function {
        name: "field",
        usage: "field(text, text, …)",
        arguments: |types| (types.len() >= 2 && types.iter().all(is_text)).then(|| vec![DataType::Utf8; types.len()]),
        returns: |_| DataType::Int32,
        invoke: field,
    },
];

/// The n-th of the texts, from 1; NULL beyond them.
fn elt(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let numbers = arrays[0].as_primitive::<Int64Type>();
    let texts: Vec<&StringArray> = arrays[1..].iter().map(|array| array.as_string::<i32>()).collect();
    let chosen = numbers.iter().enumerate().map(|(row, number)| {
        let index = usize::try_from(number?).ok()?.checked_sub(1)?;
        texts.get(index).filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row))
    });
    Ok(Arc::new(chosen.collect::<StringArray>()))
}

/// Where the first text is among the others, from 1; 0 if it is not, or NULL.
fn field(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let texts: Vec<&StringArray> = arrays.iter().map(|array| array.as_string::<i32>()).collect();
    let place = |row: usize| {
        let found = texts[1..].iter().position(|text| text.is_valid(row) && text.value(row) == texts[0].value(row));
        found.map_or(0, |index| index as i32 + 1)
    };
    Ok(Arc::new(Int32Array::from_iter_values((0..texts[0].len()).map(|row| if texts[0].is_null(row) { 0 } else { place(row) }))))
}
