//! Values as JSON: for MAPs, which PostgreSQL has no type for.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::text;

/// Appends the value at `row`.
pub fn write(array: &ArrayRef, row: usize, out: &mut String) {
    if array.is_null(row) {
        out.push_str("null");
        return;
    }
    match array.data_type() {
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            out.push('{');
            for entry in 0..entries.len() {
                if entry > 0 {
                    out.push_str(", ");
                }
                let mut key = String::new();
                text::write(entries.column(0), entry, &mut key);
                string(&key, out);
                out.push_str(": ");
                write(entries.column(1), entry, out);
            }
            out.push('}');
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct();
            out.push('{');
            for (index, field) in fields.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                string(field.name(), out);
                out.push_str(": ");
                write(columns.column(index), row, out);
            }
            out.push('}');
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            let Some(items) = text::items(array, row) else { return };
            out.push('[');
            for item in 0..items.len() {
                if item > 0 {
                    out.push_str(", ");
                }
                write(&items, item, out);
            }
            out.push(']');
        }
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        data_type => {
            let mut value = String::new();
            text::write(array, row, &mut value);
            let number = data_type.is_numeric() && !matches!(value.as_str(), "NaN" | "Infinity" | "-Infinity");
            if number { out.push_str(&value) } else { string(&value, out) }
        }
    }
}

fn string(text: &str, out: &mut String) {
    // A str always has a JSON form.
    out.push_str(&serde_json::Value::from(text).to_string());
}
