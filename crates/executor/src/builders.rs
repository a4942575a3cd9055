//! Makes tasks beside the workers. What a task's stores lack is brought in from their changelogs then, which may take minutes and is mostly waiting:
//! several are made at the same time, and a worker's other tasks run meanwhile.
//!
//! ```text
//!   worker ── Order ──► queue ──► a thread: stores opened, what they lack brought in ──► Request::Made to that worker
//! ```
//!
//! BLD-1  no task is made by two threads at the same time.
//! BLD-2  once [`Builders::withdraw`] has returned, nothing is being made of what it was told of, and nothing will be.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use millpond_streams::operator::Counters;
use millpond_streams::operator::record::Decodings;
use millpond_streams::task::Stores;
use millpond_streams::{SubTopology, Task};
use parking_lot::{Condvar, Mutex};

use crate::counters;
use crate::mailbox::Request;
use crate::progress::TaskProgress;
use crate::query::{Plan, RunningQuery};
use crate::runtime::Runtime;
use crate::worker::guarded;

/// Where a task goes on from the start, it waits for brokers several times for each of its stores, and one thread makes no use of a core.
const THREADS_MAX: usize = 4;

/// A task to be made for a worker.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// By which the worker knows it again.
    pub number: u64,
    pub worker: usize,
    pub query: Arc<RunningQuery>,
    pub progress: Arc<TaskProgress>,
    pub decodings: Decodings,
}

/// A task as the last commit left it.
pub(crate) struct Made {
    pub task: Task,
    /// Of that commit.
    pub counters: Counters,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").field("task", &self.task.id()).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Builders {
    state: Mutex<State>,
    /// Raised when something has been made, or cannot be.
    ended: Condvar,
    /// Those that have not ended, and others.
    handles: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Order>,
    making: Vec<Order>,
    threads: usize,
}

impl State {
    /// The first that nobody makes for another worker at the moment.
    fn begin(&mut self) -> Option<Order> {
        let is_free = |order: &Order| !self.making.iter().any(|making| Arc::ptr_eq(&making.progress, &order.progress));
        let order = self.queue.iter().position(is_free).and_then(|index| self.queue.remove(index))?;
        self.making.push(order.clone());
        Some(order)
    }

    fn end(&mut self, order: &Order) {
        self.making.retain(|making| !Arc::ptr_eq(&making.progress, &order.progress));
    }
}

impl Builders {
    pub fn order(&self, runtime: &Arc<Runtime>, order: Order) {
        let mut state = self.state.lock();
        state.queue.push_back(order);
        if state.threads == THREADS_MAX {
            return;
        }
        state.threads += 1;
        drop(state);
        let own = Arc::clone(runtime);
        match std::thread::Builder::new().name("builder".to_owned()).spawn(move || own.builders.work(&own)) {
            Ok(handle) => {
                let mut handles = self.handles.lock();
                handles.retain(|handle| !handle.is_finished());
                handles.push(handle);
            }
            Err(error) => {
                tracing::warn!(%error, "there is no thread to make tasks with");
                self.work(runtime);
            }
        }
    }

    fn work(&self, runtime: &Runtime) {
        let mut state = self.state.lock();
        while let Some(order) = state.begin() {
            drop(state);
            let made = make(&order.query, &order.progress, &order.decodings).map(Box::new);
            runtime.mailboxes[order.worker].send(Request::Made { number: order.number, made });
            state = self.state.lock();
            state.end(&order);
            self.ended.notify_all();
        }
        state.threads -= 1;
    }

    /// Makes nothing any more; returns when no thread is left.
    pub fn end(&self) {
        self.withdraw(|_, _| true);
        let handles = std::mem::take(&mut *self.handles.lock());
        handles.into_iter().for_each(|handle| drop(handle.join()));
    }

    /// Makes none of these tasks; waits for those that are being made.
    pub fn withdraw(&self, goes: impl Fn(&RunningQuery, &TaskProgress) -> bool) {
        let goes = |order: &Order| goes(&order.query, &order.progress);
        let mut state = self.state.lock();
        state.queue.retain(|order| !goes(order));
        while state.making.iter().any(goes) {
            self.ended.wait(&mut state);
        }
    }
}

/// As the last commit left it, with all that the log has of its state.
pub(crate) fn make(query: &RunningQuery, progress: &TaskProgress, decodings: &Decodings) -> Result<Made, String> {
    let (plan, sub) = plan(query, progress)?;
    let subscriber = query.push_queue().map(|queue| Arc::clone(queue) as _);
    let backend = &plan.storage.state;
    let stores = Stores { backend: Arc::clone(backend), subscriber, decodings: decodings.clone() };
    let task = guarded(|| Task::build(&plan.topology.query, sub, progress.partition, &stores))?;
    let counters = match plan.counters.get(&sub.id) {
        Some(store) => guarded(|| {
            backend.take_over(*store, progress.partition)?;
            counters::read(&**backend, *store, progress.partition)
        })?,
        None => Counters::default(),
    };
    Ok(Made { task, counters })
}

/// What a task is made of.
pub(crate) fn plan<'a>(query: &'a RunningQuery, progress: &TaskProgress) -> Result<(&'a Plan, &'a SubTopology), String> {
    let plan = query.plan.as_ref().ok_or("it has no plan")?;
    let sub = query.sub_topology(progress.sub_topology).ok_or("its plan has no such sub-topology")?;
    Ok((plan, sub))
}
