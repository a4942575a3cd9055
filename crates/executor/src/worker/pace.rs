//! When a worker commits (ADR 0006, ADR 0012).
//!
//! ```text
//!   commit begins ├── commit ──┤ first row       commit begins
//!                 └────── a stage's share of the interval ───┘     later, where the rest of it is less than half, or than the commit took
//! ```

use std::time::Duration;

/// Queries that are behind commit in every so manieth interval, so that a group that is met again and again is written once.
const BEHIND_INTERVALS: i64 = 30;
/// After so long they commit all the same, unless the interval is longer.
const BEHIND_MS_MAX: i64 = 10_000;

/// However long a commit took, for so many intervals at most rows wait for the next one.
const PAUSE_INTERVALS: i64 = 5;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    interval_ms: i64,
    /// When the worker's last commit began.
    last_ms: i64,
    took_ms: i64,
}

impl Pace {
    pub fn new(interval: Duration) -> Pace {
        Pace { interval_ms: i64::try_from(interval.as_millis()).unwrap_or(i64::MAX), last_ms: i64::MIN, took_ms: 0 }
    }

    pub fn committed(&mut self, began_ms: i64, now_ms: i64) {
        (self.last_ms, self.took_ms) = (began_ms, now_ms.saturating_sub(began_ms));
    }

    /// When a task is to commit whose first row came at `since_ms`. The stages of its query share the interval, so that a row is through in about
    /// one; and the time that a commit takes is part of it, as long as the worker, and the brokers, have as much time again for other things.
    pub fn due_ms(self, since_ms: i64, stages: i64) -> i64 {
        let share_ms = self.interval_ms / stages;
        let pause_ms = self.took_ms.clamp(share_ms / 2, self.interval_ms.saturating_mul(PAUSE_INTERVALS));
        self.last_ms.saturating_add(share_ms).clamp(since_ms.saturating_add(pause_ms), since_ms.saturating_add(share_ms.max(pause_ms)))
    }

    /// The same for a task that is behind.
    pub fn due_behind_ms(self, since_ms: i64) -> i64 {
        let behind_ms = self.interval_ms.saturating_mul(BEHIND_INTERVALS).min(BEHIND_MS_MAX);
        since_ms.saturating_add(behind_ms.max(self.interval_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace::new(Duration::from_millis(100))
    }

    #[test]
    fn what_a_commit_takes_is_part_of_the_interval() {
        let mut pace = pace();
        pace.committed(1_000, 1_020);
        for (since_ms, due_ms) in [(1_020, 1_100), (1_050, 1_100), (1_080, 1_130), (1_400, 1_450)] {
            assert_eq!(pace.due_ms(since_ms, 1), due_ms, "first row at {since_ms}");
        }
    }

    #[test]
    fn slow_commits_are_half_of_the_time() {
        let mut pace = pace();
        for (took_ms, due_ms) in [(40, 1_100), (60, 1_120), (90, 1_180), (400, 1_800), (2_000, 3_500)] {
            pace.committed(1_000, 1_000 + took_ms);
            assert_eq!(pace.due_ms(1_000 + took_ms, 1), due_ms, "of {took_ms} ms");
        }
    }

    #[test]
    fn stages_share_the_interval() {
        let mut pace = pace();
        pace.committed(1_000, 1_010);
        assert_eq!([1, 2, 3].map(|stages| pace.due_ms(1_010, stages)), [1_100, 1_050, 1_033]);
    }

    #[test]
    fn the_first_commit_of_a_worker_does_not_wait_for_ever() {
        assert_eq!(pace().due_ms(1_000, 1), 1_050);
    }

    #[test]
    fn tasks_that_are_behind_take_their_time() {
        let after = |interval_ms| Pace::new(Duration::from_millis(interval_ms)).due_behind_ms(0);
        assert_eq!([10, 100, 1_000, 60_000].map(after), [300, 3_000, 10_000, 60_000]);
    }
}
