//! The engine as sessions see it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use millpond_catalog::{Command, Snapshot, Source};
use millpond_log::Log;
use millpond_membership::Coordinator;
use millpond_sql::ast::ResetQuery;
use millpond_state::Backend;
use millpond_streams::Topology;
use parking_lot::{Mutex, RwLock};

use crate::append::{self, SourceWrite};
use crate::clock::{Clock, SystemClock};
use crate::commands::CommandLog;
use crate::config::Config;
use crate::flush::Waiting;
use crate::holdings::Holdings;
use crate::mailbox::Request;
use crate::members::{Place, StoredTable};
use crate::processing_log::LogLine;
use crate::push::{Ending, Push};
use crate::runtime::Runtime;
use crate::status::QueryStatus;
use crate::worker::Worker;
use crate::{Error, Result, flush, housekeeping, launch, members, reset, statements, status, topics};

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
    catalog: RwLock<Arc<Snapshot>>,
    /// One command after the other changes the catalog.
    commands: Mutex<Commands>,
    /// `None`: the process is alone.
    coordinator: OnceLock<Arc<Coordinator>>,
    pushes: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Commands on their way into the catalog and to the queries.
#[derive(Debug)]
struct Commands {
    log: CommandLog,
    /// Of other processes, or of this one without being sure of it; oldest first. What cannot be obeyed yet holds up those behind it.
    pending: VecDeque<Command>,
    /// The catalog before the first of them, where that is in the catalog already.
    applied: Option<Arc<Snapshot>>,
}

impl Commands {
    fn take_up(&mut self, read: impl IntoIterator<Item = (u64, Command)>) {
        self.pending.extend(read.into_iter().map(|(_, command)| command));
    }
}

impl Engine {
    /// Reads the command log, starts the workers and the queries that are to run.
    pub fn open(config: Config, storage: Storage) -> Result<Engine> {
        Engine::open_with_clock(config, storage, Arc::new(SystemClock))
    }

    pub fn open_with_clock(config: Config, storage: Storage, clock: Arc<dyn Clock>) -> Result<Engine> {
        let mut log = CommandLog::open(Arc::clone(&storage.log), &config.service_id)?;
        let history = log.read()?;
        let catalog = replay(&config.service_id, &history);
        let holdings = if config.member.is_none() { Holdings::everything() } else { Holdings::nothing() };
        let runtime = Arc::new(Runtime::new(config, storage, clock, holdings));
        runtime.watch(&*runtime.storage.log);
        let inner = Arc::new(Inner {
            runtime: Arc::clone(&runtime),
            catalog: RwLock::new(Arc::new(catalog)),
            commands: Mutex::new(Commands { log, pending: VecDeque::new(), applied: None }),
            coordinator: OnceLock::new(),
            pushes: AtomicU64::new(0),
            threads: Mutex::default(),
        });
        let engine = Engine { inner };
        if let Some((_, last)) = history.last().filter(|_| members::is_alone(&runtime)) {
            statements::finish(&runtime, &engine.catalog(), last)?;
        }
        engine.spawn()?;
        statements::start_all(&runtime, &engine.catalog());
        engine.join()?;
        Ok(engine)
    }

    /// Becomes one of the service's processes, where there may be several.
    fn join(&self) -> Result<()> {
        let runtime = &self.inner.runtime;
        let Some(coordinator) = members::join(runtime)? else { return Ok(()) };
        self.inner.coordinator.set(coordinator).expect("an engine is opened once");
        let written = Arc::clone(&runtime.members);
        runtime.storage.log.subscribe(Box::new(move || written.raise()));
        let (inner, runtime) = (Arc::downgrade(&self.inner), Arc::clone(runtime));
        let thread = std::thread::Builder::new().name("commands".to_owned());
        let thread = thread.spawn(move || members::follow(&runtime, || inner.upgrade().map(|inner| inner.follow())))?;
        self.inner.threads.lock().push(thread);
        Ok(())
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
        self.inner.catalog()
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
        self.inner.change(&mut self.inner.commands.lock(), command, topology)
    }

    /// Has a query forget its state, its counters and where it was, and start again from where the statement says.
    pub fn reset(&self, statement: &ResetQuery) -> Result<()> {
        let runtime = &self.inner.runtime;
        let mut commands = self.inner.commands.lock();
        members::check_alone(runtime, &statement.query)?;
        let command = reset::command(runtime, &self.catalog(), statement);
        let reset = command.and_then(|command| self.inner.change(&mut commands, command, None));
        if reset.is_err() {
            reset::release(runtime, &self.catalog(), &statement.query);
        }
        reset
    }

    /// Waits until everything written before is committed in every table. Paused queries are left out. So are failed ones
    /// and what reads their outputs, and the error at the end names them.
    pub fn flush(&self) -> Result<()> {
        self.flush_for(&Waiting { goes_on: &|| true, failed_elsewhere: &Vec::new })
    }

    /// The same where the one who waits may give up, and other processes may have failed queries.
    pub fn flush_for(&self, waiting: &Waiting<'_>) -> Result<()> {
        flush::flush(&self.inner.runtime, waiting)
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

    /// What has a table's rows here; `None`: the query that is to keep them has not been started yet.
    pub fn stored_table(&self, table: &Source) -> Result<Option<StoredTable>> {
        members::stored_table(&self.inner.runtime, &self.catalog(), table)
    }

    /// Where the rows of a table are, by partition.
    pub fn places(&self, table: &Source) -> Vec<Place> {
        members::places(&self.inner.runtime, self.inner.coordinator.get(), &self.catalog(), table)
    }

    /// Another number after each change of [`Engine::places`].
    pub fn places_version(&self) -> u64 {
        let epoch = self.inner.coordinator.get().map_or(0, |coordinator| coordinator.assignment().epoch);
        self.inner.runtime.holdings.version().wrapping_add(epoch)
    }

    /// This process among those of its service; `None`: it is alone.
    pub fn coordinator(&self) -> Option<&Arc<Coordinator>> {
        self.inner.coordinator.get()
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
    fn change(&self, commands: &mut Commands, command: Command, topology: Option<Topology>) -> Result<()> {
        let runtime = &self.runtime;
        if runtime.is_stopping() {
            return Err(Error::ShuttingDown);
        }
        // Before others' commands: what belongs to a query that is in none of them was left behind.
        let stores = statements::stores_before(runtime, &command)?;
        // What other processes have appended comes first.
        let read = commands.log.read()?;
        commands.take_up(read);
        self.obey_pending(commands)?;
        let before = self.catalog();
        let (command, topology) = statements::fit_to_topic(&*runtime.storage.log, command, topology)?;
        let after = before.apply(&command)?;
        statements::check(&before, &command)?;
        let topology = statements::topology(&command, topology, &after)?;
        statements::clean_up_left_behind(runtime, &before, &command, &stores)?;
        statements::prepare(runtime, &command, topology.as_ref())?;
        let own = commands.log.append(&command, runtime.now_ms())?;
        let mut read = commands.log.read()?;
        let behind = read.split_off(read.iter().position(|(offset, _)| *offset >= own).unwrap_or(read.len()));
        commands.take_up(read);
        let obeyed = self.obey_pending(commands);
        let mut behind = behind.into_iter();
        let carried_out = match (obeyed, behind.next()) {
            // Planned over a catalog that another command may have changed since.
            (Ok(()), Some((_, own))) => {
                let carried_out = self.carry_out(&own, topology.filter(|_| Arc::ptr_eq(&before, &self.catalog())));
                // Others obey it: so does this process, when it can.
                if runtime.config.member.is_some() && carried_out.as_ref().is_err_and(Error::may_pass) {
                    commands.pending.push_back(own);
                    commands.applied = Some(before);
                }
                carried_out
            }
            (Err(error), own) => {
                commands.take_up(own);
                Err(error)
            }
            (Ok(()), None) => Err(Error::Commands(format!("offset {own} cannot be read yet"))),
        };
        commands.take_up(behind);
        carried_out
    }

    /// A command of this process.
    fn carry_out(&self, command: &Command, topology: Option<Topology>) -> Result<()> {
        let (before, after) = self.apply(command)?;
        let topology = statements::topology(command, topology, &after)?;
        let carried_out = statements::carry_out(&self.runtime, &before, &after, command, topology);
        self.replan();
        carried_out
    }

    /// Obeys all commands that were read. Fails where one cannot be obeyed yet.
    fn obey_pending(&self, commands: &mut Commands) -> Result<()> {
        while let Some(command) = commands.pending.front() {
            let before = match commands.applied.take() {
                Some(before) => before,
                None => match self.apply(command) {
                    Ok((before, _)) => before,
                    Err(error) => {
                        tracing::info!(%error, ?command, "a command of another process does not fit the catalog");
                        commands.pending.pop_front();
                        continue;
                    }
                },
            };
            match self.obey(&before, command) {
                Ok(()) => {}
                Err(error) if error.may_pass() => {
                    commands.applied = Some(before);
                    return Err(error);
                }
                Err(error) => tracing::warn!(%error, ?command, "a command of another process has no effect here"),
            }
            commands.pending.pop_front();
            self.replan();
        }
        Ok(())
    }

    fn obey(&self, before: &Snapshot, command: &Command) -> Result<()> {
        self.runtime.storage.state.catch_up()?;
        statements::obey(&self.runtime, before, &self.catalog(), command)
    }

    /// The catalog before and after the command. One that does not fit the catalog any more is void, for all processes.
    fn apply(&self, command: &Command) -> Result<(Arc<Snapshot>, Arc<Snapshot>)> {
        let before = self.catalog();
        let after = Arc::new(before.apply(command)?);
        statements::check(&before, command)?;
        *self.catalog.write() = Arc::clone(&after);
        Ok((before, after))
    }

    /// Obeys what other processes have appended, and then has that run which was given to this one before. False: that is to be tried again.
    fn follow(&self) -> bool {
        let given = self.runtime.begin_adoption();
        let followed = self.obey_new(given.is_some()).and_then(|()| given.map_or(Ok(()), |given| self.runtime.adopt(given)));
        if let Err(error) = &followed {
            tracing::warn!(%error, "what other processes have done cannot be followed yet");
            if given.is_some() {
                self.runtime.put_off_adoption();
            }
        }
        followed.is_ok()
    }

    /// `all`: who goes on with what another process has run goes by every command that one may have gone by.
    fn obey_new(&self, all: bool) -> Result<()> {
        let mut commands = self.commands.lock();
        if self.runtime.is_stopping() {
            return Ok(());
        }
        let read = if all { commands.log.read()? } else { commands.log.read_ready()? };
        commands.take_up(read);
        self.obey_pending(&mut commands)
    }

    fn replan(&self) {
        self.coordinator.get().inspect(|coordinator| coordinator.replan());
    }

    fn catalog(&self) -> Arc<Snapshot> {
        Arc::clone(&self.catalog.read())
    }

    fn shutdown(&self) {
        {
            // No command is under way then, and none begins.
            let _commands = self.commands.lock();
            self.runtime.stopping.store(true, Ordering::Release);
        }
        if let Some(coordinator) = self.coordinator.get() {
            coordinator.shutdown();
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        if threads.is_empty() {
            return;
        }
        self.runtime.changed.raise();
        self.runtime.housekeeping.raise();
        self.runtime.members.raise();
        for mailbox in &self.runtime.mailboxes {
            mailbox.send(Request::Shutdown);
        }
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            if thread.join().is_err() {
                tracing::error!("a worker ended in a panic");
            }
        }
        self.runtime.builders.end();
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

/// What the commands make of a catalog without any. They were checked when they were appended; one that cannot be applied all the same is
/// left out, loudly, rather than keeping the server from starting.
fn replay(service_id: &str, commands: &[(u64, Command)]) -> Snapshot {
    let mut catalog = Snapshot::new(service_id);
    for (_, command) in commands {
        match catalog.apply(command).map_err(Error::from).and_then(|next| statements::check(&catalog, command).map(|()| next)) {
            Ok(next) => catalog = next,
            Err(error) => tracing::error!(%error, ?command, "a command of the command log cannot be applied"),
        }
    }
    catalog
}
