//! The one thread that is no worker: starts failed queries again, has the log cleaned, reports sizes and progress.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millpond_log::TopicPartition;

use crate::gathering::{self, Gathering};
use crate::query::RunningQuery;
use crate::runtime::Runtime;
use crate::{Error, figures, topics};

/// How often the log is cleaned and sizes are measured.
const CLEAN_INTERVAL_MS: i64 = 60_000;
/// How often it is looked whether the sources' topics are what they were.
const TOPICS_INTERVAL_MS: i64 = 10_000;
/// How often progress is told to those who look from outside.
const PUBLISH_INTERVAL_MS: i64 = 5_000;

/// What is done again and again.
struct Chore {
    interval_ms: i64,
    at_ms: i64,
}

impl Chore {
    /// An interval from now for the first time.
    fn every(interval_ms: i64, now_ms: i64) -> Chore {
        Chore { interval_ms, at_ms: now_ms + interval_ms }
    }

    /// Whether it is time; the next time is an interval later then.
    fn is_due(&mut self, now_ms: i64) -> bool {
        let due = now_ms >= self.at_ms;
        if due {
            self.at_ms = now_ms + self.interval_ms;
        }
        due
    }
}

pub(crate) fn run(runtime: &Arc<Runtime>) {
    let intervals = [CLEAN_INTERVAL_MS, TOPICS_INTERVAL_MS, PUBLISH_INTERVAL_MS, gathering::LOOK_INTERVAL_MS];
    let [mut clean, mut compare, mut publish, mut gather] = intervals.map(|interval_ms| Chore::every(interval_ms, runtime.now_ms()));
    let (mut published, mut misfits) = (Published::default(), Misfits::default());
    let (gathers, mut gathering) = (runtime.config.gather && runtime.mailboxes.len() > 1, Gathering::new(runtime.now_ms()));
    loop {
        let seen = runtime.housekeeping.current();
        if runtime.is_stopping() {
            return;
        }
        let now_ms = runtime.now_ms();
        if clean.is_due(now_ms) {
            clean_up(runtime, now_ms);
        }
        if compare.is_due(now_ms) {
            misfits.look(runtime);
        }
        if publish.is_due(now_ms) {
            published.publish(runtime);
        }
        if gathers && gather.is_due(now_ms) {
            gathering.look(runtime);
        }
        let now_ms = runtime.now_ms();
        let chores = [&clean, &compare, &publish].into_iter().chain(gathers.then_some(&gather));
        let next_ms = chores.map(|chore| chore.at_ms).fold(retry(runtime, now_ms).unwrap_or(i64::MAX), i64::min);
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

/// Queries stop whose sources' topics were deleted or expanded, by what two looks have found: a broker may not have heard of a topic yet. One that
/// is started again looks for itself. Push queries find out when they read.
#[derive(Default)]
struct Misfits {
    /// By query, what the last look has found.
    suspects: BTreeMap<String, String>,
}

impl Misfits {
    fn look(&mut self, runtime: &Runtime) {
        let before = std::mem::take(&mut self.suspects);
        let mut known: BTreeMap<String, u32> = BTreeMap::new();
        for query in runtime.all_queries().iter().filter(|query| query.push_queue().is_none()) {
            let generation = query.with_lifecycle(|lifecycle| lifecycle.generation);
            let Some(plan) = query.plan.as_ref().filter(|_| query.is_live(generation)) else { continue };
            let checked = topics::check_sources(&plan.topology, |topic| match known.get(topic) {
                Some(partitions) => Ok(*partitions),
                None => Ok(*known.entry(topic.to_owned()).or_insert(runtime.storage.log.partitions(topic)?)),
            });
            let reason = match checked {
                Ok(()) => continue,
                Err(error @ (Error::Partitions { .. } | Error::Log(millpond_log::Error::UnknownTopic(_)))) => error.to_string(),
                // Where nobody answers, nobody will for the next topic.
                Err(error) => return tracing::debug!(%error, "whether topics have changed is not known"),
            };
            if runtime.is_stopping() {
                return;
            }
            if before.get(&query.id) == Some(&reason) {
                runtime.fail(query, generation, &reason, None);
            } else {
                self.suspects.insert(query.id.clone(), reason);
            }
        }
    }
}

/// What was told last, of each query.
#[derive(Default)]
struct Published {
    positions: BTreeMap<String, BTreeMap<TopicPartition, u64>>,
}

impl Published {
    /// Tells what has changed. What cannot be told is told another time: nothing depends on it.
    fn publish(&mut self, runtime: &Runtime) {
        let queries = runtime.all_queries();
        self.positions.retain(|id, _| queries.iter().any(|query| query.id == *id));
        for query in queries.iter().filter(|query| query.push_queue().is_none()) {
            let positions = source_positions(query);
            if positions.is_empty() || self.positions.get(&query.id) == Some(&positions) {
                continue;
            }
            let list: Vec<(TopicPartition, u64)> = positions.iter().map(|(partition, next)| (partition.clone(), *next)).collect();
            if let Err(error) = runtime.storage.log.publish_progress(&query.id, &list) {
                tracing::debug!(query = query.id, %error, "the query's progress cannot be told");
                continue;
            }
            self.positions.insert(query.id.clone(), positions);
        }
    }
}

/// Where the query has committed its sources to, by its slowest task.
fn source_positions(query: &RunningQuery) -> BTreeMap<TopicPartition, u64> {
    let mut positions = BTreeMap::new();
    let inputs = query.tasks.iter().filter_map(|task| task.inputs()).flatten().filter(|input| !input.repartition);
    for input in inputs {
        let slowest = positions.entry(input.partition).or_insert(input.committed);
        *slowest = input.committed.min(*slowest);
    }
    positions
}

fn clean_up(runtime: &Runtime, now_ms: i64) {
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
