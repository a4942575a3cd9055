//! One read of a table's rows: from the state that is here, from other members, or both.
//!
//! ```text
//!   no peers ──────────────────────────────► StoreReader                       without further ado
//!   scope: some partitions ─► are they here ─► StoreReader                     what another member asks for
//!   scope: everywhere ─► owners ─┬─ all here ─► StoreReader
//!                                └─ else ─► a Gather for each owner, at the same time
//! ```

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use futures::StreamExt;
use futures::stream;
use millpond_catalog::Source;
use millpond_sql::Dialect;
use millpond_state::Snapshot;

use crate::access::{Access, Keys};
use crate::gather::Gather;
use crate::moment::Places;
use crate::peers::{groups, owner, share};
use crate::remote::select::{quoted, select};
use crate::remote::{Question, Remote};
use crate::scan::Batches;
use crate::store::{StoreReader, partitions_of};
use crate::system::Sources;
use crate::{Elsewhere, Error, Moment, Owner, Scope};

#[derive(Debug)]
pub struct TableRead {
    pub source: Arc<Source>,
    pub dialect: Dialect,
    pub schema: SchemaRef,
    pub access: Access,
    /// Whoever reads applies them; other members are spared what they take away.
    pub filters: Vec<Expr>,
    /// The only columns that anybody looks at.
    pub columns: Arc<[usize]>,
    /// Of rows that pass the filters, so many are enough.
    pub limit: Option<usize>,
}

impl TableRead {
    /// The rows that partition `index` of a scan is to give; without an index, all that the keys may have, or else the whole table.
    pub fn open(self: &Arc<Self>, index: Option<u32>, sources: &Arc<Sources>) -> Result<Batches> {
        match (&sources.scope, &sources.remote) {
            (Scope::Everywhere | Scope::Here, None) => {
                self.here(index.map(|index| vec![index]), &sources.moment, Arc::clone(&sources.moment.state))
            }
            (Scope::Everywhere, Some(remote)) => self.everywhere(index, sources, remote),
            (Scope::Here, Some(remote)) => self.what_is_here(index, &sources.moment, remote),
            (Scope::Partitions(listed), remote) => self.listed(index, listed, &sources.moment, remote.as_deref()),
        }
    }

    /// From `state`; `None`: all partitions.
    pub fn here(&self, partitions: Option<Vec<u32>>, moment: &Moment, state: Arc<dyn Snapshot>) -> Result<Batches> {
        let reader = StoreReader::new(&self.source, Arc::clone(&self.schema), moment, state)?;
        let steps = reader.read(&self.access, partitions)?;
        Ok(if self.access.is_lookup() { Batches::Quick(steps) } else { Batches::Blocking(steps) })
    }

    fn everywhere(self: &Arc<Self>, index: Option<u32>, sources: &Arc<Sources>, remote: &Arc<Remote>) -> Result<Batches> {
        let moment = &sources.moment;
        let Places { owners, as_of_state } = moment.places(&*remote.peers, &self.source);
        let mut groups = match index {
            Some(index) => vec![share(&owners, index)],
            None => groups(&owners, &self.wanted(None)?),
        };
        groups.retain(|group| !group.is_empty());
        if let [only] = groups.as_slice()
            && *owner(&owners, only[0]) == Owner::Here
        {
            if as_of_state {
                return self.here(Some(only.clone()), moment, Arc::clone(&moment.state));
            }
            match moment.state_with(&*remote.peers, &self.source, only) {
                Ok(state) => return self.here(Some(only.clone()), moment, state),
                // It has been moved since.
                Err(Error::Elsewhere(Elsewhere::NotHere { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let gather = |group| Gather::new(Arc::clone(self), Arc::clone(moment), Arc::clone(remote), group).rows();
        Ok(Batches::Stream(stream::select_all(groups.into_iter().map(gather)).boxed()))
    }

    fn what_is_here(&self, index: Option<u32>, moment: &Moment, remote: &Remote) -> Result<Batches> {
        let wanted = self.wanted(index)?;
        loop {
            let owners = remote.peers.owners(&self.source);
            let mine: Vec<u32> = wanted.iter().copied().filter(|partition| *owner(&owners, *partition) == Owner::Here).collect();
            match moment.state_with(&*remote.peers, &self.source, &mine) {
                Ok(state) => return self.here(Some(mine), moment, state),
                Err(Error::Elsewhere(Elsewhere::NotHere { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn listed(&self, index: Option<u32>, listed: &[u32], moment: &Moment, remote: Option<&Remote>) -> Result<Batches> {
        if let Some(none) = listed.iter().find(|partition| **partition >= self.source.partitions) {
            return Err(Elsewhere::NotHere { table: self.source.name.clone(), partition: *none }.into());
        }
        let mine: Vec<u32> = self.wanted(index)?.into_iter().filter(|partition| listed.contains(partition)).collect();
        let state = match remote {
            Some(remote) => moment.state_with(&*remote.peers, &self.source, &mine)?,
            None => Arc::clone(&moment.state),
        };
        self.here(Some(mine), moment, state)
    }

    fn wanted(&self, index: Option<u32>) -> Result<Vec<u32>> {
        match (index, &self.access.keys) {
            (Some(index), _) => Ok(vec![index]),
            (None, Keys::Lookup(tuples)) => partitions_of(&self.source, tuples),
            (None, _) => Ok((0..self.source.partitions).collect()),
        }
    }

    /// What the member that has `partitions` is asked.
    pub fn question(&self, partitions: &[u32]) -> Result<Question> {
        let schema = Arc::new(self.schema.project(&self.columns)?);
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let select = select(&quoted(&self.source.name), names, &self.filters, self.limit);
        Ok(Question { select, dialect: self.dialect, scope: Scope::Partitions(partitions.to_vec()), schema })
    }

    /// An answer's batch as a batch of the table: nulls where nobody looks.
    pub fn complete(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let column = |(place, field): (usize, &arrow::datatypes::FieldRef)| match self.columns.iter().position(|column| *column == place) {
            Some(given) => Arc::clone(batch.column(given)),
            None => new_null_array(field.data_type(), rows),
        };
        let columns = self.schema.fields().iter().enumerate().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// The columns that somebody looks at when `projection` and `filters` are: at least one.
pub fn looked_at(schema: &SchemaRef, projection: Option<&Vec<usize>>, filters: &[Expr]) -> Arc<[usize]> {
    let all = || (0..schema.fields().len()).collect();
    let mut columns: Vec<usize> = projection.cloned().unwrap_or_else(all);
    for name in filters.iter().flat_map(Expr::column_refs).map(|column| column.name.as_str()) {
        columns.extend(schema.index_of(name));
    }
    columns.sort_unstable();
    columns.dedup();
    if columns.is_empty() {
        // The last but one is `rowpartition`, the smallest there is.
        columns.push(schema.fields().len().saturating_sub(2));
    }
    columns.into()
}
