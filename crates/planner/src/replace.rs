//! CREATE OR REPLACE: whether a new query can go on from the state and the rows of the old one.
//!
//! ```text
//!   sources ─► filter, project ─► table, join, aggregate, repartition ─► filter, project ─► sink
//!   └────────────────── stay as they are ───────────────────────────┘  └─ may change for a stream ─┘
//! ```
//!
//! RPL-1  what a store or a repartition topic holds is read with the plan that wrote it.
//! RPL-2  all rows of a table come from one query: only the same one replaces it.
//! RPL-3  a stream's columns keep what they mean; columns may be added at the end, and WHERE may change where nothing is kept.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use millpond_catalog::{Snapshot, Source, SourceKind};
use millpond_streams::topology::{
    AggregateSpec, Emit, Node, OperatorSpec, Phase, SourceColumn, StreamTableJoinSpec, SubTopology, Topology,
};

use crate::lower::column_index;
use crate::persistent::query_id;
use crate::{Error, Result, topology_of};

/// Whether the query `id`, planned to `new`, may take the place of the one that fills the source of `sink`'s name.
pub(crate) fn check_query(sink: &Source, id: &str, new: &Topology, snapshot: &Snapshot) -> Result<()> {
    let Some(old_sink) = snapshot.sources.get(&sink.name).filter(|old| old.kind == sink.kind) else { return Ok(()) };
    if old_sink.topic == sink.topic && old_sink.partitions != sink.partitions {
        let (topic, existing, wanted) = (sink.topic.clone(), old_sink.partitions, sink.partitions);
        return Err(millpond_catalog::Error::Partitions { topic, existing, wanted }.into());
    }
    match snapshot.queries.get(id) {
        Some(query) => {
            let old = topology_of(query, snapshot)
                .map_err(|error| refusal(&sink.name, &format!("its query cannot be planned any more to compare with: {error}")))?;
            check_plans(old_sink, &old, sink, new)
        }
        // Its rows are stored with the columns they have.
        None if sink.kind == SourceKind::Table && old_sink.columns != sink.columns => {
            Err(refusal(&sink.name, "a table's columns cannot change"))
        }
        None => Ok(()),
    }
}

/// Whether a declaration may take the place of the source that is there: not while that is filled by a query of its own.
pub(crate) fn check_declaration(source: &Source, snapshot: &Snapshot) -> Result<()> {
    let own = [SourceKind::Stream, SourceKind::Table].map(|kind| query_id(kind, &source.name));
    match own.iter().find(|id| snapshot.queries.contains_key(*id)) {
        Some(id) => Err(refusal(&source.name, &format!("it is filled by query {id}, not declared"))),
        None => Ok(()),
    }
}

/// Whether the queries that read `source` can go on when `after` comes: at the next start they are planned with its new columns.
pub(crate) fn check_readers(source: &str, before: &Snapshot, after: &Snapshot) -> Result<()> {
    let columns = |snapshot: &Snapshot| snapshot.sources.get(source).map(|source| source.columns.clone());
    if columns(before).is_none() || columns(before) == columns(after) {
        return Ok(());
    }
    for id in before.readers(source) {
        let query = before.query(&id)?;
        // One that does not plan has nothing to go on from; one that is replaced is compared by itself.
        let Ok(old) = topology_of(query, before) else { continue };
        if after.queries.get(&id) != Some(query) {
            continue;
        }
        let goes_on = topology_of(query, after).is_ok_and(|new| View(&old).clauses(false).changed(&View(&new).clauses(false)).is_empty());
        if !goes_on {
            return Err(Error::unsupported(format!("cannot replace \"{source}\": query {id} keeps its rows with the columns they have"))
                .hint(format!("Stop it first and make it again afterwards: TERMINATE {id};")));
        }
    }
    Ok(())
}

fn check_plans(old_sink: &Source, old: &Topology, sink: &Source, new: &Topology) -> Result<()> {
    let table = sink.kind == SourceKind::Table;
    let (before, after) = (View(old), View(new));
    let mut changed: Vec<String> = before.clauses(table).changed(&after.clauses(table)).into_iter().map(str::to_string).collect();
    if changed.is_empty() && table && old_sink.columns != sink.columns {
        changed.push("columns".to_string());
    }
    if changed.is_empty() && !table {
        changed = before.changed_columns(&after, old_sink);
    }
    let kept_in = |topology: &Topology| {
        let sink = topology.sub_topologies.iter().find_map(SubTopology::table_sink);
        sink.and_then(|sink| sink.table.as_ref().map(std::mem::discriminant))
    };
    // What has the rows of a table follows from these.
    if changed.is_empty() && kept_in(old) != kept_in(new) {
        changed.push("timestamp, or retention".to_string());
    }
    match changed.as_slice() {
        [] => Ok(()),
        changed => Err(refusal(&sink.name, &format!("its query cannot change its {}", changed.join(", ")))),
    }
}

fn refusal(name: &str, reason: &str) -> Error {
    Error::unsupported(format!("cannot replace \"{name}\": {reason}")).hint("DROP it and CREATE it again; its topic can be kept.")
}

/// What state depends on, by the clause that says it, in texts that can be compared.
#[derive(Debug, Default)]
struct Clauses {
    from: Vec<String>,
    filters: Vec<String>,
    having: Vec<String>,
    window: Vec<String>,
    emit: Vec<String>,
    group: Vec<String>,
    aggregates: Vec<String>,
    /// Everything else: projections, and each node's columns.
    columns: Vec<String>,
}

impl Clauses {
    fn parts(&self) -> [(&'static str, &Vec<String>); 8] {
        [
            ("FROM", &self.from),
            ("WHERE", &self.filters),
            ("WINDOW", &self.window),
            ("EMIT", &self.emit),
            ("GROUP BY", &self.group),
            ("aggregates", &self.aggregates),
            ("HAVING", &self.having),
            ("columns", &self.columns),
        ]
    }

    /// Which clauses differ. The columns follow from all others: they are told only when they alone differ.
    fn changed(&self, new: &Clauses) -> Vec<&'static str> {
        let pairs = self.parts().into_iter().zip(new.parts());
        let mut changed: Vec<&'static str> = pairs.filter(|((_, old), (_, new))| old != new).map(|((name, _), _)| name).collect();
        if changed.len() > 1 {
            changed.retain(|name| *name != "columns");
        }
        changed
    }
}

/// A node of a topology: the sub-topology's position and the node's.
#[derive(Debug, Clone, Copy)]
struct At {
    sub: usize,
    node: usize,
}

/// A topology whose columns are followed back to where they come from: two plans may read a source's columns at different positions.
struct View<'a>(&'a Topology);

impl View<'_> {
    /// Of the nodes that keep something and those that feed them; of all nodes when `whole`. Sources count always.
    fn clauses(&self, whole: bool) -> Clauses {
        let mut clauses = Clauses::default();
        for (sub, sub_topology) in self.0.sub_topologies.iter().enumerate() {
            let kept = kept(sub_topology);
            for (node, spec) in sub_topology.nodes.iter().enumerate() {
                if let OperatorSpec::StreamSource(source) | OperatorSpec::TableSource(source) = &spec.operator {
                    clauses.from.push(format!("{} over {}", source.source, source.topic));
                }
                if whole || kept[node] {
                    self.add(At { sub, node }, &mut clauses);
                }
            }
        }
        clauses
    }

    fn add(&self, at: At, clauses: &mut Clauses) {
        let node = self.node(at);
        match &node.operator {
            // What a sink is like, its source's columns say.
            OperatorSpec::Sink(_) | OperatorSpec::Push => return,
            OperatorSpec::StreamSource(_) | OperatorSpec::TableSource(_) | OperatorSpec::Merge => {}
            OperatorSpec::RepartitionSource { topic, upstream_partitions, table } => {
                clauses.columns.push(format!("{topic} of {upstream_partitions}, table: {table}"));
            }
            OperatorSpec::RepartitionSink(spec) => {
                clauses.columns.push(format!("{} in {} by {:?} as {:?}", spec.topic, spec.partitions, spec.key, spec.key_format));
            }
            OperatorSpec::Filter { predicate } => {
                let predicate = self.expression(predicate, input(node, at, 0));
                if self.is_behind_aggregate(at) { clauses.having.push(predicate) } else { clauses.filters.push(predicate) }
            }
            OperatorSpec::Project { expressions } => clauses.columns.push(self.list(expressions, input(node, at, 0))),
            OperatorSpec::Aggregate(spec) | OperatorSpec::TableAggregate(spec) => self.add_aggregate(spec, input(node, at, 0), clauses),
            OperatorSpec::StreamTableJoin(spec) => clauses.from.push(self.join(spec, node, at)),
        }
        let fields: Vec<String> = node.schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
        clauses.columns.push(format!("{}: {}", node.id, fields.join(", ")));
    }

    /// `Phase::Final` repeats what its `Phase::Partial` says, over columns that are no longer there.
    fn add_aggregate(&self, spec: &AggregateSpec, input: At, clauses: &mut Clauses) {
        clauses.window.push(format!("{:?}", spec.window));
        clauses.emit.push(format!("final: {}", spec.emit == Emit::Final));
        if spec.phase == Phase::Final {
            return;
        }
        clauses.group.push(self.list(&spec.group, input));
        for call in &spec.aggregates {
            let function = &call.function;
            let filter = call.filter.as_ref().map(|filter| self.expression(filter, input));
            clauses.aggregates.push(format!(
                "{}({}) distinct: {}, ignore nulls: {}, filter: {filter:?}",
                function.fun().name(),
                self.list(&function.expressions(), input),
                function.is_distinct(),
                function.ignore_nulls()
            ));
        }
    }

    fn join(&self, spec: &StreamTableJoinSpec, node: &Node, at: At) -> String {
        let keys = self.list(&spec.stream_key, input(node, at, 0));
        let filter = spec.filter.as_ref().map(|filter| self.expression(filter, at));
        format!("join left: {}, {keys} = {:?}, filter: {filter:?}", spec.left, spec.table_key)
    }

    /// The columns of `sink` that `new` makes of something else.
    fn changed_columns(&self, new: &View<'_>, sink: &Source) -> Vec<String> {
        let (old, new) = (self.sink_columns(), new.sink_columns());
        let changed = sink.columns.iter().zip(old.iter().zip(&new)).filter(|(_, (old, new))| old != new);
        changed.map(|(column, _)| format!("column \"{}\"", column.name)).collect()
    }

    /// Where each of the sink's columns comes from.
    fn sink_columns(&self) -> Vec<String> {
        let Some(sub) = self.0.sub_topologies.len().checked_sub(1) else { return Vec::new() };
        let nodes = self.0.sub_topologies[sub].nodes.iter().enumerate();
        nodes
            .filter_map(|(node, spec)| match &spec.operator {
                OperatorSpec::Sink(sink) => Some((input(spec, At { sub, node }, 0), sink)),
                _ => None,
            })
            .flat_map(|(input, sink)| sink.columns.iter().map(move |column| self.origin(input, *column).to_string()))
            .collect()
    }

    fn node(&self, at: At) -> &Node {
        &self.0.sub_topologies[at.sub].nodes[at.node]
    }

    fn is_behind_aggregate(&self, at: At) -> bool {
        let before = &self.0.sub_topologies[at.sub].nodes[..at.node];
        before.iter().any(|node| matches!(node.operator, OperatorSpec::Aggregate(_) | OperatorSpec::TableAggregate(_)))
    }

    fn list(&self, expressions: &[Arc<dyn PhysicalExpr>], input: At) -> String {
        expressions.iter().map(|expression| self.expression(expression, input)).collect::<Vec<_>>().join(", ")
    }

    /// The expression's text, its columns named by where they come from.
    fn expression(&self, expression: &Arc<dyn PhysicalExpr>, input: At) -> String {
        self.resolved(expression, input).to_string()
    }

    fn resolved(&self, expression: &Arc<dyn PhysicalExpr>, input: At) -> Arc<dyn PhysicalExpr> {
        // From the leaves up: what takes a column's place is not looked at again.
        let resolved = Arc::clone(expression).transform_up(|part| match column_index(&part) {
            Some(index) => Ok(Transformed::yes(self.origin(input, index))),
            None => Ok(Transformed::no(part)),
        });
        resolved.map_or_else(|_| Arc::clone(expression), |resolved| resolved.data)
    }

    /// What a node's column is made of: an expression over columns of sources, joins' sides and aggregates.
    fn origin(&self, at: At, index: usize) -> Arc<dyn PhysicalExpr> {
        let node = self.node(at);
        match &node.operator {
            OperatorSpec::StreamSource(spec) | OperatorSpec::TableSource(spec) => match spec.columns[index] {
                SourceColumn::Declared(declared) => leaf(&format!("{}.{}", spec.source, spec.layout.columns[declared].name())),
                pseudo => leaf(&format!("{}.{pseudo:?}", spec.source)),
            },
            OperatorSpec::RepartitionSource { topic, .. } => match self.writer(topic) {
                Some(sink) => self.origin(sink, index),
                None => leaf(&format!("{topic}.{index}")),
            },
            OperatorSpec::Project { expressions } => self.resolved(&expressions[index], input(node, at, 0)),
            OperatorSpec::Merge => {
                let origin = |port: usize| self.origin(input(node, at, port), index).to_string();
                leaf(&(0..node.inputs.len()).map(origin).collect::<Vec<_>>().join(" | "))
            }
            OperatorSpec::StreamTableJoin(_) => {
                let (stream, table) = (input(node, at, 0), input(node, at, 1));
                let own = self.node(stream).schema.fields().len();
                if index < own { self.origin(stream, index) } else { self.origin(table, index - own) }
            }
            OperatorSpec::Aggregate(_) | OperatorSpec::TableAggregate(_) => {
                leaf(&format!("{}.{}", node.id, node.schema.field(index).name()))
            }
            OperatorSpec::Filter { .. } | OperatorSpec::RepartitionSink(_) | OperatorSpec::Sink(_) | OperatorSpec::Push => {
                self.origin(input(node, at, 0), index)
            }
        }
    }

    /// The node that writes a repartition topic.
    fn writer(&self, topic: &str) -> Option<At> {
        self.0.sub_topologies.iter().enumerate().find_map(|(sub, sub_topology)| {
            let writes = |node: &Node| matches!(&node.operator, OperatorSpec::RepartitionSink(spec) if &*spec.topic == topic);
            sub_topology.nodes.iter().position(writes).map(|node| At { sub, node })
        })
    }
}

fn leaf(name: &str) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(name, 0))
}

fn input(node: &Node, at: At, port: usize) -> At {
    At { node: node.inputs[port], ..at }
}

/// For each node, whether it keeps something or feeds a node that does.
fn kept(sub_topology: &SubTopology) -> Vec<bool> {
    let mut kept: Vec<bool> = sub_topology.nodes.iter().map(|node| keeps(&node.operator)).collect();
    for (index, node) in sub_topology.nodes.iter().enumerate().rev() {
        if kept[index] {
            for input in &node.inputs {
                kept[*input] = true;
            }
        }
    }
    kept
}

/// Whether a store or a topic of the query's own holds rows of the operator.
fn keeps(operator: &OperatorSpec) -> bool {
    match operator {
        OperatorSpec::TableSource(_)
        | OperatorSpec::RepartitionSource { .. }
        | OperatorSpec::RepartitionSink(_)
        | OperatorSpec::Aggregate(_)
        | OperatorSpec::TableAggregate(_)
        | OperatorSpec::StreamTableJoin(_) => true,
        OperatorSpec::StreamSource(_)
        | OperatorSpec::Filter { .. }
        | OperatorSpec::Project { .. }
        | OperatorSpec::Merge
        | OperatorSpec::Sink(_)
        | OperatorSpec::Push => false,
    }
}
