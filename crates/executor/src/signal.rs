//! Waiting for something to have happened, without polling.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// A counter of events that threads can wait on. Reading it before looking at the state it speaks of means that no event is missed.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    count: Mutex<u64>,
    raised: Condvar,
}

impl Signal {
    pub fn raise(&self) {
        *self.count.lock() += 1;
        self.raised.notify_all();
    }

    pub fn current(&self) -> u64 {
        *self.count.lock()
    }

    /// Returns once it was raised after `seen`, or when `timeout` is over.
    pub fn wait(&self, seen: u64, timeout: Option<Duration>) {
        let mut count = self.count.lock();
        if *count != seen {
            return;
        }
        match timeout {
            Some(timeout) => {
                self.raised.wait_for(&mut count, timeout);
            }
            None => self.raised.wait(&mut count),
        }
    }
}

/// Opens when as many parties as it was made for have arrived.
#[derive(Debug)]
pub(crate) struct Latch {
    missing: Mutex<usize>,
    opened: Condvar,
}

impl Latch {
    pub fn new(parties: usize) -> Latch {
        Latch { missing: Mutex::new(parties), opened: Condvar::new() }
    }

    /// Whether it was the last one.
    pub fn arrive(&self) -> bool {
        let mut missing = self.missing.lock();
        *missing = missing.saturating_sub(1);
        let last = *missing == 0;
        if last {
            self.opened.notify_all();
        }
        last
    }

    pub fn wait(&self) {
        let mut missing = self.missing.lock();
        while *missing > 0 {
            self.opened.wait(&mut missing);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_was_raised_before_the_wait_is_not_missed() {
        let signal = Signal::default();
        let seen = signal.current();
        signal.raise();
        signal.wait(seen, None);
    }

    #[test]
    fn a_latch_opens_with_its_last_party() {
        let latch = Arc::new(Latch::new(2));
        latch.arrive();
        let other = Arc::clone(&latch);
        let thread = std::thread::spawn(move || other.arrive());
        latch.wait();
        thread.join().unwrap();
        latch.arrive();
        latch.wait();
    }
}
