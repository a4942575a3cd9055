//! `SELECT … EMIT CHANGES` outside of CREATE: a topology that ends at the client.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, SchemaRef};
use millpond_catalog::Snapshot;
use millpond_sql::ast;
use millpond_streams::Topology;
use millpond_streams::topology::{Emit, OperatorSpec};

use crate::bind::bind;
use crate::dead_letters::check_feedback;
use crate::lower::{Lowering, canonical, check_shape};
use crate::persistent::window_spec;
use crate::rewrite;
use crate::{Error, Result, Settings};

/// A push query, planned.
#[derive(Debug)]
pub struct Push {
    pub topology: Topology,
    /// The columns the client gets.
    pub schema: SchemaRef,
    pub limit: Option<u64>,
}

/// Plans `query`, which says EMIT CHANGES or EMIT FINAL.
pub fn push(query: &ast::Query, snapshot: &Snapshot, settings: &Settings) -> Result<Push> {
    let rewritten = rewrite::streaming(query, snapshot, settings)?;
    let bound = bind(&rewritten, snapshot, settings, query.window.is_some())?;
    if rewritten.reads.is_empty() {
        return Err(Error::unsupported("EMIT CHANGES needs a stream or table in FROM").hint("Leave EMIT CHANGES out."));
    }
    check_feedback(snapshot, snapshot, &rewritten.reads)?;
    check_shape(&bound.plan)?;
    let window = query.window.as_ref().map(|window| window_spec(window, query.emit)).transpose()?;
    if query.emit == Some(ast::Emit::Final) && window.is_none() {
        return Err(Error::new("42601", "EMIT FINAL needs a WINDOW").hint("Use EMIT CHANGES, or add a WINDOW clause."));
    }
    let schema = bound.plan.schema();
    let mut fields: Vec<FieldRef> = Vec::with_capacity(bound.visible);
    for field in schema.fields().iter().take(bound.visible) {
        fields.push(Arc::new(Field::new(field.name(), canonical(field.name(), field.data_type())?, true)));
    }
    let mut lowering = Lowering::new("push", snapshot, settings, &bound.state);
    lowering.window = window;
    if query.emit == Some(ast::Emit::Final) {
        lowering.emit = Emit::Final;
    }
    let flow = lowering.lower(&bound.plan)?;
    let columns: Vec<Option<usize>> = (0..bound.visible).map(Some).collect();
    let flow = lowering.select(flow, &columns, fields)?;
    let schema = Arc::clone(&flow.nodes[flow.output].schema);
    let sub_topologies = lowering.finish(flow, "push", OperatorSpec::Push);
    Ok(Push { topology: Topology { query: "push".to_string(), sub_topologies }, schema, limit: rewritten.limit })
}
