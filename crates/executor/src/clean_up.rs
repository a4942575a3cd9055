//! What a query leaves behind when it is gone or begins anew.

use millpond_catalog::Snapshot;
use millpond_log::{Log, is_repartition};

use crate::Result;
use crate::runtime::Runtime;

/// The query's stores (positions and counters among them) and repartition topics.
pub(crate) fn query(runtime: &Runtime, catalog: &Snapshot, id: &str) -> Result<()> {
    queries(runtime, catalog, &[id], Vec::new())
}

/// The same of several, and other stores, which a look at the log finds all together.
pub(crate) fn queries(runtime: &Runtime, catalog: &Snapshot, ids: &[&str], mut names: Vec<String>) -> Result<()> {
    for id in ids {
        names.extend(stores(runtime, catalog, id)?);
    }
    drop_all(runtime, catalog, ids, &names)
}

/// What queries that are in no catalog, and a table, have of `stores`, if anything.
pub(crate) fn left_behind(runtime: &Runtime, catalog: &Snapshot, ids: &[String], table: Option<&str>, stores: &[String]) -> Result<()> {
    let is_theirs = |name: &str| ids.iter().any(|id| is_store_of(name, id, catalog));
    let names: Vec<String> = stores.iter().filter(|name| table == Some(name) || is_theirs(name)).cloned().collect();
    if names.is_empty() {
        return Ok(());
    }
    tracing::warn!(?names, "cleaning up what was left behind");
    drop_all(runtime, catalog, &ids.iter().map(String::as_str).collect::<Vec<_>>(), &names)
}

/// Stores, and the repartition topics of queries.
fn drop_all(runtime: &Runtime, catalog: &Snapshot, ids: &[&str], names: &[String]) -> Result<()> {
    runtime.storage.state.drop_stores(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let log: &dyn Log = &*runtime.storage.log;
    let service = &runtime.config.service_id;
    let is_theirs = |topic: &str| ids.iter().any(|id| is_of(topic, id, catalog, |id| format!("_millpond-{service}-{id}-")));
    for topic in log.topics()?.iter().filter(|topic| is_repartition(&topic.name) && is_theirs(&topic.name)) {
        log.remove_topic(&topic.name)?;
    }
    Ok(())
}

/// What this process has of the query's stores.
pub(crate) fn here(runtime: &Runtime, catalog: &Snapshot, id: &str) -> Result<()> {
    for name in stores(runtime, catalog, id)? {
        runtime.storage.state.forget_store(&name)?;
    }
    Ok(())
}

fn stores(runtime: &Runtime, catalog: &Snapshot, id: &str) -> Result<Vec<String>> {
    let names = runtime.storage.state.stores()?.into_iter().map(|(name, _)| name);
    Ok(names.filter(|name| is_store_of(name, id, catalog)).collect())
}

fn is_store_of(name: &str, id: &str, catalog: &Snapshot) -> bool {
    // A query may be called `table`, as the stores of tables begin.
    let is_of_table = || catalog.sources.values().any(|source| source.table_store() == name);
    is_of(name, id, catalog, |id| format!("{id}/")) && !is_of_table()
}

/// Whether `name` begins as the names of query `id` do, and not as those of another whose id only begins like this one.
fn is_of(name: &str, id: &str, catalog: &Snapshot, prefix: impl Fn(&str) -> String) -> bool {
    let internal = catalog.sources.keys().map(|table| materialize_id(table));
    let mut others = catalog.queries.keys().cloned().chain(internal).filter(|other| other.len() > id.len());
    name.starts_with(&prefix(id)) && !others.any(|other| name.starts_with(&prefix(&other)))
}

/// The id of the internal query that keeps a declared table readable.
pub(crate) fn materialize_id(table: &str) -> String {
    format!("materialize_{table}")
}
