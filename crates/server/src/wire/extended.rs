//! The extended protocol: prepared statements, parameters, portals that give their rows in portions.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use futures::{Sink, SinkExt};
use millpond_catalog::types as sql_types;
use millpond_serving::Pull;
use millpond_sql::Statement;
use millpond_sql::ast::Kind;
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::{ExtendedQueryHandler, send_ready_for_query};
use pgwire::api::results::{FieldInfo, QueryResponse, Response};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
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
use super::types::pg_type;
use super::{declared, parameters, send};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::pg_catalog::{self, CatalogQuery};
use crate::session::{Pending, Session, Transaction};
use crate::statement::{self, Answer, Given, Rows, Tag, cursor, print, set, show, write};

/// A parsed statement, with what is known of it before it runs.
#[derive(Clone)]
pub struct Prepared(Arc<Inner>);

struct Inner {
    message: String,
    kind: PreparedKind,
    /// What values the statement wants, and as what they are sent.
    wanted: Vec<Option<DataType>>,
    wire: Vec<Type>,
    /// The columns of its rows; `None` when it gives none.
    schema: Option<SchemaRef>,
    pull: Option<Arc<Pull>>,
}

enum PreparedKind {
    Statement(Box<Statement>),
    Catalog(Box<CatalogQuery>),
}

#[async_trait]
impl QueryParser for Connection {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, _: &C, sql: &str, types: &[Option<Type>]) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut session = self.session().await;
        let mut interrupt = self.interrupt().await;
        let prepared = prepare(&session, &mut interrupt, sql, types).await;
        if prepared.is_err() {
            session.failed();
        }
        Ok(prepared.map_err(|error| error.located(sql, 0))?)
    }

    fn get_parameter_types(&self, prepared: &Prepared) -> PgWireResult<Vec<Type>> {
        Ok(prepared.0.wire.clone())
    }

    fn get_result_schema(&self, prepared: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        let Some(schema) = &prepared.0.schema else { return Ok(Vec::new()) };
        let formats = format.map_or(Formats::Text, |format| Formats::Asked(format.clone()));
        Ok(encode::fields(schema, &formats)?.to_vec())
    }
}

async fn prepare(session: &Session, interrupt: &mut Interrupt<'_>, sql: &str, types: &[Option<Type>]) -> Result<Option<Prepared>> {
    let catalog = pg_catalog::queries(sql).and_then(|mut queries| if queries.len() == 1 { queries.pop() } else { None });
    if let Some(query) = catalog {
        return of_catalog(session, interrupt, sql, query, types).await.map(Some);
    }
    let mut statements = millpond_sql::parse(sql, session.dialect())?;
    if statements.len() > 1 {
        return Err(Error::new("42601", "cannot insert multiple commands into a prepared statement"));
    }
    let Some(statement) = statements.pop() else { return Ok(None) };
    if let Some(query) = pg_catalog::function_query(&statement) {
        return of_catalog(session, interrupt, sql, query, types).await.map(Some);
    }
    if matches!(session.transaction, Transaction::Failed) && !matches!(statement.kind, Kind::Commit | Kind::Rollback) {
        return Err(Error::new("25P02", "current transaction is aborted, commands ignored until end of transaction block"));
    }
    let mut pull = None;
    let mut wanted = Vec::new();
    let schema = match &statement.kind {
        Kind::Query(query) if query.emit.is_some() => {
            let plan = millpond_planner::push(query, &session.engine().catalog(), &session.plan_settings());
            Some(plan.map_err(|error| Error::planned(error, statement.offset))?.schema)
        }
        Kind::Query(query) => {
            let settings = session.plan_settings();
            let serving = &session.shared.serving;
            let plan = async { serving.prepare(query, &settings).await.map_err(|error| Error::bound(error, sql)) };
            let plan = Arc::new(interrupt.guard(plan).await?);
            wanted = plan.parameters().to_vec();
            let schema = declared::schema(session, interrupt, query, &plan, types).await?;
            if schema.is_some() {
                // What the client declared decides the types of the rows: the values stay of those types.
                declared::forget(&mut wanted, types);
            }
            let schema = schema.unwrap_or_else(|| Arc::clone(plan.schema()));
            pull = Some(plan);
            Some(schema)
        }
        Kind::Show(what) => Some(show::show(session, *what)?.schema),
        Kind::ShowSetting(name) => Some(set::show(session, name)?.schema),
        Kind::Describe { name, extended } => Some(statement::describe::describe(session, name, *extended)?.schema),
        Kind::Explain { .. } | Kind::ExplainQuery(_) => Some(statement::table::schema(&["QUERY PLAN"])),
        Kind::Print { .. } => Some(print::schema()),
        Kind::Fetch(fetch) => Some(cursor::schema(session, &fetch.name)?),
        Kind::InsertValues(insert) => {
            wanted = insert_parameters(session, insert)?;
            None
        }
        Kind::Delete(delete) => {
            wanted = delete_parameters(session, delete)?;
            None
        }
        _ => None,
    };
    let wire = wire_types(&wanted, types);
    wanted.resize(wire.len(), None);
    let kind = PreparedKind::Statement(Box::new(statement));
    Ok(Some(Prepared(Arc::new(Inner { message: sql.to_string(), kind, wanted, wire, schema, pull }))))
}

async fn of_catalog(
    session: &Session,
    interrupt: &mut Interrupt<'_>,
    sql: &str,
    query: CatalogQuery,
    types: &[Option<Type>],
) -> Result<Prepared> {
    let (schema, mut wanted) = interrupt.guard(session.shared.pg_catalog.describe(session, &query)).await?;
    let wire = wire_types(&wanted, types);
    wanted.resize(wire.len(), None);
    let kind = PreparedKind::Catalog(Box::new(query));
    Ok(Prepared(Arc::new(Inner { message: sql.to_string(), kind, wanted, wire, schema: Some(schema), pull: None })))
}

/// The client's types where it gave them.
fn wire_types(wanted: &[Option<DataType>], given: &[Option<Type>]) -> Vec<Type> {
    (0..wanted.len().max(given.len()))
        .map(|index| match given.get(index) {
            Some(Some(given)) if *given != Type::UNKNOWN => given.clone(),
            _ => parameters::wire_type(wanted.get(index).and_then(Option::as_ref)),
        })
        .collect()
}

/// A parameter that is a whole value has its column's type.
fn insert_parameters(session: &Session, insert: &millpond_sql::ast::InsertValues) -> Result<Vec<Option<DataType>>> {
    let source = write::writable(session, &insert.target)?;
    let slots = write::slots(&source, &insert.columns, session.dialect())?;
    let mut wanted = Vec::new();
    for row in &insert.rows {
        for (expression, slot) in row.iter().zip(&slots) {
            note_parameters(expression, Some(&slot.data_type), &mut wanted);
        }
    }
    Ok(wanted)
}

fn delete_parameters(session: &Session, delete: &millpond_sql::ast::Delete) -> Result<Vec<Option<DataType>>> {
    use datafusion::sql::sqlparser::ast::Expr;
    let source = write::writable(session, &delete.target)?;
    let mut wanted = Vec::new();
    let mut pending: Vec<&Expr> = delete.predicate.iter().collect();
    while let Some(expression) = pending.pop() {
        let column = |name: &Expr| match name {
            Expr::Identifier(name) => source.column(&name.value).map(|column| sql_types::to_arrow(&column.sql_type)),
            _ => None,
        };
        match expression {
            Expr::Nested(inner) => pending.push(inner),
            Expr::BinaryOp { left, right, .. } => match (column(left), column(right)) {
                (Some(data_type), _) => note_parameters(right, Some(&data_type), &mut wanted),
                (_, Some(data_type)) => note_parameters(left, Some(&data_type), &mut wanted),
                _ => pending.extend([left.as_ref(), right.as_ref()]),
            },
            Expr::InList { expr, list, .. } => {
                let data_type = column(expr);
                list.iter().for_each(|value| note_parameters(value, data_type.as_ref(), &mut wanted));
            }
            Expr::AnyOp { left, right, .. } => {
                let items = column(left).map(|data_type| DataType::new_list(data_type, true));
                note_parameters(right, items.as_ref(), &mut wanted);
            }
            _ => {}
        }
    }
    Ok(wanted)
}

/// Makes room for the parameters of `expression`; one that is all of it gets the type.
fn note_parameters(expression: &datafusion::sql::sqlparser::ast::Expr, data_type: Option<&DataType>, wanted: &mut Vec<Option<DataType>>) {
    use std::ops::ControlFlow;

    use datafusion::sql::sqlparser::ast::{Expr, Value, visit_expressions};
    let number = |expression: &Expr| match expression {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => {
                name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok()).filter(|number| (1..=65_535).contains(number))
            }
            _ => None,
        },
        _ => None,
    };
    let whole = number(expression);
    let _: ControlFlow<()> = visit_expressions(expression, |inner| {
        if let Some(number) = number(inner) {
            if wanted.len() < number {
                wanted.resize(number, None);
            }
            if whole == Some(number) && wanted[number - 1].is_none() {
                wanted[number - 1] = data_type.cloned();
            }
        }
        ControlFlow::Continue(())
    });
}

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
