//! What Parse makes of a statement: its parameters, its columns, and the plan of a pull query.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use millpond_catalog::types as sql_types;
use millpond_serving::Pull;
use millpond_sql::Statement;
use millpond_sql::ast::Kind;
use pgwire::api::portal::Format;
use pgwire::api::results::FieldInfo;
use pgwire::api::stmt::QueryParser;
use pgwire::api::{ClientInfo, Type};
use pgwire::error::PgWireResult;

use super::connection::Connection;
use super::encode::{self, Formats};
use super::{check_encoding, declared, parameters};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::pg_catalog::{self, CatalogQuery};
use crate::session::{Session, Transaction};
use crate::statement::{self, cursor, print, set, show, write};

/// A parsed statement, with what is known of it before it runs.
#[derive(Clone)]
pub struct Prepared(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub message: String,
    pub kind: PreparedKind,
    /// What values the statement wants, and as what they are sent.
    pub wanted: Vec<Option<DataType>>,
    pub wire: Vec<Type>,
    /// The columns of its rows; `None` when it gives none.
    pub schema: Option<SchemaRef>,
    pub pull: Option<Arc<Pull>>,
}

pub(super) enum PreparedKind {
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
    check_encoding(sql)?;
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
        Kind::Show(what) => Some(show::schema(*what)),
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
