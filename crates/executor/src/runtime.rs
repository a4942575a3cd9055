//! What the workers, the housekeeping thread and the statements share, and how queries are started and stopped across workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use millpond_log::Log;
use millpond_membership::Unit;
use parking_lot::RwLock;

use crate::Result;
use crate::builders::Builders;
use crate::clock::Clock;
use crate::config::Config;
use crate::elsewhere::Elsewhere;
use crate::engine::Storage;
use crate::figures;
use crate::holdings::Holdings;
use crate::mailbox::{Mailbox, Request};
use crate::processing_log::{LineKind, LogLine, ProcessingLog};
use crate::progress::{InputProgress, TaskProgress};
use crate::push::Ending;
use crate::query::{Event, Purpose, RunningQuery};
use crate::signal::{Latch, Signal};

#[derive(Debug)]
pub(crate) struct Runtime {
    pub config: Config,
    pub storage: Storage,
    pub clock: Arc<dyn Clock>,
    /// One for each worker.
    pub mailboxes: Vec<Arc<Mailbox>>,
    /// How many of them run what may move between them, and how often that has changed. All get these changes, and starts, in the same order.
    workers: RwLock<(usize, u64)>,
    /// How long the workers have been at work, in all: waiting for a commit does not count.
    worked_ns: AtomicU64,
    /// How many rows the tasks have processed.
    rows: AtomicU64,
    /// All queries by id, the internal and ephemeral ones included.
    pub queries: RwLock<BTreeMap<String, Arc<RunningQuery>>>,
    /// Which tasks run here.
    pub holdings: Holdings,
    pub elsewhere: Elsewhere,
    pub builders: Builders,
    /// There may be tasks of theirs that are not built.
    adoption: AtomicBool,
    /// Raised when there are, and when the log has something new: commands, perhaps.
    pub members: Arc<Signal>,
    pub processing_log: ProcessingLog,
    /// Raised after each commit and each change of a lifecycle.
    pub changed: Signal,
    /// Raised when the housekeeping thread has something new to wait for.
    pub housekeeping: Signal,
    /// How many FLUSHes wait: workers commit as soon as they have nothing else to do.
    pub flushes: AtomicUsize,
    pub stopping: AtomicBool,
}

impl Runtime {
    pub fn new(config: Config, storage: Storage, clock: Arc<dyn Clock>, holdings: Holdings) -> Runtime {
        let mailboxes: Vec<_> = (0..config.workers.max(1)).map(|_| Arc::default()).collect();
        let workers = RwLock::new((if config.gather { 1 } else { mailboxes.len() }, 0));
        Runtime {
            config,
            storage,
            clock,
            mailboxes,
            workers,
            worked_ns: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            queries: RwLock::default(),
            holdings,
            elsewhere: Elsewhere::default(),
            builders: Builders::default(),
            adoption: AtomicBool::new(false),
            members: Arc::default(),
            processing_log: ProcessingLog::default(),
            changed: Signal::default(),
            housekeeping: Signal::default(),
            flushes: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    /// Workers wake up when something is committed to `log`.
    pub fn watch(&self, log: &dyn Log) {
        let mailboxes = self.mailboxes.clone();
        log.subscribe(Box::new(move || mailboxes.iter().for_each(|mailbox| mailbox.wake())));
    }

    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// How many workers run what may move between them.
    pub fn workers(&self) -> usize {
        self.workers.read().0
    }

    /// Has so many workers run it, as soon as they have let go of what is another's then.
    pub fn place(&self, workers: usize) {
        let mut placement = self.workers.write();
        *placement = (workers, placement.1 + 1);
        let done = Arc::new(Latch::new(self.mailboxes.len()));
        self.send(|| Request::Place { workers, number: placement.1, done: Arc::clone(&done) });
    }

    /// All workers have let go of what is another's by the placement of that number.
    pub fn placed(&self, number: u64) {
        let _order = self.workers.read();
        self.send(|| Request::Placed { number });
    }

    fn send(&self, request: impl Fn() -> Request) {
        self.mailboxes.iter().for_each(|mailbox| mailbox.send(request()));
    }

    pub fn add_work(&self, took: Duration) {
        self.worked_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn worked(&self) -> Duration {
        Duration::from_nanos(self.worked_ns.load(Ordering::Relaxed))
    }

    pub fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub fn wake_workers(&self) {
        self.mailboxes.iter().for_each(|mailbox| mailbox.wake());
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Whether the task is this process's to run.
    pub fn runs(&self, query: &RunningQuery, task: &TaskProgress) -> bool {
        query.push_queue().is_some() || self.holdings.has(&task.unit)
    }

    /// Whether it is, and what others have committed of it is here.
    pub fn may_build(&self, query: &RunningQuery, task: &TaskProgress) -> bool {
        query.push_queue().is_some() || self.holdings.may_build(&task.unit)
    }

    /// The inputs of a task, wherever it runs; `None`: it is to run here and is not built yet.
    pub fn inputs(&self, query: &RunningQuery, task: &TaskProgress) -> Result<Option<Vec<InputProgress>>> {
        if self.runs(query, task) {
            return Ok(task.inputs());
        }
        self.elsewhere.look(self)?;
        self.elsewhere.inputs(query, task).map(Some)
    }

    /// Runs these units from now on: returns when no worker has a task of others left. What has been got is built by and by.
    pub fn hold(&self, units: BTreeSet<Unit>) {
        let queries = self.all_queries();
        let tasks = || queries.iter().filter(|query| query.push_queue().is_none()).flat_map(|query| query.tasks.iter());
        self.holdings.set(units, |before| tasks().filter(|task| !before.has(&task.unit)).for_each(|task| task.gone()));
        self.release(true);
        self.holdings.change(|held| tasks().filter(|task| !held.has(&task.unit)).for_each(|task| task.gone()));
        self.adoption.store(true, Ordering::Release);
        self.members.raise();
    }

    /// Runs nothing any more, and commits nothing that was run. What is here can be read until it is known who else has it.
    pub fn abandon(&self) {
        self.holdings.set(BTreeSet::new(), |_| ());
        self.release(false);
        self.storage.state.thrown_out();
    }

    /// Returns when no worker has a task left that is not held, and none is being made.
    fn release(&self, commit: bool) {
        let done = Arc::new(Latch::new(self.mailboxes.len()));
        self.send(|| Request::Release { commit, done: Arc::clone(&done) });
        done.wait();
        self.builders.withdraw(|query, task| !self.runs(query, task));
        for query in self.all_queries() {
            for task in query.tasks.iter().filter(|task| !self.runs(&query, task)) {
                query.stores(task).iter().for_each(|store| self.storage.state.let_go(store, task.partition));
            }
        }
        self.changed.raise();
    }

    /// Up to which version of the holdings there is something to adopt, if there is. To be asked before the commands are read that others may have
    /// gone by: what is given later is for the next time.
    pub fn begin_adoption(&self) -> Option<u64> {
        self.adoption.swap(false, Ordering::AcqRel).then(|| self.holdings.version())
    }

    /// Has the tasks built that the holdings had got by `given`. Their state may have changed elsewhere.
    pub fn adopt(&self, given: u64) -> Result<()> {
        self.storage.state.catch_up()?;
        self.holdings.brought_in(given);
        self.send(|| Request::Adopt);
        Ok(())
    }

    /// What was begun is to be begun again.
    pub fn put_off_adoption(&self) {
        self.adoption.store(true, Ordering::Release);
    }

    pub fn query(&self, id: &str) -> Option<Arc<RunningQuery>> {
        self.queries.read().get(id).cloned()
    }

    pub fn all_queries(&self) -> Vec<Arc<RunningQuery>> {
        self.queries.read().values().cloned().collect()
    }

    pub fn add(&self, query: RunningQuery) -> Arc<RunningQuery> {
        let query = Arc::new(query);
        self.queries.write().insert(query.id.clone(), Arc::clone(&query));
        query
    }

    /// Has the query's tasks built by their workers. Nothing happens to one that runs or has ended.
    pub fn start(&self, query: &Arc<RunningQuery>) {
        let now_ms = self.now_ms();
        let order = self.workers.read();
        query.with_lifecycle(|lifecycle| {
            if query.plan.is_some() && lifecycle.start(&query.tasks, now_ms) {
                self.send(|| Request::Start { query: Arc::clone(query), generation: lifecycle.generation });
            }
        });
        drop(order);
        self.changed.raise();
    }

    /// Stops the tasks everywhere; all but push queries are tried again later. `by` is the worker that has dropped its own tasks already.
    pub fn fail(&self, query: &Arc<RunningQuery>, generation: u64, reason: &str, by: Option<usize>) {
        let now_ms = self.now_ms();
        let ephemeral = query.push_queue();
        let failed = query.with_lifecycle(|lifecycle| {
            let failed = lifecycle.generation == generation && lifecycle.fail(reason.to_owned(), now_ms, ephemeral.is_none());
            if failed {
                let others = self.mailboxes.iter().enumerate().filter(|(worker, _)| Some(*worker) != by);
                others.for_each(|(_, mailbox)| {
                    mailbox.send(Request::Stop { query: Arc::clone(query), generation, commit: false, done: None });
                });
            }
            failed
        });
        if !failed {
            return;
        }
        tracing::warn!(query = query.id, reason, "query failed");
        self.processing_log.write([LogLine::of_query(now_ms, &query.id, LineKind::Failure, reason.to_owned())]);
        match ephemeral {
            Some(queue) => {
                self.forget(query);
                queue.end(Ending::Failed(reason.to_owned()));
            }
            None => figures::failure(&query.id),
        }
        self.changed.raise();
        self.housekeeping.raise();
    }

    /// Commits what its tasks have done and lets go of them; returns when no worker has any left.
    pub fn pause(&self, query: &Arc<RunningQuery>) {
        self.stop(query, Event::Pause, true);
    }

    /// As [`Runtime::pause`], for good.
    pub fn terminate(&self, query: &Arc<RunningQuery>) {
        self.end(query, true);
    }

    /// As [`Runtime::terminate`], and what its tasks have done since the last commit is void.
    pub fn break_off(&self, query: &Arc<RunningQuery>) {
        self.end(query, false);
    }

    fn end(&self, query: &Arc<RunningQuery>, commit: bool) {
        self.stop(query, Event::Terminate, commit);
        self.builders.withdraw(|of, _| std::ptr::eq(of, &**query));
        self.forget(query);
        if let Some(queue) = query.push_queue() {
            queue.end(Ending::Ended);
        }
    }

    fn stop(&self, query: &Arc<RunningQuery>, event: Event, commit: bool) {
        let now_ms = self.now_ms();
        let done = Arc::new(Latch::new(self.mailboxes.len()));
        let stopped = query.with_lifecycle(|lifecycle| {
            let taken = match event {
                Event::Terminate => lifecycle.terminate(now_ms),
                _ => lifecycle.pause(now_ms),
            };
            if taken {
                let generation = lifecycle.generation;
                self.send(|| Request::Stop { query: Arc::clone(query), generation, commit, done: Some(Arc::clone(&done)) });
            }
            taken
        });
        if stopped {
            done.wait();
        }
        self.changed.raise();
    }

    /// The reader of a push query has gone. Does not wait.
    pub fn end_push(&self, query: &Arc<RunningQuery>) {
        let now_ms = self.now_ms();
        query.with_lifecycle(|lifecycle| {
            if lifecycle.terminate(now_ms) && !self.is_stopping() {
                let generation = lifecycle.generation;
                self.send(|| Request::Stop { query: Arc::clone(query), generation, commit: false, done: None });
            }
        });
        self.forget(query);
    }

    /// Unless another has taken its name meanwhile.
    fn forget(&self, query: &Arc<RunningQuery>) {
        let mut queries = self.queries.write();
        if queries.get(&query.id).is_some_and(|known| Arc::ptr_eq(known, query)) {
            queries.remove(&query.id);
        }
        if !matches!(query.purpose, Purpose::Push(_)) {
            figures::forget(&query.id);
        }
    }
}
