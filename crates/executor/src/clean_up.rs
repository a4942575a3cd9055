//! What a query leaves behind when it is gone or begins anew.

use millpond_catalog::Snapshot;
use millpond_log::{Log, is_repartition};

use crate::runtime::Runtime;
use crate::{Result, topics};

/// The query's stores (positions and counters among them) and repartition topics.
pub(crate) fn query(runtime: &Runtime, catalog: &Snapshot, id: &str) -> Result<()> {
    // A query may be called `table`, as the stores of tables begin.
    let is_of_table = |name: &str| catalog.sources.values().any(|source| source.table_store() == name);
    for (name, _) in runtime.storage.state.stores()? {
        if is_of(&name, id, catalog, |id| format!("{id}/")) && !is_of_table(&name) {
            runtime.storage.state.drop_store(&name)?;
        }
    }
    let log: &dyn Log = &*runtime.storage.log;
    let service = &runtime.config.service_id;
    for topic in log.topics()? {
        if is_repartition(&topic.name) && is_of(&topic.name, id, catalog, |id| format!("_millpond-{service}-{id}-")) {
            topics::delete(log, &topic.name)?;
        }
    }
    Ok(())
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
