//! The engine as sessions see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use millpond_catalog::{Command, Snapshot};
use millpond_log::Log;
use millpond_sql::ast::ResetQuery;
use millpond_state::Backend;
use millpond_streams::Topology;
use parking_lot::{Mutex, RwLock};

use crate::append::{self, SourceWrite};
use crate::clock::{Clock, SystemClock};
use crate::commands::CommandLog;
use crate::config::Config;
use crate::mailbox::Request;
use crate::processing_log::LogLine;
use crate::push::{Ending, Push};
use crate::runtime::Runtime;
use crate::status::QueryStatus;
use crate::worker::Worker;
use crate::{Error, Result, flush, housekeeping, launch, reset, statements, status, topics};

/// Where everything is kept. In embedded mode both are the same database.
#[derive(Clone)]
pub struct Storage {
    pub log: Arc<dyn Log>,
    pub state: Arc<dyn Backend>,
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").field("log", &self.log).finish_non_exhaustive()
    }
}

/// A running engine; clones are the same one. Its methods block: async code calls them where it may.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    runtime: Arc<Runtime>,
    commands: CommandLog,
    catalog: RwLock<Arc<Snapshot>>,
    /// One statement after the other changes the catalog.
    statement: Mutex<()>,
    pushes: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    /// Reads the command log, starts the workers and the queries that are to run.
    pub fn open(config: Config, storage: Storage) -> Result<Engine> {
        Engine::open_with_clock(config, storage, Arc::new(SystemClock))
    }

    pub fn open_with_clock(config: Config, storage: Storage, clock: Arc<dyn Clock>) -> Result<Engine> {
        let commands = CommandLog::open(Arc::clone(&storage.log), &config.service_id)?;
        let history = commands.read()?;
        let catalog = replay(&history);
        let runtime = Arc::new(Runtime::new(config, storage, clock));
        runtime.watch(&*runtime.storage.log);
        let inner = Arc::new(Inner {
            runtime: Arc::clone(&runtime),
            commands,
            catalog: RwLock::new(Arc::new(catalog)),
            statement: Mutex::new(()),
            pushes: AtomicU64::new(0),
            threads: Mutex::default(),
        });
        let engine = Engine { inner };
        if let Some(last) = history.last() {
            statements::finish(&runtime, &engine.catalog(), last)?;
        }
        engine.spawn()?;
        statements::start_all(&runtime, &engine.catalog());
        Ok(engine)
    }

    fn spawn(&self) -> Result<()> {
        let mut threads = self.inner.threads.lock();
        for index in 0..self.inner.runtime.mailboxes.len() {
            let worker = Worker::new(index, Arc::clone(&self.inner.runtime));
            threads.push(std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || worker.run())?);
        }
        let runtime = Arc::clone(&self.inner.runtime);
        threads.push(std::thread::Builder::new().name("housekeeping".to_owned()).spawn(move || housekeeping::run(&runtime))?);
        Ok(())
    }

    /// The catalog as it is now.
    pub fn catalog(&self) -> Arc<Snapshot> {
        Arc::clone(&self.inner.catalog.read())
    }

    pub fn storage(&self) -> &Storage {
        &self.inner.runtime.storage
    }

    pub fn config(&self) -> &Config {
        &self.inner.runtime.config
    }

    /// Appends a command to the command log, applies it, and carries it out: topics are made, queries started or stopped. `topology` is
    /// what CREATE … AS and INSERT … SELECT were planned to; without one they are planned here.
    pub fn execute(&self, command: Command, topology: Option<Topology>) -> Result<()> {
        let _statement = self.inner.statement.lock();
        self.change(command, topology)
    }

    /// Has a query forget its state, its counters and where it was, and start again from where the statement says.
    pub fn reset(&self, statement: &ResetQuery) -> Result<()> {
        let runtime = &self.inner.runtime;
        let _statement = self.inner.statement.lock();
        let reset = reset::command(runtime, &self.catalog(), statement).and_then(|command| self.change(command, None));
        if reset.is_err() {
            reset::release(runtime, &self.catalog(), &statement.query);
        }
        reset
    }

    fn change(&self, command: Command, topology: Option<Topology>) -> Result<()> {
        let runtime = &self.inner.runtime;
        if runtime.is_stopping() {
            return Err(Error::ShuttingDown);
        }
        let before = self.catalog();
        let (command, topology) = statements::fit_to_topic(&*runtime.storage.log, command, topology)?;
        let after = Arc::new(before.apply(&command)?);
        statements::check(&before, &command)?;
        let topology = statements::topology(&command, topology, &after)?;
        statements::prepare(runtime, &command, topology.as_ref())?;
        self.inner.commands.append(&command, runtime.now_ms())?;
        *self.inner.catalog.write() = Arc::clone(&after);
        statements::carry_out(runtime, &before, &after, &command, topology)
    }

    /// Waits until everything written before is committed in every table. Paused queries are left out. So are failed ones
    /// and what reads their outputs, and the error at the end names them.
    pub fn flush(&self) -> Result<()> {
        flush::flush(&self.inner.runtime)
    }

    /// Appends to several sources at once: all rows or none.
    pub fn append(&self, writes: Vec<SourceWrite>) -> Result<()> {
        let runtime = &self.inner.runtime;
        if runtime.is_stopping() {
            return Err(Error::ShuttingDown);
        }
        append::append(&*runtime.storage.log, &writes, runtime.now_ms())
    }

    /// Starts an ephemeral query that begins at the earliest records or behind the last. Its rows come out of the [`Push`]; dropping that
    /// ends it and leaves nothing behind.
    pub fn push(&self, topology: Topology, from_earliest: bool) -> Result<Push> {
        let runtime = &self.inner.runtime;
        if runtime.is_stopping() {
            return Err(Error::ShuttingDown);
        }
        let number = self.inner.pushes.fetch_add(1, Ordering::Relaxed) + 1;
        let (query, queue) = launch::push(runtime, topology, from_earliest, number)?;
        let push = Push { query: runtime.add(query), queue, runtime: Arc::clone(runtime) };
        runtime.start(&push.query);
        Ok(push)
    }

    /// All persistent queries by id, and of the internal ones those that have failed.
    pub fn queries(&self) -> Vec<QueryStatus> {
        status::queries(&self.inner.runtime)
    }

    /// What went wrong with rows and queries: the most recent lines, oldest first.
    pub fn processing_log(&self) -> Vec<LogLine> {
        self.inner.runtime.processing_log.lines()
    }

    /// The topic that `ON ERROR dead_letter` writes to: opaque records as they were read, with headers `query`, `node`, `topic`,
    /// `partition`, `offset` and `error`. It is made when it is first needed.
    pub fn dead_letters_topic(&self) -> String {
        topics::dead_letters(&self.inner.runtime.config.service_id)
    }

    /// Has workers look at the clock again: for clocks that are moved by hand.
    pub fn wake(&self) {
        self.inner.runtime.wake_workers();
        self.inner.runtime.housekeeping.raise();
    }

    /// Commits, stops the workers and waits for them. Also done when the last clone is dropped.
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }
}

impl Inner {
    fn shutdown(&self) {
        let _statement = self.statement.lock();
        let threads = std::mem::take(&mut *self.threads.lock());
        if threads.is_empty() {
            return;
        }
        self.runtime.stopping.store(true, Ordering::Release);
        self.runtime.changed.raise();
        self.runtime.housekeeping.raise();
        for mailbox in &self.runtime.mailboxes {
            mailbox.send(Request::Shutdown);
        }
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker ended in a panic");
            }
        }
        for query in self.runtime.all_queries() {
            if let Some(queue) = query.push_queue() {
                queue.end(Ending::Ended);
            }
        }
        // Requests that nobody will carry out hold queries, and those the runtime's stores.
        self.runtime.mailboxes.iter().for_each(|mailbox| drop(mailbox.take()));
        self.runtime.queries.write().clear();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// What the commands make of an empty catalog. They were checked when they were appended; one that cannot be applied all the same is
/// left out, loudly, rather than keeping the server from starting.
fn replay(commands: &[Command]) -> Snapshot {
    let mut catalog = Snapshot::default();
    for command in commands {
        match catalog.apply(command) {
            Ok(next) => catalog = next,
            Err(error) => tracing::error!(%error, ?command, "a command of the command log cannot be applied"),
        }
    }
    catalog
}
