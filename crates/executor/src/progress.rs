//! How far a task has come: committed positions for FLUSH, and figures for `millpond.tasks`.
//!
//! ```text
//!        first            committed        goal               end
//!   ──────┼───────────────────┼──────────────┼─────────────────┼──►   progress = (committed - first) / (goal - first)
//!     at the start          now        the end at the start   now     lag      = end - committed
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use millpond_log::{Log, TopicPartition};
use millpond_membership::Unit;
use millpond_streams::operator::Counters;
use parking_lot::Mutex;

use crate::status::TaskStatus;

/// Rows per second are an average over so many seconds.
const RATE_SECONDS: usize = 10;

/// One task's figures, shared between the worker that runs it and whoever asks.
#[derive(Debug)]
pub(crate) struct TaskProgress {
    pub query: String,
    pub sub_topology: u32,
    pub partition: u32,
    /// What it moves with.
    pub unit: Unit,
    /// Reads a stream's or a table's topic, not only repartition topics: its rows are rows that come into the query.
    pub reads_source: bool,
    state: Mutex<State>,
    /// Once everything that was there has been committed: it does not count backwards when more comes.
    caught_up: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// `None` until the task is built.
    inputs: Option<Vec<InputProgress>>,
    counters: Counters,
    rate: Rate,
    stream_time_ms: Option<i64>,
    last_commit_ms: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct InputProgress {
    pub partition: TopicPartition,
    pub log: Arc<dyn Log>,
    /// A repartition topic: what it holds when the query starts says little.
    pub repartition: bool,
    pub first: u64,
    pub goal: u64,
    pub committed: u64,
}

impl InputProgress {
    fn end(&self) -> u64 {
        self.log.offsets(&self.partition).map_or(self.committed, |range| range.end)
    }

    fn lag(&self) -> u64 {
        self.log.records_between(&self.partition, self.committed, self.end())
    }
}

impl TaskProgress {
    pub fn new(query: &str, sub_topology: u32, unit: Unit, reads_source: bool) -> TaskProgress {
        TaskProgress {
            query: query.to_owned(),
            sub_topology,
            partition: unit.partition,
            unit,
            reads_source,
            state: Mutex::new(State::default()),
            caught_up: AtomicBool::new(false),
        }
    }

    /// `query/sub-topology/partition`.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.query, self.sub_topology, self.partition)
    }

    /// The task was built (again). `counters` are those of its last commit.
    pub fn built(&self, inputs: Vec<InputProgress>, counters: Counters) {
        let mut state = self.state.lock();
        let before = state.inputs.take();
        state.inputs = Some(match before {
            // What was aimed at when the query started stays the goal when it is tried again.
            Some(before) => {
                let kept = inputs.into_iter().zip(before);
                kept.map(|(input, before)| InputProgress { first: before.first, goal: before.goal, ..input }).collect()
            }
            None => inputs,
        });
        state.counters = counters;
    }

    /// Whether its state is up to date here.
    pub fn is_built(&self) -> bool {
        self.state.lock().inputs.is_some()
    }

    /// Its state is not kept up here any more.
    pub fn gone(&self) {
        *self.state.lock() = State::default();
        self.caught_up.store(false, Ordering::Relaxed);
    }

    /// What the counters will be once `counters` are committed, too.
    pub fn counters_with(&self, counters: Counters) -> Counters {
        let mut sum = self.state.lock().counters;
        sum += counters;
        sum
    }

    /// `positions` are those of the inputs, in their order.
    pub fn committed(&self, positions: &[u64], counters: Counters, stream_time_ms: Option<i64>, now_ms: i64) {
        let mut state = self.state.lock();
        if let Some(inputs) = &mut state.inputs {
            for (input, position) in inputs.iter_mut().zip(positions) {
                input.committed = *position;
            }
        }
        state.counters += counters;
        state.rate.add(now_ms, counters.rows_in);
        state.stream_time_ms = stream_time_ms;
        state.last_commit_ms = Some(now_ms);
    }

    /// The inputs have come to `positions` without a row.
    pub fn passed(&self, positions: &[u64]) {
        for (input, position) in self.state.lock().inputs.iter_mut().flatten().zip(positions) {
            input.committed = *position;
        }
    }

    /// Its inputs; `None` until it is built.
    pub fn inputs(&self) -> Option<Vec<InputProgress>> {
        self.state.lock().inputs.clone()
    }

    pub fn counters(&self) -> Counters {
        self.state.lock().counters
    }

    /// Records that wait, over all inputs.
    pub fn lag(&self) -> u64 {
        self.inputs().map_or(0, |inputs| inputs.iter().map(InputProgress::lag).sum())
    }

    /// Rows committed and rows to commit, of those inputs that were there when it started; `None` until it is built.
    pub fn backfill(&self) -> Option<(u64, u64)> {
        let inputs = self.inputs()?;
        let done = |input: &InputProgress| input.committed.min(input.goal).saturating_sub(input.first);
        let of_sources = || inputs.iter().filter(|input| !input.repartition);
        Some((of_sources().map(done).sum(), of_sources().map(|input| input.goal - input.first).sum()))
    }

    pub fn is_caught_up(&self) -> bool {
        if self.caught_up.load(Ordering::Relaxed) {
            return true;
        }
        let Some(inputs) = self.inputs() else { return false };
        let caught_up = inputs.iter().all(|input| match input.repartition {
            true => input.committed >= input.end(),
            false => input.committed >= input.goal,
        });
        if caught_up {
            self.caught_up.store(true, Ordering::Relaxed);
        }
        caught_up
    }

    /// Of a task behind a repartition: how much of what has arrived is committed.
    fn percent(&self) -> f64 {
        if self.is_caught_up() {
            return 100.0;
        }
        let (done, total) = match self.inputs() {
            Some(inputs) => inputs.iter().fold((0, 0), |(done, total), input| {
                let goal = if input.repartition { input.end() } else { input.goal };
                (done + input.committed.min(goal).saturating_sub(input.first), total + goal.saturating_sub(input.first))
            }),
            None => return 0.0,
        };
        percent(done, total)
    }

    pub fn rows_per_second(&self, now_ms: i64) -> f64 {
        self.state.lock().rate.per_second(now_ms)
    }

    pub fn status(&self, worker: usize, restored_percent: Option<f64>, now_ms: i64) -> TaskStatus {
        let (lag, progress_percent) = (self.lag(), self.percent());
        let state = self.state.lock();
        TaskStatus {
            id: self.id(),
            query: self.query.clone(),
            sub_topology: self.sub_topology,
            partition: self.partition,
            worker,
            rows_in: state.counters.rows_in,
            rows_out: state.counters.rows_out,
            lag,
            progress_percent,
            restored_percent,
            rows_per_second: state.rate.per_second(now_ms),
            stream_time_ms: state.stream_time_ms,
            last_commit: state.last_commit_ms.and_then(|ms| u64::try_from(ms).ok()).map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
        }
    }
}

/// A query's progress: that of its sources, and 100 only when what they gave has come through.
pub(crate) fn query_percent(tasks: &[Arc<TaskProgress>]) -> f64 {
    if tasks.iter().all(|task| task.is_caught_up()) {
        return 100.0;
    }
    let backfills: Option<Vec<(u64, u64)>> = tasks.iter().map(|task| task.backfill()).collect();
    match backfills {
        Some(backfills) => percent(backfills.iter().map(|(done, _)| done).sum(), backfills.iter().map(|(_, total)| total).sum()),
        None => 0.0,
    }
}

/// Below 100: whoever has caught up is told apart before.
fn percent(done: u64, total: u64) -> f64 {
    if total == 0 { 99.9 } else { (100.0 * done as f64 / total as f64).min(99.9) }
}

/// Rows per second over the last [`RATE_SECONDS`].
#[derive(Debug, Default)]
struct Rate {
    /// Rows of second `s` are at `s % RATE_SECONDS`.
    rows: [u64; RATE_SECONDS],
    /// The last second that was added to.
    second: i64,
}

impl Rate {
    fn add(&mut self, now_ms: i64, rows: u64) {
        let second = now_ms.div_euclid(1000);
        let passed = second.saturating_sub(self.second).clamp(0, RATE_SECONDS as i64);
        for skipped in 0..passed {
            self.rows[Self::slot(second - skipped)] = 0;
        }
        self.second = self.second.max(second);
        self.rows[Self::slot(self.second)] += rows;
    }

    fn per_second(&self, now_ms: i64) -> f64 {
        let passed = now_ms.div_euclid(1000).saturating_sub(self.second).max(0);
        let kept = (RATE_SECONDS as i64 - passed).max(0);
        let rows: u64 = (0..kept).map(|back| self.rows[Self::slot(self.second - back)]).sum();
        rows as f64 / RATE_SECONDS as f64
    }

    fn slot(second: i64) -> usize {
        second.rem_euclid(RATE_SECONDS as i64) as usize
    }
}

#[cfg(test)]
mod tests {
    use millpond_log::{Append, Entry, MemoryLog, TopicConfig, Transaction, opaque};

    use super::*;

    fn log(rows: usize) -> (Arc<dyn Log>, TopicPartition) {
        let log = MemoryLog::default();
        log.create_topic("t", &TopicConfig::keep(1)).unwrap();
        let target = TopicPartition::new("t", 0);
        let records = (0..rows).map(|_| opaque::Record { key: None, value: None, timestamp_ms: 0, headers: &[] });
        let entry = Entry::opaque(opaque::batch(records));
        log.append(Transaction { appends: vec![Append { target: target.clone(), entry }] }).unwrap();
        (Arc::new(log), target)
    }

    #[test]
    fn progress_ends_at_a_hundred_and_stays_there() {
        let (log, partition) = log(10);
        let task = Arc::new(TaskProgress::new("q", 0, Unit::new("t", 0), true));
        assert_eq!(query_percent(std::slice::from_ref(&task)), 0.0);
        let input = InputProgress { partition, log, repartition: false, first: 0, goal: 8, committed: 0 };
        task.built(vec![input.clone()], Counters::default());
        task.committed(&[2], Counters::default(), None, 0);
        assert_eq!((query_percent(std::slice::from_ref(&task)), task.lag()), (25.0, 8));
        task.committed(&[8], Counters::default(), None, 0);
        assert_eq!((query_percent(std::slice::from_ref(&task)), task.lag()), (100.0, 2));
        task.built(vec![InputProgress { goal: 10, committed: 8, ..input }], Counters::default());
        assert_eq!(query_percent(&[task]), 100.0);
    }

    #[test]
    fn rates_are_averages_that_fade() {
        let mut rate = Rate::default();
        rate.add(100_000, 50);
        rate.add(101_500, 50);
        assert_eq!(rate.per_second(101_900), 10.0);
        assert_eq!(rate.per_second(110_500), 5.0);
        assert_eq!(rate.per_second(200_000), 0.0);
        rate.add(200_000, 10);
        assert_eq!(rate.per_second(200_000), 1.0);
    }
}
