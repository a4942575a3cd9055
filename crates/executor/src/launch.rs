//! Makes runnable queries of topologies: where their state lives and where they begin.

use std::collections::BTreeMap;
use std::sync::Arc;

use millpond_catalog::{Query, Snapshot, Source};
use millpond_log::{Log, TopicPartition};
use millpond_planner::Settings;
use millpond_state::memory::MemoryBackend;
use millpond_streams::Topology;
use millpond_streams::topology::OperatorSpec;

use crate::engine::Storage;
use crate::push::PushQueue;
use crate::query::{Plan, Purpose, RunningQuery};
use crate::runtime::Runtime;
use crate::{Result, counters, reset, topics};

/// A query of the catalog, which does not run. What it had before its last reset is gone then.
pub(crate) fn persistent(runtime: &Runtime, catalog: &Snapshot, query: &Query, topology: Topology) -> Result<RunningQuery> {
    topics::create_built_in(&*runtime.storage.log, &topology, &runtime.config.service_id)?;
    reset::complete(runtime, catalog, query)?;
    let start_at = match &query.reset {
        Some(reset) => reset.start_at.iter().map(|start| (TopicPartition::new(&*start.topic, start.partition), start.offset)).collect(),
        None if Settings::from_pairs(query.dialect, &query.settings).from_earliest => BTreeMap::new(),
        None => ends(&*runtime.storage.log, &topology)?,
    };
    let plan = shared_plan(runtime, topology, start_at)?;
    Ok(RunningQuery::new(&query.id, Purpose::Persistent, &query.sink, &query.sql, plan, None))
}

/// Keeps a declared table readable.
pub(crate) fn materialize(runtime: &Runtime, table: &Source) -> Result<RunningQuery> {
    let topology = millpond_planner::materialize(table);
    let id = topology.query.clone();
    let plan = shared_plan(runtime, topology, BTreeMap::new())?;
    let purpose = Purpose::Materialize(table.name.clone());
    Ok(RunningQuery::new(&id, purpose, &table.name, &table.sql, plan, None))
}

fn shared_plan(runtime: &Runtime, topology: Topology, start_at: BTreeMap<TopicPartition, u64>) -> Result<Plan> {
    topics::create_repartitions(&*runtime.storage.log, &topology)?;
    Ok(Plan { start_at, counters: counters::open(&*runtime.storage.state, &topology)?, storage: runtime.storage.clone(), topology })
}

/// Its state and its repartition topics are in memory, and go with it.
pub(crate) fn push(runtime: &Runtime, topology: Topology, from_earliest: bool, number: u64) -> Result<(RunningQuery, Arc<PushQueue>)> {
    topics::create_built_in(&*runtime.storage.log, &topology, &runtime.config.service_id)?;
    let backend = Arc::new(MemoryBackend::new());
    let storage = Storage { log: backend.log(), state: backend };
    topics::create_repartitions(&*storage.log, &topology)?;
    runtime.watch(&*storage.log);
    let queue = Arc::new(PushQueue::default());
    let plan = Plan {
        start_at: if from_earliest { BTreeMap::new() } else { ends(&*runtime.storage.log, &topology)? },
        counters: BTreeMap::new(),
        storage,
        topology,
    };
    let id = format!("{}_{number}", plan.topology.query);
    // What its reader was given is not taken back, so its tasks stay where they are.
    let query = RunningQuery::new(&id, Purpose::Push(Arc::clone(&queue)), "", "", plan, Some(runtime.workers()));
    Ok((query, queue))
}

/// Where the topics that a query from now on does not look back into end. Tables that streams are joined to, or that are aggregated,
/// are read whole all the same: without their rows the result would not be one.
pub(crate) fn ends(log: &dyn Log, topology: &Topology) -> Result<BTreeMap<TopicPartition, u64>> {
    let nodes = topology.sub_topologies.iter().flat_map(|sub| sub.nodes.iter().map(|node| (&node.operator, sub.partitions)));
    let whole_tables = reads_whole_tables(topology);
    let mut ends = BTreeMap::new();
    for (operator, partitions) in nodes {
        let spec = match operator {
            OperatorSpec::StreamSource(spec) => spec,
            OperatorSpec::TableSource(spec) if !whole_tables => spec,
            _ => continue,
        };
        for partition in 0..partitions {
            let partition = TopicPartition { topic: Arc::clone(&spec.topic), partition };
            let end = log.offsets(&partition)?.end;
            ends.insert(partition, end);
        }
    }
    Ok(ends)
}

/// Whether the query is wrong without all rows of its tables.
pub(crate) fn reads_whole_tables(topology: &Topology) -> bool {
    let mut nodes = topology.sub_topologies.iter().flat_map(|sub| &sub.nodes);
    nodes.any(|node| matches!(node.operator, OperatorSpec::StreamTableJoin(_) | OperatorSpec::TableAggregate(_)))
}
