//! Which keys a table has rows for: DELETE tells how many went.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray};
use arrow::datatypes::SchemaRef;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::prelude::col;
use futures::TryStreamExt;
use millpond_catalog::Source;
use millpond_planner::schema;
use millpond_sql::Dialect;
use millpond_streams::operator::table_key::TableCodec;
use tokio::task::spawn_blocking;

use crate::access::Access;
use crate::stream_table::external;
use crate::system::Sources;
use crate::table_read::TableRead;

/// For each of `keys` (one array for each key column) whether there is a row.
pub async fn existing(source: &Arc<Source>, keys: &[ArrayRef], sources: &Arc<Sources>) -> Result<Vec<bool>> {
    let codec = TableCodec::new(&schema::layout(source)).map_err(external)?;
    let wanted = codec.encode_keys(keys, None).map_err(external)?;
    let described = schema::source_schema(source, Dialect::Millpond);
    let places: Vec<usize> = source.key_columns().map(|column| described.index_of(&column.name)).collect::<Result<_, _>>()?;
    let mut found: HashSet<Vec<u8>> = HashSet::new();
    let (read, sources) = (read(source, keys, described, &places)?, Arc::clone(sources));
    // It looks up what is here at once, and there may be many.
    let opened =
        spawn_blocking(move || read.open(None, &sources)).await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?;
    let mut batches = opened?.into_stream();
    while let Some(batch) = batches.try_next().await? {
        let columns: Vec<ArrayRef> = places.iter().map(|place| Arc::clone(batch.column(*place))).collect();
        let rows: BinaryArray = codec.encode_keys(&columns, None).map_err(external)?;
        found.extend(rows.iter().flatten().map(<[u8]>::to_vec));
    }
    Ok(wanted.iter().map(|key| key.is_some_and(|key| found.contains(key))).collect())
}

fn read(source: &Arc<Source>, keys: &[ArrayRef], described: SchemaRef, places: &[usize]) -> Result<Arc<TableRead>> {
    let values = |column: &ArrayRef| (0..column.len()).map(|row| ScalarValue::try_from_array(column, row)).collect::<Result<Vec<_>>>();
    let columns = keys.iter().map(values).collect::<Result<Vec<_>>>()?;
    let rows = columns.first().map_or(0, Vec::len);
    let tuples = (0..rows).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect();
    let among = |(name, values): (&str, Vec<ScalarValue>)| {
        let unique: HashSet<ScalarValue> = values.into_iter().collect();
        col(Column::new_unqualified(name)).in_list(unique.into_iter().map(|value| Expr::Literal(value, None)).collect(), false)
    };
    let names = source.key_columns().map(|column| column.name.as_str());
    let filters: Vec<Expr> = names.zip(columns).map(among).collect();
    Ok(Arc::new(TableRead {
        source: Arc::clone(source),
        dialect: Dialect::Millpond,
        columns: places.into(),
        schema: described,
        access: Access::lookup(source, tuples),
        filters,
        limit: None,
    }))
}
