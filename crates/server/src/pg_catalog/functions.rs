//! Functions of `pg_catalog` that the library lacks: what psql asks of its objects.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray, StringArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::expr_fn::SimpleScalarUDF;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, create_udf};

/// The array of an aggregate over no rows, which is not NULL.
pub const ARRAY: &str = "millpond_array";
/// `{}`.
pub const NO_TEXTS: &str = "millpond_no_texts";

/// Nothing has a description, a definition in SQL, or a place of its own on disk, and sizes are not counted by object.
const NULLS: &[(&str, usize, DataType)] = &[
    ("col_description", 2, DataType::Utf8),
    ("obj_description", 2, DataType::Utf8),
    ("shobj_description", 2, DataType::Utf8),
    ("pg_database_size", 1, DataType::Int64),
    ("pg_get_function_sqlbody", 1, DataType::Utf8),
    ("pg_get_indexdef", 1, DataType::Utf8),
    ("pg_get_ruledef", 2, DataType::Utf8),
    ("pg_get_triggerdef", 2, DataType::Utf8),
    ("pg_get_viewdef", 2, DataType::Utf8),
    ("pg_indexes_size", 1, DataType::Int64),
    ("pg_table_size", 1, DataType::Int64),
    ("pg_tablespace_location", 1, DataType::Utf8),
    ("pg_tablespace_size", 1, DataType::Int64),
];

/// Of tables there is one schema that they need not be named with ([`super::visible`]); everything else is in it.
const VISIBLE: &[&str] = &[
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "pg_function_is_visible",
    "pg_opclass_is_visible",
    "pg_operator_is_visible",
    "pg_opfamily_is_visible",
    "pg_statistics_obj_is_visible",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
    "pg_ts_parser_is_visible",
    "pg_ts_template_is_visible",
    "pg_type_is_visible",
];

pub fn all() -> Vec<ScalarUDF> {
    let mut functions = vec![
        size_pretty(),
        char_to_encoding(),
        given("getdatabaseencoding", ScalarValue::from("UTF8")),
        given(NO_TEXTS, ScalarValue::List(ScalarValue::new_list(&[], &DataType::Utf8, true))),
        ScalarUDF::new_from_impl(NeverNull::default()),
    ];
    functions.extend(VISIBLE.iter().map(|name| constant(name, 1, ScalarValue::from(true))));
    for (name, arguments, data_type) in NULLS {
        functions.extend(ScalarValue::try_from(data_type).map(|null| constant(name, *arguments, null)));
    }
    functions
}

/// A function that gives `value` for any arguments.
fn constant(name: &str, arguments: usize, value: ScalarValue) -> ScalarUDF {
    let data_type = value.data_type();
    let body = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(value.clone()));
    let signature = Signature::any(arguments, Volatility::Stable);
    ScalarUDF::new_from_impl(SimpleScalarUDF::new_with_signature(name, signature, data_type, Arc::new(body)))
}

/// A function without arguments.
fn given(name: &str, value: ScalarValue) -> ScalarUDF {
    let data_type = value.data_type();
    let body = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(value.clone()));
    create_udf(name, vec![], data_type, Volatility::Stable, Arc::new(body))
}

fn size_pretty() -> ScalarUDF {
    let body = |arguments: &[ColumnarValue]| {
        let sizes = ColumnarValue::values_to_arrays(arguments)?;
        let sizes = sizes[0].as_primitive::<Int64Type>();
        Ok(ColumnarValue::Array(Arc::new(sizes.iter().map(|size| size.map(pretty)).collect::<StringArray>())))
    };
    create_udf("pg_size_pretty", vec![DataType::Int64], DataType::Utf8, Volatility::Immutable, Arc::new(body))
}

/// As PostgreSQL: a unit is used from ten times its size on, and halves are rounded up.
fn pretty(bytes: i64) -> String {
    const UNITS: &[&str] = &["kB", "MB", "GB", "TB", "PB"];
    const LIMIT: u64 = 10 * 1024;
    let sign = if bytes < 0 { "-" } else { "" };
    if bytes.unsigned_abs() < LIMIT {
        return format!("{bytes} bytes");
    }
    // One bit more than is shown, to round with.
    let mut halves = bytes.unsigned_abs() >> 9;
    let mut unit = 0;
    while halves >= 2 * LIMIT - 1 && unit + 1 < UNITS.len() {
        halves >>= 10;
        unit += 1;
    }
    format!("{sign}{} {}", halves.div_ceil(2), UNITS[unit])
}

/// UTF8 is the only encoding: PostgreSQL's number of it, -1 of others.
fn char_to_encoding() -> ScalarUDF {
    let body = |arguments: &[ColumnarValue]| {
        let names = ColumnarValue::values_to_arrays(arguments)?;
        let number =
            |name: Option<&str>| name.map(|name| if matches!(name.to_ascii_lowercase().as_str(), "utf8" | "utf-8") { 6 } else { -1 });
        let numbers: Int32Array = names[0].as_string::<i32>().iter().map(number).collect();
        Ok(ColumnarValue::Array(Arc::new(numbers)))
    };
    create_udf("pg_char_to_encoding", vec![DataType::Utf8], DataType::Int32, Volatility::Immutable, Arc::new(body))
}

/// An array, empty where it is NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct NeverNull {
    signature: Signature,
}

impl Default for NeverNull {
    fn default() -> NeverNull {
        NeverNull { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for NeverNull {
    fn name(&self) -> &str {
        ARRAY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = arguments.args[0].to_array(arguments.number_rows)?;
        let DataType::List(item) = array.data_type() else { return exec_err!("ARRAY collects arrays") };
        let lists = array.as_list::<i32>();
        let length = |row: usize| if lists.is_valid(row) { lists.value_length(row) as usize } else { 0 };
        let lengths = OffsetBuffer::from_lengths((0..lists.len()).map(length));
        let kept: Vec<ArrayRef> = (0..lists.len()).filter(|row| lists.is_valid(*row)).map(|row| lists.value(row)).collect();
        let kept: Vec<&dyn Array> = kept.iter().map(AsRef::as_ref).collect();
        let values = if kept.is_empty() { new_empty_array(item.data_type()) } else { arrow::compute::concat(&kept)? };
        Ok(ColumnarValue::Array(Arc::new(ListArray::try_new(Arc::clone(item), lengths, values, None)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_postgresql_writes_them() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (10_751, "10 kB"),
            (10_752, "11 kB"),
            (10_485_247, "10239 kB"),
            (10_485_760, "10 MB"),
            (-20_480, "-20 kB"),
            (1 << 40, "1024 GB"),
        ] {
            assert_eq!(pretty(bytes), text);
        }
    }
}
