//! A query as the executor runs it: its topology, its tasks, and the one place where its lifecycle moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use millpond_log::{Log, TopicPartition};
use millpond_membership::Unit;
use millpond_state::StoreId;
use millpond_streams::operator::table_rows::TableRows;
use millpond_streams::topology::{Node, OperatorSpec, TableStore};
use millpond_streams::{SubTopology, Topology};
use parking_lot::Mutex;

use crate::counters;
use crate::engine::Storage;
use crate::progress::TaskProgress;
use crate::push::PushQueue;
use crate::{Result, retry, topics};

/// ```text
///             Start           Built
///   Created ────────► Starting ────► Running
///      │                 │  ▲           │
///      │            Fail │  │ Start     │ Fail
///      │                 ▼  │           ▼
///      └─ Fail ───────► Failed ◄────────┘        Pause: Starting, Running, Failed ─► Paused ─ Start ─► Starting
///                                                Terminate: from everywhere ─► Terminated
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Created,
    /// Its tasks are being built.
    Starting,
    Running,
    Paused,
    Failed,
    Terminated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Start,
    Built,
    Pause,
    Fail,
    Terminate,
}

/// The state after `event`, or `None` where it cannot happen (it came too late: nothing is to be done).
pub(crate) fn transition(state: State, event: Event) -> Option<State> {
    match (state, event) {
        (State::Created | State::Paused | State::Failed, Event::Start) => Some(State::Starting),
        (State::Starting, Event::Built) => Some(State::Running),
        (State::Created | State::Starting | State::Running | State::Failed, Event::Pause) => Some(State::Paused),
        (State::Created | State::Starting | State::Running, Event::Fail) => Some(State::Failed),
        (State::Terminated, _) => None,
        (_, Event::Terminate) => Some(State::Terminated),
        _ => None,
    }
}

/// What a query is for.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    /// Of the catalog.
    Persistent,
    /// Keeps the declared table of that name readable.
    Materialize(String),
    /// Ephemeral: state and repartition topics live and die with it.
    Push(Arc<PushQueue>),
}

/// What a query is made with.
#[derive(Debug)]
pub(crate) struct Plan {
    pub topology: Topology,
    pub storage: Storage,
    /// Where inputs that have no committed position begin; the others begin at their first record.
    pub start_at: BTreeMap<TopicPartition, u64>,
    /// Hold the tasks' counters by sub-topology, so that they survive a restart. Push queries have none.
    pub counters: BTreeMap<u32, StoreId>,
}

#[derive(Debug)]
pub(crate) struct RunningQuery {
    pub id: String,
    pub purpose: Purpose,
    /// Name of the source it fills; empty for push queries.
    pub sink: String,
    pub sql: String,
    /// `None` when the statement does not plan any more.
    pub plan: Option<Plan>,
    pub tasks: Vec<Arc<TaskProgress>>,
    /// How many workers run its tasks, where that stays as it is.
    workers: Option<usize>,
    /// How many of its tasks have much before them.
    pub behind: AtomicUsize,
    /// How the rows of the table that it keeps are read, once they have been.
    table_rows: OnceLock<Arc<TableRows>>,
    misfit: Mutex<Misfit>,
    lifecycle: Mutex<Lifecycle>,
}

/// What was found when it was last looked whether the topics of the sources are as the query reads them.
#[derive(Debug, Default)]
struct Misfit {
    /// For which start that was.
    generation: Option<u64>,
    reason: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Lifecycle {
    pub state: State,
    /// Grows with each start: what belongs to an earlier one is void.
    pub generation: u64,
    /// Tasks of this generation that are not built yet: sub-topologies and partitions.
    missing: BTreeSet<(u32, u32)>,
    pub reason: Option<String>,
    /// In a row; a minute of health forgets them.
    pub failures: u32,
    pub running_since_ms: Option<i64>,
    /// When it is to be started again.
    pub retry_at_ms: Option<i64>,
}

impl RunningQuery {
    pub fn new(id: &str, purpose: Purpose, sink: &str, sql: &str, plan: Plan, workers: Option<usize>) -> RunningQuery {
        let tasks = plan
            .topology
            .sub_topologies
            .iter()
            .flat_map(|sub| {
                let reads_source = reads_source(sub);
                (0..sub.partitions).map(move |partition| TaskProgress::new(id, sub.id, unit_of(sub, partition), reads_source))
            })
            .map(Arc::new)
            .collect();
        RunningQuery {
            id: id.to_owned(),
            purpose,
            sink: sink.to_owned(),
            sql: sql.to_owned(),
            plan: Some(plan),
            tasks,
            workers,
            behind: AtomicUsize::new(0),
            table_rows: OnceLock::new(),
            misfit: Mutex::default(),
            lifecycle: Mutex::new(Lifecycle::new()),
        }
    }

    /// One that cannot run until it plans again or is dropped.
    pub fn unplannable(id: &str, purpose: Purpose, sink: &str, sql: &str, reason: String) -> RunningQuery {
        let lifecycle = Lifecycle { state: State::Failed, reason: Some(reason), failures: 1, ..Lifecycle::new() };
        RunningQuery {
            id: id.to_owned(),
            purpose,
            sink: sink.to_owned(),
            sql: sql.to_owned(),
            plan: None,
            tasks: Vec::new(),
            workers: None,
            behind: AtomicUsize::new(0),
            table_rows: OnceLock::new(),
            misfit: Mutex::default(),
            lifecycle: Mutex::new(lifecycle),
        }
    }

    /// Why it cannot read the topics of its sources, if so. Asked for once for each start, by the first of its tasks.
    pub fn misfit(&self, log: &dyn Log, generation: u64) -> Option<String> {
        let plan = self.plan.as_ref().filter(|_| self.push_queue().is_none())?;
        let mut misfit = self.misfit.lock();
        if misfit.generation != Some(generation) {
            let checked = topics::check_sources(&plan.topology, |topic| Ok(log.partitions(topic)?));
            *misfit = Misfit { generation: Some(generation), reason: checked.err().map(|error| error.to_string()) };
        }
        misfit.reason.clone()
    }

    /// How the rows of the table that `sub` fills are read.
    pub fn table_rows(&self, sub: &SubTopology) -> Result<Arc<TableRows>> {
        if let Some(rows) = self.table_rows.get() {
            return Ok(Arc::clone(rows));
        }
        let rows = Arc::new(TableRows::of(sub)?);
        Ok(Arc::clone(self.table_rows.get_or_init(|| rows)))
    }

    pub fn push_queue(&self) -> Option<&Arc<PushQueue>> {
        match &self.purpose {
            Purpose::Push(queue) => Some(queue),
            Purpose::Persistent | Purpose::Materialize(_) => None,
        }
    }

    /// Whether it is of the kind that users see in SHOW QUERIES.
    pub fn is_persistent(&self) -> bool {
        matches!(self.purpose, Purpose::Persistent)
    }

    pub fn state(&self) -> State {
        self.lifecycle.lock().state
    }

    /// Looks at, or does something that must not overlap with a change of, its lifecycle.
    pub fn with_lifecycle<T>(&self, look: impl FnOnce(&mut Lifecycle) -> T) -> T {
        look(&mut self.lifecycle.lock())
    }

    /// Whether it is in the midst of `generation`.
    pub fn is_live(&self, generation: u64) -> bool {
        let lifecycle = self.lifecycle.lock();
        lifecycle.generation == generation && matches!(lifecycle.state, State::Starting | State::Running)
    }

    /// The generation that it is in the midst of; `None`: it does not run.
    pub fn live_generation(&self) -> Option<u64> {
        let lifecycle = self.lifecycle.lock();
        matches!(lifecycle.state, State::Starting | State::Running).then_some(lifecycle.generation)
    }

    /// These tasks of `generation` are built, or are not to be built here; with the last of them, the query runs.
    pub fn built<'a>(&self, generation: u64, tasks: impl IntoIterator<Item = &'a Arc<TaskProgress>>, now_ms: i64) {
        let mut lifecycle = self.lifecycle.lock();
        if lifecycle.generation == generation {
            for task in tasks {
                lifecycle.missing.remove(&(task.sub_topology, task.partition));
            }
            if lifecycle.missing.is_empty() {
                lifecycle.take(Event::Built, now_ms);
            }
        }
    }

    /// The names of the stores that a task of it has.
    pub fn stores(&self, task: &TaskProgress) -> Vec<String> {
        let Some(sub) = self.sub_topology(task.sub_topology) else { return Vec::new() };
        let of_node = |node: &Node| match &node.operator {
            OperatorSpec::Sink(spec) => match &spec.table {
                Some(TableStore::Own(name)) => Some(name.clone()),
                _ => None,
            },
            _ => Some(node.store(&self.id)),
        };
        let mut names: Vec<String> = sub.nodes.iter().filter_map(of_node).collect();
        names.push(millpond_streams::task::positions_store(&self.id, sub.id));
        names.push(counters::store(&self.id, sub.id));
        names
    }

    pub fn sub_topology(&self, id: u32) -> Option<&SubTopology> {
        self.plan.as_ref()?.topology.sub_topologies.iter().find(|sub| sub.id == id)
    }

    /// Who runs the task, while `workers` run what may move between them.
    pub fn worker_of(&self, task: &TaskProgress, workers: usize) -> usize {
        worker_of(&task.unit, self.workers.unwrap_or(workers))
    }

    /// Whether its topology reads that source.
    pub fn reads(&self, source: &str) -> bool {
        let nodes = self.plan.iter().flat_map(|plan| plan.topology.sub_topologies.iter().flat_map(|sub| &sub.nodes));
        nodes.into_iter().any(|node| match &node.operator {
            OperatorSpec::StreamSource(spec) | OperatorSpec::TableSource(spec) => spec.source == source,
            _ => false,
        })
    }
}

impl Lifecycle {
    fn new() -> Lifecycle {
        Lifecycle {
            state: State::Created,
            generation: 0,
            missing: BTreeSet::new(),
            reason: None,
            failures: 0,
            running_since_ms: None,
            retry_at_ms: None,
        }
    }

    /// The only way for the state to change. False: the event came too late.
    fn take(&mut self, event: Event, now_ms: i64) -> bool {
        let Some(state) = transition(self.state, event) else { return false };
        self.state = state;
        self.running_since_ms = (state == State::Running).then_some(now_ms);
        true
    }

    /// A new generation of these tasks.
    pub fn start(&mut self, tasks: &[Arc<TaskProgress>], now_ms: i64) -> bool {
        if !self.take(Event::Start, now_ms) {
            return false;
        }
        self.generation += 1;
        self.missing = tasks.iter().map(|task| (task.sub_topology, task.partition)).collect();
        self.retry_at_ms = None;
        true
    }

    pub fn fail(&mut self, reason: String, now_ms: i64, retry: bool) -> bool {
        self.forget_failures(now_ms);
        if !self.take(Event::Fail, now_ms) {
            return false;
        }
        self.failures += 1;
        self.reason = Some(reason);
        self.retry_at_ms = retry.then(|| now_ms + retry::delay_ms(self.failures));
        true
    }

    pub fn pause(&mut self, now_ms: i64) -> bool {
        self.retry_at_ms = None;
        self.take(Event::Pause, now_ms)
    }

    pub fn terminate(&mut self, now_ms: i64) -> bool {
        self.retry_at_ms = None;
        self.take(Event::Terminate, now_ms)
    }

    /// A minute of health makes up for the failures before it.
    pub fn forget_failures(&mut self, now_ms: i64) {
        if self.running_since_ms.is_some_and(|since| now_ms - since >= retry::HEALTHY_MS) {
            self.failures = 0;
            self.reason = None;
        }
    }
}

/// What moves together between processes: tasks that read the same partition of the same topic.
fn unit_of(sub_topology: &SubTopology, partition: u32) -> Unit {
    let first = sub_topology.nodes.iter().find_map(|node| input_topic(&node.operator));
    Unit::new(first.unwrap_or_default(), partition)
}

/// The worker of a task: those of a unit meet on one, so that what is fetched is fetched once.
fn worker_of(unit: &Unit, workers: usize) -> usize {
    // FNV-1a: the same in every run, which a default hasher does not promise.
    let hash =
        unit.topic.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    ((hash >> 32) as usize + unit.partition as usize) % workers
}

fn reads_source(sub_topology: &SubTopology) -> bool {
    let mut operators = sub_topology.nodes.iter().map(|node| &node.operator);
    operators.any(|operator| matches!(operator, OperatorSpec::StreamSource(_) | OperatorSpec::TableSource(_)))
}

/// The topic that a node reads.
pub(crate) fn input_topic(operator: &OperatorSpec) -> Option<&str> {
    match operator {
        OperatorSpec::StreamSource(spec) | OperatorSpec::TableSource(spec) => Some(&spec.topic),
        OperatorSpec::RepartitionSource { topic, .. } => Some(topic),
        _ => None,
    }
}

/// The topic that a node writes.
pub(crate) fn output_topic(operator: &OperatorSpec) -> Option<&str> {
    match operator {
        OperatorSpec::RepartitionSink(spec) => Some(&spec.topic),
        OperatorSpec::Sink(spec) if !spec.store_only => Some(&spec.topic),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lifecycle_moves_as_drawn() {
        use Event::*;
        let after = |events: &[Event]| {
            let mut lifecycle = Lifecycle::new();
            let taken: Vec<bool> = events.iter().map(|event| lifecycle.take(*event, 0)).collect();
            (lifecycle.state, taken.into_iter().all(|taken| taken))
        };
        assert_eq!(after(&[Start, Built]), (State::Running, true));
        assert_eq!(after(&[Start, Built, Fail, Start, Built]), (State::Running, true));
        assert_eq!(after(&[Start, Fail, Pause, Start]), (State::Starting, true));
        assert_eq!(after(&[Start, Pause, Built]), (State::Paused, false), "built too late");
        assert_eq!(after(&[Start, Built, Terminate, Fail]), (State::Terminated, false));
        assert_eq!(after(&[Start, Start]), (State::Starting, false), "two starts would be two sets of tasks");
        assert_eq!(after(&[Start, Terminate, Terminate]), (State::Terminated, false));
    }

    #[test]
    fn failures_in_a_row_wait_longer_and_health_forgets_them() {
        let mut lifecycle = Lifecycle::new();
        assert!(lifecycle.start(&[], 0) && lifecycle.fail("a".into(), 0, true));
        let first = lifecycle.retry_at_ms.unwrap();
        assert!(lifecycle.start(&[], 0) && lifecycle.take(Event::Built, 0) && lifecycle.fail("b".into(), 10, true));
        assert!(lifecycle.retry_at_ms.unwrap() - 10 > first);
        assert!(lifecycle.start(&[], 0) && lifecycle.take(Event::Built, 1000));
        assert!(lifecycle.fail("c".into(), 1000 + retry::HEALTHY_MS, true));
        assert_eq!(lifecycle.failures, 1);
    }
}
