//! Push queries: rows as they come, until the reader goes away.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use futures::stream::{self, BoxStream, StreamExt};
use millpond_executor::{Engine, Push, PushEvent};
use millpond_streams::{Batch, Topology};
use tokio::sync::Notify;

use crate::{Error, Result};

/// Starts the query. Of a table's changes the rows that came are given, not those that went. The query ends after `limit` rows, or when
/// the stream is dropped. May block for a moment while its tasks start.
pub fn push(
    engine: &Engine,
    topology: Topology,
    from_earliest: bool,
    limit: Option<u64>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    if limit == Some(0) {
        return Ok(stream::empty().boxed());
    }
    let push = engine.push(topology, from_earliest)?;
    let ready = Arc::new(Notify::new());
    let hook = Arc::clone(&ready);
    push.on_ready(move || hook.notify_one());
    let feed = Feed { push, ready, left: limit };
    Ok(stream::try_unfold(Some(feed), |feed| async {
        match feed {
            Some(feed) => feed.next().await,
            None => Ok(None),
        }
    })
    .boxed())
}

struct Feed {
    push: Push,
    ready: Arc<Notify>,
    left: Option<u64>,
}

impl Feed {
    /// The next rows, and what is left to be read behind them.
    async fn next(mut self) -> Result<Option<(RecordBatch, Option<Feed>)>> {
        loop {
            match self.push.recv(Duration::ZERO) {
                PushEvent::Rows(batch) => {
                    let mut rows = came(&batch)?;
                    if let Some(left) = &mut self.left {
                        rows = rows.slice(0, rows.num_rows().min(usize::try_from(*left).unwrap_or(usize::MAX)));
                        *left -= rows.num_rows() as u64;
                    }
                    if rows.num_rows() > 0 {
                        let more = self.left != Some(0);
                        return Ok(Some((rows, more.then_some(self))));
                    }
                }
                PushEvent::Idle => self.ready.notified().await,
                PushEvent::Failed(reason) => return Err(Error::Stopped(reason)),
                PushEvent::Ended => return Ok(None),
            }
        }
    }
}

/// The rows that are, without those that were.
fn came(batch: &Batch) -> Result<RecordBatch> {
    match &batch.changes {
        Some(changes) => {
            let came: BooleanArray = changes.iter().map(|change| Some(change.unwrap_or(1) > 0)).collect();
            Ok(filter_record_batch(&batch.rows, &came)?)
        }
        None => Ok(batch.rows.clone()),
    }
}
