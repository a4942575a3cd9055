//! A stream as a table: the rows its topic still has.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt};
use datafusion::physical_plan::ExecutionPlan;
use millpond_catalog::Source;
use millpond_log::{FetchLimit, TopicPartition};
use millpond_planner::schema;
use millpond_sql::Dialect;
use millpond_streams::operator::record::Decodings;
use millpond_streams::operator::source::{Content, Source as _};
use millpond_streams::operator::stream_source::StreamSource;
use millpond_streams::topology::{OnDataLoss, OnError, SourceSpec};

use crate::Moment;
use crate::bounds::{self, Bound};
use crate::scan::{Batches, Rows, Scan};
use crate::system::Sources;

/// What one step of a scan reads at most.
const STEP: FetchLimit = FetchLimit::of(65_536, 16 << 20);

#[derive(Debug)]
pub struct StreamTable {
    source: Arc<Source>,
    dialect: Dialect,
    schema: SchemaRef,
}

impl StreamTable {
    pub fn new(source: Arc<Source>, dialect: Dialect) -> StreamTable {
        let schema = schema::source_schema(&source, dialect);
        StreamTable { source, dialect, schema }
    }

    fn pseudo(&self, filter: &Expr) -> Option<(Pseudo, Vec<Bound>)> {
        let (column, bounds) = bounds::of(filter)?;
        if column == self.dialect.fold(schema::ROWPARTITION) {
            Some((Pseudo::Partition, bounds))
        } else if column == self.dialect.fold(schema::ROWOFFSET) {
            Some((Pseudo::Offset, bounds))
        } else {
            None
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Pseudo {
    Partition,
    Offset,
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.pseudo(filter) {
            Some(_) => TableProviderFilterPushDown::Exact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut partitions: Vec<u32> = (0..self.source.partitions).collect();
        let mut offsets = Offsets { from: 0, to: u64::MAX };
        for (pseudo, bounds) in filters.iter().filter_map(|filter| self.pseudo(filter)) {
            for bound in &bounds {
                match pseudo {
                    Pseudo::Partition => partitions.retain(|partition| within(i64::from(*partition), bound)),
                    Pseudo::Offset => offsets.narrow(bound),
                }
            }
        }
        let is_header = |index: &usize| self.source.columns.get(*index).is_some_and(|column| column.header.is_some());
        let headers =
            projection.map_or_else(|| self.source.header_columns().next().is_some(), |projection| projection.iter().any(is_header));
        let rows =
            StreamRows { source: self.source.clone(), dialect: self.dialect, schema: self.schema.clone(), partitions, offsets, headers };
        let filter = filter(state, &self.schema, filters)?;
        Ok(Arc::new(Scan::new(Arc::new(rows), filter, projection.cloned(), limit)?))
    }
}

/// The conjunction of `filters` over the columns of `schema`.
pub(crate) fn filter(state: &dyn Session, schema: &SchemaRef, filters: &[Expr]) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let schema = DFSchema::try_from(schema.as_ref().clone())?;
    let physical = filters.iter().map(|filter| state.create_physical_expr(filter.clone(), &schema)).collect::<Result<Vec<_>>>()?;
    Ok(conjunction_opt(physical))
}

/// Whether `value` can satisfy `bound`; a bound of no number excludes nothing here.
fn within(value: i64, bound: &Bound) -> bool {
    let compare =
        |bound: &datafusion::common::ScalarValue, holds: fn(i64, i64) -> bool| bounds::integer(bound).is_none_or(|n| holds(value, n));
    match bound {
        Bound::Among(values) => values.iter().any(|among| compare(among, |value, n| value == n)),
        Bound::AtLeast(least, _) => compare(least, |value, n| value >= n),
        Bound::AtMost(most, _) => compare(most, |value, n| value <= n),
    }
}

/// `from..to`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Offsets {
    from: u64,
    to: u64,
}

impl Offsets {
    fn narrow(&mut self, bound: &Bound) {
        let offset = |value| bounds::integer(value).map(|offset| offset.max(0) as u64);
        match bound {
            Bound::Among(values) => {
                let values: Option<Vec<u64>> = values.iter().map(offset).collect();
                if let Some(values) = values
                    && let (Some(first), Some(last)) = (values.iter().min(), values.iter().max())
                {
                    self.from = self.from.max(*first);
                    self.to = self.to.min(last + 1);
                }
            }
            Bound::AtLeast(value, _) => self.from = self.from.max(offset(value).unwrap_or(0)),
            Bound::AtMost(value, _) => self.to = self.to.min(offset(value).map_or(u64::MAX, |offset| offset.saturating_add(1))),
        }
    }
}

#[derive(Debug)]
struct StreamRows {
    source: Arc<Source>,
    dialect: Dialect,
    schema: SchemaRef,
    partitions: Vec<u32>,
    offsets: Offsets,
    /// Whether somebody looks at a header column.
    headers: bool,
}

impl StreamRows {
    fn decoder(&self, partition: u32) -> Result<StreamSource> {
        let columns = schema::source_columns(&self.source, self.dialect, self.source.window.is_some());
        let spec = SourceSpec {
            source: self.source.name.clone(),
            topic: self.source.topic.as_str().into(),
            layout: schema::layout(&self.source),
            columns: columns.into_iter().map(|(_, column)| column).collect(),
            timestamp: schema::timestamp_column(&self.source),
            on_error: OnError::Skip,
            on_data_loss: OnDataLoss::Earliest,
            idle_timeout_ms: None,
        };
        StreamSource::new(&spec, "pull", &self.schema, partition, &Decodings::default()).map_err(external)
    }
}

impl Rows for StreamRows {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn partitions(&self) -> usize {
        self.partitions.len()
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamScan: {}", self.source.name)?;
        if self.partitions.len() < self.source.partitions as usize {
            write!(f, " partitions={:?}", self.partitions)?;
        }
        if self.offsets.from > 0 {
            write!(f, " from_offset={}", self.offsets.from)?;
        }
        if self.offsets.to < u64::MAX {
            write!(f, " to_offset={}", self.offsets.to)?;
        }
        Ok(())
    }

    fn open(&self, partition: usize, sources: &Arc<Sources>) -> Result<Batches> {
        let moment = Arc::clone(&sources.moment);
        let Some(partition) = self.partitions.get(partition).copied() else { return Ok(Batches::none()) };
        let at = TopicPartition { topic: self.source.topic.as_str().into(), partition };
        let range = match moment.state.offsets(&at) {
            // The topic is made with its first record.
            Err(millpond_state::Error::Log(millpond_log::Error::UnknownTopic(_))) if self.source.is_dead_letters() => {
                return Ok(Batches::none());
            }
            range => range.map_err(external)?,
        };
        let reader = Reader {
            decoder: self.decoder(partition)?,
            next: self.offsets.from.max(range.start),
            end: self.offsets.to.min(range.end),
            limit: FetchLimit { headers: self.headers, ..STEP },
            at,
            moment,
            fetched: Vec::new().into_iter(),
        };
        Ok(Batches::Blocking(Box::new(reader)))
    }
}

struct Reader {
    decoder: StreamSource,
    at: TopicPartition,
    next: u64,
    end: u64,
    limit: FetchLimit,
    moment: Arc<Moment>,
    fetched: std::vec::IntoIter<millpond_log::Fetched>,
}

impl Reader {
    fn step(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(fetched) = self.fetched.next() else {
                if self.next >= self.end {
                    return Ok(None);
                }
                let fetch = self.moment.state.fetch(&self.at, self.next, self.limit).map_err(external)?;
                self.next = fetch.next_offset;
                self.fetched = fetch.entries.into_iter();
                continue;
            };
            if let Content::Records(records) = self.decoder.decode(&fetched).map_err(external)?.content {
                return Ok(Some(records.batch.rows));
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.step().transpose()
    }
}

pub(crate) fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// `value` for each of `rows` rows.
pub(crate) fn constant(value: i32, rows: usize) -> ArrayRef {
    Arc::new(Int32Array::from(vec![value; rows]))
}

#[cfg(test)]
mod tests {
    use datafusion::common::ScalarValue;

    use super::*;

    #[test]
    fn offsets_narrow_to_what_the_bounds_say() {
        let mut offsets = Offsets { from: 0, to: u64::MAX };
        offsets.narrow(&Bound::AtLeast(ScalarValue::from(5i64), true));
        offsets.narrow(&Bound::AtMost(ScalarValue::from(9i64), true));
        assert_eq!(offsets, Offsets { from: 5, to: 10 });
        offsets.narrow(&Bound::Among(vec![ScalarValue::from(7i64), ScalarValue::from(6i64)]));
        assert_eq!(offsets, Offsets { from: 6, to: 8 });
        assert!(within(3, &Bound::Among(vec![ScalarValue::from(3i32)])));
        assert!(!within(3, &Bound::AtMost(ScalarValue::from(2i64), true)));
    }
}
