//! The other side: DataFusion's batch GROUP BY over the rows in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

/// How long the query took, and how many groups it found.
pub struct Outcome {
    pub elapsed: Duration,
    pub groups: usize,
}

/// `batches` in `partitions` equal parts, by `threads` threads.
pub fn group_by(batches: &[RecordBatch], partitions: usize, threads: usize, sql: &str) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let mut parts = vec![Vec::new(); partitions];
    for (index, batch) in batches.iter().enumerate() {
        parts[index % partitions].push(batch.clone());
    }
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(threads));
    let schema = batches.first().map_or_else(crate::rows::schema, RecordBatch::schema);
    context.register_table("bids", Arc::new(MemTable::try_new(schema, parts)?))?;
    runtime.block_on(async {
        let started = Instant::now();
        let result = context.sql(sql).await?.collect().await?;
        let groups = result.iter().map(RecordBatch::num_rows).sum();
        Ok(Outcome { elapsed: started.elapsed(), groups })
    })
}
