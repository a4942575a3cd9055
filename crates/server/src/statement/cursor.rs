//! DECLARE, FETCH, CLOSE: what psql uses with FETCH_COUNT, and how a push query is read in portions.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::{FutureExt, StreamExt, stream};
use millpond_sql::ast::{Declare, Fetch};
use parking_lot::Mutex;

use super::{Answer, BatchStream, Given, Rows, Tag, query};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::session::{Session, Transaction};

/// A query that is read step by step. Dropping it ends the query.
pub struct Cursor {
    schema: SchemaRef,
    /// Never waited for: a session has one reader, but is lent to several.
    batches: Mutex<BatchStream>,
    /// Rows that were read and not yet fetched.
    left: Option<RecordBatch>,
}

pub async fn declare(
    session: &mut Session,
    interrupt: &mut Interrupt<'_>,
    declare: &Declare,
    given: &Given<'_>,
    offset: u32,
) -> Result<Answer> {
    if matches!(session.transaction, Transaction::None) {
        return Err(Error::new("25P01", "DECLARE CURSOR can only be used in transaction blocks").hint("BEGIN first."));
    }
    if session.cursors.contains_key(&declare.name) {
        return Err(Error::new("42P03", format!("cursor \"{}\" already exists", declare.name)));
    }
    let (schema, batches) = query::open(session, interrupt, &declare.query, given, offset).await?;
    session.cursors.insert(declare.name.clone(), Cursor { schema, batches: Mutex::new(batches), left: None });
    Ok(Answer::Done("DECLARE CURSOR".to_string()))
}

/// Waits until there are as many rows as are asked for, or the query ends.
pub async fn fetch(session: &mut Session, interrupt: &mut Interrupt<'_>, fetch: &Fetch) -> Result<Rows> {
    let cursor = session.cursors.get_mut(&fetch.name).ok_or_else(|| unknown(&fetch.name))?;
    let mut wanted = fetch.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let mut fetched = Vec::new();
    while wanted > 0 {
        let batch = match cursor.left.take() {
            Some(batch) => batch,
            None => match next(cursor, interrupt).await? {
                Some(batch) => batch,
                None => break,
            },
        };
        let taken = batch.num_rows().min(wanted);
        if taken < batch.num_rows() {
            cursor.left = Some(batch.slice(taken, batch.num_rows() - taken));
        }
        wanted -= taken;
        fetched.push(Ok(batch.slice(0, taken)));
    }
    Ok(Rows { schema: cursor.schema.clone(), batches: stream::iter(fetched).boxed(), tag: Tag::Counted("FETCH") })
}

async fn next(cursor: &mut Cursor, interrupt: &mut Interrupt<'_>) -> Result<Option<RecordBatch>> {
    if let Some(batch) = cursor.batches.get_mut().next().now_or_never() {
        return batch.transpose();
    }
    interrupt.guard(async { cursor.batches.get_mut().next().await.transpose() }).await
}

pub fn close(session: &mut Session, name: Option<&str>) -> Result<Answer> {
    match name {
        Some(name) => {
            session.cursors.remove(name).ok_or_else(|| unknown(name))?;
            Ok(Answer::Done("CLOSE CURSOR".to_string()))
        }
        None => {
            session.cursors.clear();
            Ok(Answer::Done("CLOSE CURSOR ALL".to_string()))
        }
    }
}

/// The columns of an open cursor's rows.
pub fn schema(session: &Session, name: &str) -> Result<SchemaRef> {
    session.cursors.get(name).map(|cursor| cursor.schema.clone()).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Error {
    Error::new("34000", format!("cursor \"{name}\" does not exist"))
}
