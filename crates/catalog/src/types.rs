//! SQL types and Arrow's.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use millpond_sql::SqlType;

/// The Arrow type that holds a column of `sql_type`.
///
/// INT is Int32, BIGINT Int64, DOUBLE Float64, DECIMAL Decimal128, VARCHAR Utf8, BYTES Binary, DATE Date32, TIME Time32(ms),
/// TIMESTAMP Timestamp(ms) without a zone, ARRAY List, MAP Map (keys not null), STRUCT Struct.
pub fn to_arrow(sql_type: &SqlType) -> DataType {
    match sql_type {
        SqlType::Boolean => DataType::Boolean,
        SqlType::Int => DataType::Int32,
        SqlType::Bigint => DataType::Int64,
        SqlType::Double => DataType::Float64,
        SqlType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
        SqlType::Varchar => DataType::Utf8,
        SqlType::Bytes => DataType::Binary,
        SqlType::Date => DataType::Date32,
        SqlType::Time => DataType::Time32(TimeUnit::Millisecond),
        SqlType::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, None),
        SqlType::Array(element) => DataType::List(Arc::new(Field::new("item", to_arrow(element), true))),
        SqlType::Map(key, value) => DataType::Map(
            Arc::new(Field::new(
                "entries",
                DataType::Struct(Fields::from(vec![Field::new("key", to_arrow(key), false), Field::new("value", to_arrow(value), true)])),
                false,
            )),
            false,
        ),
        SqlType::Struct(fields) => DataType::Struct(fields.iter().map(|(name, kind)| Field::new(name, to_arrow(kind), true)).collect()),
    }
}

/// The SQL type of an Arrow column; `None` where SQL has none (intervals, unions). Widths that SQL lacks go to the next that holds
/// them; what does must be cast to [`to_arrow`] of the result before it is stored.
pub fn from_arrow(data_type: &DataType) -> Option<SqlType> {
    Some(match data_type {
        DataType::Boolean => SqlType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => SqlType::Int,
        DataType::Int64 | DataType::UInt32 => SqlType::Bigint,
        DataType::UInt64 => SqlType::Bigint,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => SqlType::Double,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) | DataType::Decimal128(precision, scale) => {
            SqlType::Decimal { precision: *precision, scale: *scale }
        }
        DataType::Decimal256(precision, scale) if *precision <= 38 => SqlType::Decimal { precision: *precision, scale: *scale },
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => SqlType::Varchar,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => SqlType::Bytes,
        DataType::Date32 | DataType::Date64 => SqlType::Date,
        DataType::Time32(_) | DataType::Time64(_) => SqlType::Time,
        DataType::Timestamp(_, _) => SqlType::Timestamp,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => SqlType::Array(Box::new(from_arrow(field.data_type())?)),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                SqlType::Map(Box::new(from_arrow(fields[0].data_type())?), Box::new(from_arrow(fields[1].data_type())?))
            }
            _ => return None,
        },
        DataType::Struct(fields) => SqlType::Struct(
            fields.iter().map(|field| Some((field.name().clone(), from_arrow(field.data_type())?))).collect::<Option<Vec<_>>>()?,
        ),
        DataType::Dictionary(_, value) => from_arrow(value)?,
        DataType::RunEndEncoded(_, values) => from_arrow(values.data_type())?,
        _ => return None,
    })
}
