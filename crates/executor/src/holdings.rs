//! What of the service's work this process does.

use std::collections::{BTreeMap, BTreeSet};

use millpond_membership::Unit;
use parking_lot::RwLock;

/// The units that this process runs. Those of push queries are not counted: they run where they were asked for.
///
/// HLD-1  what is held, which tasks have their state here, and the version change in one step.
/// HLD-2  a task is built only when what others had committed of it, up to when its unit was given, has been brought in.
#[derive(Debug)]
pub(crate) struct Holdings(RwLock<State>);

#[derive(Debug)]
struct State {
    held: Held,
    version: u64,
}

#[derive(Debug)]
pub(crate) enum Held {
    /// It is alone.
    Everything,
    Units(BTreeMap<Unit, Since>),
}

/// How a unit is held.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Since {
    /// It was given in this version, and it is not known here what others have committed of it.
    Given(u64),
    BroughtIn,
}

impl Held {
    pub fn has(&self, unit: &Unit) -> bool {
        match self {
            Held::Everything => true,
            Held::Units(units) => units.contains_key(unit),
        }
    }

    fn may_build(&self, unit: &Unit) -> bool {
        match self {
            Held::Everything => true,
            Held::Units(units) => matches!(units.get(unit), Some(Since::BroughtIn)),
        }
    }
}

impl Holdings {
    /// Of a process that is alone.
    pub fn everything() -> Holdings {
        Holdings::new(Held::Everything)
    }

    /// Of a member that was not given anything yet.
    pub fn nothing() -> Holdings {
        Holdings::new(Held::Units(BTreeMap::new()))
    }

    fn new(held: Held) -> Holdings {
        Holdings(RwLock::new(State { held, version: 0 }))
    }

    pub fn has(&self, unit: &Unit) -> bool {
        self.0.read().held.has(unit)
    }

    /// Whether tasks of the unit may be built.
    pub fn may_build(&self, unit: &Unit) -> bool {
        self.0.read().held.may_build(unit)
    }

    /// Another number after each change.
    pub fn version(&self) -> u64 {
        self.0.read().version
    }

    /// Looks while nothing changes; is not to look by another way at the same time.
    pub fn look<T>(&self, look: impl FnOnce(&Held) -> T) -> T {
        look(&self.0.read().held)
    }

    /// `change` is told what was held before. What stays stays as it was.
    pub fn set(&self, units: BTreeSet<Unit>, change: impl FnOnce(&Held)) {
        let mut state = self.0.write();
        change(&state.held);
        state.version += 1;
        let since = |unit: &Unit| match &state.held {
            Held::Units(before) => before.get(unit).copied().unwrap_or(Since::Given(state.version)),
            Held::Everything => Since::Given(state.version),
        };
        state.held = Held::Units(units.iter().map(|unit| (unit.clone(), since(unit))).collect());
    }

    /// Everything that others had committed when [`Holdings::version`] was `version` has been brought in.
    pub fn brought_in(&self, version: u64) {
        if let Held::Units(units) = &mut self.0.write().held {
            for since in units.values_mut() {
                if matches!(since, Since::Given(given) if *given <= version) {
                    *since = Since::BroughtIn;
                }
            }
        }
    }

    /// Tasks get, or give up, their state here.
    pub fn change(&self, change: impl FnOnce(&Held)) {
        let mut state = self.0.write();
        change(&state.held);
        state.version += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(partitions: &[u32]) -> BTreeSet<Unit> {
        partitions.iter().map(|partition| Unit::new("t", *partition)).collect()
    }

    #[test]
    fn what_was_given_after_it_was_looked_is_not_built() {
        let holdings = Holdings::nothing();
        let may_build = || (0..3).filter(|partition| holdings.may_build(units(&[*partition]).first().unwrap())).collect::<Vec<_>>();
        holdings.set(units(&[0, 1]), |_| ());
        let looked = holdings.version();
        holdings.set(units(&[0, 1, 2]), |_| ());
        holdings.brought_in(looked);
        assert_eq!(may_build(), [0, 1]);
        // It comes back, and others may have gone on with it.
        holdings.set(units(&[0, 2]), |_| ());
        holdings.set(units(&[0, 1, 2]), |_| ());
        holdings.brought_in(looked);
        assert_eq!(may_build(), [0]);
        holdings.brought_in(holdings.version());
        assert_eq!(may_build(), [0, 1, 2]);
        assert!(Holdings::everything().may_build(units(&[7]).first().unwrap()));
    }
}
