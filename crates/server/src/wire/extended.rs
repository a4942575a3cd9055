//! The extended protocol: prepared statements, and portals that give their rows in portions.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use futures::{Sink, SinkExt};
use pgwire::api::portal::{Portal, PortalExecutionState};
use pgwire::api::query::{ExtendedQueryHandler, send_ready_for_query};
use pgwire::api::results::{QueryResponse, Response};
use pgwire::api::stmt::StoredStatement;
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended, Sync as SyncMessage,
    TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::EmptyQueryResponse;

use super::Client;
use super::connection::Connection;
use super::encode::{self, Formats};
use super::prepared::{Prepared, PreparedKind};
use super::types::pg_type;
use super::{parameters, send};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::session::{Pending, Session, Transaction};
use crate::statement::{self, Answer, Given, Rows, Tag, cursor, write};

#[async_trait]
impl ExtendedQueryHandler for Connection {
    type Statement = Prepared;
    type QueryParser = Connection;

    fn query_parser(&self) -> Arc<Connection> {
        Arc::new(self.clone())
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        if let Some(name) = &message.name
            && self.session().await.prepared.contains(name)
        {
            return Err(Error::new("42P05", format!("prepared statement \"{name}\" already exists")).into());
        }
        match StoredStatement::parse(client, &message, self.query_parser()).await? {
            Some(statement) => client.portal_store().put_statement(Arc::new(statement)),
            None => client.portal_store().put_empty_statement(message.name.as_deref().unwrap_or(DEFAULT_NAME)),
        }
        if let Some(name) = message.name {
            self.session().await.prepared.insert(name);
        }
        client.feed(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?;
        Ok(())
    }

    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        // A cursor that DECLARE made is a portal, too.
        if message.target_type == TARGET_TYPE_BYTE_PORTAL
            && let Some(name) = &message.name
            && client.portal_store().get_portal(name).is_none()
        {
            let schema = cursor::schema(&*self.session().await, name).map_err(|_| PgWireError::PortalNotFound(name.clone()))?;
            let fields = encode::fields(&schema, &Formats::Text)?;
            client.feed(PgWireBackendMessage::RowDescription(send::description(&fields))).await?;
            return Ok(());
        }
        self._on_describe(client, message).await
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        match message.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                client.portal_store().rm_statement(name);
                self.session().await.prepared.remove(name);
            }
            _ => client.portal_store().rm_portal(name),
        }
        client.feed(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?;
        Ok(())
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        let statement_name = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal_name = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        // DEALLOCATE knows the names only.
        if message.statement_name.is_some() && !self.session().await.prepared.contains(statement_name) {
            return Err(PgWireError::StatementNotFound(statement_name.to_owned()));
        }
        match client.portal_store().get_statement(statement_name) {
            Some(Entry::Value(statement)) => {
                check_counts(&message, statement.statement.0.wire.len())?;
                let portal = Portal::try_new(&message, statement)?;
                client.portal_store().put_portal(Arc::new(portal));
            }
            Some(Entry::Empty) => {
                check_counts(&message, 0)?;
                client.portal_store().put_empty_portal(portal_name);
            }
            None => return Err(PgWireError::StatementNotFound(statement_name.to_owned())),
        }
        client.feed(PgWireBackendMessage::BindComplete(BindComplete::new())).await?;
        Ok(())
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
                return Ok(());
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        client.set_state(PgWireConnectionState::QueryInProgress);
        let mut session = self.session().await;
        let mut interrupt = self.interrupt().await;
        // All up to the next Sync is one transaction.
        if matches!(session.transaction, Transaction::None) {
            session.implicit.get_or_insert_default();
        }
        let rows_max = if message.max_rows <= 0 { usize::MAX } else { message.max_rows as usize };
        let executed = execute(client, &mut session, &mut interrupt, &portal, rows_max).await;
        if executed.is_err() {
            send::notices(client, &mut session).await?;
            session.failed();
        }
        client.set_transaction_status(session.transaction_status());
        executed?;
        if !matches!(client.state(), PgWireConnectionState::CopyInProgress(_)) {
            client.set_state(PgWireConnectionState::ReadyForQuery);
        }
        Ok(())
    }

    async fn on_sync<C>(&self, client: &mut C, _: SyncMessage) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        client.portal_store().rm_portal(DEFAULT_NAME);
        let mut session = self.session().await;
        let mut interrupt = self.interrupt().await;
        let committed = write::commit_implicit(&mut session, &mut interrupt).await;
        session.implicit = None;
        if let Err(error) = committed {
            let error: PgWireError = error.into();
            client.feed(PgWireBackendMessage::ErrorResponse(ErrorInfo::from(error).into())).await?;
        }
        client.set_transaction_status(session.transaction_status());
        send_ready_for_query(client, session.transaction_status()).await
    }

    async fn do_query<C>(&self, _: &mut C, _: &Portal<Prepared>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        Err(Error::internal("portals are run whole").into())
    }
}

/// What the message says must fit together, and the statement.
fn check_counts(bind: &Bind, parameters: usize) -> Result<()> {
    if bind.parameters.len() != parameters {
        let message = format!("bind message supplies {} parameters, but prepared statement requires {parameters}", bind.parameters.len());
        return Err(Error::new("08P01", message));
    }
    let formats = bind.parameter_format_codes.len();
    if formats > 1 && formats != parameters {
        return Err(Error::new("08P01", format!("bind message has {formats} parameter formats but {parameters} parameters")));
    }
    Ok(())
}

/// The client reads the rows by what it was told of them when the statement was prepared.
fn check_result(described: Option<&Schema>, actual: &SchemaRef) -> Result<()> {
    let column = |field: &FieldRef| (field.name().clone(), pg_type(field));
    let changed = described.is_some_and(|described| !described.fields().iter().map(column).eq(actual.fields().iter().map(column)));
    if changed {
        return Err(Error::new("0A000", "cached plan must not change result type").hint("Prepare the statement again."));
    }
    Ok(())
}

async fn execute<C: Client>(
    client: &mut C,
    session: &mut Session,
    interrupt: &mut Interrupt<'_>,
    portal: &Portal<Prepared>,
    rows_max: usize,
) -> PgWireResult<()> {
    let state = portal.state();
    let mut state = state.lock().await;
    if matches!(*state, PortalExecutionState::Initial) {
        match begin(session, interrupt, portal).await? {
            Answer::Rows(rows) => {
                check_result(portal.statement.statement.0.schema.as_deref(), &rows.schema)?;
                let fields = encode::fields(&rows.schema, &Formats::Asked(portal.result_column_format.clone()))?;
                let tag = rows.tag;
                let mut response = QueryResponse::new(Arc::clone(&fields), encode::rows(fields, rows.batches));
                response.set_command_tag(match tag {
                    Tag::Counted(name) | Tag::Plain(name) => name,
                });
                *state = PortalExecutionState::Suspended(response);
                send::notices(client, session).await?;
            }
            Answer::CopyIn(copy) => {
                session.implicit = None;
                send::copy_in(client, session, copy.columns(), true).await?;
                session.copy = Some((*copy, Pending::default()));
                *state = PortalExecutionState::Finished;
                return Ok(());
            }
            answer => {
                *state = PortalExecutionState::Finished;
                return send::answer(client, session, interrupt, answer, &Formats::Text).await;
            }
        }
    }
    let PortalExecutionState::Suspended(response) = &mut *state else {
        return Err(Error::new("55000", "the portal cannot be run any more").into());
    };
    let counted = matches!(response.command_tag(), "SELECT" | "FETCH" | "PRINT");
    let name = response.command_tag().to_string();
    let (count, all) = send::rows(client, interrupt, response.data_rows(), rows_max).await?;
    send::notices(client, session).await?;
    if all {
        // Asked again, it has no more rows.
        let mut ended = QueryResponse::new(response.row_schema(), futures::stream::empty());
        ended.set_command_tag(&name);
        *state = PortalExecutionState::Suspended(ended);
        send::complete(client, if counted { format!("{name} {count}") } else { name }).await
    } else {
        send::feed(client, PgWireBackendMessage::PortalSuspended(PortalSuspended::new())).await
    }
}

async fn begin(session: &mut Session, interrupt: &mut Interrupt<'_>, portal: &Portal<Prepared>) -> Result<Answer> {
    let prepared = &portal.statement.statement.0;
    let values: Vec<ScalarValue> = portal
        .parameters
        .iter()
        .enumerate()
        .map(|(index, bytes)| {
            let (wire, wanted) = (&prepared.wire[index], prepared.wanted.get(index).and_then(Option::as_ref));
            parameters::decode(index + 1, bytes.as_ref(), portal.parameter_format.is_binary(index), wire, wanted)
        })
        .collect::<Result<_>>()?;
    match &prepared.kind {
        PreparedKind::Catalog(query) => {
            write::commit_implicit(session, interrupt).await?;
            let shared = Arc::clone(&session.shared);
            let query = query.with_parameters(values);
            let rows: Rows = interrupt.guard(shared.pg_catalog.run(session, query)).await?;
            Ok(Answer::Rows(rows))
        }
        PreparedKind::Statement(statement) => {
            write::commit_before(session, interrupt, statement).await?;
            let given = Given { message: &prepared.message, parameters: values, pull: prepared.pull.clone(), portal: true };
            statement::run(session, interrupt, statement, given).await
        }
    }
}
