//! What has the rows of a query's table.
//!
//! ```text
//!   aggregate, by the table's key ─► HAVING ─► SELECT list ─► sink      the aggregate's store: each row follows from its group
//!   the same, begun anew; a table that was there before    ─► sink      the table's topic only: it has rows that the query does not know
//!   anything else                                          ─► sink      the sink's own store
//! ```
//! A group's state is read for each of its rows, and outlasts its window as its row does: it is to be about as large as the row, and where
//! there are windows, each of them is to give one.

use std::slice;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::Volatility;
use datafusion::physical_expr::expressions::CastExpr;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use millpond_catalog::{Snapshot, Source};
use millpond_streams::topology::{AggregateSpec, Emit, OperatorSpec, Phase, RecordLayout, TableStore, WindowKind};

use crate::Result;
use crate::lower::{Flow, column_index};
use crate::schema::timestamp_column;

/// Of the table `sink` of a query. The flow gives its columns in their order, and behind them its window's bounds. `forgets`: windows go when their
/// retention is over.
pub(crate) fn table_store(
    query: &str,
    flow: &Flow,
    sink: &Source,
    layout: &RecordLayout,
    forgets: bool,
    snapshot: &Snapshot,
) -> Result<TableStore> {
    if snapshot.has_rows_before(query, &sink.name) {
        return Ok(TableStore::Topic);
    }
    let aggregate = match timestamp_column(sink) {
        None if !forgets && flow.partitions == sink.partitions => aggregate_of(flow, layout)?,
        _ => None,
    };
    let begins_anew = snapshot.queries.get(query).is_some_and(|query| query.reset.is_some());
    Ok(match aggregate {
        Some(_) if begins_anew => TableStore::Topic,
        Some(node) => TableStore::Aggregate(node),
        None => TableStore::Own(sink.table_store()),
    })
}

/// The node whose groups are the rows.
fn aggregate_of(flow: &Flow, layout: &RecordLayout) -> Result<Option<usize>> {
    let bounds = if layout.windowed.is_some() { 2 } else { 0 };
    // Where the table's key is among a node's columns.
    let mut key: Vec<usize> = (0..layout.key_columns).chain((0..bounds).map(|bound| layout.columns.len() + bound)).collect();
    let mut at = flow.output;
    loop {
        let node = &flow.nodes[at];
        match &node.operator {
            OperatorSpec::Filter { predicate } if bounds == 0 && repeat(slice::from_ref(predicate))? => {}
            OperatorSpec::Project { expressions } if repeat(expressions)? => {
                let before = |(at, column): (usize, &usize)| {
                    let expression = &expressions[*column];
                    column_index(if at < layout.key_columns { expression } else { uncast(expression) })
                };
                match key.iter().enumerate().map(before).collect() {
                    Some(before) => key = before,
                    None => return Ok(None),
                }
            }
            OperatorSpec::Aggregate(spec) => {
                let groups = node.schema.fields().len() - bounds - spec.aggregates.len();
                let is_key = groups == layout.key_columns && key.iter().copied().eq(0..groups + bounds);
                let of_one_type = node.schema.fields().iter().zip(&layout.columns[..layout.key_columns]);
                let is_encoded_alike = of_one_type.into_iter().all(|(group, key)| group.data_type() == key.data_type());
                return Ok((gives_changes(spec) && is_key && is_encoded_alike && is_small(spec)?).then_some(at));
            }
            _ => return Ok(None),
        }
        match node.inputs.as_slice() {
            [input] => at = *input,
            _ => return Ok(None),
        }
    }
}

/// A window's bound as the aggregate gives it: dialects have it as other types of the same milliseconds.
fn uncast(expression: &Arc<dyn PhysicalExpr>) -> &Arc<dyn PhysicalExpr> {
    expression.downcast_ref::<CastExpr>().map_or(expression, |cast| uncast(cast.expr()))
}

/// Whether the expressions give the same again for the same row.
fn repeat(expressions: &[Arc<dyn PhysicalExpr>]) -> Result<bool> {
    let varies = |expression: &Arc<dyn PhysicalExpr>| {
        let function = expression.downcast_ref::<ScalarFunctionExpr>();
        function.is_some_and(|function| function.fun().signature().volatility != Volatility::Immutable)
    };
    for expression in expressions {
        if expression.exists(|expression| Ok(varies(expression)))? {
            return Ok(false);
        }
    }
    Ok(true)
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
