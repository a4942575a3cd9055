//! How much tasks that are behind may take at a time while others of their worker are live: not behind, and with rows to process.
//!
//! A row that has just come waits for whatever its worker is at. That is to be neither a long turn of a task that is behind nor the commit of all
//! that such turns have given in seconds; so as long as something live comes, both are short. Nothing waits for anything else by that.

/// Something live has come when it was not longer ago than this.
pub(super) const LIVE_MS: i64 = 1_000;
/// Of a task that is behind, in one turn.
const SHORT_TURN_ROWS: usize = 4_096;
/// Of the entries that wait for a commit.
const SHORT_COMMIT_BYTES: usize = 4 << 20;

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Throttle {
    live: bool,
    behind: bool,
}

impl Throttle {
    /// Takes notice of a task. One that is behind is not live, whatever has come to it.
    pub fn see(&mut self, is_behind: bool, live_until_ms: i64, now_ms: i64) {
        self.behind |= is_behind;
        self.live |= !is_behind && now_ms < live_until_ms;
    }

    /// How many rows a task that is behind may take in a turn that others take `rows` in.
    pub fn turn_rows(self, rows: usize) -> usize {
        if self.is_on() { rows.min(SHORT_TURN_ROWS) } else { rows }
    }

    /// With so many bytes a commit is due that is otherwise due with `bytes`.
    pub fn dirty_bytes(self, bytes: usize) -> usize {
        if self.is_on() { bytes.min(SHORT_COMMIT_BYTES) } else { bytes }
    }

    fn is_on(self) -> bool {
        self.live && self.behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(tasks: &[(bool, i64)], now_ms: i64) -> (usize, usize) {
        let mut throttle = Throttle::default();
        tasks.iter().for_each(|(is_behind, live_until_ms)| throttle.see(*is_behind, *live_until_ms, now_ms));
        (throttle.turn_rows(65_536), throttle.dirty_bytes(64 << 20))
    }

    #[test]
    fn what_is_behind_gives_way_to_what_is_live() {
        let (short, long) = ((4_096, 4 << 20), (65_536, 64 << 20));
        assert_eq!(allowed(&[(true, 0), (false, 11_000)], 10_999), short);
        assert_eq!(allowed(&[(true, 0), (false, 11_000)], 11_000), long, "nothing has come for a second");
        assert_eq!(allowed(&[(true, 11_000), (true, 11_000)], 10_000), long, "all are behind");
        assert_eq!(allowed(&[(false, 11_000), (false, 0)], 10_000), long, "none is behind");
    }
}
