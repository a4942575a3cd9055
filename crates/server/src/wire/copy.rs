//! The data of a COPY FROM STDIN.

use futures::SinkExt;
use pgwire::api::PgWireConnectionState;
use pgwire::error::{PgWireError, PgWireResult};

use super::connection::Connection;
use super::{Client, send, simple};
use crate::error::Error;
use crate::statement::write;

pub async fn data(connection: &Connection, data: &[u8]) -> PgWireResult<()> {
    let mut session = connection.session().await;
    let Some((copy, _)) = &mut session.copy else { return Err(unexpected()) };
    if let Err(error) = copy.push(data) {
        session.copy = None;
        session.failed();
        return Err(error.into());
    }
    Ok(())
}

/// Appends what was read, then goes on with the message the COPY was in.
pub async fn done<C: Client>(connection: &Connection, client: &mut C) -> PgWireResult<()> {
    let mut session = connection.session().await;
    let Some((copy, pending)) = session.copy.take() else { return Err(unexpected()) };
    let mut interrupt = connection.interrupt().await;
    let written = match copy.finish() {
        Ok((writes, rows)) => write::write(&mut session, &mut interrupt, writes).await.map(|()| rows),
        Err(error) => Err(error),
    };
    let rows = written.map_err(|error| {
        session.failed();
        PgWireError::from(error)
    })?;
    send::complete(client, format!("COPY {rows}")).await?;
    client.set_transaction_status(session.transaction_status());
    // The library takes the connection out of the copy state by itself, so a second COPY of the message could not be read.
    let second = pending.statements.iter().any(|statement| {
        matches!(&statement.kind, millpond_sql::ast::Kind::Copy(copy) if matches!(copy.direction, millpond_sql::ast::CopyDirection::From { .. }))
    });
    if second {
        session.failed();
        return Err(Error::unsupported("a message can have one COPY FROM STDIN").hint("Send the statements one by one.").into());
    }
    let state = client.state();
    simple::statements(client, &mut session, &mut interrupt, pending).await?;
    if !matches!(client.state(), PgWireConnectionState::CopyInProgress(_)) {
        client.set_state(state);
    }
    client.flush().await.map_err(Into::into)
}

pub async fn fail(connection: &Connection, reason: &str) -> PgWireError {
    let mut session = connection.session().await;
    session.copy = None;
    session.failed();
    Error::new("57014", format!("COPY from stdin failed: {reason}")).into()
}

fn unexpected() -> PgWireError {
    Error::new("08P01", "COPY data came without a COPY").into()
}
