//! The sessions of one key: pure decisions, no values.

/// A session and what it is made of. Bounds are its first and last rowtime, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Accumulators whose contents, one after another, are the session's.
    pub(crate) pieces: Vec<u32>,
    /// The stored sessions that it takes the place of.
    pub(crate) replaces: Vec<u32>,
    /// It got rows since it was loaded.
    pub(crate) changed: bool,
    /// The greatest stream time of its new rows.
    pub(crate) stream_time: i64,
}

impl Session {
    fn last_piece(&self) -> u32 {
        *self.pieces.last().expect("a session is made of pieces")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Sessions that end at or after this are here, if they are anywhere. `None`: nothing is loaded.
    pub(crate) loaded_from: Option<i64>,
    /// Ordered by end. Those that are open at one time are more than the gap apart; one that is over may lie within a younger one.
    pub(crate) sessions: Vec<Session>,
}

impl Sessions {
    /// Takes a stored session in.
    pub(crate) fn load(&mut self, start: i64, end: i64, piece: u32, stored: u32) {
        let at = self.sessions.partition_point(|session| session.end < end);
        let session = Session { start, end, pieces: vec![piece], replaces: vec![stored], changed: false, stream_time: i64::MIN };
        self.sessions.insert(at, session);
    }

    /// Puts a row where it belongs, which may make several sessions one. Gives the piece that takes the row: an existing one, or `fresh`.
    /// Sessions that end before `open_from` are over: the row joins none of them. `Err`: the session it would belong to is over, too;
    /// nothing has changed then. With the session's bounds.
    pub(crate) fn place(&mut self, time: i64, stream_time: i64, gap: i64, fresh: u32, open_from: i64) -> Result<u32, (i64, i64)> {
        let from = open_from.max(time.saturating_sub(gap));
        let first = self.sessions.partition_point(|session| session.end < from);
        let reached = |session: &Session| session.start <= time.saturating_add(gap);
        let (mut start, mut end) = (time, time);
        let (mut count, mut last) = (0, first);
        for (number, session) in self.sessions.iter().enumerate().skip(first).filter(|(_, session)| reached(session)) {
            start = start.min(session.start);
            end = end.max(session.end);
            (count, last) = (count + 1, number);
        }
        if end < open_from {
            return Err((start, end));
        }
        if count == 1 {
            // Its place stays: what ends later and is not reached starts after `time`.
            let only = &mut self.sessions[last];
            (only.start, only.end, only.changed) = (start, end, true);
            only.stream_time = only.stream_time.max(stream_time);
            return Ok(only.last_piece());
        }
        let mut merged = Session { start, end, pieces: Vec::new(), replaces: Vec::new(), changed: true, stream_time };
        for session in self.sessions.extract_if(first.., |session| reached(session)) {
            merged.pieces.extend(session.pieces);
            merged.replaces.extend(session.replaces);
            merged.stream_time = merged.stream_time.max(session.stream_time);
        }
        if merged.pieces.is_empty() {
            merged.pieces.push(fresh);
        }
        let piece = merged.last_piece();
        let at = self.sessions.partition_point(|session| session.end < end);
        self.sessions.insert(at, merged);
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions after rows at `times`, with a gap of 10, as (start, end, pieces).
    fn after(times: &[i64]) -> Vec<(i64, i64, Vec<u32>)> {
        let mut sessions = Sessions::default();
        for (row, time) in times.iter().enumerate() {
            assert!(sessions.place(*time, *time, 10, row as u32, i64::MIN).is_ok());
        }
        sessions.sessions.into_iter().map(|session| (session.start, session.end, session.pieces)).collect()
    }

    #[test]
    fn rows_within_the_gap_are_one_session() {
        assert_eq!(after(&[100]), [(100, 100, vec![0])]);
        assert_eq!(after(&[100, 110]), [(100, 110, vec![0])]);
        assert_eq!(after(&[100, 111]), [(100, 100, vec![0]), (111, 111, vec![1])]);
        assert_eq!(after(&[100, 90]), [(90, 100, vec![0])]);
        assert_eq!(after(&[100, 89]), [(89, 89, vec![1]), (100, 100, vec![0])]);
        assert_eq!(after(&[100, 120, 110]), [(100, 120, vec![0, 1])], "a row that bridges two");
        assert_eq!(after(&[100, 121, 110]), [(100, 110, vec![0]), (121, 121, vec![1])]);
        assert_eq!(after(&[100, 120, 140, 110, 130]), [(100, 140, vec![0, 1, 2])]);
        assert_eq!(after(&[100, 100, 105, 95]), [(95, 105, vec![0])]);
    }

    #[test]
    fn lateness_is_that_of_the_merged_session() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.place(99, 120, 10, 0, 100), Err((99, 99)));
        assert_eq!(sessions.place(100, 120, 10, 0, 100), Ok(0));
        assert_eq!(sessions.place(92, 120, 10, 1, 100), Ok(0), "it reaches a session that is not late");
        assert_eq!(sessions.sessions.len(), 1);
        assert_eq!((sessions.sessions[0].start, sessions.sessions[0].end), (92, 100));
    }

    #[test]
    fn a_session_that_is_over_takes_no_rows() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.place(100, 100, 10, 0, 80), Ok(0));
        assert_eq!(sessions.place(130, 130, 10, 1, 110), Ok(1));
        assert_eq!(sessions.place(120, 130, 10, 2, 110), Ok(1));
        assert_eq!(sessions.place(110, 130, 10, 2, 110), Ok(1), "within the gap of one that is over and of one that is not");
        assert_eq!(sessions.place(101, 130, 10, 2, 110), Ok(1));
        assert_eq!(sessions.place(92, 130, 10, 2, 110), Ok(1), "a younger session may come to hold one that is over");
        assert_eq!(sessions.place(81, 130, 10, 2, 110), Err((81, 81)));
        let bounds: Vec<_> = sessions.sessions.iter().map(|session| (session.start, session.end)).collect();
        assert_eq!(bounds, [(100, 100), (92, 130)]);
    }

    #[test]
    fn stored_sessions_are_replaced() {
        let mut sessions = Sessions::default();
        sessions.load(120, 125, 1, 1);
        sessions.load(100, 105, 0, 0);
        assert_eq!(sessions.place(112, 130, 10, 2, i64::MIN), Ok(1));
        let [merged] = &sessions.sessions[..] else { panic!("one session") };
        assert_eq!((merged.start, merged.end, &merged.replaces[..], merged.changed), (100, 125, &[0, 1][..], true));
    }
}
