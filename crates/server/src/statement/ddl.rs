//! CREATE, DROP, INSERT INTO … SELECT, TERMINATE, PAUSE, RESUME, ALTER QUERY: planned here, carried out by the engine.

use millpond_catalog::{Command, QueryState};
use millpond_planner::Persistent;
use millpond_sql::Statement;
use millpond_sql::ast::{self, Action, SourceKind};
use millpond_streams::Topology;

use super::Answer;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::session::Session;

pub async fn create_source(
    session: &mut Session,
    interrupt: &mut Interrupt<'_>,
    create: &ast::CreateSource,
    statement: &Statement,
) -> Result<Answer> {
    let tag = create_tag(create.kind);
    session.outside_transaction(&tag)?;
    if create.if_not_exists && exists(session, &create.name) {
        return Ok(Answer::Done(tag));
    }
    let command = millpond_planner::create_source(create, &statement.text, &session.engine().catalog(), &session.plan_settings())
        .map_err(|error| Error::planned(error, statement.offset))?;
    execute(session, interrupt, command, None).await?;
    Ok(Answer::Done(tag))
}

pub async fn create_as(
    session: &mut Session,
    interrupt: &mut Interrupt<'_>,
    create: &ast::CreateAs,
    statement: &Statement,
) -> Result<Answer> {
    let tag = create_tag(create.kind);
    session.outside_transaction(&format!("{tag} AS"))?;
    if create.if_not_exists && exists(session, &create.name) {
        return Ok(Answer::Done(tag));
    }
    let Persistent { command, topology } =
        millpond_planner::create_as(create, &statement.text, &session.engine().catalog(), &session.plan_settings())
            .map_err(|error| Error::planned(error, statement.offset))?;
    execute(session, interrupt, command, Some(topology)).await?;
    Ok(Answer::Done(tag))
}

pub async fn insert_select(
    session: &mut Session,
    interrupt: &mut Interrupt<'_>,
    insert: &ast::InsertSelect,
    statement: &Statement,
) -> Result<Answer> {
    session.outside_transaction("INSERT INTO … SELECT")?;
    let Persistent { command, topology } =
        millpond_planner::insert_select(insert, &statement.text, &session.engine().catalog(), &session.plan_settings())
            .map_err(|error| Error::planned(error, statement.offset))?;
    if let Command::Insert { query } = &command {
        session.notice(format!("query \"{}\" writes to \"{}\" until it is terminated", query.id, query.sink));
    }
    execute(session, interrupt, command, Some(topology)).await?;
    // Clients take a tag that begins with INSERT apart, and want two numbers in it.
    Ok(Answer::Done("CREATE QUERY".to_string()))
}

pub async fn drop(session: &mut Session, interrupt: &mut Interrupt<'_>, drop: &ast::Drop) -> Result<Answer> {
    let kind = kind(drop.kind);
    let tag = format!("DROP {}", kind.to_uppercase());
    session.outside_transaction(&tag)?;
    let catalog = session.engine().catalog();
    let source = match catalog.source(&drop.name) {
        Ok(source) => source,
        Err(_) if drop.if_exists => {
            session.notice(format!("{kind} \"{}\" does not exist, skipping", drop.name));
            return Ok(Answer::Done(tag));
        }
        Err(error) => return Err(error.into()),
    };
    if source.kind.to_string() != kind {
        return Err(Error::new("42809", format!("\"{}\" is not a {kind}", drop.name)).hint(format!(
            "Use DROP {} to remove a {}.",
            source.kind.to_string().to_uppercase(),
            source.kind
        )));
    }
    if drop.delete_topic && source.read_only {
        return Err(
            Error::new("42809", format!("the topic of SOURCE {kind} \"{}\" cannot be deleted", drop.name)).hint("Leave DELETE TOPIC out.")
        );
    }
    let command = Command::Drop { name: drop.name.clone(), delete_topic: drop.delete_topic };
    execute(session, interrupt, command, None).await?;
    Ok(Answer::Done(tag))
}

pub async fn lifecycle(session: &mut Session, interrupt: &mut Interrupt<'_>, action: Action, query: Option<&str>) -> Result<Answer> {
    let tag = match action {
        Action::Terminate => "TERMINATE",
        Action::Pause => "PAUSE",
        Action::Resume => "RESUME",
    };
    session.outside_transaction(tag)?;
    let catalog = session.engine().catalog();
    let queries: Vec<String> = match query {
        Some(id) => vec![catalog.query(id)?.id.clone()],
        None => catalog.queries.keys().cloned().collect(),
    };
    for query in queries {
        let command = match action {
            Action::Terminate => Command::Terminate { query },
            Action::Pause => Command::Query { query, state: QueryState::Paused },
            Action::Resume => Command::Query { query, state: QueryState::Running },
        };
        execute(session, interrupt, command, None).await?;
    }
    Ok(Answer::Done(tag.to_string()))
}

pub async fn reset(session: &mut Session, interrupt: &mut Interrupt<'_>, reset: &ast::ResetQuery) -> Result<Answer> {
    let tag = "ALTER QUERY";
    session.outside_transaction(tag)?;
    let (engine, reset) = (session.engine().clone(), reset.clone());
    interrupt.block(move || engine.reset(&reset)).await?;
    Ok(Answer::Done(tag.to_string()))
}

async fn execute(session: &Session, interrupt: &mut Interrupt<'_>, command: Command, topology: Option<Topology>) -> Result<()> {
    let engine = session.engine().clone();
    interrupt.block(move || engine.execute(command, topology)).await
}

fn exists(session: &mut Session, name: &str) -> bool {
    let exists = session.engine().catalog().sources.contains_key(name);
    if exists {
        session.notice(format!("relation \"{name}\" already exists, skipping"));
    }
    exists
}

fn kind(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Stream => "stream",
        SourceKind::Table => "table",
    }
}

fn create_tag(created: SourceKind) -> String {
    format!("CREATE {}", kind(created).to_uppercase())
}
