//! `SELECT` list: one expression for each column.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use super::{Context, Operator, nullable, record_batch};
use crate::expression::Guarded;
use crate::{Batch, Error, Result};

#[derive(Debug)]
pub struct Project {
    expressions: Vec<Guarded>,
    schema: SchemaRef,
}

impl Project {
    pub fn new(expressions: &[Arc<dyn PhysicalExpr>], schema: &SchemaRef) -> Result<Project> {
        if expressions.len() != schema.fields().len() {
            let counts = (expressions.len(), schema.fields().len());
            return Err(Error::Topology(format!("a projection has {} expressions for {} columns", counts.0, counts.1)));
        }
        let guarded = |(expression, field): (&Arc<dyn PhysicalExpr>, &Arc<arrow::datatypes::Field>)| {
            Guarded::of_type(expression.clone(), field.data_type().clone())
        };
        Ok(Project { expressions: expressions.iter().zip(schema.fields()).map(guarded).collect(), schema: nullable(schema) })
    }

    /// The rows with the columns of the list.
    pub fn apply(&self, batch: &Batch, context: &mut Context<'_>) -> Result<Batch> {
        let columns = match &batch.tombstones {
            Some(tombstones) => self.beside_tombstones(batch, tombstones, context)?,
            None => self.expressions.iter().map(|expression| expression.values(batch, context)).collect::<Result<_>>()?,
        };
        let rows = record_batch(&self.schema, columns, batch.num_rows())?;
        Ok(batch.with_rows(rows))
    }

    /// A record without a value keeps what columns there are, its key's; nothing is computed for it.
    fn beside_tombstones(&self, batch: &Batch, tombstones: &BooleanArray, context: &mut Context<'_>) -> Result<Vec<ArrayRef>> {
        let valued = batch.clone().with_values()?;
        let mut next = 0..;
        let places: UInt32Array = tombstones.values().iter().map(|tombstone| if tombstone { None } else { next.next() }).collect();
        let column = |expression: &Guarded| -> Result<ArrayRef> {
            if expression.expression().downcast_ref::<Column>().is_some() {
                return expression.values(batch, context);
            }
            Ok(take(&expression.values(&valued, context)?, &places, None)?)
        };
        self.expressions.iter().map(column).collect()
    }
}

impl Operator for Project {
    fn process(&mut self, _port: usize, batch: Batch, context: &mut Context<'_>) -> Result<()> {
        let batch = self.apply(&batch, context)?;
        context.forward(batch);
        Ok(())
    }
}
