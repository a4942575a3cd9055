//! The bytes of a key that are hashed to find its partition.

use arrow::array::{Array, ArrayRef, BinaryArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, SortField};
use std::sync::Arc;

use crate::encoder::Records;
use crate::json::Cells;
use crate::{Encoder, Error, Format, Options, Result, kafka};

/// A null part of a key of several native columns; any other begins with its length.
const NULL_LENGTH: u32 = u32::MAX;

/// The key's bytes in `format`. A native key of one column is written as KAFKA writes it, so that it lies in the partition where a
/// Java client would look for it; a type that KAFKA lacks by its row encoding; several columns one after another, each behind its
/// length. A key that is null, or of several native columns that are all null, is null. Without columns the result is empty.
pub fn key_bytes(format: &Format, columns: &[ArrayRef]) -> Result<BinaryArray> {
    if *format != Format::Native {
        let field = |(index, column): (usize, &ArrayRef)| Arc::new(Field::new(format!("key_{index}"), column.data_type().clone(), true));
        let fields = columns.iter().enumerate().map(field).collect();
        let (bytes, _) = Encoder::new(format, fields, Options::KEY)?.encode(columns);
        return Ok(bytes);
    }
    let parts = columns.iter().map(part).collect::<Result<Vec<_>>>()?;
    if let [part] = parts.as_slice() {
        return Ok(part.clone());
    }
    let rows = columns.first().map_or(0, |column| column.len());
    let mut records = Records::new(rows);
    for row in 0..rows {
        if parts.iter().all(|part| part.is_null(row)) {
            records.null();
            continue;
        }
        for part in &parts {
            if part.is_null(row) {
                records.bytes.extend_from_slice(&NULL_LENGTH.to_be_bytes());
            } else {
                let value = part.value(row);
                records.bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
                records.bytes.extend_from_slice(value);
            }
        }
        records.end();
    }
    Ok(records.finish().0)
}

fn part(column: &ArrayRef) -> Result<BinaryArray> {
    let unfit = || Error::Type {
        format: "native",
        column: "key".to_string(),
        data_type: column.data_type().to_string(),
        holds: "in keys what has a row encoding",
    };
    // The same value has the same partition whatever width or layout an expression gave it.
    let wanted = match column.data_type() {
        DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::LargeBinary | DataType::BinaryView => Some(DataType::Binary),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => Some(DataType::Int32),
        DataType::UInt32 => Some(DataType::Int64),
        DataType::Float16 | DataType::Float32 => Some(DataType::Float64),
        DataType::Dictionary(_, value) => Some(value.as_ref().clone()),
        _ => None,
    };
    let column = match wanted {
        Some(wanted) => cast(column, &wanted).map_err(|_| unfit())?,
        None => ArrayRef::clone(column),
    };
    let mut records = Records::new(column.len());
    match Cells::new(column.as_ref()) {
        Some(cells @ (Cells::Int(_) | Cells::Bigint(_) | Cells::Double(_) | Cells::Varchar(_) | Cells::Bytes(_))) => {
            for row in 0..column.len() {
                if column.is_null(row) {
                    records.null();
                } else {
                    kafka::write(&cells, row, &mut records.bytes);
                    records.end();
                }
            }
        }
        _ => {
            let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())]).map_err(|_| unfit())?;
            let encoded = converter.convert_columns(std::slice::from_ref(&column)).map_err(|_| unfit())?;
            for (row, bytes) in encoded.iter().enumerate() {
                if column.is_null(row) {
                    records.null();
                } else {
                    records.bytes.extend_from_slice(bytes.as_ref());
                    records.end();
                }
            }
        }
    }
    Ok(records.finish().0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, Int64Array, StringArray, StringViewArray};

    #[test]
    fn one_native_column_is_as_kafka_has_it() {
        let keys: ArrayRef = Arc::new(Int64Array::from(vec![Some(258), None]));
        let native = key_bytes(&Format::Native, std::slice::from_ref(&keys)).unwrap();
        assert_eq!(native, key_bytes(&Format::Kafka, &[keys]).unwrap());
        assert_eq!(native.value(0), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert!(native.is_null(1));
        let view: ArrayRef = Arc::new(StringViewArray::from(vec!["a"]));
        assert_eq!(key_bytes(&Format::Native, &[view]).unwrap().value(0), b"a");
        let truth: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]));
        let bytes = key_bytes(&Format::Native, &[truth]).unwrap();
        assert!(bytes.value(0) != bytes.value(1) && bytes.is_null(2));
    }

    #[test]
    fn several_columns_do_not_run_into_each_other() {
        let a: ArrayRef = Arc::new(StringArray::from(vec![Some("ab"), Some("a"), None, None]));
        let b: ArrayRef = Arc::new(StringArray::from(vec![Some("c"), Some("bc"), Some(""), None]));
        let bytes = key_bytes(&Format::Native, &[Arc::clone(&a), Arc::clone(&b)]).unwrap();
        assert_eq!(bytes.value(0), [&[0, 0, 0, 2][..], b"ab", &[0, 0, 0, 1], b"c"].concat());
        assert_ne!(bytes.value(0), bytes.value(1));
        assert_eq!(bytes.value(2), [255, 255, 255, 255, 0, 0, 0, 0]);
        assert!(bytes.is_null(3));
        assert!(key_bytes(&Format::Kafka, &[a, b]).is_err());
    }
}
