//! `pg_proc` with Millpond's functions, and what psql asks about each.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::SessionContext;

use crate::functions::{Function, Kind};
use crate::pg_catalog::{PG_CATALOG, SCHEMA};

/// Object ids of PostgreSQL's own objects end here.
const FIRST_OID: i32 = 100_000;

/// `pg_proc` with `functions` in the place of PostgreSQL's own.
pub async fn provider(context: &SessionContext, theirs: &Schema, functions: &[Function]) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(table(theirs, namespace(context).await?, functions)?))
}

/// What is asked about each.
pub fn functions(functions: &[Function]) -> [ScalarUDF; 3] {
    [arguments(functions), result(), definition(functions)]
}

/// The object id of the schema that the functions are in.
async fn namespace(context: &SessionContext) -> Result<Option<i32>> {
    let rows = context.sql(&format!("SELECT oid FROM {PG_CATALOG}.pg_namespace WHERE nspname = '{SCHEMA}'")).await?.collect().await?;
    let first = rows.iter().find(|batch| batch.num_rows() > 0);
    Ok(first.and_then(|batch| batch.column(0).as_primitive_opt::<Int32Type>().map(|oids| oids.value(0))))
}

/// PostgreSQL's columns, NULL but for those that are known.
fn table(like: &Schema, namespace: Option<i32>, functions: &[Function]) -> Result<MemTable> {
    let rows = functions.len();
    let kinds = functions.iter().map(|function| match function.kind {
        Kind::Scalar => "f",
        Kind::Aggregate => "a",
    });
    let kinds: Vec<&str> = kinds.collect();
    let mut fields = Vec::with_capacity(like.fields().len());
    let mut columns = Vec::with_capacity(like.fields().len());
    for field in like.fields() {
        let values: ArrayRef = match field.name().as_str() {
            "oid" => Arc::new(Int32Array::from_iter_values((FIRST_OID..).take(rows))),
            "proname" => Arc::new(StringArray::from_iter_values(functions.iter().map(|function| &function.name))),
            "pronamespace" => Arc::new(Int32Array::from(vec![namespace; rows])),
            "prokind" => Arc::new(StringArray::from(kinds.clone())),
            _ => new_null_array(field.data_type(), rows),
        };
        columns.push(arrow::compute::cast(&values, field.data_type())?);
        fields.push(Field::new(field.name(), field.data_type().clone(), true));
    }
    let schema = Arc::new(Schema::new(fields));
    MemTable::try_new(Arc::clone(&schema), vec![vec![RecordBatch::try_new(schema, columns)?]])
}

fn arguments(functions: &[Function]) -> ScalarUDF {
    let known: Arc<[String]> = functions.iter().map(|function| function.arguments.clone()).collect();
    let body = move |arguments: &[ColumnarValue]| {
        let oids = ColumnarValue::values_to_arrays(arguments)?;
        let oids = oids[0].as_primitive::<Int32Type>();
        let text = |oid: Option<i32>| known.get(usize::try_from(oid? - FIRST_OID).ok()?).map(String::as_str);
        Ok(ColumnarValue::Array(Arc::new(oids.iter().map(text).collect::<StringArray>())))
    };
    create_udf("pg_get_function_arguments", vec![DataType::Int32], DataType::Utf8, Volatility::Stable, Arc::new(body))
}

/// It depends on the arguments' types.
fn result() -> ScalarUDF {
    let body = |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)));
    create_udf("pg_get_function_result", vec![DataType::Int32], DataType::Utf8, Volatility::Stable, Arc::new(body))
}

/// For `\sf`.
fn definition(functions: &[Function]) -> ScalarUDF {
    let known: Arc<[Function]> = functions.into();
    let body = move |arguments: &[ColumnarValue]| {
        let oids = ColumnarValue::values_to_arrays(arguments)?;
        let text = |oid: Option<i64>| {
            let Some(oid) = oid else { return Ok(None) };
            let Some(function) = usize::try_from(oid - i64::from(FIRST_OID)).ok().and_then(|index| known.get(index)) else {
                return exec_err!("function with OID {oid} does not exist");
            };
            let (name, arguments) = (&function.name, &function.arguments);
            match function.kind {
                Kind::Aggregate => exec_err!("\"{name}\" is an aggregate function"),
                Kind::Scalar => Ok(Some(format!(
                    "CREATE OR REPLACE FUNCTION {SCHEMA}.{name}({arguments})\n LANGUAGE internal\nAS $function${name}$function$\n"
                ))),
            }
        };
        let texts: StringArray = oids[0].as_primitive::<Int64Type>().iter().map(text).collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(texts)))
    };
    create_udf("pg_get_functiondef", vec![DataType::Int64], DataType::Utf8, Volatility::Stable, Arc::new(body))
}
