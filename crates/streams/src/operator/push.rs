//! Hands a push query's batches to whoever started it.

use std::sync::Arc;

use super::{Context, Operator};
use crate::{Batch, Result};

/// Where a push query's rows go. Must not block: it is called by the thread that runs the task.
pub trait Subscriber: Send + Sync {
    fn deliver(&self, batch: Batch);
}

pub struct Push {
    subscriber: Arc<dyn Subscriber>,
}

impl Push {
    pub fn new(subscriber: Arc<dyn Subscriber>) -> Push {
        Push { subscriber }
    }
}

impl Operator for Push {
    fn process(&mut self, _port: usize, batch: Batch, context: &mut Context<'_>) -> Result<()> {
        context.counters.rows_out += batch.num_rows() as u64;
        self.subscriber.deliver(batch);
        Ok(())
    }
}
