//! Commits that have begun and have not come to an end.

use std::collections::BTreeSet;

use parking_lot::Mutex;

#[derive(Default)]
pub(crate) struct UnderWay(Mutex<State>);

#[derive(Default)]
struct State {
    begun: u64,
    numbers: BTreeSet<u64>,
}

/// Dropped when the commit has come to an end.
pub(crate) struct Commit<'a> {
    of: &'a UnderWay,
    number: u64,
}

impl UnderWay {
    pub fn begin(&self) -> Commit<'_> {
        let mut state = self.0.lock();
        state.begun += 1;
        let number = state.begun;
        state.numbers.insert(number);
        Commit { of: self, number }
    }

    pub fn begun(&self) -> u64 {
        self.0.lock().begun
    }

    pub fn finished(&self, begun: u64) -> bool {
        self.0.lock().numbers.first().is_none_or(|first| *first > begun)
    }
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        self.of.0.lock().numbers.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_began_before_are_waited_for_and_no_others() {
        let commits = UnderWay::default();
        assert!(commits.finished(commits.begun()));
        let (first, second) = (commits.begin(), commits.begin());
        let begun = commits.begun();
        let _later = commits.begin();
        drop(second);
        assert!(!commits.finished(begun));
        drop(first);
        assert!(commits.finished(begun) && !commits.finished(commits.begun()));
    }
}
