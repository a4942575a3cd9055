//! The one thread that is no worker: starts failed queries again, has the log cleaned, reports sizes.

use std::sync::Arc;
use std::time::Duration;

use crate::figures;
use crate::runtime::Runtime;

/// How often the log is cleaned and sizes are measured.
const CLEAN_INTERVAL_MS: i64 = 60_000;

pub(crate) fn run(runtime: &Arc<Runtime>) {
    let mut clean_at_ms = runtime.now_ms() + CLEAN_INTERVAL_MS;
    loop {
        let seen = runtime.housekeeping.current();
        if runtime.is_stopping() {
            return;
        }
        let now_ms = runtime.now_ms();
        if now_ms >= clean_at_ms {
            clean_at_ms = now_ms + CLEAN_INTERVAL_MS;
            clean(runtime, now_ms);
        }
        let next_ms = retry(runtime, now_ms).unwrap_or(clean_at_ms).min(clean_at_ms);
        let wait_ms = u64::try_from(next_ms - now_ms).unwrap_or_default().max(1);
        runtime.housekeeping.wait(seen, Some(Duration::from_millis(wait_ms)));
    }
}

/// Starts what is due; when the next one is.
fn retry(runtime: &Runtime, now_ms: i64) -> Option<i64> {
    let mut next_ms = None;
    for query in runtime.all_queries() {
        match query.with_lifecycle(|lifecycle| lifecycle.retry_at_ms) {
            Some(at_ms) if at_ms <= now_ms => {
                tracing::info!(query = query.id, "starting the query again");
                runtime.start(&query);
            }
            Some(at_ms) => next_ms = Some(next_ms.map_or(at_ms, |next_ms: i64| next_ms.min(at_ms))),
            None => {}
        }
    }
    next_ms
}

fn clean(runtime: &Runtime, now_ms: i64) {
    match runtime.storage.log.clean(now_ms) {
        Ok(cleaned) => tracing::debug!(entries = cleaned.entries_deleted, rows = cleaned.rows_compacted, "cleaned the log"),
        Err(error) => tracing::warn!(%error, "the log cannot be cleaned"),
    }
    match runtime.storage.state.stores() {
        Ok(stores) => {
            for (name, store) in stores {
                figures::store_size(&name, runtime.storage.state.size_bytes(store));
            }
        }
        Err(error) => tracing::warn!(%error, "the stores cannot be listed"),
    }
    for query in runtime.all_queries().iter().filter(|query| query.push_queue().is_none()) {
        figures::lag(&query.id, query.tasks.iter().map(|task| task.lag()).sum());
    }
}
