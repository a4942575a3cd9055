//! Which partitions are being brought in from their changelogs, and how far that is.

use hashbrown::HashMap;
use millpond_state::StoreId;
use parking_lot::Mutex;

type Place = (StoreId, u32);

#[derive(Default)]
pub(crate) struct Restoring(Mutex<HashMap<Place, f64>>);

/// Dropped when it is brought in, or cannot be.
pub(crate) struct Restore<'a> {
    of: &'a Restoring,
    place: Place,
    from: u64,
    to: u64,
}

impl Restoring {
    /// The records of the changelog between two offsets are to be brought in.
    pub fn begin(&self, place: Place, from: u64, to: u64) -> Restore<'_> {
        self.0.lock().insert(place, 0.0);
        Restore { of: self, place, from, to }
    }

    pub fn percent(&self, store: StoreId, partition: u32) -> Option<f64> {
        self.0.lock().get(&(store, partition)).copied()
    }
}

impl Restore<'_> {
    /// They are up to there.
    pub fn reached(&self, next: u64) {
        let (done, all) = (next.saturating_sub(self.from), self.to.saturating_sub(self.from).max(1));
        self.of.0.lock().insert(self.place, (done as f64 / all as f64 * 100.0).min(100.0));
    }
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        self.of.0.lock().remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_told_while_it_goes_on() {
        let (restoring, store) = (Restoring::default(), StoreId(1));
        let restore = restoring.begin((store, 0), 100, 300);
        assert_eq!((restoring.percent(store, 0), restoring.percent(store, 1)), (Some(0.0), None));
        restore.reached(250);
        assert_eq!(restoring.percent(store, 0), Some(75.0));
        drop(restore);
        assert_eq!(restoring.percent(store, 0), None);
    }
}
