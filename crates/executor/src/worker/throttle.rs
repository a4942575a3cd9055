//! How much tasks that are behind may take at a time while others of their worker are live: not behind, and with rows to process.
//!
//! A row that has just come waits for whatever its worker is at. That is to be neither a long turn of a task that is behind nor the commit of all
//! that such turns have given in seconds; so as long as something live comes, both are short. Nothing waits for anything else by that.

/// Of a task that is behind, in one turn.
const SHORT_TURN_ROWS: usize = 4_096;
/// Of the entries that wait for a commit.
const SHORT_COMMIT_BYTES: usize = 4 << 20;
/// Something live has come when it was not longer ago than this.
const LIVE_MS: i64 = 1_000;

#[derive(Debug, Default)]
pub(super) struct Throttle {
    live_until_ms: i64,
}

impl Throttle {
    /// A turn of a task that is not behind has brought so many rows.
    pub fn live(&mut self, rows: usize, now_ms: i64) {
        if rows > 0 {
            self.live_until_ms = now_ms.saturating_add(LIVE_MS);
        }
    }

    /// How many rows a task that is behind may take in a turn that others take `rows` in.
    pub fn turn_rows(&self, rows: usize, now_ms: i64) -> usize {
        if self.is_on(now_ms) { rows.min(SHORT_TURN_ROWS) } else { rows }
    }

    /// With so many bytes a commit is due that is otherwise due with `bytes`.
    pub fn dirty_bytes(&self, bytes: usize, now_ms: i64) -> usize {
        if self.is_on(now_ms) { bytes.min(SHORT_COMMIT_BYTES) } else { bytes }
    }

    fn is_on(&self, now_ms: i64) -> bool {
        now_ms < self.live_until_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_gives_way_to_what_is_live() {
        let mut throttle = Throttle::default();
        let allowed = |throttle: &Throttle, now_ms| (throttle.turn_rows(65_536, now_ms), throttle.dirty_bytes(64 << 20, now_ms));
        assert_eq!(allowed(&throttle, 10_000), (65_536, 64 << 20));
        throttle.live(0, 10_000);
        assert_eq!(allowed(&throttle, 10_000), (65_536, 64 << 20), "nothing has come");
        throttle.live(1, 10_000);
        assert_eq!(allowed(&throttle, 10_999), (4_096, 4 << 20));
        assert_eq!(allowed(&throttle, 11_000), (65_536, 64 << 20), "nothing has come for a second");
    }
}
