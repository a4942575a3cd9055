//! Makes a task of a sub-topology's description.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millpond_log::Append;
use millpond_state::StoreConfig;

use super::input::{Description, Queue};
use super::position::{Positions, positions_store};
use super::{Step, Stores, Task};
use crate::operator::aggregate::Aggregate;
use crate::operator::filter::Filter;
use crate::operator::merge::Merge;
use crate::operator::project::Project;
use crate::operator::push::Push;
use crate::operator::repartition::{RepartitionSink, RepartitionSource};
use crate::operator::session::SessionAggregate;
use crate::operator::sink::Sink;
use crate::operator::source::Source;
use crate::operator::store::StoreHandle;
use crate::operator::stream_source::StreamSource;
use crate::operator::stream_table_join::StreamTableJoin;
use crate::operator::table_aggregate::TableAggregate;
use crate::operator::table_source::TableSource;
use crate::operator::{Counters, Operator};
use crate::time::StreamTime;
use crate::topology::{AggregateSpec, Node, OnDataLoss, OperatorSpec, Phase, SourceSpec, TableStore, WindowKind};
use crate::{Error, Result, SubTopology};

/// What the nodes of one task are made with.
struct Builder<'a> {
    query: &'a str,
    sub_topology: &'a SubTopology,
    partition: u32,
    stores: &'a Stores,
    positions: Positions,
    /// Of the last commit.
    restored: StreamTime,
    inputs: Vec<Queue>,
}

impl Task {
    /// Opens the stores (named `query/node`, tables' sinks as they say) and stands where the last commit left it.
    pub fn build(query: &str, sub_topology: &SubTopology, partition: u32, stores: &Stores) -> Result<Task> {
        let id = format!("{query}/{}/{partition}", sub_topology.id);
        if partition >= sub_topology.partitions {
            return Err(Error::Topology(format!("there is no task {id}: its sub-topology has {} partitions", sub_topology.partitions)));
        }
        let positions = positions_store(query, sub_topology.id);
        let config = StoreConfig::keep(sub_topology.partitions);
        let positions = Positions::new(StoreHandle::open(&stores.backend, &positions, partition, config)?);
        let (clock, restored) = positions.clock()?;
        let mut builder = Builder { query, sub_topology, partition, stores, positions, restored, inputs: Vec::new() };
        let mut steps = Vec::with_capacity(sub_topology.nodes.len());
        let mut readers = vec![Vec::new(); sub_topology.nodes.len()];
        for (index, node) in sub_topology.nodes.iter().enumerate() {
            for (port, input) in node.inputs.iter().enumerate() {
                if *input >= index {
                    return Err(Error::Topology(format!("node {} reads one that stands behind it", node.id)));
                }
                readers[*input].push((index, port));
            }
            steps.push(builder.step(index, node)?);
        }
        let Builder { mut inputs, positions, .. } = builder;
        if inputs.is_empty() {
            return Err(Error::Topology(format!("task {id} reads nothing")));
        }
        // A row of a stream is to meet the table of its time. No other operator asks in which order channels are taken.
        if inputs.iter().any(|input| input.table) && inputs.iter().any(|input| !input.table) {
            inputs.iter_mut().for_each(Queue::merge_channels);
        }
        Ok(Task {
            id,
            partition,
            nodes: sub_topology.nodes.iter().map(|node| node.id.clone()).collect::<Vec<String>>().into(),
            steps,
            readers,
            tables_only: inputs.iter().all(|input| input.table),
            inputs,
            positions,
            clock,
            appends: Vec::<Append>::new(),
            incidents: Vec::new(),
            counters: Counters::default(),
            dirty: false,
            fault: None,
        })
    }
}

impl Builder<'_> {
    fn step(&mut self, index: usize, node: &Node) -> Result<Step> {
        let inputs = match node.operator {
            OperatorSpec::StreamSource(_) | OperatorSpec::TableSource(_) | OperatorSpec::RepartitionSource { .. } => 0..=0,
            OperatorSpec::StreamTableJoin(_) => 2..=2,
            OperatorSpec::Merge => 1..=usize::MAX,
            _ => 1..=1,
        };
        if !inputs.contains(&node.inputs.len()) {
            return Err(Error::Topology(format!("node {} has {} inputs", node.id, node.inputs.len())));
        }
        let partition = self.partition;
        let description = |topic: &Arc<str>, table, upstream_partitions| Description {
            topic: topic.clone(),
            partition,
            node: index,
            id: node.id.clone(),
            table,
            upstream_partitions,
            on_data_loss: OnDataLoss::Earliest,
            idle_timeout_ms: None,
        };
        let of_source = |spec: &SourceSpec, table| Description {
            on_data_loss: spec.on_data_loss,
            idle_timeout_ms: spec.idle_timeout_ms,
            ..description(&spec.topic, table, None)
        };
        Ok(match &node.operator {
            OperatorSpec::StreamSource(spec) => {
                let source = StreamSource::new(spec, &node.id, &node.schema, partition, &self.stores.decodings)?;
                self.source(of_source(spec, false), Box::new(source))?
            }
            OperatorSpec::TableSource(spec) => {
                let source = self.table_source(node, spec)?;
                self.source(of_source(spec, true), Box::new(source))?
            }
            OperatorSpec::RepartitionSource { topic, upstream_partitions, table } => {
                let source = RepartitionSource::new(&node.schema, *table);
                self.source(description(topic, *table, Some(*upstream_partitions)), Box::new(source))?
            }
            operator => {
                let operator = self.operator(index, node, operator)?;
                if let Some(layout) = operator.layout() {
                    self.positions.check_layout(&node.id, layout)?;
                }
                Step::Operator(operator)
            }
        })
    }

    fn operator(&mut self, index: usize, node: &Node, operator: &OperatorSpec) -> Result<Box<dyn Operator>> {
        Ok(match operator {
            OperatorSpec::Filter { predicate } => Box::new(Filter::new(predicate.clone())),
            OperatorSpec::Project { expressions } => Box::new(Project::new(expressions, &node.schema)?),
            OperatorSpec::Merge => Box::new(Merge::new(&node.schema)),
            OperatorSpec::Aggregate(spec) => self.aggregate(index, node, spec)?,
            OperatorSpec::TableAggregate(spec) => {
                Box::new(TableAggregate::new(spec, self.schema(node, 0), &node.schema, self.open(node)?)?)
            }
            OperatorSpec::StreamTableJoin(spec) => {
                let (stream, table) = (self.schema(node, 0), self.schema(node, 1));
                Box::new(StreamTableJoin::new(spec, stream, table, &node.schema, self.open(node)?)?)
            }
            OperatorSpec::RepartitionSink(spec) => Box::new(RepartitionSink::new(spec, self.partition, self.restored)),
            OperatorSpec::Sink(spec) => Box::new(Sink::new(spec, &self.stores.backend, self.partition, self.restored.millis())?),
            OperatorSpec::Push => match &self.stores.subscriber {
                Some(subscriber) => Box::new(Push::new(subscriber.clone())),
                None => return Err(Error::Topology("there is nobody to push to".to_owned())),
            },
            OperatorSpec::StreamSource(_) | OperatorSpec::TableSource(_) | OperatorSpec::RepartitionSource { .. } => {
                return Err(Error::Topology(format!("source {} has an input", node.id)));
            }
        })
    }

    fn aggregate(&mut self, index: usize, node: &Node, spec: &AggregateSpec) -> Result<Box<dyn Operator>> {
        let input = self.schema(node, 0);
        let is_table = self.sub_topology.table_sink().is_some_and(|sink| sink.table == Some(TableStore::Aggregate(index)));
        Ok(match (spec.window.map(|window| window.kind), spec.phase) {
            (Some(WindowKind::Session { .. }), _) => Box::new(SessionAggregate::new(spec, input, &node.schema, self.open(node)?)?),
            (_, Phase::Partial) => Box::new(Aggregate::new(spec, input, &node.schema, None)?),
            _ if is_table => {
                let store = self.open_for(node, None)?;
                Box::new(Aggregate::new(spec, input, &node.schema, Some(store))?.keeping_groups())
            }
            _ => Box::new(Aggregate::new(spec, input, &node.schema, Some(self.open(node)?))?),
        })
    }

    fn table_source(&mut self, node: &Node, spec: &SourceSpec) -> Result<TableSource> {
        let keys = spec.layout.columns.iter().take(spec.layout.key_columns).map(|field| field.data_type());
        let values = node.schema.fields().iter().map(|field| field.data_type());
        let types: Vec<String> = keys.chain(values).map(ToString::to_string).collect();
        self.positions.check_layout(&node.id, types.join(","))?;
        let rows = self.open(node)?.overlay();
        TableSource::new(spec, &node.id, &node.schema, self.partition, &self.stores.decodings, rows)
    }

    fn source(&mut self, description: Description, mut source: Box<dyn Source>) -> Result<Step> {
        let saved = self.positions.input(&description.id, &description.topic)?;
        let queue = Queue::new(description, saved.as_ref());
        source.restore(queue.channels.get(0).and_then(|channel| channel.time_ms));
        self.inputs.push(queue);
        Ok(Step::Source(source))
    }

    /// The node's own store.
    fn open(&self, node: &Node) -> Result<StoreHandle> {
        let window = match &node.operator {
            OperatorSpec::Aggregate(spec) => spec.window,
            _ => None,
        };
        self.open_for(node, window.map(|window| window.retention_ms))
    }

    fn open_for(&self, node: &Node, retention_ms: Option<i64>) -> Result<StoreHandle> {
        let config = StoreConfig { partitions: self.sub_topology.partitions, retention_ms };
        StoreHandle::open(&self.stores.backend, &node.store(self.query), self.partition, config)
    }

    fn schema(&self, node: &Node, port: usize) -> &SchemaRef {
        &self.sub_topology.nodes[node.inputs[port]].schema
    }
}
