//! Scalar functions: a table of them, and the frame that makes each a UDF.

mod geo;
mod json;
mod mask;
mod regexp;
mod template;
mod text;
mod time;
mod to_char;
mod value;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::string;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use self::to_char::ToChar;

/// All scalar functions of this crate.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let own = [geo::FUNCTIONS, json::FUNCTIONS, mask::FUNCTIONS, regexp::FUNCTIONS, text::FUNCTIONS, time::FUNCTIONS, value::FUNCTIONS];
    let own = own.iter().flat_map(|functions| functions.iter()).map(|function| Arc::new(ScalarUDF::from(Udf::new(function))));
    let renamed = [(string::upper(), "ucase"), (string::lower(), "lcase")];
    let renamed = renamed.map(|(function, alias)| Arc::new(function.as_ref().clone().with_aliases([alias])));
    own.chain(renamed).chain([Arc::new(ScalarUDF::from(ToChar::new()))]).collect()
}

/// A function, as its module declares it.
#[derive(Debug)]
struct Function {
    name: &'static str,
    /// How it may be called, for the error message.
    usage: &'static str,
    /// The types that arguments are cast to; `None` if it cannot be called with these.
    arguments: fn(&[DataType]) -> Option<Vec<DataType>>,
    /// The type of the result for arguments of the cast types.
    returns: fn(&[DataType]) -> DataType,
    /// Arrays of one length (`rows`) and of the cast types.
    invoke: fn(&[ArrayRef]) -> Result<ArrayRef>,
}

#[derive(Debug)]
struct Udf {
    function: &'static Function,
    signature: Signature,
}

impl Udf {
    fn new(function: &'static Function) -> Udf {
        Udf { function, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl PartialEq for Udf {
    fn eq(&self, other: &Udf) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for Udf {}

impl Hash for Udf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for Udf {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        (self.function.arguments)(types).ok_or_else(|| {
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            let (name, usage) = (self.function.name, self.function.usage);
            DataFusionError::Plan(format!("function {name} does not accept parameters ({}): it is called as {usage}", types.join(", ")))
        })
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok((self.function.returns)(types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|argument| argument.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let result = (self.function.invoke)(&arrays)?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(result.as_ref(), 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// A row on which a function fails.
fn failed(name: &str, reason: impl std::fmt::Display) -> DataFusionError {
    DataFusionError::Execution(format!("{name}: {reason}"))
}

fn is_null(arrays: &[ArrayRef], row: usize) -> bool {
    arrays.iter().any(|array| array.is_null(row))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}

fn is_integer(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_null()
}

/// Something compiled from an argument that is mostly the same in every row: a pattern, a path.
struct Memo<T> {
    last: Option<(String, T)>,
}

impl<T> Memo<T> {
    fn new() -> Memo<T> {
        Memo { last: None }
    }

    fn get(&mut self, text: &str, compile: impl FnOnce(&str) -> Result<T>) -> Result<&T> {
        if self.last.as_ref().is_none_or(|(last, _)| last != text) {
            self.last = Some((text.to_string(), compile(text)?));
        }
        match &self.last {
            Some((_, compiled)) => Ok(compiled),
            None => Err(DataFusionError::Internal("nothing was compiled".to_string())),
        }
    }
}
