//! A native column that was written with another type than is declared now: its topic was declared again.
//!
//! The column is cast at once; only when that errs is it halved until the rows at fault are alone.

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, concat};
use arrow::datatypes::Field;
use arrow::util::display::FormatOptions;

use crate::Result;
use crate::expression::reason;

const STRICT: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

/// `column` as `field` declares it, and the rows whose value its type does not hold, with why. Those are NULL.
pub(super) fn convert(column: &ArrayRef, field: &Field) -> Result<(ArrayRef, Vec<(usize, String)>)> {
    let mut errors = Vec::new();
    if let Ok(converted) = cast_with_options(column, field.data_type(), &STRICT) {
        return Ok((converted, errors));
    }
    let mut parts = Vec::new();
    bisect(column, 0, field, &mut parts, &mut errors);
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    Ok((if parts.is_empty() { new_null_array(field.data_type(), 0) } else { concat(&parts)? }, errors))
}

fn bisect(column: &ArrayRef, offset: usize, field: &Field, parts: &mut Vec<ArrayRef>, errors: &mut Vec<(usize, String)>) {
    let rows = column.len();
    if column.logical_null_count() == rows {
        parts.push(new_null_array(field.data_type(), rows));
        return;
    }
    match cast_with_options(column, field.data_type(), &STRICT) {
        Ok(converted) => parts.push(converted),
        Err(_) if rows > 1 => {
            let half = rows / 2;
            bisect(&column.slice(0, half), offset, field, parts, errors);
            bisect(&column.slice(half, rows - half), offset + half, field, parts, errors);
        }
        Err(error) => {
            errors.push((offset, format!("column \"{}\": {}", field.name(), reason(&error.into()))));
            parts.push(new_null_array(field.data_type(), rows));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Int32Type};

    use super::*;

    #[test]
    fn what_does_not_convert_is_told() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("1"), None, Some("x"), Some("4")]));
        let (numbers, errors) = convert(&texts, &Field::new("n", DataType::Int32, true)).unwrap();
        assert_eq!(numbers.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(1), None, None, Some(4)]);
        assert_eq!(errors, [(2, "column \"n\": cannot cast string 'x' to value of Int32 type".to_owned())]);
    }

    #[test]
    fn types_without_a_cast_hold_nulls() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let item = Arc::new(Field::new("a", DataType::Int32, true));
        let (structs, errors) = convert(&numbers, &Field::new("s", DataType::Struct(vec![item].into()), true)).unwrap();
        assert_eq!((structs.len(), structs.null_count()), (2, 2));
        assert_eq!(errors.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0]);
    }
}
