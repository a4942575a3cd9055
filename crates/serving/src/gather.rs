//! Rows of some partitions of a table, whoever has them, while they may be moving.
//!
//! ```text
//!   partitions ─► owners ─┬─ here ─────► the store, at a moment when they are here
//!                 ▲       ├─ a member ─► one question for all that it has ─► batches
//!                 │       └─ nobody ──► wait                      │ cannot be reached, or has them no more:
//!                 └───────────────────────────────────────────────┘ as long as it has given no rows, and patience lasts
//! ```
//!
//! GTH-1  each partition's rows are given once: from one owner, at one moment.
//! GTH-2  who asks waits for a member that stands still only as long as the member is taken to have the rows.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::error::Result;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use millpond_catalog::Source;
use tokio::time::{Instant, sleep, timeout};

use crate::peers::owner;
use crate::remote::{Answer, Remote};
use crate::table_read::TableRead;
use crate::{Elsewhere, Error, Moment, Owner, Peer, Peers};

/// How long it is tried to get hold of rows that are being moved or restored, or whose owner does not answer.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);
/// How often a silent member is checked to be the owner still.
const WATCH: Duration = Duration::from_secs(1);

pub struct Gather {
    read: Arc<TableRead>,
    moment: Arc<Moment>,
    remote: Arc<Remote>,
    /// The partitions that nothing has been read of.
    pending: Vec<u32>,
    part: Option<Part>,
    /// Since when nothing has been got.
    waiting: Option<Instant>,
}

/// What is being read.
enum Part {
    Here(BoxStream<'static, Result<RecordBatch>>),
    At { peer: Peer, partitions: Vec<u32>, answer: Answer, given: bool },
}

impl Gather {
    pub fn new(read: Arc<TableRead>, moment: Arc<Moment>, remote: Arc<Remote>, partitions: Vec<u32>) -> Gather {
        Gather { read, moment, remote, pending: partitions, part: None, waiting: None }
    }

    pub fn rows(self) -> BoxStream<'static, Result<RecordBatch>> {
        stream::try_unfold(self, |mut gather| async move {
            let batch = gather.next().await?;
            Ok(batch.map(|batch| (batch, gather)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            match self.part.take() {
                None if self.pending.is_empty() => return Ok(None),
                None => self.part = self.begin().await?,
                Some(Part::Here(mut rows)) => {
                    if let Some(batch) = rows.next().await.transpose()? {
                        self.part = Some(Part::Here(rows));
                        return Ok(Some(batch));
                    }
                }
                Some(Part::At { peer, partitions, mut answer, given }) => {
                    match watched(&mut answer, &*self.remote.peers, &self.read.source, &peer, &partitions).await {
                        Ok(Some(batch)) => {
                            self.waiting = None;
                            self.part = Some(Part::At { peer, partitions, answer, given: given || batch.num_rows() > 0 });
                            return Ok(Some(self.read.complete(&batch)?));
                        }
                        Ok(None) => self.waiting = None,
                        Err(error) if given => return Err(broke_off(error).into()),
                        Err(error) => {
                            self.pending.extend(partitions);
                            self.wait(error).await?;
                        }
                    }
                }
            }
        }
    }

    /// Begins to read of whoever has some of what is pending; `None` when that has failed for now.
    async fn begin(&mut self) -> Result<Option<Part>> {
        let owners = self.remote.peers.owners(&self.read.source);
        let placed = self.pending.iter().find(|partition| *owner(&owners, **partition) != Owner::Nobody);
        let Some(first) = placed.map(|partition| owner(&owners, *partition).clone()) else {
            self.wait(Elsewhere::NotReady { table: self.read.source.name.clone(), partition: self.pending[0] }).await?;
            return Ok(None);
        };
        let (partitions, others): (Vec<u32>, Vec<u32>) =
            self.pending.iter().copied().partition(|partition| *owner(&owners, *partition) == first);
        let begun = match first {
            Owner::At(peer) => match self.remote.ask(&peer, &self.read.question(&partitions)?).await {
                Ok(answer) => Part::At { peer, partitions, answer, given: false },
                Err(error) => {
                    self.wait(error).await?;
                    return Ok(None);
                }
            },
            Owner::Here | Owner::Nobody => match self.moment.state_with(&*self.remote.peers, &self.read.source, &partitions) {
                Ok(state) => {
                    self.waiting = None;
                    Part::Here(self.read.here(Some(partitions), &self.moment, state)?.into_stream())
                }
                // It has been moved just now: look again.
                Err(Error::Elsewhere(Elsewhere::NotHere { .. })) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
        };
        self.pending = others;
        Ok(Some(begun))
    }

    /// A moment, unless there was nothing to be had for too long or `error` is none that passes.
    async fn wait(&mut self, error: Elsewhere) -> Result<()> {
        let since = *self.waiting.get_or_insert_with(Instant::now);
        if !error.may_pass() || since.elapsed() >= PATIENCE {
            return Err(error.into());
        }
        sleep(PAUSE).await;
        Ok(())
    }
}

/// The next batch of `answer`, or an error as soon as `peer` is not taken to have all of `partitions` any more while nothing comes.
async fn watched(
    answer: &mut Answer,
    peers: &dyn Peers,
    table: &Source,
    peer: &Peer,
    partitions: &[u32],
) -> std::result::Result<Option<RecordBatch>, Elsewhere> {
    loop {
        if let Ok(given) = timeout(WATCH, answer.next()).await {
            return given;
        }
        let owners = peers.owners(table);
        if partitions.iter().any(|partition| !matches!(owner(&owners, *partition), Owner::At(at) if at == peer)) {
            let reason = "it does not answer, and its partitions are given to others".to_string();
            return Err(Elsewhere::Unreachable { peer: peer.clone(), reason });
        }
    }
}

fn broke_off(error: Elsewhere) -> Elsewhere {
    match error {
        Elsewhere::Unreachable { peer, reason } | Elsewhere::Disagrees { peer, reason } => Elsewhere::BrokeOff { peer, reason },
        other => other,
    }
}
