//! How many workers run the tasks, where that is left to the engine (ADR 0014): one, as long as it keeps up. What it repartitions it hands over
//! itself, so a row is through with one commit; and it has one transaction at a time, where several have one each.
//!
//! ```text
//!              a query is behind, or for three seconds more than seven tenths of the time were work
//!   gathered ───────────────────────────────────────────────────────────────────────────────────────► spread over all
//!            ◄───────────────────────────────────────────────────────────────────────────────────────
//!              for ten seconds no query was behind, and all together have worked for less than four tenths of the time
//! ```

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::runtime::Runtime;

/// How often it is looked.
pub(crate) const LOOK_INTERVAL_MS: i64 = 1_000;
/// In thousandths of the time.
const BUSY: i64 = 700;
const QUIET: i64 = 400;
const BUSY_FOR_MS: i64 = 3_000;
const QUIET_FOR_MS: i64 = 10_000;

/// What was seen when it was last looked.
pub(crate) struct Gathering {
    spread: bool,
    looked_ms: i64,
    worked: Duration,
    /// Since when there has been much to do, if there has, and since when little.
    busy_since_ms: i64,
    quiet_since_ms: i64,
}

impl Gathering {
    /// As an engine begins that is to gather its tasks.
    pub fn new(now_ms: i64) -> Gathering {
        Gathering { spread: false, looked_ms: now_ms, worked: Duration::ZERO, busy_since_ms: now_ms, quiet_since_ms: now_ms }
    }

    /// Gathers the tasks or spreads them, when it is time to.
    pub fn look(&mut self, runtime: &Runtime) {
        let behind = runtime.all_queries().iter().any(|query| query.behind.load(Ordering::Relaxed) > 0);
        let Some(spread) = self.judge(runtime.now_ms(), runtime.worked(), behind) else { return };
        let workers = if spread { runtime.mailboxes.len() } else { 1 };
        tracing::info!(workers, "the tasks are run by another number of workers");
        runtime.place(workers);
    }

    /// Whether they are to be spread from now on; `None`: they stay as they are.
    fn judge(&mut self, now_ms: i64, worked: Duration, behind: bool) -> Option<bool> {
        let passed_ms = now_ms - self.looked_ms;
        if passed_ms <= 0 {
            return None;
        }
        let worked_us = i64::try_from(worked.saturating_sub(self.worked).as_micros()).unwrap_or(i64::MAX);
        let share = worked_us / passed_ms;
        (self.looked_ms, self.worked) = (now_ms, worked);
        if share < BUSY {
            self.busy_since_ms = now_ms;
        }
        if behind || share >= QUIET {
            self.quiet_since_ms = now_ms;
        }
        let spread = match self.spread {
            true => now_ms - self.quiet_since_ms < QUIET_FOR_MS,
            false => behind || now_ms - self.busy_since_ms >= BUSY_FOR_MS,
        };
        (std::mem::replace(&mut self.spread, spread) != spread).then_some(spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said each second, of these: milliseconds of work, and whether a query is behind.
    fn said(seconds: &[(u64, bool)]) -> Vec<Option<bool>> {
        let (mut gathering, mut worked) = (Gathering::new(0), Duration::ZERO);
        let each = |(second, (work_ms, behind)): (usize, &(u64, bool))| {
            worked += Duration::from_millis(*work_ms);
            gathering.judge((second as i64 + 1) * 1_000, worked, *behind)
        };
        seconds.iter().enumerate().map(each).collect()
    }

    #[test]
    fn much_work_is_spread() {
        assert_eq!(said(&[(800, false), (600, false), (900, false), (800, false), (700, false)]), [None, None, None, None, Some(true)]);
        assert_eq!(said(&[(100, true), (900, false)]), [Some(true), None]);
    }

    #[test]
    fn little_work_is_gathered_when_it_has_been_little_for_a_while() {
        let mut seconds = vec![(600, true)];
        seconds.extend([(300, false); 5]);
        seconds.push((500, false));
        seconds.extend([(100, false); 11]);
        let said = said(&seconds);
        let changes: Vec<_> = said.iter().enumerate().filter_map(|(second, said)| said.map(|spread| (second, spread))).collect();
        assert_eq!(changes, [(0, true), (16, false)]);
    }
}
