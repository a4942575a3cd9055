//! System tables that all members fill together. Who does not answer is left out, with a warning: an operator has to see the rest.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use futures::future::join_all;
use millpond_sql::Dialect;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::queries::{self, Query};
use super::{SCHEMA, Sharing, Sources, SystemTable, columns, members};
use crate::peers::GroupMember;
use crate::remote::select::{quoted, select};
use crate::remote::{Question, Remote};
use crate::{Elsewhere, Scope};

/// How long a member may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The rows of this member and of all others.
pub async fn rows(table: SystemTable, schema: &SchemaRef, sources: &Arc<Sources>) -> Result<Vec<RecordBatch>> {
    if matches!(table.sharing, Sharing::Queries) {
        return Ok(vec![queries::columns(&all_queries(sources).await?).finish(Arc::clone(schema))?]);
    }
    let (filled, described) = (Arc::clone(sources), Arc::clone(schema));
    let here = blocking(move || (table.fill)(&filled)?.finish(described));
    let (here, others) = tokio::join!(here, ask_others(table.name, schema, sources));
    let mut batches = vec![here?];
    let mut silent = Vec::new();
    for (member, answer) in &others {
        match answer {
            Ok(answer) if matches!(table.sharing, Sharing::Members) => {
                batches.extend(answer.iter().map(not_here).collect::<Result<Vec<_>>>()?);
            }
            Ok(answer) => batches.extend_from_slice(answer),
            Err(_) => silent.push(member),
        }
    }
    if matches!(table.sharing, Sharing::Members) {
        batches.push(members::silent(&silent).finish(Arc::clone(schema))?);
    }
    Ok(batches)
}

/// What the members together say of the queries.
pub async fn all_queries(sources: &Arc<Sources>) -> Result<Vec<Query>> {
    let here = Arc::clone(sources);
    let here = blocking(move || Ok(queries::here(&here)));
    let schema = columns::schema("queries", Dialect::Millpond);
    let (here, others) = tokio::join!(here, ask_others("queries", &schema, sources));
    let others = others.iter().flat_map(|(_, answer)| answer.iter().flatten()).flat_map(queries::read);
    Ok(queries::merged(here?.into_iter().chain(others)))
}

/// The answers of the other members, if there are any to be asked.
async fn ask_others(table: &str, schema: &SchemaRef, sources: &Sources) -> Vec<(GroupMember, Result<Vec<RecordBatch>, Elsewhere>)> {
    let Some(remote) = sources.others() else { return Vec::new() };
    let peers = Arc::clone(&remote.peers);
    let members = match blocking(move || Ok(peers.members()?)).await {
        Ok(members) => members,
        Err(error) => {
            sources.warnings.add(format!("the other members are not known, and their rows left out: {}", error.strip_backtrace()));
            return Vec::new();
        }
    };
    let this = remote.peers.this();
    let ask = async |member: GroupMember| {
        let asked = ask(remote, &member, table, schema);
        let answer = timeout(ANSWER_TIMEOUT, asked).await.unwrap_or_else(|_| {
            let reason = "it does not answer".to_string();
            Err(Elsewhere::Unreachable { peer: member.peer.clone(), reason })
        });
        if let Err(error) = &answer {
            sources.warnings.add(format!("{error}; its rows are left out"));
        }
        (member, answer)
    };
    join_all(members.into_iter().filter(|member| member.peer.instance != this.instance).map(ask)).await
}

async fn ask(remote: &Remote, member: &GroupMember, table: &str, schema: &SchemaRef) -> Result<Vec<RecordBatch>, Elsewhere> {
    let dialect = Dialect::Millpond;
    let columns = columns::schema(table, dialect);
    let names = columns.fields().iter().map(|field| field.name().as_str());
    let select = select(&format!("{SCHEMA}.{}", quoted(table)), names, &[], None);
    let mut answer = remote.ask(&member.peer, &Question { select, dialect, scope: Scope::Here, schema: Arc::clone(schema) }).await?;
    let mut batches = Vec::new();
    while let Some(batch) = answer.next().await? {
        batches.push(batch);
    }
    Ok(batches)
}

/// Each member takes itself to be here.
fn not_here(batch: &RecordBatch) -> Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    columns.pop();
    columns.push(Arc::new(BooleanArray::from(vec![false; batch.num_rows()])) as ArrayRef);
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
}
