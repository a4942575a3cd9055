//! What each statement does.

mod assign;
pub mod copy_out;
pub mod cursor;
pub mod ddl;
pub mod delete;
pub mod describe;
pub mod explain;
pub mod insert;
pub mod number;
pub mod print;
pub mod query;
pub mod set;
pub mod show;
pub mod table;
pub mod transaction;
pub mod values;
pub mod write;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::common::ScalarValue;
use futures::stream::{self, BoxStream, StreamExt};
use millpond_executor::Waiting;
use millpond_serving::{Pull, Query, Run};
use millpond_sql::Statement;
use millpond_sql::ast::{CopyDirection, Kind};
use tokio::runtime::Handle;

use crate::copy::CopyIn;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::session::{Session, Transaction};

pub type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// What a statement gives.
pub enum Answer {
    Rows(Rows),
    /// The command tag.
    Done(String),
    /// The client is to send rows.
    CopyIn(Box<CopyIn>),
    CopyOut(CopyOut),
}

/// What a COPY … TO STDOUT writes.
pub struct CopyOut {
    pub columns: usize,
    /// The data is no text.
    pub binary: bool,
    /// Comes before all rows, also when there are none.
    pub header: Option<Bytes>,
    pub pieces: BoxStream<'static, Result<Piece>>,
}

/// Some rows as they are sent.
pub struct Piece {
    pub rows: u64,
    /// A message each.
    pub messages: Vec<Bytes>,
}

pub struct Rows {
    pub schema: SchemaRef,
    pub batches: BatchStream,
    pub tag: Tag,
}

/// Command tags of statements that give rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// With the number of rows.
    Counted(&'static str),
    Plain(&'static str),
}

impl Tag {
    pub fn text(self, rows: u64) -> String {
        match self {
            Tag::Counted(name) => format!("{name} {rows}"),
            Tag::Plain(name) => name.to_string(),
        }
    }
}

impl Rows {
    /// Rows that are there already.
    pub fn ready(batch: RecordBatch, tag: Tag) -> Rows {
        Rows { schema: batch.schema(), batches: stream::iter([Ok(batch)]).boxed(), tag }
    }
}

/// What comes with a statement besides its text.
#[derive(Default)]
pub struct Given<'a> {
    /// The message the statement is from: positions are counted in it.
    pub message: &'a str,
    /// `$1`, `$2`, …
    pub parameters: Vec<ScalarValue>,
    /// The plan, when it was made before.
    pub pull: Option<Arc<Pull>>,
    /// In the extended protocol rows can be asked for in portions: no notice about how to see them early.
    pub portal: bool,
}

/// Runs a statement. A long one ends with `interrupt`; rows that are given as a stream are guarded by who reads them.
pub async fn run(session: &mut Session, interrupt: &mut Interrupt<'_>, statement: &Statement, given: Given<'_>) -> Result<Answer> {
    dispatch(session, interrupt, statement, given).await.map_err(|error| error.located(&statement.text, statement.offset))
}

async fn dispatch(session: &mut Session, interrupt: &mut Interrupt<'_>, statement: &Statement, given: Given<'_>) -> Result<Answer> {
    interrupt.set_timeout(session.settings.statement_timeout());
    let ends = matches!(statement.kind, Kind::Commit | Kind::Rollback);
    if matches!(session.transaction, Transaction::Failed) && !ends {
        return Err(Error::new("25P02", "current transaction is aborted, commands ignored until end of transaction block"));
    }
    let offset = statement.offset;
    match &statement.kind {
        Kind::CreateSource(create) => ddl::create_source(session, interrupt, create, statement).await,
        Kind::CreateAs(create) => ddl::create_as(session, interrupt, create, statement).await,
        Kind::InsertSelect(insert) => ddl::insert_select(session, interrupt, insert, statement).await,
        Kind::Drop(drop) => ddl::drop(session, interrupt, drop).await,
        Kind::Lifecycle { action, query } => ddl::lifecycle(session, interrupt, *action, query.as_deref()).await,
        Kind::ResetQuery(reset) => ddl::reset(session, interrupt, reset).await,
        Kind::InsertValues(insert) => insert::insert(session, interrupt, insert, &given).await,
        Kind::Delete(delete) => delete::delete(session, interrupt, delete, &given).await,
        Kind::Copy(copy) => match &copy.direction {
            CopyDirection::From { target, columns } => Ok(Answer::CopyIn(Box::new(CopyIn::begin(session, copy, target, columns)?))),
            CopyDirection::To { query } => copy_out::copy_out(session, interrupt, copy, query, &given, offset).await,
        },
        Kind::Show(what) => show::show(session, interrupt, *what).await.map(Answer::Rows),
        Kind::ShowSetting(name) => set::show(session, name).map(Answer::Rows),
        Kind::Describe { name, extended } => describe::describe(session, name, *extended).map(Answer::Rows),
        Kind::Explain { statement: explained, .. } => explain::statement(session, interrupt, explained, &given).await.map(Answer::Rows),
        Kind::ExplainQuery(id) => explain::query(session, id).map(Answer::Rows),
        Kind::Print { topic, from_beginning, limit } => print::print(session, topic, *from_beginning, *limit, &given).map(Answer::Rows),
        Kind::Set { name, value, local } => set::set(session, name, value.as_deref(), *local),
        Kind::Reset(name) => set::reset(session, name.as_deref()),
        Kind::Flush => flush(session, interrupt).await,
        Kind::Begin => transaction::begin(session, &statement.text),
        Kind::Commit => transaction::commit(session, interrupt).await,
        Kind::Rollback => transaction::rollback(session),
        Kind::Declare(declare) => cursor::declare(session, interrupt, declare, &given, offset).await,
        Kind::Fetch(fetch) => cursor::fetch(session, interrupt, fetch).await.map(Answer::Rows),
        Kind::Close(name) => cursor::close(session, name.as_deref()),
        Kind::Deallocate(name) => deallocate(session, name.as_deref()),
        Kind::Discard => set::discard(session),
        Kind::Query(query) => query::query(session, interrupt, query, &given, offset).await.map(Answer::Rows),
    }
}

fn deallocate(session: &mut Session, name: Option<&str>) -> Result<Answer> {
    match name {
        Some(name) if session.prepared.remove(name) => Ok(Answer::Done("DEALLOCATE".to_string())),
        Some(name) => Err(Error::new("26000", format!("prepared statement \"{name}\" does not exist"))),
        None => {
            session.prepared.clear();
            Ok(Answer::Done("DEALLOCATE ALL".to_string()))
        }
    }
}

async fn flush(session: &Session, interrupt: &mut Interrupt<'_>) -> Result<Answer> {
    if let Transaction::Open(writes) = &session.transaction
        && !writes.is_empty()
    {
        return Err(Error::new("25001", "FLUSH cannot wait for writes of an open transaction").hint("COMMIT first."));
    }
    let (shared, runtime) = (Arc::clone(&session.shared), Handle::current());
    // Goes with this call, which an interrupt ends.
    let waiting = Arc::new(());
    let waited_for = Arc::downgrade(&waiting);
    interrupt
        .block(move || {
            let queries = || runtime.block_on(shared.serving.queries(Run::default())).unwrap_or_default();
            let failed =
                || queries().into_iter().filter(Query::has_failed).map(|query| (query.id, query.reason.unwrap_or_default())).collect();
            shared.engine.flush_for(&Waiting { goes_on: &|| waited_for.strong_count() > 0, failed_elsewhere: &failed })
        })
        .await?;
    Ok(Answer::Done("FLUSH".to_string()))
}
