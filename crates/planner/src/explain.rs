//! EXPLAIN of a topology: its sub-topologies as trees, each from its sink down to its sources.

use datafusion::physical_expr::PhysicalExpr;
use millpond_streams::topology::{
    AggregateSpec, Emit, Node, OperatorSpec, Phase, SourceSpec, SubTopology, TableStore, Topology, WindowKind, WindowSpec,
};
use std::sync::Arc;

/// One line for each node, indented by two spaces for each step towards the sources.
pub fn explain(topology: &Topology) -> Vec<String> {
    let mut lines = vec![format!("Query {}", topology.query)];
    for sub_topology in &topology.sub_topologies {
        lines.push(format!("Sub-topology {} ({} tasks)", sub_topology.id, sub_topology.partitions));
        if let Some(last) = sub_topology.nodes.len().checked_sub(1) {
            tree(sub_topology, last, 1, &mut lines);
        }
    }
    lines
}

fn tree(sub_topology: &SubTopology, index: usize, depth: usize, lines: &mut Vec<String>) {
    let node = &sub_topology.nodes[index];
    lines.push(format!("{}{}", "  ".repeat(depth), line(sub_topology, node)));
    for input in &node.inputs {
        tree(sub_topology, *input, depth + 1, lines);
    }
}

fn line(sub_topology: &SubTopology, node: &Node) -> String {
    match &node.operator {
        OperatorSpec::StreamSource(spec) => format!("StreamSource: {}", source(spec, node)),
        OperatorSpec::TableSource(spec) => format!("TableSource: {}, store={}", source(spec, node), node.id),
        OperatorSpec::RepartitionSource { topic, .. } => format!("RepartitionSource: topic={topic}"),
        OperatorSpec::Filter { predicate } => format!("Filter: {predicate}"),
        OperatorSpec::Project { expressions } => format!("Project: {}", project(node, expressions)),
        OperatorSpec::Merge => "Merge".to_string(),
        OperatorSpec::Aggregate(spec) => format!("{}: {}", phase(spec.phase), aggregate(node, spec)),
        OperatorSpec::TableAggregate(spec) => format!("TableAggregate: {}", aggregate(node, spec)),
        OperatorSpec::StreamTableJoin(spec) => {
            let kind = if spec.left { "left" } else { "inner" };
            format!("StreamTableJoin: {kind}, on=[{}], store={}", list(&spec.stream_key), node.id)
        }
        OperatorSpec::RepartitionSink(spec) => {
            let keys: Vec<&str> = spec.key.iter().map(|key| node.schema.field(*key).name().as_str()).collect();
            format!("RepartitionSink: topic={}, key=[{}], partitions={}", spec.topic, keys.join(", "), spec.partitions)
        }
        OperatorSpec::Sink(spec) => {
            let rows = match &spec.table {
                Some(TableStore::Own(name)) => format!(", store={name}"),
                Some(TableStore::Aggregate(node)) => format!(", store={}", sub_topology.nodes[*node].id),
                Some(TableStore::Topic) => ", read from its topic".to_string(),
                None => String::new(),
            };
            format!("Sink: {}, topic={}{rows}", spec.sink, spec.topic)
        }
        OperatorSpec::Push => "Push".to_string(),
    }
}

fn source(spec: &SourceSpec, node: &Node) -> String {
    let columns: Vec<&str> = node.schema.fields().iter().map(|field| field.name().as_str()).collect();
    format!("{}, topic={}, columns=[{}]", spec.source, spec.topic, columns.join(", "))
}

fn project(node: &Node, expressions: &[Arc<dyn PhysicalExpr>]) -> String {
    let items: Vec<String> = expressions
        .iter()
        .zip(node.schema.fields())
        .map(|(expression, field)| {
            let text = expression.to_string();
            if text.split('@').next() == Some(field.name()) { field.name().clone() } else { format!("{text} AS {}", field.name()) }
        })
        .collect();
    format!("[{}]", items.join(", "))
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Single => "Aggregate",
        Phase::Partial => "CombineAggregate",
        Phase::Final => "FinalAggregate",
    }
}

fn aggregate(node: &Node, spec: &AggregateSpec) -> String {
    let calls: Vec<&str> = spec.aggregates.iter().map(|call| call.function.name()).collect();
    let mut text = format!("group=[{}], aggregates=[{}]", list(&spec.group), calls.join(", "));
    if let Some(spec) = &spec.window {
        text.push_str(&format!(", window={}", window(spec)));
    }
    if spec.emit == Emit::Final {
        text.push_str(", emit=final");
    }
    if spec.phase != Phase::Partial {
        text.push_str(&format!(", store={}", node.id));
    }
    text
}

fn window(window: &WindowSpec) -> String {
    let grace = window.grace_ms;
    match window.kind {
        WindowKind::Time { size_ms, advance_ms } if size_ms == advance_ms => format!("tumbling({size_ms} ms, grace {grace} ms)"),
        WindowKind::Time { size_ms, advance_ms } => format!("hopping({size_ms} ms every {advance_ms} ms, grace {grace} ms)"),
        WindowKind::Session { gap_ms } => format!("session({gap_ms} ms, grace {grace} ms)"),
    }
}

fn list(expressions: &[Arc<dyn PhysicalExpr>]) -> String {
    expressions.iter().map(|expression| expression.to_string()).collect::<Vec<_>>().join(", ")
}
