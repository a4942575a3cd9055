//! Event time (design D16): how far each channel has come, how far a task has, and which of its inputs is next.
//!
//! TIME-1  a channel's time never goes back, nor does the time a task's operators are told.
//! TIME-2  a channel that is idle, and only such a one, holds nothing back.

use std::fmt;

use millpond_log::Control;

/// An input partition of a source, or an upstream task behind a repartition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Channel {
    /// The running maximum of timestamps; `None` before the first.
    pub time_ms: Option<i64>,
    /// Caught up and silent for the source's `idle_timeout`.
    pub idle: bool,
}

/// The channels of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channels {
    channels: Vec<Channel>,
}

impl Channels {
    pub fn new(count: usize) -> Channels {
        Channels { channels: vec![Channel::default(); count] }
    }

    /// Rows came on `channel`, up to `time_ms`: it is live again.
    pub fn observe(&mut self, channel: usize, time_ms: i64) {
        self.update(channel, Some(time_ms), false);
    }

    /// The upstream task says how far it is. A channel that the topology does not know is none of ours.
    pub fn announce(&mut self, channel: usize, control: Control) {
        let time_ms = (control.stream_time_ms != i64::MIN).then_some(control.stream_time_ms);
        self.update(channel, time_ms, control.idle);
    }

    pub fn set_idle(&mut self, channel: usize, idle: bool) {
        self.update(channel, None, idle);
    }

    fn update(&mut self, channel: usize, time_ms: Option<i64>, idle: bool) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.time_ms = channel.time_ms.max(time_ms);
            channel.idle = idle;
        }
    }

    /// Takes over what was saved; of other channels than there were, those that are common.
    pub fn restore(&mut self, saved: impl Iterator<Item = Channel>) {
        for (channel, saved) in self.channels.iter_mut().zip(saved) {
            *channel = saved;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Channel> + '_ {
        self.channels.iter().copied()
    }

    pub fn get(&self, channel: usize) -> Option<Channel> {
        self.channels.get(channel).copied()
    }
}

/// How far a task has come: the minimum over its live channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StreamTime {
    /// A live channel has not brought anything yet.
    #[default]
    Unknown,
    At(i64),
    /// All channels are idle: whatever is open may be closed. With the latest time any of them has seen.
    End(Option<i64>),
}

impl StreamTime {
    pub fn of(channels: impl Iterator<Item = Channel>) -> StreamTime {
        let mut latest = None;
        let mut live: Option<Option<i64>> = None;
        for channel in channels {
            latest = latest.max(channel.time_ms);
            if !channel.idle {
                live = Some(live.map_or(channel.time_ms, |least| least.min(channel.time_ms)));
            }
        }
        match (live, latest) {
            (Some(Some(time_ms)), _) => StreamTime::At(time_ms),
            (Some(None), _) => StreamTime::Unknown,
            (None, latest) => StreamTime::End(latest),
        }
    }

    /// The time itself; at the end, the latest seen.
    pub fn millis(self) -> Option<i64> {
        match self {
            StreamTime::Unknown => None,
            StreamTime::At(time_ms) => Some(time_ms),
            StreamTime::End(time_ms) => time_ms,
        }
    }

    /// What a repartition sink tells the tasks behind it.
    pub fn announcement(self) -> Option<Control> {
        match self {
            StreamTime::Unknown => None,
            StreamTime::At(stream_time_ms) => Some(Control { stream_time_ms, idle: false }),
            StreamTime::End(latest) => Some(Control { stream_time_ms: latest.unwrap_or(i64::MIN), idle: true }),
        }
    }
}

impl fmt::Display for StreamTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamTime::Unknown => f.write_str("unknown"),
            StreamTime::At(time_ms) => write!(f, "{time_ms}"),
            StreamTime::End(Some(time_ms)) => write!(f, "{time_ms} (idle)"),
            StreamTime::End(None) => f.write_str("idle"),
        }
    }
}

/// What a task's operators have been told, and are to be told next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    /// The last finite time told.
    pub told_ms: Option<i64>,
    /// They were told the end, and no channel has come back since.
    pub ended: bool,
}

impl Clock {
    /// What to tell them now that the task is at `time`, if anything: `i64::MAX` for the end.
    pub fn tick(&mut self, time: StreamTime) -> Option<i64> {
        match time {
            StreamTime::Unknown | StreamTime::End(None) => None,
            StreamTime::At(time_ms) => {
                self.ended = false;
                let moved = self.told_ms.is_none_or(|told| time_ms > told);
                moved.then(|| {
                    self.told_ms = Some(time_ms);
                    time_ms
                })
            }
            StreamTime::End(Some(_)) => (!std::mem::replace(&mut self.ended, true)).then_some(i64::MAX),
        }
    }
}

/// What is known of an input's next row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is here, of this stream time.
    Row { time_ms: i64 },
    /// There is one in the log, not fetched yet.
    Behind,
    /// There is none now.
    None,
}

/// An input as the choice of the next one sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub next: Next,
    /// A table: read up to a stream row's time, inclusive, before the row.
    pub table: bool,
}

/// Which input is next, and how far it may be read before the choice is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub input: usize,
    /// Rows up to this time, inclusive; the first row beyond it ends the turn. `None`: all that is here.
    pub until_ms: Option<i64>,
}

/// The row with the smallest time is next, tables before streams at the same time. `None`: nothing is here, or an input has a row
/// that is not fetched yet and might be earlier. Turns are bounded by inputs of the other kind only: the order between two streams, or
/// two tables, matters to no join, and cutting batches row by row costs much.
pub fn next_input(heads: &[Head]) -> Option<Turn> {
    if heads.iter().any(|head| head.next == Next::Behind) {
        return None;
    }
    let rows = || {
        heads.iter().enumerate().filter_map(|(input, head)| match head.next {
            Next::Row { time_ms } => Some((time_ms, !head.table, input)),
            _ => None,
        })
    };
    let (_, stream, input) = rows().min()?;
    let until_ms = rows()
        .filter(|(_, other_stream, _)| *other_stream != stream)
        // A table may be read up to the stream's row, a stream only to just before the table's.
        .map(|(time_ms, _, _)| if stream { time_ms - 1 } else { time_ms })
        .min();
    Some(Turn { input, until_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time_ms: i64) -> Channel {
        Channel { time_ms: Some(time_ms), idle: false }
    }

    fn idle(time_ms: i64) -> Channel {
        Channel { time_ms: Some(time_ms), idle: true }
    }

    #[test]
    fn stream_time_is_the_least_of_the_live_channels() {
        let of = |channels: &[Channel]| StreamTime::of(channels.iter().copied());
        assert_eq!(of(&[]), StreamTime::End(None));
        assert_eq!(of(&[at(5), at(3)]), StreamTime::At(3));
        assert_eq!(of(&[at(5), Channel::default()]), StreamTime::Unknown, "an unseen channel holds it back");
        assert_eq!(of(&[at(5), idle(3)]), StreamTime::At(5));
        assert_eq!(of(&[idle(5), idle(3)]), StreamTime::End(Some(5)));
        assert_eq!(of(&[Channel { time_ms: None, idle: true }]), StreamTime::End(None), "nothing has come: nothing to close");
    }

    #[test]
    fn a_channel_does_not_go_back_and_rows_wake_it() {
        let mut channels = Channels::new(2);
        channels.observe(0, 10);
        channels.observe(0, 4);
        channels.announce(1, Control { stream_time_ms: i64::MIN, idle: true });
        assert_eq!(StreamTime::of(channels.iter()), StreamTime::At(10));
        channels.set_idle(0, true);
        assert_eq!(StreamTime::of(channels.iter()), StreamTime::End(Some(10)));
        channels.observe(1, 7);
        assert_eq!(StreamTime::of(channels.iter()), StreamTime::At(7));
        channels.announce(9, Control { stream_time_ms: 1, idle: false });
    }

    #[test]
    fn operators_hear_each_time_once() {
        let mut clock = Clock::default();
        let told: Vec<_> = [
            StreamTime::End(None),
            StreamTime::At(5),
            StreamTime::At(5),
            StreamTime::End(Some(9)),
            StreamTime::End(Some(9)),
            StreamTime::At(4),
            StreamTime::End(Some(9)),
            StreamTime::At(12),
        ]
        .map(|time| clock.tick(time))
        .to_vec();
        assert_eq!(told, vec![None, Some(5), None, Some(i64::MAX), None, None, Some(i64::MAX), Some(12)]);
    }

    #[test]
    fn the_earlier_row_is_next_and_a_table_goes_first() {
        let stream = |next| Head { next, table: false };
        let table = |next| Head { next, table: true };
        let row = |time_ms| Next::Row { time_ms };
        let turn = |input, until_ms| Some(Turn { input, until_ms });
        assert_eq!(next_input(&[stream(row(5)), table(row(7))]), turn(0, Some(6)));
        assert_eq!(next_input(&[stream(row(7)), table(row(7))]), turn(1, Some(7)));
        assert_eq!(next_input(&[stream(row(7)), table(Next::None)]), turn(0, None));
        assert_eq!(next_input(&[stream(row(7)), table(Next::Behind)]), None);
        assert_eq!(next_input(&[stream(Next::Behind), table(row(1))]), None);
        assert_eq!(next_input(&[stream(row(3)), stream(row(2))]), turn(1, None), "streams do not cut each other up");
        assert_eq!(next_input(&[stream(row(3)), stream(row(2)), table(row(9))]), turn(1, Some(8)));
        assert_eq!(next_input(&[stream(Next::None)]), None);
    }
}
