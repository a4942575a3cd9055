//! This process among those of its service: runs what it is assigned, obeys what others command, knows where rows are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millpond_catalog::{Snapshot, Source};
use millpond_membership::{Assignment, Coordinator, Holding, Host, Instance, Seat, Unit};
use millpond_state::StoreId;
use millpond_streams::SubTopology;
use millpond_streams::operator::table_rows::TableRows;

use crate::clean_up::materialize_id;
use crate::config::MemberConfig;
use crate::holdings::Held;
use crate::progress::TaskProgress;
use crate::query::RunningQuery;
use crate::runtime::Runtime;
use crate::{Error, Result};

/// Commands of other processes are looked for so often, should nothing tell of them, and what has failed is tried again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Who places has done it by then, or is thrown out and another one does.
const SEATED_WITHIN: Duration = Duration::from_secs(60);

/// Where the rows of a partition of a table are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Here,
    At(Instance, Seat),
    /// Nowhere yet: it is being assigned, moved or restored.
    Nowhere,
}

struct Member(Arc<Runtime>);

impl Host for Member {
    fn units(&self) -> BTreeSet<Unit> {
        let persistent = |query: &Arc<RunningQuery>| query.push_queue().is_none();
        let queries = self.0.all_queries().into_iter().filter(persistent);
        queries.flat_map(|query| query.tasks.iter().map(|task| task.unit.clone()).collect::<Vec<_>>()).collect()
    }

    fn take(&self, holding: Holding) {
        match holding {
            Holding::Run { units, .. } => self.0.hold(units),
            Holding::Abandon { .. } => self.0.abandon(),
        }
    }
}

/// Becomes a member, where there may be several, and waits until it has its place. The catalog's queries are there.
pub(crate) fn join(runtime: &Arc<Runtime>) -> Result<Option<Arc<Coordinator>>> {
    let Some(MemberConfig { instance, address, group }) = runtime.config.member.clone() else { return Ok(None) };
    let config = millpond_membership::Config { service_id: runtime.config.service_id.clone(), instance, address };
    let (host, instance) = (Arc::new(Member(Arc::clone(runtime))), config.instance.clone());
    let coordinator = Coordinator::start(config, Arc::clone(&runtime.storage.log), Arc::clone(&group), host)?;
    let is_seated = |assignment: &Assignment| {
        let member = group.membership().member;
        assignment.members.get(&instance).is_some_and(|seat| Some(&seat.member) == member.as_ref())
    };
    if coordinator.wait_until(SEATED_WITHIN, is_seated).is_none() {
        tracing::warn!(?SEATED_WITHIN, "nothing was assigned to this process yet");
    }
    Ok(Some(coordinator))
}

/// The other processes of the service that live.
fn others(runtime: &Runtime) -> Result<Vec<Instance>> {
    let Some(member) = &runtime.config.member else { return Ok(Vec::new()) };
    let instances = member.group.members()?.into_iter().map(|other| other.instance);
    Ok(instances.filter(|instance| *instance != member.instance).collect())
}

/// Whether there is none. One that cannot be sure is not alone.
pub(crate) fn is_alone(runtime: &Runtime) -> bool {
    others(runtime).is_ok_and(|others| others.is_empty())
}

/// Fails where others may run parts of the query. A process that is out of the group, and comes back, obeys the reset before it runs anything.
pub(crate) fn check_alone(runtime: &Runtime, query: &str) -> Result<()> {
    let others = others(runtime)?;
    if others.is_empty() {
        return Ok(());
    }
    let hint = "Stop them, reset the query, and start them again.".to_owned();
    Err(Error::Reset { query: query.to_owned(), reason: format!("other members run parts of it: {}", others.join(", ")), hint })
}

/// Calls `obey` when there may be something new, until it gives `None` or the process stops. After `Some(false)` it has failed, and is not called for
/// a while: the brokers are to come round.
pub(crate) fn follow(runtime: &Runtime, obey: impl Fn() -> Option<bool>) {
    while !runtime.is_stopping() {
        let seen = runtime.members.current();
        match obey() {
            None => return,
            Some(true) => runtime.members.wait(seen, Some(LOOK_AGAIN)),
            Some(false) => std::thread::sleep(LOOK_AGAIN),
        }
    }
}

/// Of each partition of a table. Without a query that keeps it, what is here is all there is.
pub(crate) fn places(runtime: &Runtime, coordinator: Option<&Arc<Coordinator>>, catalog: &Snapshot, table: &Source) -> Vec<Place> {
    let here = || (0..table.partitions).map(|_| Place::Here).collect();
    let Some(coordinator) = coordinator else { return here() };
    let Some((query, sub)) = keeper(runtime, catalog, table) else { return here() };
    let assignment = coordinator.assignment();
    let place = |held: &Held, task: &TaskProgress| match assignment.owner(&task.unit) {
        // While it is out of the group, nobody else has what nobody else can have been given.
        _ if task.is_built() && (held.has(&task.unit) || is_only(&assignment, coordinator.instance())) => Place::Here,
        Some((instance, seat)) if instance != coordinator.instance() => Place::At(instance.clone(), seat.clone()),
        _ => Place::Nowhere,
    };
    let tasks = query.tasks.iter().filter(|task| task.sub_topology == sub);
    runtime.holdings.look(|held| tasks.map(|task| place(held, task)).collect())
}

/// Whether the latest assignment knows of no other process.
fn is_only(assignment: &Assignment, instance: &str) -> bool {
    assignment.members.keys().all(|member| member == instance)
}

/// Whether there is a query that keeps a table's rows.
pub(crate) fn is_kept(runtime: &Runtime, catalog: &Snapshot, table: &Source) -> bool {
    catalog.writers(&table.name).iter().any(|id| keeps(runtime, id, table).is_some())
}

/// The query that keeps a table's rows, and which of its sub-topologies does.
fn keeper(runtime: &Runtime, catalog: &Snapshot, table: &Source) -> Option<(Arc<RunningQuery>, u32)> {
    let mut ids = catalog.writers(&table.name).into_iter().chain([materialize_id(&table.name)]);
    ids.find_map(|id| keeps(runtime, &id, table))
}

/// The query of that id, if it keeps the table's rows, and which of its sub-topologies does.
fn keeps(runtime: &Runtime, id: &str, table: &Source) -> Option<(Arc<RunningQuery>, u32)> {
    let query = runtime.query(id)?;
    let is_filled_by = |sub: &&SubTopology| sub.table_sink().is_some_and(|sink| sink.sink == table.name);
    let sub = query.plan.as_ref()?.topology.sub_topologies.iter().find(is_filled_by)?;
    sub.table_store(id)?;
    let sub = sub.id;
    Some((query, sub))
}

/// What has a table's rows here.
#[derive(Debug, Clone)]
pub struct StoredTable {
    /// How they are read.
    pub rows: Arc<TableRows>,
    /// Where they lie; `None`: nothing has been stored yet.
    pub store: Option<StoreId>,
}

/// Of a table; `None`: the query that is to keep its rows has not been started yet.
pub(crate) fn stored_table(runtime: &Runtime, catalog: &Snapshot, table: &Source) -> Result<Option<StoredTable>> {
    let find = |name: &str| runtime.storage.state.find_store(name);
    if let Some((query, sub)) = keeper(runtime, catalog, table)
        && let Some(sub) = query.sub_topology(sub)
    {
        let store = sub.table_store(&query.id).and_then(|name| find(&name));
        return Ok(Some(StoredTable { rows: query.table_rows(sub)?, store }));
    }
    let store = find(&table.table_store());
    if store.is_none() && !catalog.writers(&table.name).is_empty() {
        return Ok(None);
    }
    let rows = TableRows::stored(&millpond_planner::schema::layout(table))?;
    Ok(Some(StoredTable { rows: Arc::new(rows), store }))
}
