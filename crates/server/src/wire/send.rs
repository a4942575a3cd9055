//! Answers as messages. Whatever has been written is flushed before anything is waited for, so that a push query's rows arrive as they come.

use futures::{FutureExt, SinkExt, Stream, StreamExt};
use pgwire::api::PgWireConnectionState;
use pgwire::api::results::{FieldInfo, SendableRowStream};
use pgwire::error::{ErrorInfo, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyData, CopyDone, CopyInResponse, CopyOutResponse};
use pgwire::messages::data::{DataRow, FieldDescription, RowDescription};
use pgwire::messages::response::{CommandComplete, NoticeResponse};
use pgwire::messages::startup::ParameterStatus;

use super::Client;
use super::encode::{self, Formats};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::session::Session;
use crate::statement::{Answer, CopyOut};

/// The answer to a statement of the simple protocol, whole.
pub async fn answer<C: Client>(
    client: &mut C,
    session: &mut Session,
    interrupt: &mut Interrupt<'_>,
    answer: Answer,
    formats: &Formats,
) -> PgWireResult<()> {
    notices(client, session).await?;
    match answer {
        Answer::Rows(rows) => {
            let fields = encode::fields(&rows.schema, formats)?;
            feed(client, PgWireBackendMessage::RowDescription(description(&fields))).await?;
            let tag = rows.tag;
            let mut stream = encode::rows(fields, rows.batches);
            let (count, _) = self::rows(client, interrupt, &mut stream, usize::MAX).await?;
            notices(client, session).await?;
            complete(client, tag.text(count)).await
        }
        Answer::Done(tag) => {
            reports(client, session).await?;
            complete(client, tag).await
        }
        Answer::CopyOut(copy) => {
            let rows = copy_out(client, interrupt, copy).await?;
            notices(client, session).await?;
            complete(client, format!("COPY {rows}")).await
        }
        Answer::CopyIn(_) => Err(Error::internal("COPY FROM is answered by its reader").into()),
    }
}

/// Up to `rows_max` rows; how many, and whether that was all.
pub async fn rows<C: Client>(
    client: &mut C,
    interrupt: &mut Interrupt<'_>,
    rows: &mut SendableRowStream,
    rows_max: usize,
) -> PgWireResult<(u64, bool)> {
    let mut count = 0;
    while count < rows_max {
        match next(client, interrupt, rows, count).await? {
            Some(row) => {
                let row: DataRow = row?;
                feed(client, PgWireBackendMessage::DataRow(row)).await?;
                count += 1;
            }
            None => return Ok((count as u64, true)),
        }
    }
    Ok((count as u64, false))
}

/// The next of `stream`. Waits with everything flushed; looks for an interruption now and then also when there is no need to wait.
async fn next<C: Client, T>(
    client: &mut C,
    interrupt: &mut Interrupt<'_>,
    stream: &mut (impl Stream<Item = T> + Unpin + Send),
    done: usize,
) -> PgWireResult<Option<T>> {
    const LOOK_EVERY: usize = 1_024;
    if done % LOOK_EVERY == LOOK_EVERY - 1
        && let Some(error) = interrupt.raised().now_or_never()
    {
        return Err(error.into());
    }
    if let Some(item) = stream.next().now_or_never() {
        return Ok(item);
    }
    client.flush().await.map_err(Into::into)?;
    let waited: Result<Option<T>> = interrupt.guard(async { Ok::<_, Error>(stream.next().await) }).await;
    Ok(waited?)
}

async fn copy_out<C: Client>(client: &mut C, interrupt: &mut Interrupt<'_>, copy: CopyOut) -> PgWireResult<u64> {
    let CopyOut { columns, binary, header, mut pieces } = copy;
    let response = CopyOutResponse::new(i8::from(binary), columns as i16, vec![i16::from(binary); columns]);
    feed(client, PgWireBackendMessage::CopyOutResponse(response)).await?;
    if let Some(header) = header {
        feed(client, PgWireBackendMessage::CopyData(CopyData::new(header))).await?;
    }
    let mut rows = 0;
    let mut read = 0;
    while let Some(piece) = next(client, interrupt, &mut pieces, read * 1_024 + 1_023).await? {
        let piece = piece?;
        for message in piece.messages {
            feed(client, PgWireBackendMessage::CopyData(CopyData::new(message))).await?;
        }
        rows += piece.rows;
        read += 1;
    }
    feed(client, PgWireBackendMessage::CopyDone(CopyDone::new())).await?;
    Ok(rows)
}

/// Asks the client for the rows of a COPY.
pub async fn copy_in<C: Client>(client: &mut C, session: &mut Session, columns: usize, extended: bool) -> PgWireResult<()> {
    notices(client, session).await?;
    client.set_state(PgWireConnectionState::CopyInProgress(extended));
    let response = CopyInResponse::new(0, columns as i16, vec![0; columns]);
    client.send(PgWireBackendMessage::CopyInResponse(response)).await.map_err(Into::into)
}

pub async fn notices<C: Client>(client: &mut C, session: &mut Session) -> PgWireResult<()> {
    session.warnings.take().into_iter().for_each(|warning| session.warning("01000", warning));
    for notice in std::mem::take(&mut session.notices) {
        let mut info = ErrorInfo::new(notice.severity.to_string(), notice.sqlstate.to_string(), notice.message);
        info.severity_nonlocalized = Some(notice.severity.to_string());
        info.hint = notice.hint;
        feed(client, PgWireBackendMessage::NoticeResponse(NoticeResponse::from(info))).await?;
    }
    Ok(())
}

/// Settings that have changed.
pub async fn reports<C: Client>(client: &mut C, session: &mut Session) -> PgWireResult<()> {
    for name in std::mem::take(&mut session.reports) {
        let value = session.settings.get(name).unwrap_or_default().to_string();
        feed(client, PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_string(), value))).await?;
    }
    Ok(())
}

pub async fn complete<C: Client>(client: &mut C, tag: String) -> PgWireResult<()> {
    feed(client, PgWireBackendMessage::CommandComplete(CommandComplete::new(tag))).await
}

pub async fn feed<C: Client>(client: &mut C, message: PgWireBackendMessage) -> PgWireResult<()> {
    client.feed(message).await.map_err(Into::into)
}

pub fn description(fields: &[FieldInfo]) -> RowDescription {
    RowDescription::new(fields.iter().map(FieldDescription::from).collect())
}
