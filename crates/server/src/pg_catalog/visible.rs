//! `pg_table_is_visible`: what is not in schema `public` needs its schema's name, and `\d` without a name does not list it.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use millpond_catalog::dead_letters;

/// In the place of the library's, for which all are.
pub async fn register(context: &SessionContext) -> Result<()> {
    let of_system = format!(
        "SELECT arrow_cast(c.oid, 'Int32') FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = '{}'",
        dead_letters::SCHEMA
    );
    let batches = context.sql(&of_system).await?.collect().await?;
    let hidden: HashSet<i32> = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int32Type>().values().to_vec()).collect();
    let body = move |arguments: &[ColumnarValue]| {
        let tables = ColumnarValue::values_to_arrays(arguments)?;
        let tables = tables[0].as_primitive::<Int32Type>();
        let visible: BooleanArray =
            (0..tables.len()).map(|row| tables.is_valid(row).then(|| !hidden.contains(&tables.value(row)))).collect();
        Ok(ColumnarValue::Array(Arc::new(visible)))
    };
    context.register_udf(create_udf("pg_table_is_visible", vec![DataType::Int32], DataType::Boolean, Volatility::Stable, Arc::new(body)));
    Ok(())
}
