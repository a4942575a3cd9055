//! `ALTER QUERY … RESET`: a query forgets what it has and begins again.
//!
//! ```text
//!   plan, offsets (checks) ─► command {number, start_at} ─► launch: clean up ─► the number, into the query's state ─► start
//!                                                            └ a crash before the number is there: at the next start once more
//! ```
//!
//! RST-1  a query runs only with a state that was made behind its last reset: the catalog's number and the state's are the same.
//! RST-2  what it has committed behind a reset is not cleaned up for that reset again.

use std::collections::BTreeSet;

use millpond_catalog::{Command, Query, Reset, Snapshot, Start};
use millpond_log::{Log, TopicPartition, Transaction};
use millpond_sql::ast::{ResetQuery, ResetTo};
use millpond_state::WriteSet;
use millpond_streams::Topology;
use millpond_streams::topology::OperatorSpec;

use crate::query::State;
use crate::runtime::Runtime;
use crate::{Error, Result, clean_up, counters, launch, members};

/// The command that a statement means. `TO LATEST` is where the topics end now: the query is held, so that nothing behind that was taken
/// before.
pub(crate) fn command(runtime: &Runtime, catalog: &Snapshot, reset: &ResetQuery) -> Result<Command> {
    let query = catalog.query(&reset.query)?;
    let topology = millpond_planner::topology_of(query, catalog)?;
    let log: &dyn Log = &*runtime.storage.log;
    let start_at = match &reset.to {
        ResetTo::Earliest => Vec::new(),
        ResetTo::Latest => {
            if let Some(running) = runtime.query(&query.id).filter(|running| running.plan.is_some()) {
                runtime.pause(&running);
            }
            let start = |(partition, offset): (TopicPartition, u64)| Start {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                offset,
            };
            launch::ends(log, &topology)?.into_iter().map(start).collect()
        }
        ResetTo::Offsets(offsets) => given(log, query, &topology, offsets)?,
    };
    let number = catalog.version + 1;
    Ok(Command::Reset { query: query.id.clone(), reset: Reset { number, start_at } })
}

/// After a statement that failed: a query that was held for it and is to run goes on.
pub(crate) fn release(runtime: &Runtime, catalog: &Snapshot, id: &str) {
    let is_to_run = catalog.query(id).is_ok_and(|query| query.state == millpond_catalog::QueryState::Running);
    if let Some(held) = runtime.query(id).filter(|running| is_to_run && running.state() == State::Paused) {
        runtime.start(&held);
    }
}

/// The offsets of `TO OFFSETS`, when they are places in the query's one topic.
fn given(log: &dyn Log, query: &Query, topology: &Topology, offsets: &[(u32, u64)]) -> Result<Vec<Start>> {
    let refuse = |reason: String, hint: String| Err(Error::Reset { query: query.id.clone(), reason, hint });
    let elsewhere = || "Write TO EARLIEST or TO LATEST.".to_owned();
    let topics = source_topics(topology);
    let Some(topic) = topics.first().filter(|_| topics.len() == 1) else {
        let names = topics.iter().copied().collect::<Vec<_>>().join(", ");
        return refuse(format!("offsets are for a query that reads one topic, and it reads {names}"), elsewhere());
    };
    if launch::reads_whole_tables(topology) {
        return refuse(format!("it aggregates a table, whose topic {topic} is always read whole"), elsewhere());
    }
    let partitions = log.topic(topic)?.config.partitions;
    let mut start_at = Vec::with_capacity(offsets.len());
    for (partition, offset) in offsets.iter().copied() {
        if partition >= partitions {
            let last = partitions.saturating_sub(1);
            return refuse(format!("topic {topic} has no partition {partition}"), format!("Its partitions are 0 to {last}."));
        }
        let end = log.offsets(&TopicPartition::new(*topic, partition))?.end;
        if offset > end {
            let hint = format!("Write an offset up to {end}, where new records come, or TO LATEST.");
            return refuse(format!("partition {partition} of topic {topic} ends at {end}, before {offset}"), hint);
        }
        start_at.push(Start { topic: (*topic).to_owned(), partition, offset });
    }
    Ok(start_at)
}

/// The topics of the sources that the query reads.
fn source_topics(topology: &Topology) -> BTreeSet<&str> {
    let nodes = topology.sub_topologies.iter().flat_map(|sub| &sub.nodes);
    let topics = nodes.filter_map(|node| match &node.operator {
        OperatorSpec::StreamSource(spec) | OperatorSpec::TableSource(spec) => Some(&*spec.topic),
        _ => None,
    });
    topics.collect()
}

/// Forgets what a query had before its last reset, unless that is done, or another process is at it. It does not run, and is not to run when this
/// fails.
pub(crate) fn complete(runtime: &Runtime, catalog: &Snapshot, query: &Query) -> Result<()> {
    let Some(Reset { number, .. }) = query.reset else { return Ok(()) };
    let state = &*runtime.storage.state;
    let open = || counters::open_reset(state, &query.id);
    if counters::read_reset(state, open()?)? == Some(number) {
        return Ok(());
    }
    if !members::is_alone(runtime) {
        let reason = "it has been reset, and not all that it had is gone yet".to_owned();
        return Err(Error::NotStarted { query: query.id.clone(), reason });
    }
    clean_up::query(runtime, catalog, &query.id)?;
    let mut writes = WriteSet::default();
    writes.push(counters::write_reset(open()?, number));
    state.commit(Transaction::default(), writes)?;
    tracing::info!(query = query.id, number, "the query begins anew");
    Ok(())
}
