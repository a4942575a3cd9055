//! Arrow types as PostgreSQL's.
//!
//! What PostgreSQL has no type for (MAP, and what contains one; arrays of arrays as one value) goes as `json`.

use arrow::datatypes::{DataType, FieldRef};
use arrow_pg::datatypes::field_into_pg_type;
use pgwire::api::Type;

pub fn pg_type(field: &FieldRef) -> Type {
    match field.data_type() {
        data_type if is_json(data_type) => Type::JSON,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal256(..) => Type::NUMERIC,
        // A bare NULL, and what nobody can bind: as psql sees an untyped literal.
        DataType::Null => Type::TEXT,
        _ => field_into_pg_type(field).unwrap_or(Type::TEXT),
    }
}

pub fn is_json(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| is_json(field.data_type())),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_json(item.data_type()) || item.data_type().is_list()
        }
        _ => false,
    }
}

/// `pg_type.typlen`.
pub fn size(pg_type: &Type) -> i16 {
    match *pg_type {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => 8,
        Type::INTERVAL => 16,
        _ => -1,
    }
}

/// `pg_attribute.atttypmod`: precision and scale of a NUMERIC.
pub fn modifier(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Decimal128(precision, scale) if *scale >= 0 => ((i32::from(*precision) << 16) | i32::from(*scale)) + 4,
        _ => -1,
    }
}
