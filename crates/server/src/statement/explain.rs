//! EXPLAIN: how a pull query is read, or the topology of a streaming one.

use millpond_sql::Statement;
use millpond_sql::ast::{CopyDirection, Kind, Query};

use super::{Given, Rows, Tag, table};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::session::Session;

pub async fn statement(session: &Session, interrupt: &mut Interrupt<'_>, statement: &Statement, given: &Given<'_>) -> Result<Rows> {
    let catalog = session.engine().catalog();
    let settings = session.plan_settings();
    let planned = |error| Error::planned(error, statement.offset);
    let lines = match &statement.kind {
        Kind::Query(query) => of_query(session, interrupt, query, statement.offset, given).await?,
        Kind::Copy(copy) => match &copy.direction {
            CopyDirection::To { query } => of_query(session, interrupt, query, statement.offset, given).await?,
            CopyDirection::From { .. } => return Err(nothing_to_explain()),
        },
        Kind::CreateAs(create) => {
            let persistent = millpond_planner::create_as(create, &statement.text, &catalog, &settings).map_err(planned)?;
            millpond_planner::explain(&persistent.topology)
        }
        Kind::InsertSelect(insert) => {
            let persistent = millpond_planner::insert_select(insert, &statement.text, &catalog, &settings).map_err(planned)?;
            millpond_planner::explain(&persistent.topology)
        }
        _ => return Err(nothing_to_explain()),
    };
    rows(lines)
}

/// Of a query that runs.
pub fn query(session: &Session, id: &str) -> Result<Rows> {
    let catalog = session.engine().catalog();
    let query = catalog.query(id)?;
    let topology = millpond_planner::topology_of(query, &catalog).map_err(|error| Error::planned(error, 0))?;
    let mut lines = vec![query.sql.clone()];
    lines.extend(millpond_planner::explain(&topology));
    rows(lines)
}

async fn of_query(session: &Session, interrupt: &mut Interrupt<'_>, query: &Query, offset: u32, given: &Given<'_>) -> Result<Vec<String>> {
    let settings = session.plan_settings();
    if query.emit.is_some() {
        let push = millpond_planner::push(query, &session.engine().catalog(), &settings).map_err(|error| Error::planned(error, offset))?;
        return Ok(millpond_planner::explain(&push.topology));
    }
    let serving = &session.shared.serving;
    let lines = async {
        let pull = serving.prepare(query, &settings).await.map_err(|error| Error::bound(error, given.message))?;
        serving.explain(&pull).await.map_err(Error::from)
    };
    interrupt.guard(lines).await
}

fn rows(lines: Vec<String>) -> Result<Rows> {
    Ok(Rows::ready(table::lines("QUERY PLAN", lines)?, Tag::Plain("EXPLAIN")))
}

fn nothing_to_explain() -> Error {
    Error::new("42601", "EXPLAIN takes a query, CREATE … AS SELECT, INSERT INTO … SELECT, or the id of a query")
}
