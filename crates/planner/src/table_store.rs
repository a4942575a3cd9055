//! Which store has the rows of a query's table.
//!
//! ```text
//!   aggregate, by the table's key ─► HAVING ─► SELECT list ─► sink      the aggregate's: each row follows from its group
//!   the same, of a query that has been reset               ─► sink      none: rows of before are in the table's topic only
//!   anything else                                          ─► sink      the sink's own
//! ```
//! A group's state then outlasts its window, for as long as its row does. That is no loss where it is about as large as the row.

use arrow::datatypes::DataType;
use millpond_catalog::{Snapshot, Source};
use millpond_streams::topology::{AggregateSpec, Emit, OperatorSpec, Phase, RecordLayout, TableStore, WindowKind};

use crate::Result;
use crate::lower::{Flow, column_index};
use crate::schema::timestamp_column;

/// Of the table `sink` of a query, whose columns, and behind them its window's bounds, the flow gives in their order. `forgets`: rows go with their windows.
pub(crate) fn table_store(
    query: &str,
    flow: &Flow,
    sink: &Source,
    layout: &RecordLayout,
    forgets: bool,
    snapshot: &Snapshot,
) -> Result<TableStore> {
    let is_reset = snapshot.queries.get(query).is_some_and(|query| query.reset.is_some());
    let aggregate = match timestamp_column(sink) {
        None if flow.partitions == sink.partitions => aggregate_of(flow, layout, forgets)?,
        _ => None,
    };
    Ok(match aggregate {
        Some(_) if is_reset => TableStore::Topic,
        Some(node) => TableStore::Aggregate(node),
        None => TableStore::Own(sink.table_store()),
    })
}

/// The node whose groups are the rows.
fn aggregate_of(flow: &Flow, layout: &RecordLayout, forgets: bool) -> Result<Option<usize>> {
    let bounds = if layout.windowed.is_some() { 2 } else { 0 };
    // Where the table's key is among a node's columns.
    let mut key: Vec<usize> = (0..layout.key_columns).chain((0..bounds).map(|bound| layout.columns.len() + bound)).collect();
    let mut at = flow.output;
    loop {
        let node = &flow.nodes[at];
        match &node.operator {
            OperatorSpec::Filter { .. } => {}
            OperatorSpec::Project { expressions } => match key.iter().map(|column| column_index(&expressions[*column])).collect() {
                Some(before) => key = before,
                None => return Ok(None),
            },
            OperatorSpec::Aggregate(spec) => {
                let groups = node.schema.fields().len() - bounds - spec.aggregates.len();
                let is_key = groups == layout.key_columns && key.iter().copied().eq(0..groups + bounds);
                let of_one_type = node.schema.fields().iter().zip(&layout.columns[..layout.key_columns]);
                let is_encoded_alike = of_one_type.into_iter().all(|(group, key)| group.data_type() == key.data_type());
                let is_kept = bounds == 0 || forgets || is_small(spec)?;
                return Ok((gives_changes(spec) && is_key && is_encoded_alike && is_kept).then_some(at));
            }
            _ => return Ok(None),
        }
        match node.inputs.as_slice() {
            [input] => at = *input,
            _ => return Ok(None),
        }
    }
}

/// Whether a group is given whenever it changes, and stays where it is.
fn gives_changes(spec: &AggregateSpec) -> bool {
    let session = spec.window.is_some_and(|window| matches!(window.kind, WindowKind::Session { .. }));
    spec.phase != Phase::Partial && spec.emit != Emit::Final && !session
}

/// Whether a group's state has no more than a few values, whatever the number of its rows.
fn is_small(spec: &AggregateSpec) -> Result<bool> {
    for call in &spec.aggregates {
        let states = call.function.state_fields()?;
        if states.iter().any(|state| state.data_type().is_nested() || matches!(state.data_type(), DataType::Binary | DataType::LargeBinary))
        {
            return Ok(false);
        }
    }
    Ok(true)
}
