//! `pg_proc` with Millpond's functions, and what psql asks about each.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::SessionContext;

use crate::functions::{Function, Kind};
use crate::pg_catalog::{PG_CATALOG, SCHEMA};

const PROCEDURES: &str = "pg_proc";
/// Object ids of PostgreSQL's own objects end here.
const FIRST_OID: i32 = 100_000;

/// Puts `functions` into the place of PostgreSQL's own.
pub async fn register(context: &SessionContext, catalog: &dyn CatalogProvider, functions: &[Function]) -> Result<()> {
    let inner = catalog.schema(PG_CATALOG).ok_or_else(|| DataFusionError::Internal("no pg_catalog".to_string()))?;
    let theirs = inner.table(PROCEDURES).await?.ok_or_else(|| DataFusionError::Internal("no pg_proc".to_string()))?;
    let procedures = table(&theirs.schema(), namespace(context).await?, functions)?;
    catalog.register_schema(PG_CATALOG, Arc::new(WithProcedures { inner, procedures: Arc::new(procedures) }))?;
    for function in visible().into_iter().chain([arguments(functions), result(), description()]) {
        context.register_udf(function);
    }
    Ok(())
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

/// There is one schema, and everything in it can be named without it.
fn visible() -> [ScalarUDF; 2] {
    ["pg_function_is_visible", "pg_type_is_visible"].map(|name| {
        let body = |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::from(true)));
        create_udf(name, vec![DataType::Int32], DataType::Boolean, Volatility::Stable, Arc::new(body))
    })
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

/// Nothing has a comment.
fn description() -> ScalarUDF {
    let body = |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)));
    create_udf("obj_description", vec![DataType::Int32, DataType::Utf8], DataType::Utf8, Volatility::Stable, Arc::new(body))
}

/// `pg_catalog` with another `pg_proc`.
#[derive(Debug)]
struct WithProcedures {
    inner: Arc<dyn SchemaProvider>,
    procedures: Arc<MemTable>,
}

#[async_trait]
impl SchemaProvider for WithProcedures {
    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match name {
            PROCEDURES => Ok(Some(Arc::clone(&self.procedures) as Arc<dyn TableProvider>)),
            _ => self.inner.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }
}
