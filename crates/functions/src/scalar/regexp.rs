//! REGEXP_EXTRACT.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use regex::Regex;

use super::{Function, Memo, failed, is_integer, is_null, is_text};

pub(super) const FUNCTIONS: &[Function] = &[Function {
    name: "regexp_extract",
    usage: "regexp_extract(expression, text [, group])",
    arguments: |types| match types {
        [expression, text, group @ ..] if is_text(expression) && is_text(text) && group.len() <= 1 && group.iter().all(is_integer) => {
            Some([DataType::Utf8, DataType::Utf8, DataType::Int64][..types.len()].to_vec())
        }
        _ => None,
    },
    returns: |_| DataType::Utf8,
    invoke: extract,
}];

/// A group (0: all of it) of the first match. NULL without one, and for a group that is not there or has no part in it.
fn extract(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let (expressions, texts) = (arrays[0].as_string::<i32>(), arrays[1].as_string::<i32>());
    let mut memo = Memo::new();
    let mut one = |row: usize| -> Result<Option<String>> {
        if is_null(arrays, row) {
            return Ok(None);
        }
        let compile = |expression: &str| Regex::new(expression).map_err(|error| failed("regexp_extract", error));
        let expression = memo.get(expressions.value(row), compile)?;
        let group = arrays.get(2).map_or(0, |groups| groups.as_primitive::<Int64Type>().value(row));
        let captures = expression.captures(texts.value(row));
        let matched = captures.and_then(|captures| captures.get(usize::try_from(group).ok()?));
        Ok(matched.map(|matched| matched.as_str().to_string()))
    };
    let extracted = (0..texts.len()).map(&mut one).collect::<Result<StringArray>>()?;
    Ok(Arc::new(extracted))
}
