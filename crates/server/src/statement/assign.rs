//! What a column makes of a value of another type, as PostgreSQL's assignment does: numbers are rounded, and the fields of a STRUCT go
//! by their names, at any depth.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, MapArray, StringArray, StructArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields, Float64Type};
use millpond_formats::text::parse_column;

use crate::error::{Error, Result, invalid_text};

const STRICT: CastOptions<'static> = CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// `value` as `data_type`, for `column`.
pub fn assign(value: &ArrayRef, data_type: &DataType, column: &str) -> Result<ArrayRef> {
    match (value.data_type(), data_type) {
        (from, to) if from == to => Ok(ArrayRef::clone(value)),
        (DataType::Null, to) => Ok(new_null_array(to, value.len())),
        (DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8, to) => text(value, to),
        (DataType::Struct(_), DataType::Struct(fields)) => structure(value.as_struct(), fields, column),
        (DataType::List(_), DataType::List(item)) => list(value.as_list(), item, column),
        (DataType::Map(..), DataType::Map(entries, ordered)) => map(value.as_map(), entries, *ordered, column),
        (from, DataType::Int32 | DataType::Int64) if from.is_numeric() => integer(value, data_type),
        _ => cast_with_options(value, data_type, &STRICT).map_err(|error| refused(error.into(), column)),
    }
}

fn text(value: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let texts = cast_with_options(value, &DataType::Utf8, &STRICT)?;
    let texts: &StringArray = texts.as_string();
    parse_column(texts.iter(), data_type).map_err(|(_, reason)| Error::new(invalid_text(&reason), reason))
}

/// Fields that are not given are NULL.
fn structure(value: &StructArray, fields: &Fields, column: &str) -> Result<ArrayRef> {
    let by_position = unnamed(value.fields(), fields);
    let unknown = value.fields().iter().find(|field| fields.find(field.name()).is_none());
    if let Some(unknown) = unknown
        && !by_position
    {
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        return Err(Error::new("42703", format!("column \"{column}\" has no field \"{}\"", unknown.name()))
            .hint(format!("Its fields are {}.", names.join(", "))));
    }
    let filled = |(position, field): (usize, &FieldRef)| {
        let given = if by_position { Some(value.column(position)) } else { value.column_by_name(field.name()) };
        match given {
            Some(given) => assign(given, field.data_type(), column),
            None => Ok(new_null_array(field.data_type(), value.len())),
        }
    };
    let columns: Vec<ArrayRef> = fields.iter().enumerate().map(filled).collect::<Result<_>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, value.nulls().cloned(), value.len())?))
}

/// Whether the fields were given without names, and so have those that DataFusion makes up.
fn unnamed(given: &Fields, wanted: &Fields) -> bool {
    let made_up = |(position, field): (usize, &FieldRef)| *field.name() == format!("c{position}");
    given.len() == wanted.len() && given.iter().enumerate().all(made_up) && wanted.find("c0").is_none()
}

fn list(value: &ListArray, item: &FieldRef, column: &str) -> Result<ArrayRef> {
    let items = assign(value.values(), item.data_type(), column)?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), value.offsets().clone(), items, value.nulls().cloned())?))
}

fn map(value: &MapArray, entries: &FieldRef, ordered: bool, column: &str) -> Result<ArrayRef> {
    let DataType::Struct(fields) = entries.data_type() else { return Err(Error::internal("the entries of a MAP are no STRUCT")) };
    let [key, item] = &fields[..] else { return Err(Error::internal("the entries of a MAP are no pairs")) };
    let keys = assign(value.keys(), key.data_type(), column)?;
    let items = assign(value.values(), item.data_type(), column)?;
    let pairs = StructArray::try_new(fields.clone(), vec![keys, items], None)?;
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), value.offsets().clone(), pairs, value.nulls().cloned(), ordered)?))
}

/// DOUBLEs are rounded half to even, DECIMALs half away from zero.
fn integer(value: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let rounded: ArrayRef = match value.data_type() {
        from if from.is_floating() => {
            let doubles = cast_with_options(value, &DataType::Float64, &STRICT)?;
            let whole: Float64Array = doubles.as_primitive::<Float64Type>().unary(f64::round_ties_even);
            Arc::new(whole)
        }
        DataType::Decimal128(precision, scale) if *scale > 0 => {
            // A digit more: 9.5 becomes 10.
            let whole = DataType::Decimal128((*precision + 1).min(38), 0);
            cast_with_options(value, &whole, &STRICT)?
        }
        _ => ArrayRef::clone(value),
    };
    let name = if *data_type == DataType::Int32 { "integer" } else { "bigint" };
    cast_with_options(&rounded, data_type, &STRICT).map_err(|_| Error::new("22003", format!("{name} out of range")))
}

fn refused(error: Error, column: &str) -> Error {
    if error.sqlstate == "22P02" || error.sqlstate == "42000" {
        Error::new("42804", format!("column \"{column}\" cannot hold the value: {}", error.message))
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, Int64Array};
    use arrow::datatypes::{Field, Int32Type};
    use datafusion::common::ScalarValue;

    fn as_int(value: ScalarValue) -> Result<i32> {
        assign(&value.to_array().unwrap(), &DataType::Int32, "v").map(|array| array.as_primitive::<Int32Type>().value(0))
    }

    #[test]
    fn numbers_are_rounded_as_postgresql_rounds_them() {
        for (double, whole) in [(1.5, 2), (2.5, 2), (-1.5, -2), (1.4, 1)] {
            assert_eq!(as_int(ScalarValue::from(double)).unwrap(), whole, "{double}");
        }
        for (tenths, whole) in [(15, 2), (25, 3), (-25, -3), (99, 10), (14, 1)] {
            assert_eq!(as_int(ScalarValue::Decimal128(Some(tenths), 2, 1)).unwrap(), whole, "{tenths}");
        }
        assert_eq!(as_int(ScalarValue::from(1e10)).unwrap_err().sqlstate, "22003");
        assert_eq!(as_int(ScalarValue::from(1i64 << 40)).unwrap_err().sqlstate, "22003");
    }

    fn fields(names: &[(&str, DataType)]) -> Fields {
        names.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect()
    }

    #[test]
    fn fields_go_by_name_in_lists_too() {
        let (x, y): (ArrayRef, ArrayRef) = (Arc::new(Int64Array::from(vec![1])), Arc::new(Int64Array::from(vec![2])));
        let given = fields(&[("y", DataType::Int64), ("x", DataType::Int64)]);
        let pair = StructArray::try_new(given, vec![y, x], None).unwrap();
        let wanted = fields(&[("x", DataType::Int32), ("y", DataType::Int32), ("z", DataType::Int32)]);
        let check = |array: &StructArray| {
            let value = |name: &str| array.column_by_name(name).unwrap().as_primitive::<Int32Type>().clone();
            assert_eq!((value("x"), value("y")), (Int32Array::from(vec![1]), Int32Array::from(vec![2])));
            assert_eq!(value("z").null_count(), 1);
        };
        let pair: ArrayRef = Arc::new(pair);
        check(assign(&pair, &DataType::Struct(wanted.clone()), "s").unwrap().as_struct());

        let item = Arc::new(Field::new("item", pair.data_type().clone(), true));
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([1]);
        let list: ArrayRef = Arc::new(ListArray::try_new(item, offsets, Arc::clone(&pair), None).unwrap());
        let wanted_item = Arc::new(Field::new("item", DataType::Struct(wanted), true));
        check(assign(&list, &DataType::List(wanted_item), "s").unwrap().as_list::<i32>().values().as_struct());

        let error = assign(&pair, &DataType::Struct(fields(&[("x", DataType::Int32)])), "s").unwrap_err();
        assert_eq!((error.sqlstate, error.message.as_str()), ("42703", "column \"s\" has no field \"y\""));
    }
}
