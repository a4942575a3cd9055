//! From one assignment to the next, so that no unit is run twice.
//!
//! ```text
//!   epoch     e                  e + 1                                     later
//!   unit u    units: a   ──►     leaving: a's member, since e + 1   ──►    units: b      when that member has acked e + 1 or more, or is
//!                                                                                       not live any more
//! ```
//! What nobody can be running (new units, those of the dead, those of an instance that is back under another id) is given at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::placement::place_near;
use crate::{Assignment, Instance, Leaving, Seat, Unit};

/// A live member: what it writes is not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The id under which the group has let it in.
    pub id: String,
    pub instance: Instance,
    /// `host:port`; `None`: it has not said hello under this id, or another one has since under its instance. It is given nothing, but may
    /// run what it has; and if its instance has just been started again, its units wait for it where they are.
    pub address: Option<String>,
}

/// What is to follow `current`; `None`: it is as it should be, or there is nobody to give anything to. `acks`: the latest epoch that each
/// member, by its id, has acked: it runs nothing that is not its own there.
pub fn next(current: &Assignment, live: &[Peer], units: &BTreeSet<Unit>, acks: &BTreeMap<String, u64>) -> Option<Assignment> {
    if live.iter().all(|peer| peer.address.is_none()) {
        return None;
    }
    let seats = seats(current, live);
    let instances = live.iter().map(|peer| (peer.id.as_str(), &peer.instance)).collect::<BTreeMap<_, _>>();
    let holders = holders(current, &instances, acks);
    let placed = current.units.iter().filter(|(_, instance)| seats.contains_key(*instance));
    let placed = placed.map(|(unit, instance)| (unit.clone(), instance.clone())).collect();
    let former = holders.iter().map(|(unit, holder)| (unit.clone(), instances[holder.member].clone())).collect();
    let target = place_near(units, &seats.keys().cloned().collect(), &placed, &former);

    let mut next = Assignment { epoch: current.epoch + 1, ..Assignment::default() };
    let all: BTreeSet<&Unit> = units.iter().chain(holders.keys()).collect();
    for unit in all {
        let to = target.get(unit).map(|instance| (instance, &seats[instance].member));
        match (holders.get(unit), to) {
            (Some(holder), Some((instance, member))) if holder.member == member => {
                next.units.insert(unit.clone(), instance.clone());
            }
            (Some(holder), _) => {
                let since = holder.leaving_since.unwrap_or(next.epoch);
                next.leaving.insert(unit.clone(), Leaving { member: holder.member.to_owned(), since });
            }
            // Whoever is not back yet keeps what it had and gets nothing else.
            (None, Some((instance, member))) if instances.contains_key(member.as_str()) || current.units.get(unit) == Some(instance) => {
                next.units.insert(unit.clone(), instance.clone());
            }
            (None, _) => {}
        }
    }
    next.members = seats;
    let same = next.members == current.members && next.units == current.units && next.leaving == current.leaving;
    (!same).then_some(next)
}

/// Whoever units can be placed with: those who have said hello, and those who have a seat and are about to say it anew.
fn seats(current: &Assignment, live: &[Peer]) -> BTreeMap<Instance, Seat> {
    let mut seats = BTreeMap::new();
    for Peer { id, instance, address } in live {
        if let Some(address) = address {
            seats.insert(instance.clone(), Seat { member: id.clone(), address: address.clone() });
        } else if let Some(seat) = current.members.get(instance) {
            seats.entry(instance.clone()).or_insert_with(|| seat.clone());
        }
    }
    seats
}

/// The live member that may be running a unit.
struct Holder<'a> {
    member: &'a str,
    /// Since which epoch it is to stop.
    leaving_since: Option<u64>,
}

fn holders<'a>(current: &'a Assignment, live: &BTreeMap<&str, &Instance>, acks: &BTreeMap<String, u64>) -> BTreeMap<Unit, Holder<'a>> {
    let stopped = |leaving: &Leaving| acks.get(&leaving.member).is_some_and(|acked| *acked >= leaving.since);
    let leaving = current.leaving.iter().filter(|(_, leaving)| !stopped(leaving)).map(|(unit, leaving)| {
        let holder = Holder { member: &leaving.member, leaving_since: Some(leaving.since) };
        (unit, holder)
    });
    let running = current.units.iter().filter_map(|(unit, instance)| {
        let seat = current.members.get(instance)?;
        Some((unit, Holder { member: &seat.member, leaving_since: None }))
    });
    let all = running.chain(leaving).filter(|(_, holder)| live.contains_key(holder.member));
    all.map(|(unit, holder)| (unit.clone(), holder)).collect()
}
