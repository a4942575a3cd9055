//! What queries and tasks are doing, for `SHOW QUERIES`, `millpond.queries` and `millpond.tasks`.

use std::sync::Arc;
use std::time::SystemTime;

use millpond_streams::operator::Counters;

use crate::progress::{TaskProgress, query_percent};
use crate::query::{RunningQuery, State};
use crate::runtime::Runtime;

/// ```text
///   Starting ─► Running ⇄ Paused
///       │          │         │
///       └──────────┴─────────┴──► Failed (a retry policy starts it again) / Terminated
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryState {
    Starting,
    Running,
    Paused,
    Failed,
}

#[derive(Debug, Clone)]
pub struct QueryStatus {
    pub id: String,
    pub sink: String,
    pub sql: String,
    pub state: QueryState,
    /// Why it failed.
    pub reason: Option<String>,
    /// In a row; a minute of health forgets them.
    pub failures: u32,
    pub rows_in: u64,
    pub rows_out: u64,
    pub late: u64,
    pub undecodable: u64,
    pub null_key: u64,
    pub bad_timestamp: u64,
    pub failed_expressions: u64,
    /// Records that were deleted before they were read.
    pub lost: u64,
    /// Rows committed of those that were there when the query started, per cent: 100 once it has caught up.
    pub progress_percent: f64,
    pub rows_per_second: f64,
    /// Records not yet read, over all its inputs.
    pub lag: u64,
    pub tasks: Vec<TaskStatus>,
}

#[derive(Debug, Clone)]
pub struct TaskStatus {
    /// `query/sub-topology/partition`.
    pub id: String,
    pub query: String,
    pub sub_topology: u32,
    pub partition: u32,
    pub worker: usize,
    pub rows_in: u64,
    pub rows_out: u64,
    pub lag: u64,
    pub progress_percent: f64,
    /// While its state is brought in from elsewhere: how much of it is here.
    pub restored_percent: Option<f64>,
    pub rows_per_second: f64,
    pub stream_time_ms: Option<i64>,
    pub last_commit: Option<SystemTime>,
}

/// Persistent queries, and of the internal ones those that have failed.
pub(crate) fn queries(runtime: &Runtime) -> Vec<QueryStatus> {
    let now_ms = runtime.now_ms();
    let shown = |query: &RunningQuery| query.is_persistent() || (query.push_queue().is_none() && query.state() == State::Failed);
    runtime.all_queries().iter().filter(|query| shown(query)).map(|query| of(runtime, query, now_ms)).collect()
}

/// With the figures of the tasks that run here.
fn of(runtime: &Runtime, query: &RunningQuery, now_ms: i64) -> QueryStatus {
    let (state, reason, failures) = query.with_lifecycle(|lifecycle| {
        lifecycle.forget_failures(now_ms);
        (lifecycle.state, lifecycle.reason.clone(), lifecycle.failures)
    });
    let tasks: Vec<Arc<TaskProgress>> = query.tasks.iter().filter(|task| runtime.runs(query, task)).cloned().collect();
    let mut sum = Counters::default();
    for task in &tasks {
        let counters = task.counters();
        sum += Counters { rows_in: if task.reads_source { counters.rows_in } else { 0 }, ..counters };
    }
    let workers = runtime.workers();
    let status = |task: &Arc<TaskProgress>| task.status(query.worker_of(task, workers), restored_percent(runtime, query, task), now_ms);
    let sources = || tasks.iter().filter(|task| task.reads_source);
    QueryStatus {
        id: query.id.clone(),
        sink: query.sink.clone(),
        sql: query.sql.clone(),
        state: match state {
            State::Created | State::Starting => QueryState::Starting,
            State::Paused => QueryState::Paused,
            State::Failed => QueryState::Failed,
            State::Running | State::Terminated => QueryState::Running,
        },
        reason,
        failures,
        rows_in: sum.rows_in,
        rows_out: sum.rows_out,
        late: sum.late,
        undecodable: sum.undecodable,
        null_key: sum.null_key,
        bad_timestamp: sum.bad_timestamp,
        failed_expressions: sum.failed_expressions,
        lost: sum.lost,
        progress_percent: if query.plan.is_some() { query_percent(&tasks) } else { 0.0 },
        rows_per_second: sources().map(|task| task.rows_per_second(now_ms)).sum(),
        lag: tasks.iter().map(|task| task.lag()).sum(),
        tasks: tasks.iter().map(status).collect(),
    }
}

/// Of the store that has least of it.
fn restored_percent(runtime: &Runtime, query: &RunningQuery, task: &TaskProgress) -> Option<f64> {
    let stores = query.stores(task);
    stores.iter().filter_map(|store| runtime.storage.state.restored_percent(store, task.partition)).reduce(f64::min)
}
