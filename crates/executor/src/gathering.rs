//! How many workers run the tasks, where that is left to the engine (ADR 0014): one, which hands over itself what it repartitions, so that a row is
//! through with one commit; several where they get on faster. Whether they do depends on what the queries repartition, and on how many cores the
//! brokers leave: it is tried.
//!
//! ```text
//!              a query is behind for ten seconds
//!   gathered ──────────────────────────────────────► on trial ──► spread over all: a quarter more rows in the same time
//!      ▲                                                │            │
//!      ├──── no: tried again after a minute, or more ───┘            │
//!      └──── no query behind, and little to do, for ten seconds ─────┘
//! ```

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::runtime::Runtime;

/// How often it is looked.
pub(crate) const LOOK_INTERVAL_MS: i64 = 1_000;
/// What is done sooner is not worth a trial.
const BEHIND_FOR_MS: i64 = 10_000;
/// Tasks are moved before what they do is measured.
const SETTLE_MS: i64 = 2_000;
const MEASURE_MS: i64 = 4_000;
/// A trial that failed is repeated after so long; after twice the time each time it fails.
const AGAIN_MS: i64 = 60_000;
const AGAIN_MAX_MS: i64 = 960_000;
/// In thousandths of the time of one worker.
const QUIET: i64 = 400;
const QUIET_FOR_MS: i64 = 10_000;

/// A moment, and how many rows the tasks had processed until then, those of later stages included: several workers may read faster than they get on.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at_ms: i64,
    rows: u64,
}

impl Mark {
    /// Rows a second since then.
    fn rate(self, now: Mark) -> f64 {
        now.rows.saturating_sub(self.rows) as f64 * 1_000.0 / (now.at_ms - self.at_ms).max(1) as f64
    }
}

#[derive(Debug)]
enum Stage {
    Gathered,
    /// Since when, and how fast one worker was; how far it was when the tasks had been moved.
    Trial {
        since_ms: i64,
        before: f64,
        settled: Option<Mark>,
    },
    Spread,
}

/// What was seen when it was last looked.
pub(crate) struct Gathering {
    stage: Stage,
    looked_ms: i64,
    worked: Duration,
    /// Since when some query has been behind.
    behind: Option<Mark>,
    /// Since when there has been little to do.
    quiet_since_ms: i64,
    /// There is no trial before.
    not_before_ms: i64,
    again_ms: i64,
}

impl Gathering {
    /// As an engine begins that is to gather its tasks.
    pub fn new(now_ms: i64) -> Gathering {
        Gathering {
            stage: Stage::Gathered,
            looked_ms: now_ms,
            worked: Duration::ZERO,
            behind: None,
            quiet_since_ms: now_ms,
            not_before_ms: now_ms,
            again_ms: AGAIN_MS,
        }
    }

    /// Gathers the tasks or spreads them, when it is time to.
    pub fn look(&mut self, runtime: &Runtime) {
        let behind = runtime.all_queries().iter().any(|query| query.behind.load(Ordering::Relaxed) > 0);
        let now = Mark { at_ms: runtime.now_ms(), rows: runtime.rows() };
        let Some(spread) = self.judge(now, runtime.worked(), behind) else { return };
        let workers = if spread { runtime.mailboxes.len() } else { 1 };
        tracing::info!(workers, "the tasks are run by another number of workers");
        runtime.place(workers);
    }

    /// Whether they are to be spread from now on; `None`: they stay as they are.
    fn judge(&mut self, now: Mark, worked: Duration, behind: bool) -> Option<bool> {
        let passed_ms = now.at_ms - self.looked_ms;
        if passed_ms <= 0 {
            return None;
        }
        let worked_us = i64::try_from(worked.saturating_sub(self.worked).as_micros()).unwrap_or(i64::MAX);
        (self.looked_ms, self.worked) = (now.at_ms, worked);
        self.behind = if behind { self.behind.or(Some(now)) } else { None };
        if behind || worked_us / passed_ms >= QUIET {
            self.quiet_since_ms = now.at_ms;
        }
        let is_quiet = now.at_ms - self.quiet_since_ms >= QUIET_FOR_MS;
        if is_quiet {
            self.again_ms = AGAIN_MS;
        }
        match (&mut self.stage, self.behind) {
            (Stage::Gathered, Some(since)) if now.at_ms - since.at_ms >= BEHIND_FOR_MS && now.at_ms >= self.not_before_ms => {
                self.stage = Stage::Trial { since_ms: now.at_ms, before: since.rate(now), settled: None };
                Some(true)
            }
            (Stage::Gathered, _) => None,
            // They have caught up.
            (Stage::Trial { .. }, None) => {
                self.stage = Stage::Spread;
                None
            }
            (Stage::Trial { since_ms, .. }, _) if now.at_ms - *since_ms < SETTLE_MS => None,
            (Stage::Trial { settled: settled @ None, .. }, _) => {
                *settled = Some(now);
                None
            }
            (Stage::Trial { settled: Some(settled), .. }, _) if now.at_ms - settled.at_ms < MEASURE_MS => None,
            (Stage::Trial { before, settled: Some(settled), .. }, _) => {
                let after = settled.rate(now);
                tracing::info!(before, after, "rows per second of one worker and of all");
                if after * 4.0 >= *before * 5.0 {
                    self.stage = Stage::Spread;
                    return None;
                }
                self.not_before_ms = now.at_ms + self.again_ms;
                self.again_ms = (self.again_ms * 2).min(AGAIN_MAX_MS);
                self.behind = Some(now);
                self.stage = Stage::Gathered;
                Some(false)
            }
            (Stage::Spread, _) => is_quiet.then(|| {
                self.stage = Stage::Gathered;
                false
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When it was said, of so many seconds: milliseconds of work in each, rows, and whether a query is behind.
    fn said(seconds: impl IntoIterator<Item = (u64, u64, bool)>) -> Vec<(usize, bool)> {
        let (mut gathering, mut worked, mut rows) = (Gathering::new(0), Duration::ZERO, 0);
        let mut said = Vec::new();
        for (second, (work_ms, more, behind)) in seconds.into_iter().enumerate() {
            worked += Duration::from_millis(work_ms);
            rows += more;
            let now = Mark { at_ms: (second as i64 + 1) * 1_000, rows };
            said.extend(gathering.judge(now, worked, behind).map(|spread| (second, spread)));
        }
        said
    }

    #[test]
    fn what_is_behind_is_spread_where_that_helps_and_gathered_when_there_is_little_to_do() {
        let behind = std::iter::repeat_n((900, 1_000, true), 11);
        let faster = std::iter::repeat_n((1_800, 1_300, true), 20);
        let quiet = std::iter::repeat_n((100, 100, false), 11);
        assert_eq!(said(behind.chain(faster).chain(quiet)), [(10, true), (40, false)]);
    }

    #[test]
    fn where_it_does_not_help_it_is_tried_again_later_and_later() {
        let behind = std::iter::repeat_n((900, 1_000, true), 300);
        assert_eq!(said(behind), [(10, true), (16, false), (76, true), (82, false), (202, true), (208, false)]);
    }

    #[test]
    fn what_is_behind_for_a_moment_or_busy_stays_where_it_is() {
        let bursts = (0..100).map(|second| (900, 1_000, second % 10 < 9));
        assert_eq!(said(bursts), []);
    }
}
