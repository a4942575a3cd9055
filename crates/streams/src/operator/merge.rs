//! Several streams of the same columns into one, as they come.

use arrow::datatypes::SchemaRef;

use super::{Context, Operator, nullable, record_batch};
use crate::{Batch, Result};

#[derive(Debug)]
pub struct Merge {
    schema: SchemaRef,
}

impl Merge {
    pub fn new(schema: &SchemaRef) -> Merge {
        Merge { schema: nullable(schema) }
    }
}

impl Operator for Merge {
    fn process(&mut self, _port: usize, batch: Batch, context: &mut Context<'_>) -> Result<()> {
        // The branches name their columns differently; the first one's names are the merged stream's.
        let rows = record_batch(&self.schema, batch.rows.columns().to_vec(), batch.num_rows())?;
        context.forward(batch.with_rows(rows));
        Ok(())
    }
}
