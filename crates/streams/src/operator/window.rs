//! Time windows: which ones a row belongs to, and whether it comes too late for them (dialect §11).
//!
//! ```text
//!  tumbling, size 10:   [0,10) [10,20) [20,30) …        hopping, size 10, advance 5:   [0,10) [5,15) [10,20) …
//! ```
//!
//! WIN-1  windows start at multiples of the advance from the epoch, never before it.
//! WIN-2  a row is late for a window when `window end + grace <= stream time`, with the stream time of the row's own channel at its place.

use millpond_state::window_key;

use super::late::{Late, LateRow};
use crate::topology::{WindowKind, WindowSpec};
use crate::{Error, Result};

/// Tumbling (`advance_ms == size_ms`) or hopping windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindows {
    pub size_ms: i64,
    pub advance_ms: i64,
    pub grace_ms: i64,
}

/// The windows of a batch's rows, in the order of the rows and, for a row, of the windows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Assigned {
    /// Which row each window is of. `None`: each row has exactly one.
    pub rows: Option<Vec<u32>>,
    pub starts: Vec<i64>,
    /// Rows that were left out of a window, at least.
    pub late: Late,
}

impl TimeWindows {
    pub fn new(spec: &WindowSpec) -> Result<TimeWindows> {
        let WindowKind::Time { size_ms, advance_ms } = spec.kind else {
            return Err(Error::Topology("a session window where a time window belongs".into()));
        };
        if !(0 < advance_ms && advance_ms <= size_ms && spec.grace_ms >= 0) {
            return Err(Error::Topology(format!("a window of {size_ms} ms that advances by {advance_ms} ms, grace {} ms", spec.grace_ms)));
        }
        Ok(TimeWindows { size_ms, advance_ms, grace_ms: spec.grace_ms })
    }

    /// The starts of the windows that contain `time_ms`, ascending.
    pub fn starts(&self, time_ms: i64) -> impl Iterator<Item = i64> + use<> {
        let advance = self.advance_ms;
        let first = (time_ms.saturating_sub(self.size_ms) + advance).max(0);
        let first = first - first % advance;
        std::iter::successors(Some(first), move |start| start.checked_add(advance)).take_while(move |start| *start <= time_ms)
    }

    pub fn end(&self, start: i64) -> i64 {
        start.saturating_add(self.size_ms)
    }

    /// WIN-2.
    pub fn is_late(&self, start: i64, stream_time: i64) -> bool {
        self.end(start).saturating_add(self.grace_ms) <= stream_time
    }

    /// Rows are late, too, for windows that ended at or before `closed_end`: those are emitted or forgotten already.
    pub(crate) fn assign(&self, times: &[i64], stream_times: &[i64], closed_end: i64) -> Assigned {
        if self.size_ms == self.advance_ms {
            self.tumble(times, stream_times, closed_end)
        } else {
            self.hop(times, stream_times, closed_end)
        }
    }

    /// As long as no row is late nothing has to be expanded.
    fn tumble(&self, times: &[i64], stream_times: &[i64], closed_end: i64) -> Assigned {
        let mut assigned = Assigned { starts: Vec::with_capacity(times.len()), ..Assigned::default() };
        let (mut start, mut end) = (0, 0);
        for (row, (time, stream_time)) in times.iter().zip(stream_times).enumerate() {
            if *time < start || *time >= end {
                start = time - time.rem_euclid(self.size_ms);
                end = self.end(start);
            }
            let is_late = self.is_late(start, *stream_time);
            if is_late || end <= closed_end || start < 0 {
                assigned.late.push(LateRow { row, start, closed: !is_late });
                assigned.rows.get_or_insert_with(|| (0..row as u32).collect());
            } else {
                assigned.starts.push(start);
                if let Some(rows) = &mut assigned.rows {
                    rows.push(row as u32);
                }
            }
        }
        assigned
    }

    fn hop(&self, times: &[i64], stream_times: &[i64], closed_end: i64) -> Assigned {
        let mut assigned = Assigned::default();
        let mut rows = Vec::with_capacity(times.len() * (self.size_ms / self.advance_ms).min(64) as usize);
        for (row, (time, stream_time)) in times.iter().zip(stream_times).enumerate() {
            let before_all = time - time.rem_euclid(self.advance_ms);
            let mut late = (*time < 0).then_some(LateRow { row, start: before_all, closed: false });
            for start in self.starts(*time) {
                let is_late = self.is_late(start, *stream_time);
                if is_late || self.end(start) <= closed_end {
                    late.get_or_insert(LateRow { row, start, closed: !is_late });
                } else {
                    rows.push(row as u32);
                    assigned.starts.push(start);
                }
            }
            if let Some(late) = late {
                assigned.late.push(late);
            }
        }
        assigned.rows = Some(rows);
        assigned
    }
}

pub(crate) fn push_bounds(key: &mut Vec<u8>, start: i64, end: i64) {
    key.extend_from_slice(&window_key::encode_suffix(end, start));
}

/// Start and end, from the end of a key.
pub(crate) fn bounds(key: &[u8]) -> (i64, i64) {
    let (_, end, start) = window_key::split(key).expect("keys of windows have a window");
    (start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: i64 = i64::MIN;

    /// One late row, of a window whose time is over.
    fn late(row: usize, start: i64) -> Late {
        Late { count: 1, explained: vec![LateRow { row, start, closed: false }] }
    }

    fn windows(size_ms: i64, advance_ms: i64, grace_ms: i64) -> TimeWindows {
        TimeWindows { size_ms, advance_ms, grace_ms }
    }

    #[test]
    fn windows_of_a_time() {
        let table: [(i64, i64, i64, &[i64]); 9] = [
            (10, 10, 0, &[0]),
            (10, 10, 9, &[0]),
            (10, 10, 10, &[10]),
            (10, 5, 0, &[0]),
            (10, 5, 4, &[0]),
            (10, 5, 5, &[0, 5]),
            (10, 5, 10, &[5, 10]),
            (10, 3, 9, &[0, 3, 6, 9]),
            (10, 3, 13, &[6, 9, 12]),
        ];
        for (size, advance, time, starts) in table {
            assert_eq!(windows(size, advance, 0).starts(time).collect::<Vec<_>>(), starts, "size {size}, advance {advance}, time {time}");
        }
    }

    #[test]
    fn late_exactly_at_end_and_grace() {
        let windows = windows(10, 10, 5);
        assert!(!windows.is_late(0, 14));
        assert!(windows.is_late(0, 15));
        let assigned = windows.assign(&[3, 3, 12], &[14, 15, 15], NEVER);
        assert_eq!(assigned, Assigned { rows: Some(vec![0, 2]), starts: vec![0, 10], late: late(1, 0) });
    }

    #[test]
    fn tumbling_rows_in_time_are_not_expanded() {
        let assigned = windows(10, 10, 0).assign(&[1, 25, 19], &[1, 25, 25], NEVER);
        assert_eq!(assigned.rows, Some(vec![0, 1]));
        let assigned = windows(10, 10, 5).assign(&[1, 21, 19], &[1, 21, 21], NEVER);
        assert_eq!(assigned, Assigned { rows: None, starts: vec![0, 20, 10], late: Late::default() });
    }

    #[test]
    fn a_row_may_be_late_for_the_first_of_its_windows_only() {
        let assigned = windows(10, 5, 0).assign(&[7, 7], &[9, 10], NEVER);
        assert_eq!(assigned, Assigned { rows: Some(vec![0, 0, 1]), starts: vec![0, 5, 5], late: late(1, 0) });
    }

    #[test]
    fn closed_windows_take_nothing() {
        let assigned = windows(10, 10, 50).assign(&[5, 15], &[5, 15], 10);
        assert_eq!(assigned.starts, [10]);
        assert_eq!(assigned.late.explained, [LateRow { row: 0, start: 0, closed: true }], "its time is not over");
        assert_eq!(windows(10, 5, 50).assign(&[5, 15], &[5, 15], 10).starts, [5, 10, 15]);
    }

    #[test]
    fn hopping_is_tumbling_when_it_advances_by_its_size() {
        let (times, stream_times) = ([0, 9, 10, 4, 31, 11], [0, 9, 10, 10, 31, 31]);
        let windows = windows(10, 10, 3);
        let (tumbled, hopped) = (windows.tumble(&times, &stream_times, NEVER), windows.hop(&times, &stream_times, NEVER));
        assert_eq!(tumbled, hopped);
    }
}
