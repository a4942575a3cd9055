//! EXTRACTJSONFIELD.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use millpond_formats::JsonPath;

use super::{Function, Memo, failed, is_null, is_text};

const NAME: &str = "extractjsonfield";

pub(super) const FUNCTIONS: &[Function] = &[Function {
    name: NAME,
    usage: "extractjsonfield(json, path)",
    arguments: |types| (types.len() == 2 && types.iter().all(is_text)).then(|| vec![DataType::Utf8; 2]),
    returns: |_| DataType::Utf8,
    invoke: extract,
}];

fn extract(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let (documents, paths) = (arrays[0].as_string::<i32>(), arrays[1].as_string::<i32>());
    let mut memo = Memo::new();
    let mut values = StringBuilder::new();
    for row in 0..documents.len() {
        if is_null(arrays, row) {
            values.append_null();
            continue;
        }
        let path = memo.get(paths.value(row), |path| JsonPath::new(path).map_err(|reason| failed(NAME, reason)))?;
        values.append_option(path.extract(documents.value(row)).map_err(|reason| failed(NAME, reason))?);
    }
    Ok(Arc::new(values.finish()))
}
