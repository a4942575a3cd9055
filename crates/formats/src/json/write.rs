//! Columns as JSON values, row by row.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray, MapArray,
    StringArray, StructArray, Time32MillisecondArray, TimestampMillisecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType, TimeUnit, TimestampMillisecondType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{decimal, double, integer};

/// A column that is looked through once for its type, then written cell by cell.
pub(crate) enum Cells<'a> {
    Boolean(&'a BooleanArray),
    Int(&'a Int32Array),
    Bigint(&'a Int64Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal128Array),
    Varchar(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a Date32Array),
    Time(&'a Time32MillisecondArray),
    Timestamp(&'a TimestampMillisecondArray),
    List(&'a ListArray, Box<Cells<'a>>),
    Map(&'a MapArray, Box<Cells<'a>>, Box<Cells<'a>>),
    Struct(&'a StructArray, Vec<Vec<u8>>, Vec<Cells<'a>>),
}

impl<'a> Cells<'a> {
    /// `None` when no SQL type is held by the array's type.
    pub(crate) fn new(array: &'a dyn Array) -> Option<Cells<'a>> {
        Some(match array.data_type() {
            DataType::Boolean => Cells::Boolean(array.as_boolean()),
            DataType::Int32 => Cells::Int(array.as_primitive::<Int32Type>()),
            DataType::Int64 => Cells::Bigint(array.as_primitive::<Int64Type>()),
            DataType::Float64 => Cells::Double(array.as_primitive::<Float64Type>()),
            DataType::Decimal128(_, _) => Cells::Decimal(array.as_primitive::<Decimal128Type>()),
            DataType::Utf8 => Cells::Varchar(array.as_string()),
            DataType::Binary => Cells::Bytes(array.as_binary()),
            DataType::Date32 => Cells::Date(array.as_primitive::<Date32Type>()),
            DataType::Time32(TimeUnit::Millisecond) => Cells::Time(array.as_primitive::<Time32MillisecondType>()),
            DataType::Timestamp(TimeUnit::Millisecond, None) => Cells::Timestamp(array.as_primitive::<TimestampMillisecondType>()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Cells::List(list, Box::new(Cells::new(list.values().as_ref())?))
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                Cells::Map(map, Box::new(Cells::new(map.keys().as_ref())?), Box::new(Cells::new(map.values().as_ref())?))
            }
            DataType::Struct(fields) => {
                let array = array.as_struct();
                let cells = array.columns().iter().map(|column| Cells::new(column.as_ref())).collect::<Option<_>>()?;
                Cells::Struct(array, object_prefixes(fields.iter().map(|field| field.name().as_str())), cells)
            }
            _ => return None,
        })
    }

    fn array(&self) -> &dyn Array {
        match self {
            Cells::Boolean(array) => *array,
            Cells::Int(array) => *array,
            Cells::Bigint(array) => *array,
            Cells::Double(array) => *array,
            Cells::Decimal(array) => *array,
            Cells::Varchar(array) => *array,
            Cells::Bytes(array) => *array,
            Cells::Date(array) => *array,
            Cells::Time(array) => *array,
            Cells::Timestamp(array) => *array,
            Cells::List(array, _) => *array,
            Cells::Map(array, _, _) => *array,
            Cells::Struct(array, _, _) => *array,
        }
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array().is_null(row)
    }

    pub(crate) fn write_json(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        match self {
            Cells::Double(values) if !values.value(row).is_finite() => {
                out.push(b'"');
                double::write(out, values.value(row));
                out.push(b'"');
            }
            Cells::Varchar(values) => write_text(out, values.value(row)),
            Cells::Bytes(_) => {
                out.push(b'"');
                self.write_plain(row, out);
                out.push(b'"');
            }
            Cells::List(values, items) => {
                out.push(b'[');
                for (index, item) in range(values.value_offsets(), row).enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    items.write_json(item, out);
                }
                out.push(b']');
            }
            Cells::Map(values, keys, items) => {
                out.push(b'{');
                for (index, entry) in range(values.value_offsets(), row).enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    keys.write_json(entry, out);
                    out.push(b':');
                    items.write_json(entry, out);
                }
                out.push(b'}');
            }
            Cells::Struct(_, prefixes, fields) if fields.is_empty() => {
                debug_assert!(prefixes.is_empty());
                out.extend_from_slice(b"{}");
            }
            Cells::Struct(_, prefixes, fields) => {
                for (prefix, field) in prefixes.iter().zip(fields) {
                    out.extend_from_slice(prefix);
                    field.write_json(row, out);
                }
                out.push(b'}');
            }
            _ => self.write_plain(row, out),
        }
    }

    /// A scalar that is not null, without quotes: as DELIMITED has it.
    pub(crate) fn write_plain(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Cells::Boolean(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Cells::Int(values) => integer::write(out, i64::from(values.value(row))),
            Cells::Bigint(values) => integer::write(out, values.value(row)),
            Cells::Double(values) => double::write(out, values.value(row)),
            Cells::Decimal(values) => decimal::write(out, values.value(row), values.scale()),
            Cells::Varchar(values) => out.extend_from_slice(values.value(row).as_bytes()),
            Cells::Bytes(values) => out.extend_from_slice(STANDARD.encode(values.value(row)).as_bytes()),
            Cells::Date(values) => integer::write(out, i64::from(values.value(row))),
            Cells::Time(values) => integer::write(out, i64::from(values.value(row))),
            Cells::Timestamp(values) => integer::write(out, values.value(row)),
            Cells::List(_, _) | Cells::Map(_, _, _) | Cells::Struct(_, _, _) => self.write_json(row, out),
        }
    }
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a vector takes everything");
}

/// `{"first":`, `,"second":` and so on.
pub(crate) fn object_prefixes<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Vec<u8>> {
    let prefix = |(index, name): (usize, &str)| {
        let mut prefix = vec![if index == 0 { b'{' } else { b',' }];
        write_text(&mut prefix, name);
        prefix.push(b':');
        prefix
    };
    names.enumerate().map(prefix).collect()
}
