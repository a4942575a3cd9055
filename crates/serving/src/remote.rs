//! Other members of the service, asked over the Postgres protocol.
//!
//! ```text
//!   Question ─► a connection of the pool ─► SET …; COPY (SELECT …) TO STDOUT (FORMAT arrow) ─► Answer ─► batches
//! ```
//!
//! REM-1  an answer is read as it comes: no more of it is held than a message or two and a batch.
//! REM-2  a connection goes back to the pool only when its answer has been read to the end; else it is closed, which ends the statement at
//!        the other member, too.

mod pool;
pub mod select;

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use futures::StreamExt;
use futures::future::try_join;
use millpond_sql::Dialect;
use tokio::time::timeout;
use tokio_postgres::CopyOutStream;

pub use self::pool::INSTANCE_PARAMETER;
use self::pool::{Connection, Pool};
use crate::error::NOT_HERE;
use crate::{Elsewhere, Peer, Peers, Scope};

/// How long a member may take to plan a statement.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The service's other members, and the connections to them.
#[derive(Debug)]
pub struct Remote {
    pub peers: Arc<dyn Peers>,
    pool: Arc<Pool>,
}

/// What a member is asked.
#[derive(Debug)]
pub struct Question {
    /// A query in `dialect`.
    pub select: String,
    pub dialect: Dialect,
    pub scope: Scope,
    /// The columns that its rows are to have.
    pub schema: SchemaRef,
}

impl Remote {
    pub fn new(peers: Arc<dyn Peers>) -> Remote {
        Remote { peers, pool: Arc::default() }
    }

    /// Begins the statement at `peer`. A connection that was kept and turns out to be broken is replaced by another, once.
    pub async fn ask(&self, peer: &Peer, question: &Question) -> Result<Answer, Elsewhere> {
        if let Some(kept) = self.pool.take(&peer.address) {
            match self.begin(kept, peer, question).await {
                Err(Elsewhere::Unreachable { .. }) => {}
                begun => return begun,
            }
        }
        let connection = Connection::open(peer).await?;
        self.begin(connection, peer, question).await
    }

    async fn begin(&self, connection: Connection, peer: &Peer, question: &Question) -> Result<Answer, Elsewhere> {
        let set = format!("SET dialect = '{}'; SET local_partitions = '{}'", question.dialect, question.scope);
        let copy = format!("COPY ({}) TO STDOUT (FORMAT arrow)", question.select);
        let begun = async {
            // Both are on their way before the first is answered.
            let ((), statement) = try_join(connection.client.batch_execute(&set), connection.client.prepare(&copy)).await?;
            connection.client.copy_out(&statement).await
        };
        let data = match timeout(BEGIN_TIMEOUT, begun).await {
            Ok(begun) => begun.map_err(|error| failure(peer, &error))?,
            Err(_) => return Err(Elsewhere::Unreachable { peer: peer.clone(), reason: "it does not answer".to_string() }),
        };
        Ok(Answer {
            peer: peer.clone(),
            schema: Arc::clone(&question.schema),
            data: Box::pin(data),
            decoder: StreamDecoder::new(),
            buffer: Buffer::default(),
            connection: Some(connection),
            pool: Arc::clone(&self.pool),
        })
    }
}

/// The rows of a statement that a member runs.
pub struct Answer {
    peer: Peer,
    schema: SchemaRef,
    data: Pin<Box<CopyOutStream>>,
    decoder: StreamDecoder,
    /// Of the message that came last, what is not read yet.
    buffer: Buffer,
    /// `None` once all has been read.
    connection: Option<Connection>,
    pool: Arc<Pool>,
}

impl Answer {
    /// The next batch. Nothing is lost when this is dropped before it is done, and called again.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, Elsewhere> {
        while self.connection.is_some() {
            while !self.buffer.is_empty() {
                if let Some(batch) = self.decoder.decode(&mut self.buffer).map_err(|error| self.unreadable(&error))? {
                    return self.fitting(&batch).map(Some);
                }
            }
            match self.data.next().await {
                Some(Ok(message)) => self.buffer = Buffer::from(message),
                Some(Err(error)) => return Err(failure(&self.peer, &error)),
                None => {
                    self.decoder.finish().map_err(|error| self.unreadable(&error))?;
                    if let Some(connection) = self.connection.take() {
                        self.pool.put(&self.peer.address, connection);
                    }
                }
            }
        }
        Ok(None)
    }

    fn fitting(&self, batch: &RecordBatch) -> Result<RecordBatch, Elsewhere> {
        let types = |schema: &SchemaRef| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
        if types(&self.schema) != types(&batch.schema()) {
            let reason = "its columns are of other types".to_string();
            return Err(Elsewhere::Disagrees { peer: self.peer.clone(), reason });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), batch.columns().to_vec(), &options)
            .map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &arrow::error::ArrowError) -> Elsewhere {
        let message = format!("what it sends cannot be read: {error}");
        Elsewhere::Failed { peer: self.peer.clone(), sqlstate: "08P01".to_string(), message }
    }
}

fn failure(peer: &Peer, error: &tokio_postgres::Error) -> Elsewhere {
    let peer = peer.clone();
    let Some(told) = error.as_db_error() else { return Elsewhere::Unreachable { peer, reason: reasons(error) } };
    let reason = told.message().to_string();
    match told.code().code() {
        // It has let go of a partition, or has not heard yet of a table or of its columns.
        NOT_HERE | "42P01" | "42703" => Elsewhere::Disagrees { peer, reason },
        "57P01" | "57P02" => Elsewhere::Unreachable { peer, reason },
        sqlstate => Elsewhere::Failed { peer, sqlstate: sqlstate.to_string(), message: reason },
    }
}

/// What the library says, and what it says is behind it.
fn reasons(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
