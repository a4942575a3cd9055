//! Nodes and topologies of a line each.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use millpond_formats::Format;
use millpond_streams::topology::{Node, OnDataLoss, OnError, OperatorSpec, RecordLayout, SinkSpec, SourceColumn, SourceSpec, TableStore};
use millpond_streams::{SubTopology, Topology};

/// `k:Int64 v:Utf8`, as the driver's tables of text have it.
pub fn schema(columns: &str) -> SchemaRef {
    let field = |column: &str| {
        let (name, data_type) = column.split_once(':').unwrap();
        Field::new(name, data_type.parse().unwrap(), true)
    };
    Arc::new(Schema::new(columns.split_whitespace().map(field).collect::<Vec<_>>()))
}

pub fn layout(columns: &str, key_columns: usize) -> RecordLayout {
    let columns: Vec<FieldRef> = schema(columns).fields().to_vec();
    let format = Format::Native;
    RecordLayout {
        columns,
        key_columns,
        headers: Vec::new(),
        key_format: format.clone(),
        value_format: format,
        windowed: None,
        wrap_single_value: true,
    }
}

pub fn json(columns: &str, key_columns: usize) -> RecordLayout {
    RecordLayout { key_format: Format::Json, value_format: Format::Json, ..layout(columns, key_columns) }
}

/// All columns of the topic `name`.
pub fn source(name: &str, layout: RecordLayout) -> SourceSpec {
    SourceSpec {
        source: name.into(),
        topic: name.into(),
        columns: (0..layout.columns.len()).map(SourceColumn::Declared).collect(),
        layout,
        timestamp: None,
        on_error: OnError::Skip,
        on_data_loss: OnDataLoss::Earliest,
        idle_timeout_ms: Some(1_000),
    }
}

/// Writes all columns; a table's store is named `table/name`.
pub fn sink(name: &str, layout: RecordLayout, partitions: u32, table: bool) -> SinkSpec {
    SinkSpec {
        sink: name.into(),
        topic: name.into(),
        partitions,
        columns: (0..layout.columns.len()).collect(),
        layout,
        window: None,
        table: table.then(|| TableStore::Own(format!("table/{name}"))),
        retention_ms: None,
        timestamp: None,
        emit_every_update: false,
        store_only: false,
    }
}

pub fn node(id: &str, operator: OperatorSpec, inputs: &[usize], schema: &SchemaRef) -> Node {
    Node { id: id.into(), operator, inputs: inputs.to_vec(), schema: schema.clone() }
}

pub fn sub_topology(id: u32, partitions: u32, nodes: Vec<Node>) -> SubTopology {
    SubTopology { id, partitions, nodes }
}

pub fn topology(sub_topologies: Vec<SubTopology>) -> Topology {
    Topology { query: "query".into(), sub_topologies }
}

/// One sub-topology of one partition.
pub fn line(nodes: Vec<Node>) -> Topology {
    topology(vec![sub_topology(0, 1, nodes)])
}

/// Lines without what indents them in the source.
pub fn lines(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}
