//! `WHERE` and `HAVING`: rows for which the predicate is true. Of a table's change, each half is judged by itself: the row that goes
//! was let through by the same predicate when it came. A stream's record without a value never is.

use std::sync::Arc;

use datafusion::physical_expr::PhysicalExpr;

use super::{Context, Operator};
use crate::expression::Guarded;
use crate::{Batch, Result};

#[derive(Debug)]
pub struct Filter {
    predicate: Guarded,
}

impl Filter {
    pub fn new(predicate: Arc<dyn PhysicalExpr>) -> Filter {
        Filter { predicate: Guarded::new(predicate) }
    }

    /// The rows that it lets through.
    pub fn apply(&self, batch: Batch, context: &mut Context<'_>) -> Result<Batch> {
        let batch = batch.with_values()?;
        let mask = self.predicate.mask(&batch, context)?;
        if mask.true_count() == mask.len() { Ok(batch) } else { batch.filter(&mask) }
    }
}

impl Operator for Filter {
    fn process(&mut self, _port: usize, batch: Batch, context: &mut Context<'_>) -> Result<()> {
        let batch = self.apply(batch, context)?;
        context.forward(batch);
        Ok(())
    }
}
