//! What a command means for topics, stores and running queries.
//!
//! ```text
//!   apply (checks) ─► prepare: topics ─► command log ─► new snapshot ─► carry out: stop, start, clean up
//!                                            └ a crash behind it: at the next start `finish` cleans up, `start_all` starts
//! ```
//! Whoever makes something of the same name cleans up first what `finish` has not (`clean_up_left_behind`).

use std::sync::Arc;

use millpond_catalog::{Command, Query, QueryState, Snapshot, Source, SourceKind};
use millpond_log::Log;
use millpond_sql::ast::Kind;
use millpond_streams::Topology;
use millpond_streams::task::positions_store;

use crate::clean_up::materialize_id;
use crate::processing_log::{LineKind, LogLine};
use crate::query::{Purpose, RunningQuery};
use crate::runtime::Runtime;
use crate::worker::guarded;
use crate::{Error, Result, clean_up, launch, members, topics};

/// The command with as many partitions as the source's topic has, when there is one already and the statement gives no number. A topology
/// for another number is void: the query is to be planned anew.
pub(crate) fn fit_to_topic(log: &dyn Log, mut command: Command, topology: Option<Topology>) -> Result<(Command, Option<Topology>)> {
    let (Command::Create { source, .. } | Command::CreateAs { source, .. }) = &mut command else { return Ok((command, topology)) };
    match topics::partitions(log, &source.topic)? {
        Some(existing) if existing != source.partitions => {
            if gives_partitions(source)? {
                let (topic, wanted) = (source.topic.clone(), source.partitions);
                return Err(millpond_catalog::Error::Partitions { topic, existing, wanted }.into());
            }
            source.partitions = existing;
            Ok((command, None))
        }
        _ => Ok((command, topology)),
    }
}

/// Whether the statement that made the source has PARTITIONS in its WITH clause.
fn gives_partitions(source: &Source) -> Result<bool> {
    let statements = millpond_sql::parse(&source.sql, source.dialect).map_err(millpond_planner::Error::from)?;
    let properties = statements.first().and_then(|statement| match &statement.kind {
        Kind::CreateSource(create) => Some(&create.properties),
        Kind::CreateAs(create) => Some(&create.properties),
        _ => None,
    });
    Ok(properties.is_some_and(|properties| properties.iter().any(|property| property.name == "partitions")))
}

/// What the catalog alone does not refuse: a topic is not deleted under another source.
pub(crate) fn check(before: &Snapshot, command: &Command) -> Result<()> {
    let Command::Drop { name, delete_topic: true } = command else { return Ok(()) };
    let source = before.source(name)?;
    let sources = before.sharing_topic(source);
    if sources.is_empty() {
        return Ok(());
    }
    Err(millpond_catalog::Error::TopicInUse { topic: source.topic.clone(), sources }.into())
}

/// The topology of the query that the command starts.
pub(crate) fn topology(command: &Command, given: Option<Topology>, after: &Snapshot) -> Result<Option<Topology>> {
    match (command, given) {
        (Command::CreateAs { .. } | Command::Insert { .. }, Some(topology)) => Ok(Some(topology)),
        (Command::CreateAs { query, .. } | Command::Insert { query }, None) => Ok(Some(millpond_planner::topology_of(query, after)?)),
        _ => Ok(None),
    }
}

/// The stores that there are, to be asked for before the commands are read, where the command may make some of the same names. Whoever made them has
/// said so in a command before.
pub(crate) fn stores_before(runtime: &Runtime, command: &Command) -> Result<Vec<String>> {
    if !matches!(command, Command::Create { .. } | Command::CreateAs { .. } | Command::Insert { .. }) {
        return Ok(Vec::new());
    }
    let state = &runtime.storage.state;
    state.catch_up()?;
    Ok(state.stores()?.into_iter().map(|(name, _)| name).collect())
}

/// What a query or a table of that name had, where a process has died, or has failed, before it could clean up.
pub(crate) fn clean_up_left_behind(runtime: &Runtime, before: &Snapshot, command: &Command, stores: &[String]) -> Result<()> {
    let (source, query) = match command {
        Command::Create { source, .. } => (Some(source), None),
        Command::CreateAs { source, query, .. } => (Some(source), Some(query)),
        Command::Insert { query } => (None, Some(query)),
        _ => return Ok(()),
    };
    let source = source.filter(|source| !before.sources.contains_key(&source.name));
    let ids = query.map(|query| query.id.clone()).into_iter().chain(source.map(|source| materialize_id(&source.name)));
    let ids: Vec<String> = ids.filter(|id| !before.queries.contains_key(id) && runtime.query(id).is_none()).collect();
    let table = source.map(|source| table_store(&source.name));
    clean_up::left_behind(runtime, before, &ids, table.as_deref(), stores)
}

/// Makes the topics that the command needs.
pub(crate) fn prepare(runtime: &Runtime, command: &Command, topology: Option<&Topology>) -> Result<()> {
    let log = &*runtime.storage.log;
    if let Command::Create { source, .. } | Command::CreateAs { source, .. } = command {
        topics::create_for_source(log, source)?;
    }
    topology.map_or(Ok(()), |topology| topics::create_repartitions(log, topology))
}

/// Does what `command`, which is in the command log, says.
pub(crate) fn carry_out(
    runtime: &Arc<Runtime>,
    before: &Snapshot,
    after: &Snapshot,
    command: &Command,
    topology: Option<Topology>,
) -> Result<()> {
    match command {
        Command::Create { source, .. } => {
            drop_other_columns(runtime, before, after, source)?;
            materialize(runtime, source, after)
        }
        Command::CreateAs { source, query, .. } => {
            drop_other_columns(runtime, before, after, source)?;
            let replaced = replace(runtime, after.query(&query.id)?, topology, after);
            replaced.and(materialize(runtime, source, after))
        }
        Command::Insert { query } => replace(runtime, query, topology, after),
        Command::Drop { name, .. } => {
            end_readers(runtime, name);
            for id in before.queries.keys().filter(|id| !after.queries.contains_key(*id)) {
                stop(runtime, id);
            }
            stop(runtime, &materialize_id(name));
            let source = before.source(name)?;
            let gone: Vec<&Query> =
                before.queries.values().filter(|query| !after.queries.contains_key(&query.id)).map(|query| &**query).collect();
            clean_up_dropped(runtime, after, source, &gone, deletes_topic(command))
        }
        Command::Terminate { query } => {
            let gone = before.query(query)?;
            stop(runtime, query);
            clean_up::query(runtime, after, &gone.id)?;
            match after.sources.get(&gone.sink) {
                Some(sink) => materialize(runtime, sink, after),
                None => Ok(()),
            }
        }
        Command::Query { query, state: QueryState::Paused } => {
            if let Some(running) = runtime.query(query) {
                runtime.pause(&running);
            }
            Ok(())
        }
        Command::Query { query, state: QueryState::Running } => resume(runtime, after.query(query)?, after),
        Command::Reset { query, .. } => {
            stop(runtime, query);
            let not_started = start_planned(runtime, after.query(query)?, after);
            materialize(runtime, after.source(&after.query(query)?.sink)?, after)?;
            not_started.map_or(Ok(()), |NotStarted { reason, .. }| Err(Error::NotStarted { query: query.clone(), reason }))
        }
    }
}

/// Does what a command of another process says as far as it concerns this one: topics, and what the log keeps of stores, are the other's.
pub(crate) fn obey(runtime: &Arc<Runtime>, before: &Snapshot, after: &Snapshot, command: &Command) -> Result<()> {
    let forget = |id: &str| clean_up::here(runtime, after, id);
    match command {
        Command::Create { source, .. } => {
            forget_other_columns(runtime, before, after, source)?;
            materialize(runtime, source, after)
        }
        Command::CreateAs { query, .. } | Command::Insert { query } => {
            if let Command::CreateAs { source, .. } = command {
                forget_other_columns(runtime, before, after, source)?;
            }
            let started = start_obeyed(runtime, after.query(&query.id)?, after);
            started.and(materialize(runtime, after.source(&query.sink)?, after))
        }
        Command::Drop { name, .. } => {
            end_readers(runtime, name);
            let gone = before.queries.keys().filter(|id| !after.queries.contains_key(*id)).cloned();
            let gone: Vec<String> = gone.chain([materialize_id(name)]).collect();
            gone.iter().for_each(|id| break_off(runtime, id));
            gone.iter().try_for_each(|id| forget(id))?;
            Ok(runtime.storage.state.forget_store(&table_store(name))?)
        }
        Command::Terminate { query } => {
            let gone = before.query(query)?;
            break_off(runtime, query);
            forget(&gone.id)?;
            after.sources.get(&gone.sink).map_or(Ok(()), |sink| materialize(runtime, sink, after))
        }
        Command::Query { .. } => carry_out(runtime, before, after, command, None),
        Command::Reset { query, .. } => {
            break_off(runtime, query);
            forget(query)?;
            // The number, if it is there.
            runtime.storage.state.catch_up()?;
            let started = start_obeyed(runtime, after.query(query)?, after);
            started.and(materialize(runtime, after.source(&after.query(query)?.sink)?, after))
        }
    }
}

/// Fails where it may be started in a while.
fn start_obeyed(runtime: &Runtime, query: &Query, after: &Snapshot) -> Result<()> {
    match start_planned(runtime, query, after) {
        Some(NotStarted { reason, may_pass: true }) => Err(Error::NotStarted { query: query.id.clone(), reason }),
        _ => Ok(()),
    }
}

/// Completes the last command of the log, behind which the server may have crashed. Nothing runs yet. What a reset has to clean up, the
/// query's start does.
pub(crate) fn finish(runtime: &Runtime, catalog: &Snapshot, last: &Command) -> Result<()> {
    match last {
        Command::Drop { name, .. } if !catalog.sources.contains_key(name) => {
            let ids = [format!("ctas_{name}"), format!("csas_{name}"), materialize_id(name)];
            let gone: Vec<&str> = ids.iter().filter(|id| !catalog.queries.contains_key(*id)).map(String::as_str).collect();
            clean_up::queries(runtime, catalog, &gone, vec![table_store(name)])
        }
        Command::Terminate { query } if !catalog.queries.contains_key(query) => clean_up::query(runtime, catalog, query),
        _ => Ok(()),
    }
}

/// At the start of the server: everything that is to run.
pub(crate) fn start_all(runtime: &Runtime, catalog: &Snapshot) {
    for source in catalog.sources.values() {
        if let Err(error) = topics::create_for_source(&*runtime.storage.log, source) {
            tracing::error!(source = source.name, %error, "the topic of a source is not as it was declared");
        }
    }
    for query in catalog.queries.values() {
        start_planned(runtime, query, catalog);
    }
    for source in catalog.sources.values() {
        if let Err(error) = materialize(runtime, source, catalog) {
            let (id, purpose) = (materialize_id(&source.name), Purpose::Materialize(source.name.clone()));
            fail_unplanned(runtime, &id, purpose, &source.name, &source.sql, error.to_string());
        }
    }
}

/// Plans and starts a query of the catalog. One that does not plan any more, or whose reset cannot be completed, is there as failed, with
/// the reason that is given back.
fn start_planned(runtime: &Runtime, query: &Query, catalog: &Snapshot) -> Option<NotStarted> {
    let mut may_pass = false;
    let launched = guarded(|| {
        let topology = millpond_planner::topology_of(query, catalog)?;
        launch::persistent(runtime, catalog, query, topology).inspect_err(|error| may_pass = error.may_pass())
    });
    put(runtime, query, catalog, launched).err().map(|reason| NotStarted { reason, may_pass })
}

/// Has a query run that was launched, unless it is paused, or shows it as failed, in the place of one of the same id, whose table is
/// readable until then.
fn put<E: ToString>(
    runtime: &Runtime,
    query: &Query,
    catalog: &Snapshot,
    launched: std::result::Result<RunningQuery, E>,
) -> std::result::Result<(), E> {
    stop(runtime, &query.id);
    match launched {
        Ok(launched) => {
            let running = runtime.add(launched);
            match query.state {
                QueryState::Running => runtime.start(&running),
                QueryState::Paused => {
                    let now_ms = runtime.now_ms();
                    running.with_lifecycle(|lifecycle| lifecycle.pause(now_ms));
                }
            }
            Ok(())
        }
        Err(reason) => {
            match catalog.source(&query.sink) {
                Ok(sink) => fail_unplanned(runtime, &query.id, Purpose::Persistent, &sink.name, &query.sql, reason.to_string()),
                Err(error) => tracing::error!(query = query.id, %error, "a query has no sink"),
            }
            Err(reason)
        }
    }
}

struct NotStarted {
    reason: String,
    /// Whether it may be started in a while.
    may_pass: bool,
}

fn fail_unplanned(runtime: &Runtime, id: &str, purpose: Purpose, sink: &str, sql: &str, reason: String) {
    runtime.processing_log.write([LogLine::of_query(runtime.now_ms(), id, LineKind::Failure, reason.clone())]);
    runtime.add(RunningQuery::unplannable(id, purpose, sink, sql, reason));
}

/// Starts the query; one of the same id ends before. Its stores stay: nodes that have kept their ids find them again.
fn replace(runtime: &Runtime, query: &Query, topology: Option<Topology>, catalog: &Snapshot) -> Result<()> {
    let Some(topology) = topology else {
        stop(runtime, &query.id);
        return Ok(());
    };
    put(runtime, query, catalog, launch::persistent(runtime, catalog, query, topology))
}

fn resume(runtime: &Runtime, query: &Query, catalog: &Snapshot) -> Result<()> {
    match runtime.query(&query.id) {
        Some(running) if running.plan.is_some() => runtime.start(&running),
        // It did not plan when the server started; it may now.
        _ => {
            stop(runtime, &materialize_id(&query.sink));
            start_planned(runtime, query, catalog);
            materialize(runtime, catalog.source(&query.sink)?, catalog)?;
        }
    }
    Ok(())
}

/// A table whose rows no query keeps is kept readable by an internal one, which reads its topic.
fn materialize(runtime: &Runtime, source: &Source, catalog: &Snapshot) -> Result<()> {
    stop(runtime, &materialize_id(&source.name));
    if source.kind != SourceKind::Table || members::is_kept(runtime, catalog, source) || has_rows_of_its_query(runtime, catalog, source) {
        return Ok(());
    }
    let launched = launch::materialize(runtime, source)?;
    runtime.start(&runtime.add(launched));
    Ok(())
}

/// Whether a query that has not been started, because it does not plan any more, has left the table's rows in their store.
fn has_rows_of_its_query(runtime: &Runtime, catalog: &Snapshot, table: &Source) -> bool {
    let has = |store: &str| runtime.storage.state.find_store(store).is_some();
    let is_materialized = || has(&positions_store(&materialize_id(&table.name), 0));
    !catalog.writers(&table.name).is_empty() && has(&table.table_store()) && !is_materialized()
}

/// Whether a table's rows that were read from its topic are stored with other columns than it has now: they are read anew.
fn has_other_columns(runtime: &Runtime, before: &Snapshot, now: &Source) -> bool {
    let is_other = before.sources.get(&now.name).is_some_and(|before| before.columns != now.columns);
    is_other && runtime.query(&materialize_id(&now.name)).is_some()
}

/// Drops such rows.
fn drop_other_columns(runtime: &Runtime, before: &Snapshot, after: &Snapshot, source: &Source) -> Result<()> {
    if has_other_columns(runtime, before, source) {
        let id = materialize_id(&source.name);
        stop(runtime, &id);
        clean_up::queries(runtime, after, &[&id], vec![table_store(&source.name)])?;
    }
    Ok(())
}

/// Drops what this process has of such rows.
fn forget_other_columns(runtime: &Runtime, before: &Snapshot, after: &Snapshot, source: &Source) -> Result<()> {
    if has_other_columns(runtime, before, source) {
        stop(runtime, &materialize_id(&source.name));
        clean_up::here(runtime, after, &materialize_id(&source.name))?;
        runtime.storage.state.forget_store(&table_store(&source.name))?;
    }
    Ok(())
}

fn stop(runtime: &Runtime, id: &str) {
    if let Some(running) = runtime.query(id) {
        runtime.terminate(&running);
    }
}

/// The query has ended elsewhere, and others may be at what it was.
fn break_off(runtime: &Runtime, id: &str) {
    if let Some(running) = runtime.query(id) {
        runtime.break_off(&running);
    }
}

/// Push queries that read the source end with it.
fn end_readers(runtime: &Runtime, source: &str) {
    for query in runtime.all_queries() {
        if query.push_queue().is_some() && query.reads(source) {
            runtime.terminate(&query);
        }
    }
}

fn clean_up_dropped(runtime: &Runtime, after: &Snapshot, source: &Source, gone: &[&Query], delete_topic: bool) -> Result<()> {
    let materialize = materialize_id(&source.name);
    let ids: Vec<&str> = gone.iter().map(|query| query.id.as_str()).chain([materialize.as_str()]).collect();
    clean_up::queries(runtime, after, &ids, vec![table_store(&source.name)])?;
    if delete_topic {
        runtime.storage.log.remove_topic(&source.topic)?;
    }
    Ok(())
}

fn deletes_topic(command: &Command) -> bool {
    matches!(command, Command::Drop { delete_topic: true, .. })
}

/// As [`Source::table_store`].
fn table_store(table: &str) -> String {
    format!("table/{table}")
}
