//! The leaf of every plan: rows of a stream, a table or a system table, read from the statement's [`Moment`].
//!
//! ```text
//!   Rows::open(partition, sources)─► batches ─► the filters that were pushed down ─► projection ─► limit
//! ```

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};

use crate::system::Sources;

/// Batches that are read one after the other.
pub type Steps = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// Batches of one partition, in order.
pub enum Batches {
    /// So few reads that they are done where the query runs.
    Quick(Steps),
    /// Each is read on a thread for blocking work.
    Blocking(Steps),
    /// Some come from elsewhere.
    Stream(BoxStream<'static, Result<RecordBatch>>),
}

impl Batches {
    pub fn none() -> Batches {
        Batches::Quick(Box::new(std::iter::empty()))
    }

    pub fn map(self, change: impl Fn(RecordBatch) -> Result<RecordBatch> + Send + 'static) -> Batches {
        match self {
            Batches::Quick(steps) => Batches::Quick(Box::new(steps.map(move |batch| change(batch?)))),
            Batches::Blocking(steps) => Batches::Blocking(Box::new(steps.map(move |batch| change(batch?)))),
            Batches::Stream(batches) => Batches::Stream(batches.map(move |batch| change(batch?)).boxed()),
        }
    }

    pub fn into_stream(self) -> BoxStream<'static, Result<RecordBatch>> {
        match self {
            Batches::Quick(steps) => stream::iter(steps).boxed(),
            Batches::Blocking(steps) => blocking(steps).boxed(),
            Batches::Stream(batches) => batches,
        }
    }
}

/// Where a [`Scan`] gets its rows.
pub trait Rows: fmt::Debug + Send + Sync {
    /// The columns of the batches that `open` gives.
    fn schema(&self) -> SchemaRef;

    fn partitions(&self) -> usize {
        1
    }

    /// For EXPLAIN: the source and how it is reached.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    fn open(&self, partition: usize, sources: &Arc<Sources>) -> Result<Batches>;
}

#[derive(Debug)]
pub struct Scan {
    rows: Arc<dyn Rows>,
    /// Over the columns of `rows`.
    filter: Option<Arc<dyn PhysicalExpr>>,
    projection: Option<Vec<usize>>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl Scan {
    pub fn new(
        rows: Arc<dyn Rows>,
        filter: Option<Arc<dyn PhysicalExpr>>,
        projection: Option<Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Scan> {
        let schema = match &projection {
            Some(columns) => Arc::new(rows.schema().project(columns)?),
            None => rows.schema(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(rows.partitions().max(1)),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Scan { rows, filter, projection, limit, properties: Arc::new(properties) })
    }
}

impl DisplayAs for Scan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.describe(f)?;
        if let Some(filter) = &self.filter {
            write!(f, " filter=[{filter}]")?;
        }
        if let Some(limit) = self.limit {
            write!(f, " limit={limit}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for Scan {
    fn name(&self) -> &str {
        "Scan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>, _: ReplaceChildrenOptions) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let sources = context
            .session_config()
            .get_extension::<Sources>()
            .ok_or_else(|| DataFusionError::Internal("a scan was run without a moment to read".to_string()))?;
        let shape = Shape { filter: self.filter.clone(), projection: self.projection.clone(), left: self.limit };
        let batches = match self.rows.open(partition, &sources)? {
            Batches::Quick(steps) => stream::iter(Shaped { steps, shape }).boxed(),
            Batches::Blocking(steps) => blocking(Shaped { steps, shape }).boxed(),
            Batches::Stream(batches) => shaped(batches, shape).boxed(),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// Each of `steps` on a thread for blocking work.
fn blocking(steps: impl Iterator<Item = Result<RecordBatch>> + Send + 'static) -> impl Stream<Item = Result<RecordBatch>> {
    stream::try_unfold(steps, |mut steps| async move {
        let (steps, batch) = tokio::task::spawn_blocking(move || {
            let batch = steps.next().transpose();
            (steps, batch)
        })
        .await
        .map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?;
        Ok(batch?.map(|batch| (batch, steps)))
    })
}

fn shaped(batches: BoxStream<'static, Result<RecordBatch>>, shape: Shape) -> impl Stream<Item = Result<RecordBatch>> {
    stream::try_unfold((batches, shape), |(mut batches, mut shape)| async move {
        while shape.left != Some(0) {
            let Some(batch) = batches.next().await else { break };
            let batch = shape.apply(batch?)?;
            if batch.num_rows() > 0 {
                return Ok(Some((batch, (batches, shape))));
            }
        }
        Ok(None)
    })
}

/// The rows that `filter` lets through.
pub fn select(filter: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<RecordBatch> {
    let kept = filter.evaluate(batch)?.into_array(batch.num_rows())?;
    Ok(filter_record_batch(batch, kept.as_boolean())?)
}

/// What is done to each batch.
struct Shape {
    filter: Option<Arc<dyn PhysicalExpr>>,
    projection: Option<Vec<usize>>,
    /// Rows that may still come.
    left: Option<usize>,
}

impl Shape {
    fn apply(&mut self, mut batch: RecordBatch) -> Result<RecordBatch> {
        if let Some(filter) = &self.filter {
            batch = select(filter, &batch)?;
        }
        if let Some(projection) = &self.projection {
            batch = batch.project(projection)?;
        }
        if let Some(left) = &mut self.left {
            batch = batch.slice(0, batch.num_rows().min(*left));
            *left -= batch.num_rows();
        }
        Ok(batch)
    }
}

struct Shaped {
    steps: Steps,
    shape: Shape,
}

impl Iterator for Shaped {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        while self.shape.left != Some(0) {
            match self.steps.next()?.and_then(|batch| self.shape.apply(batch)) {
                Ok(batch) if batch.num_rows() == 0 => continue,
                given => return Some(given),
            }
        }
        None
    }
}
