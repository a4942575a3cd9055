//! The simple protocol: a message of statements, run one after another until one fails.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Sink, SinkExt};
use millpond_sql::Statement;
use pgwire::api::query::{SimpleQueryHandler, send_ready_for_query};
use pgwire::api::results::Response;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireConnectionState};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::EmptyQueryResponse;
use pgwire::messages::simplequery::Query;

use super::Client;
use super::connection::Connection;
use super::encode::Formats;
use super::{check_encoding, send};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::pg_catalog;
use crate::session::{Pending, Session};
use crate::statement::{self, Answer, Given, write};

#[async_trait]
impl SimpleQueryHandler for Connection {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let mut session = self.session().await;
        let mut interrupt = self.interrupt().await;
        // A pipeline without a Sync ends here.
        write::commit_implicit(&mut session, &mut interrupt).await?;
        session.implicit = None;
        message(client, &mut session, &mut interrupt, &query.query).await?;
        if !matches!(client.state(), PgWireConnectionState::CopyInProgress(_)) {
            client.set_state(PgWireConnectionState::ReadyForQuery);
            send_ready_for_query(client, session.transaction_status()).await?;
        }
        Ok(())
    }

    async fn do_query<C>(&self, _: &mut C, _: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        Err(Error::internal("messages are handled whole").into())
    }
}

async fn message<C: Client>(client: &mut C, session: &mut Session, interrupt: &mut Interrupt<'_>, text: &str) -> PgWireResult<()> {
    let parsed = match pg_catalog::queries(text) {
        Some(queries) => return catalog_queries(client, session, interrupt, queries).await,
        None => check_encoding(text).and_then(|()| Ok(millpond_sql::parse(text, session.dialect())?)),
    };
    let statements: VecDeque<_> = match parsed {
        Ok(statements) => statements.into(),
        Err(error) => {
            session.failed();
            client.set_transaction_status(session.transaction_status());
            return Err(error.into());
        }
    };
    if statements.is_empty() {
        return client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await.map_err(Into::into);
    }
    self::statements(client, session, interrupt, Pending { message: Arc::from(text), statements }).await
}

/// What psql and drivers ask of `pg_catalog` and `information_schema`.
async fn catalog_queries<C: Client>(
    client: &mut C,
    session: &mut Session,
    interrupt: &mut Interrupt<'_>,
    queries: Vec<pg_catalog::CatalogQuery>,
) -> PgWireResult<()> {
    for query in queries {
        let shared = Arc::clone(&session.shared);
        let rows = interrupt.guard(shared.pg_catalog.run(session, query)).await;
        let sent = match rows {
            Ok(rows) => send::answer(client, session, interrupt, Answer::Rows(rows), &Formats::Text).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = sent {
            session.failed();
            client.set_transaction_status(session.transaction_status());
            return Err(error);
        }
    }
    Ok(())
}

/// Runs what is left of a message. A COPY FROM STDIN takes the rest along until its data has come.
///
/// Several statements are a transaction: what they write is appended at the end of the message, or before a statement that does
/// anything else, which sees it then.
pub async fn statements<C: Client>(
    client: &mut C,
    session: &mut Session,
    interrupt: &mut Interrupt<'_>,
    mut pending: Pending,
) -> PgWireResult<()> {
    session.implicit = (pending.statements.len() > 1).then(Vec::new);
    while let Some(next) = pending.statements.pop_front() {
        let sent = match answer(session, interrupt, &next, &pending.message).await {
            Ok(Answer::CopyIn(copy)) => {
                session.implicit = None;
                send::copy_in(client, session, copy.columns(), false).await?;
                session.copy = Some((*copy, pending));
                return Ok(());
            }
            Ok(answer) => send::answer(client, session, interrupt, answer, &Formats::Text).await,
            Err(error) => Err(error.into()),
        };
        let sent = match sent {
            Ok(()) if pending.statements.is_empty() => write::commit_implicit(session, interrupt).await.map_err(PgWireError::from),
            sent => sent,
        };
        if let Err(error) = sent {
            send::notices(client, session).await?;
            session.failed();
            client.set_transaction_status(session.transaction_status());
            return Err(error);
        }
        client.set_transaction_status(session.transaction_status());
    }
    session.implicit = None;
    Ok(())
}

async fn answer(session: &mut Session, interrupt: &mut Interrupt<'_>, statement: &Statement, message: &str) -> Result<Answer> {
    write::commit_before(session, interrupt, statement).await?;
    if let Some(query) = pg_catalog::function_query(statement) {
        let shared = Arc::clone(&session.shared);
        return interrupt.guard(shared.pg_catalog.run(session, query)).await.map(Answer::Rows);
    }
    statement::run(session, interrupt, statement, Given { message, ..Given::default() }).await
}
