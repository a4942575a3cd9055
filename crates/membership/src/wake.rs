//! What the membership thread is woken by.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// The log tells of every commit, of whatever topic: it is looked at no more often.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// What failed is tried again after so long, and what nobody tells of is looked at.
const TICK: Duration = Duration::from_secs(1);

/// How the thread is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Commit, hand over, say good-bye.
    Shutdown,
    /// Drop everything.
    Abandon,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// There may be new records.
    Look,
    /// Anything may have changed.
    All,
    End(End),
}

#[derive(Debug, Default)]
pub(crate) struct Wake {
    causes: Mutex<Causes>,
    raised: Condvar,
}

#[derive(Debug, Default)]
struct Causes {
    log: bool,
    other: bool,
    end: Option<End>,
}

/// When the thread last did something.
#[derive(Debug)]
pub(crate) struct Pace {
    looked: Instant,
    ticked: Instant,
}

impl Pace {
    pub fn new() -> Pace {
        Pace { looked: Instant::now(), ticked: Instant::now() }
    }
}

impl Wake {
    /// The log has more, or something was committed.
    pub fn log(&self) {
        let mut causes = self.causes.lock();
        if !causes.log {
            causes.log = true;
            self.raised.notify_one();
        }
    }

    /// Members, units or roles have changed.
    pub fn other(&self) {
        self.causes.lock().other = true;
        self.raised.notify_one();
    }

    /// The first one counts.
    pub fn end(&self, end: End) {
        self.causes.lock().end.get_or_insert(end);
        self.raised.notify_one();
    }

    /// Returns when there is something to do, at the latest at the next tick.
    pub fn wait(&self, pace: &mut Pace) -> Task {
        let mut causes = self.causes.lock();
        loop {
            if let Some(end) = causes.end {
                return Task::End(end);
            }
            let now = Instant::now();
            let (look, tick) = (pace.looked + LOOK_PAUSE, pace.ticked + TICK);
            if causes.other || now >= tick {
                (causes.other, causes.log) = (false, false);
                (pace.looked, pace.ticked) = (now, now);
                return Task::All;
            }
            if causes.log && now >= look {
                causes.log = false;
                pace.looked = now;
                return Task::Look;
            }
            let until = if causes.log { look.min(tick) } else { tick };
            self.raised.wait_until(&mut causes, until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_raised_before_the_wait_is_not_missed() {
        let (wake, mut pace) = (Wake::default(), Pace::new());
        wake.log();
        assert_eq!(wake.wait(&mut pace), Task::Look);
        wake.log();
        wake.other();
        assert_eq!(wake.wait(&mut pace), Task::All);
        assert_eq!(wake.wait(&mut pace), Task::All, "the tick");
        wake.end(End::Shutdown);
        wake.end(End::Abandon);
        assert_eq!(wake.wait(&mut pace), Task::End(End::Shutdown));
    }
}
