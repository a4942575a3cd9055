//! A worker: one thread that runs its tasks in turns and commits them together.
//!
//! ```text
//!   ┌► requests ─► look at the log's ends ─► a round: one turn of each task that has something ─► idle inputs ─► commit, when it is due ─┐
//!   └────────────────────────────────── sleep, when the round brought nothing ◄──────────────────────────────────────────────────────┘
//! ```
//!
//! WRK-1  a task whose turn failed is never run or committed again; its query's other tasks are told to stop.
//! WRK-2  a worker with nothing to do sleeps: it is woken by requests, commits to the log, and the next deadline it knows of.

mod coalesce;
mod commit;
mod cursor;
mod guarded;
mod handover;
mod pace;
mod placement;
mod running;
mod slots;
mod throttle;
mod upstream;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use millpond_streams::operator::record::Decodings;

use self::pace::Pace;
use self::placement::Placement;
use self::running::{RunningTask, TURN_ROWS};
use self::slots::Slots;
use self::throttle::{LIVE_MS, Throttle};
use crate::builders::{self, Made, Order};
use crate::mailbox::{Mailbox, Request};
use crate::progress::TaskProgress;
use crate::query::{RunningQuery, State};
use crate::runtime::Runtime;
use crate::signal::Latch;

pub(crate) use self::guarded::guarded;

/// A commit is due once entries of about so many bytes were taken, whatever the interval says.
const DIRTY_BYTES_MAX: usize = 64 << 20;
/// How often repartition topics are trimmed.
const TRIM_INTERVAL_MS: i64 = 10_000;

pub(crate) struct Worker {
    index: usize,
    runtime: Arc<Runtime>,
    mailbox: Arc<Mailbox>,
    placement: Placement,
    slots: Slots,
    decodings: Decodings,
    /// Tasks that are being made.
    awaited: Vec<Awaited>,
    /// Of the order that was given last.
    order: u64,
    tasks: Vec<RunningTask>,
    /// How many it has run so far.
    built: u64,
    /// Whose turn it is in the round.
    next_task: usize,
    /// Whether some task had something to do in it.
    progressed: bool,
    pace: Pace,
    throttle: Throttle,
    /// When the next commit is due.
    commit_at_ms: Option<i64>,
    /// Of the entries that wait for it.
    dirty_bytes: usize,
    /// When an input will have been silent for its idle timeout.
    idle_at_ms: Option<i64>,
    /// When it was last trimmed.
    trimmed_ms: i64,
    /// When it will be, as long as there is something to trim.
    trim_at_ms: Option<i64>,
}

/// Which tasks a commit is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Those whose time has come. Others that have something take part, too, unless they are behind.
    Due,
    All,
}

/// A task that is being made, and that nobody runs until then.
struct Awaited {
    number: u64,
    query: Arc<RunningQuery>,
    progress: Arc<TaskProgress>,
}

/// A query whose task failed here.
struct Failure {
    query: Arc<RunningQuery>,
    generation: u64,
    reason: String,
}

impl Worker {
    pub fn new(index: usize, runtime: Arc<Runtime>) -> Worker {
        let mailbox = Arc::clone(&runtime.mailboxes[index]);
        let pace = Pace::new(runtime.config.commit_interval);
        let placement = Placement::of(runtime.workers());
        let trimmed_ms = runtime.now_ms();
        Worker {
            index,
            runtime,
            mailbox,
            placement,
            slots: Slots::default(),
            decodings: Decodings::default(),
            awaited: Vec::new(),
            order: 0,
            tasks: Vec::new(),
            built: 0,
            next_task: 0,
            progressed: false,
            pace,
            throttle: Throttle::default(),
            commit_at_ms: None,
            dirty_bytes: 0,
            idle_at_ms: None,
            trimmed_ms,
            trim_at_ms: None,
        }
    }

    pub fn run(mut self) {
        while self.serve() {
            // Within a round tasks at the same position are to see the same end (SLT-1).
            if self.next_task == 0 && self.mailbox.take_wake() {
                self.slots.refresh_all();
            }
            let begun = Instant::now();
            let progressed = self.round();
            self.runtime.add_work(begun.elapsed());
            self.survey();
            self.trim();
            if self.is_hurried() && !progressed && self.commit_at_ms.is_some() {
                self.commit(Which::All);
            } else if self.commit_is_due() {
                self.commit(Which::Due);
            } else if !progressed && !self.mailbox.has_requests() {
                self.mailbox.sleep(self.patience());
            }
        }
    }

    /// Carries out what was requested. False: the worker is to end.
    fn serve(&mut self) -> bool {
        for request in self.mailbox.take() {
            match request {
                // What is to be built is when the placement is settled.
                Request::Start { .. } | Request::Adopt if !self.placement.is_settled() => {}
                Request::Start { query, generation } => self.start(&query, generation),
                Request::Stop { query, generation, commit, done } => {
                    let dirty = self.tasks.iter().any(|task| Arc::ptr_eq(&task.query, &query) && task.is_dirty());
                    if commit && dirty {
                        self.commit(Which::All);
                    }
                    self.discard(&query, generation);
                    self.bring_in(&query);
                    if let Some(done) = done {
                        done.arrive();
                    }
                }
                Request::Release { commit, done } => {
                    let runtime = Arc::clone(&self.runtime);
                    self.release(commit, |query, task| !runtime.runs(query, task));
                    done.arrive();
                }
                Request::Place { workers, number, done } => self.place(workers, number, &done),
                Request::Placed { number } => {
                    if self.placement.settle(number) {
                        self.adopt();
                    }
                }
                Request::Adopt => self.adopt(),
                Request::Made { number, made } => self.made(number, made),
                Request::Shutdown => {
                    self.commit(Which::All);
                    return false;
                }
            }
        }
        true
    }

    fn start(&mut self, query: &Arc<RunningQuery>, generation: u64) {
        if query.is_live(generation) {
            self.build(query, generation);
        }
    }

    /// Has this worker's tasks of the query made, as far as they are run here and not there yet.
    fn build(&mut self, query: &Arc<RunningQuery>, generation: u64) {
        // Theirs is the same state. Nobody may have got round to stopping them.
        self.discard_where(|task| Arc::ptr_eq(&task.query, query) && task.generation < generation);
        for progress in self.missing(query) {
            if query.is_live(generation) && !self.tasks.iter().any(|task| Arc::ptr_eq(&task.progress, &progress)) {
                self.order(query, progress);
            }
        }
        self.tell_built(query, generation);
    }

    /// This worker's tasks of the query that may run here, but for those that are being made.
    fn missing(&self, query: &Arc<RunningQuery>) -> Vec<Arc<TaskProgress>> {
        let is_missing = |task: &&Arc<TaskProgress>| self.is_mine(query, task) && self.runtime.may_build(query, task) && !self.awaits(task);
        query.tasks.iter().filter(is_missing).cloned().collect()
    }

    fn awaits(&self, progress: &Arc<TaskProgress>) -> bool {
        self.awaited.iter().any(|awaited| Arc::ptr_eq(&awaited.progress, progress))
    }

    fn order(&mut self, query: &Arc<RunningQuery>, progress: Arc<TaskProgress>) {
        // A push query has nothing that would have to be brought in.
        if query.push_queue().is_some() {
            let made = builders::make(query, &progress, &self.decodings).map(Box::new);
            return self.take_in(query, &progress, made);
        }
        self.order += 1;
        let (number, worker, decodings) = (self.order, self.index, self.decodings.clone());
        self.awaited.push(Awaited { number, query: Arc::clone(query), progress: Arc::clone(&progress) });
        self.runtime.builders.order(&self.runtime, Order { number, worker, query: Arc::clone(query), progress, decodings });
    }

    /// What was ordered has come; it may not be awaited any more.
    fn made(&mut self, number: u64, made: Result<Box<Made>, String>) {
        let Some(index) = self.awaited.iter().position(|awaited| awaited.number == number) else { return };
        let Awaited { query, progress, .. } = self.awaited.swap_remove(index);
        if self.runtime.may_build(&query, &progress) {
            self.take_in(&query, &progress, made);
        }
        if let Some(generation) = query.live_generation() {
            self.tell_built(&query, generation);
        }
    }

    /// Runs a task if its query does. If not, its state can be read from now on.
    fn take_in(&mut self, query: &Arc<RunningQuery>, progress: &Arc<TaskProgress>, made: Result<Box<Made>, String>) {
        let generation = query.live_generation();
        let opened =
            made.and_then(|made| RunningTask::new(&self.runtime, query, generation.unwrap_or(0), progress, *made, &mut self.slots));
        match (opened, generation) {
            (Ok(task), Some(_)) => self.insert(task),
            (Ok(mut task), None) => task.release(&mut self.slots),
            (Err(reason), Some(generation)) => {
                self.fail([Failure { query: Arc::clone(query), generation, reason }]);
                // It is here, and must not run: so it is with the others.
                if progress.is_built() {
                    self.bring_in(query);
                }
            }
            (Err(reason), None) => tracing::warn!(task = progress.id(), reason, "the state cannot be brought in"),
        }
    }

    fn insert(&mut self, mut task: RunningTask) {
        self.built += 1;
        task.ways.begin(self.built);
        self.tasks.iter_mut().filter(|other| Arc::ptr_eq(&other.query, &task.query)).for_each(|other| other.ways.reconsider());
        // Who hands rows over has its turn before whoever is handed them.
        let index = self.tasks.partition_point(|other| other.stage <= task.stage);
        self.tasks.insert(index, task);
        self.next_task += usize::from(index < self.next_task);
    }

    fn tell_built(&self, query: &Arc<RunningQuery>, generation: u64) {
        let built = query.tasks.iter().filter(|task| self.is_mine(query, task) && !self.awaits(task));
        query.built(generation, built, self.runtime.now_ms());
        self.runtime.changed.raise();
    }

    fn discard(&mut self, query: &Arc<RunningQuery>, generation: u64) {
        self.awaited.retain(|awaited| !Arc::ptr_eq(&awaited.query, query));
        self.discard_where(|task| Arc::ptr_eq(&task.query, query) && task.generation <= generation);
    }

    fn discard_where(&mut self, goes: impl Fn(&RunningTask) -> bool) {
        let (mut index, next_task) = (0, self.next_task);
        self.tasks.retain_mut(|task| {
            let goes = goes(task);
            if goes {
                task.release(&mut self.slots);
                self.next_task -= usize::from(index < next_task);
            }
            index += 1;
            !goes
        });
    }

    fn is_mine(&self, query: &RunningQuery, task: &TaskProgress) -> bool {
        self.placement.gives(query, task, self.index)
    }

    fn place(&mut self, workers: usize, number: u64, done: &Latch) {
        let me = self.index;
        self.release(true, |query, task| query.worker_of(task, workers) != me);
        self.placement.begin(workers, number);
        if done.arrive() {
            self.runtime.placed(number);
        }
    }

    /// Tasks that another process, or another worker, is going to run.
    fn release(&mut self, commit: bool, leaves: impl Fn(&RunningQuery, &TaskProgress) -> bool) {
        if commit && self.tasks.iter().any(|task| leaves(&task.query, &task.progress) && task.is_dirty()) {
            self.commit(Which::All);
        }
        self.awaited.retain(|awaited| !leaves(&awaited.query, &awaited.progress));
        self.discard_where(|task| leaves(&task.query, &task.progress));
    }

    /// Tasks that another process or worker ran before, or nobody.
    fn adopt(&mut self) {
        for query in self.runtime.all_queries() {
            match query.live_generation() {
                Some(generation) => self.build(&query, generation),
                None => self.bring_in(&query),
            }
        }
        self.runtime.changed.raise();
    }

    /// A query that does not run can be read all the same, unless it has ended: its state may be dropped at any moment.
    fn bring_in(&mut self, query: &Arc<RunningQuery>) {
        if query.state() == State::Terminated {
            return;
        }
        for progress in self.missing(query) {
            if !progress.is_built() {
                self.order(query, progress);
            }
        }
    }

    fn fail(&mut self, failures: impl IntoIterator<Item = Failure>) {
        for Failure { query, generation, reason } in failures {
            self.discard(&query, generation);
            self.runtime.fail(&query, generation, &reason, Some(self.index));
        }
    }

    /// One turn for each task that has something to do; broken off when there is a request, or a commit is due, and gone on with the next time.
    /// True: there may be more.
    fn round(&mut self) -> bool {
        while self.next_task < self.tasks.len() {
            if self.mailbox.has_requests() || self.commit_is_due() {
                return true;
            }
            let index = self.next_task;
            self.next_task += 1;
            if self.is_held_up(index) || !self.tasks[index].is_runnable(&self.slots) {
                continue;
            }
            if let Err(failure) = self.turn(index) {
                self.fail([failure]);
                return true;
            }
        }
        // All have had their turn: what was fetched and decoded for them need not be held.
        self.slots.forget_fetched();
        self.decodings.forget();
        self.next_task = 0;
        std::mem::take(&mut self.progressed)
    }

    fn turn(&mut self, index: usize) -> Result<(), Failure> {
        let now_ms = self.runtime.now_ms();
        let task = &mut self.tasks[index];
        let dirty_bytes = task.dirty_bytes;
        let rows_max = if task.is_known_behind() { self.throttle.turn_rows(TURN_ROWS) } else { TURN_ROWS };
        self.slots.begin_turn();
        let turn = task.turn(&self.runtime, &mut self.slots, rows_max, now_ms).map_err(|reason| task.failure(reason))?;
        self.progressed |= turn.progressed;
        self.dirty_bytes += task.dirty_bytes - dirty_bytes;
        self.commit_at_ms = earlier(self.commit_at_ms, task.due_ms(&self.slots, self.pace, now_ms));
        self.runtime.add_rows(turn.rows);
        if turn.rows > 0 {
            task.live_until_ms = now_ms.saturating_add(LIVE_MS);
        }
        self.hand_over(index, now_ms)
    }

    /// Idle inputs, when the next commit and the next trim are due, and whether what is behind has to give way.
    fn survey(&mut self) {
        let now_ms = self.runtime.now_ms();
        (self.idle_at_ms, self.commit_at_ms, self.trim_at_ms, self.dirty_bytes) = (None, None, None, 0);
        self.throttle = Throttle::default();
        for task in &mut self.tasks {
            self.idle_at_ms = earlier(self.idle_at_ms, task.judge_idle(&self.slots, now_ms));
            self.dirty_bytes += task.dirty_bytes;
            let due_ms = task.due_ms(&self.slots, self.pace, now_ms);
            self.commit_at_ms = earlier(self.commit_at_ms, due_ms);
            self.throttle.see(task.is_known_behind(), task.live_until_ms, now_ms);
            if task.is_untrimmed() {
                self.trim_at_ms = Some(self.trimmed_ms.saturating_add(TRIM_INTERVAL_MS));
            }
        }
    }

    /// Has the log forget what only the tasks here read and have committed, when it is time. They cannot move meanwhile, and their topics cannot be made
    /// anew: nobody else's records go.
    fn trim(&mut self) {
        let now_ms = self.runtime.now_ms();
        if self.trim_at_ms.is_none_or(|at_ms| at_ms > now_ms) {
            return;
        }
        (self.trimmed_ms, self.trim_at_ms) = (now_ms, None);
        let before = self.slots.by_log(self.tasks.iter_mut().flat_map(RunningTask::trim));
        for (log, before) in before {
            if let Err(error) = log.trim(&before) {
                tracing::warn!(%error, "a repartition topic cannot be trimmed");
            }
        }
    }

    fn is_hurried(&self) -> bool {
        self.runtime.flushes.load(Ordering::Acquire) > 0
    }

    fn commit_is_due(&self) -> bool {
        self.commit_at_ms.is_some_and(|at_ms| at_ms <= self.runtime.now_ms()) || self.is_full()
    }

    /// Whether there is so much to commit that it cannot wait.
    fn is_full(&self) -> bool {
        self.dirty_bytes >= self.throttle.dirty_bytes(DIRTY_BYTES_MAX)
    }

    /// How long there is nothing to do, unless it is woken.
    fn patience(&self) -> Option<Duration> {
        let at_ms = [self.commit_at_ms, self.idle_at_ms, self.trim_at_ms].into_iter().flatten().min()?;
        let wait_ms = at_ms.saturating_sub(self.runtime.now_ms());
        Some(Duration::from_millis(u64::try_from(wait_ms).unwrap_or_default().max(1)))
    }
}

/// The earlier of two times, as far as there are any.
fn earlier(a_ms: Option<i64>, b_ms: Option<i64>) -> Option<i64> {
    a_ms.into_iter().chain(b_ms).min()
}
