//! SELECT: pull queries end, push queries go on.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use millpond_sql::ast;

use super::{BatchStream, Given, Rows, Tag};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::session::{Notice, Session};

pub async fn query(
    session: &mut Session,
    interrupt: &mut Interrupt<'_>,
    query: &ast::Query,
    given: &Given<'_>,
    offset: u32,
) -> Result<Rows> {
    let (schema, batches) = open(session, interrupt, query, given, offset).await?;
    if query.emit.is_some() && query.body.limit_clause.is_none() && !given.portal {
        session.notices.push(Notice {
            severity: "NOTICE",
            sqlstate: "00000",
            message: "rows come as they change, until the query is cancelled".to_string(),
            hint: Some(
                "psql shows the rows of a SELECT when it has ended: use COPY (SELECT …) TO STDOUT, or \\set FETCH_COUNT 1, to see them as they come."
                    .to_string(),
            ),
        });
    }
    Ok(Rows { schema, batches, tag: Tag::Counted("SELECT") })
}

/// The rows of any query, pull or push, and their columns.
pub async fn open(
    session: &Session,
    interrupt: &mut Interrupt<'_>,
    query: &ast::Query,
    given: &Given<'_>,
    offset: u32,
) -> Result<(SchemaRef, BatchStream)> {
    if query.emit.is_some() { push(session, interrupt, query, given, offset).await } else { pull(session, interrupt, query, given).await }
}

async fn pull(session: &Session, interrupt: &mut Interrupt<'_>, query: &ast::Query, given: &Given<'_>) -> Result<(SchemaRef, BatchStream)> {
    let serving = &session.shared.serving;
    let pull = match &given.pull {
        Some(pull) if pull.is_current(&session.engine().catalog()) => Arc::clone(pull),
        _ => {
            let settings = session.plan_settings();
            let prepared = async { serving.prepare(query, &settings).await.map_err(|error| Error::bound(error, given.message)) };
            Arc::new(interrupt.guard(prepared).await?)
        }
    };
    let rows = interrupt.guard(serving.run(&pull, session.run_with(given.parameters.clone()))).await?;
    let schema = rows.schema();
    Ok((schema, rows.map(|batch| batch.map_err(Error::from)).boxed()))
}

async fn push(
    session: &Session,
    interrupt: &mut Interrupt<'_>,
    query: &ast::Query,
    given: &Given<'_>,
    offset: u32,
) -> Result<(SchemaRef, BatchStream)> {
    if !given.parameters.is_empty() {
        return Err(Error::unsupported("a push query cannot have parameters").hint("Write the values into the statement."));
    }
    let plan = millpond_planner::push(query, &session.engine().catalog(), &session.plan_settings())
        .map_err(|error| Error::planned(error, offset))?;
    let engine = session.engine().clone();
    let from_earliest = session.settings.push_from_earliest();
    let schema = plan.schema;
    let rows = interrupt.block(move || millpond_serving::push(&engine, plan.topology, from_earliest, plan.limit)).await?;
    Ok((schema, rows.map(|batch| batch.map_err(Error::from)).boxed()))
}
