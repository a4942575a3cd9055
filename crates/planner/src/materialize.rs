//! The internal query that keeps a declared table's rows for pull queries.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use millpond_catalog::Source;
use millpond_streams::topology::{Node, OperatorSpec, SinkSpec, SourceColumn, SubTopology, TableStore, Topology};

use crate::lower::scan::source_spec;
use crate::persistent::time_field;
use crate::schema::layout;

/// Of that table. Its id is `materialize_<table>`.
pub fn materialize(table: &Source) -> Topology {
    let layout = layout(table);
    let mut columns: Vec<SourceColumn> = (0..layout.columns.len()).map(SourceColumn::Declared).collect();
    let mut fields: Vec<FieldRef> = layout.columns.clone();
    let window = layout.windowed.map(|_| {
        columns.extend([SourceColumn::WindowStart, SourceColumn::WindowEnd]);
        fields.extend([time_field("windowstart"), time_field("windowend")]);
        (fields.len() - 2, fields.len() - 1)
    });
    let schema = Arc::new(Schema::new(fields));
    let sink = SinkSpec {
        sink: table.name.clone(),
        topic: table.topic.as_str().into(),
        partitions: table.partitions,
        columns: (0..layout.columns.len()).collect(),
        layout,
        window,
        table: Some(TableStore::Own(table.table_store())),
        retention_ms: window.and(table.retention_ms),
        timestamp: None,
        emit_every_update: false,
        store_only: true,
    };
    let nodes = vec![
        Node {
            id: format!("source-{}", table.name),
            operator: OperatorSpec::TableSource(source_spec(table, columns, None)),
            inputs: vec![],
            schema: Arc::clone(&schema),
        },
        Node { id: "table".to_string(), operator: OperatorSpec::Sink(sink), inputs: vec![0], schema },
    ];
    let query = format!("materialize_{}", table.name);
    Topology { query, sub_topologies: vec![SubTopology { id: 0, partitions: table.partitions, nodes }] }
}
