//! Where a task reads on in one of its inputs.

use std::collections::VecDeque;

use millpond_log::Fetched;
use millpond_streams::topology::OnDataLoss;

use super::slots::{SlotId, Slots};
use super::upstream::Upstream;

/// When records that are there do not come, it is asked after so long whether they are.
const DOUBT_MS: i64 = 100;
/// And after so long the query fails over it.
const STALLED_MS: i64 = 30_000;

/// Where the next entry of an input comes from.
pub(super) struct Cursor {
    pub slot: SlotId,
    pub repartition: bool,
    pub on_data_loss: OnDataLoss,
    /// Behind what is buffered.
    pub next: u64,
    /// Whether the log was asked for what is there from `next` on: from then on it tells of what comes.
    pub listens: bool,
    pub buffered: VecDeque<Fetched>,
    /// Rows of a record, by the last fetch: of a repartition topic over Kafka there are many.
    pub rows_per_record: f64,
    pub idle_timeout_ms: Option<i64>,
    /// When something last came.
    pub quiet_since_ms: i64,
    pub idle: bool,
    /// Since when records that are there have not come.
    pub stalled_since_ms: Option<i64>,
    /// Of a repartition topic: what is on its way there.
    pub upstream: Upstream,
    /// Where it was to be read on when that was first asked.
    pub asked: Option<u64>,
    /// Whether that is waited for.
    pub waits: bool,
    /// Where the last commit was.
    pub committed: u64,
    /// Up to where the log was told to forget the partition, which this task alone reads.
    pub trimmed: u64,
    /// For those that hand over: where the partition ended when the worker had built so many tasks. What a slot says of the end may be beyond it.
    pub end_seen: (u64, u64),
}

/// What an input has next.
pub(super) enum Next {
    Entry(Fetched),
    /// Nothing more is there. With where it was to be read on when it was asked what is on its way, all of which has come since.
    End {
        asked: Option<u64>,
    },
    /// There is more, which has not come yet.
    Later,
}

impl Cursor {
    /// Whether the log has something that only this task reads and has committed.
    pub fn is_untrimmed(&self) -> bool {
        self.repartition && self.committed > self.trimmed
    }

    /// Whether something may come of a fetch.
    pub fn may_fetch(&self, slots: &Slots) -> bool {
        !self.listens || self.next < slots.end(self.slot)
    }

    /// The next question is about what is on its way by then.
    pub fn begin_again(&mut self) {
        self.upstream.begin_again();
        self.asked = None;
    }

    /// There is more, as far as is known, and it has not come.
    pub fn stalled(&mut self, slots: &mut Slots, waiting: bool, now_ms: i64) -> Result<Next, String> {
        let since_ms = *self.stalled_since_ms.get_or_insert(now_ms);
        // It may be of a transaction that is not over: then nobody waits for it.
        if waiting && now_ms - since_ms >= DOUBT_MS {
            slots.refresh(self.slot).map_err(|error| error.to_string())?;
            if self.next >= slots.end(self.slot) {
                self.stalled_since_ms = None;
                return Ok(Next::End { asked: None });
            }
        }
        if now_ms - since_ms >= STALLED_MS {
            // An open transaction is no fault.
            slots.refresh(self.slot).map_err(|error| error.to_string())?;
            self.stalled_since_ms = None;
            if self.next < slots.end(self.slot) {
                return Err(format!(
                    "nothing has come of {} from {} on for {} s",
                    slots.partition(self.slot),
                    self.next,
                    STALLED_MS / 1_000
                ));
            }
        }
        Ok(Next::Later)
    }

    pub fn look_again_ms(&self, now_ms: i64) -> Option<i64> {
        if self.waits {
            return Some(now_ms + DOUBT_MS);
        }
        let since_ms = self.stalled_since_ms?;
        let doubt_ms = since_ms + DOUBT_MS;
        Some(if doubt_ms > now_ms { doubt_ms } else { (now_ms + DOUBT_MS).min((since_ms + STALLED_MS).max(now_ms + 1)) })
    }
}
