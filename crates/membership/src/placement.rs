//! Where units go.   units, members, where they are ──► where they are to be
//!
//! PLC-1  every unit is in one place, when there is a member.
//! PLC-2  of any two members, neither has more than one unit more than the other.
//! PLC-3  no fewer units could move, given where they are.
//! PLC-4  with that, the partitions of each topic are spread as evenly as can be, so that the load of one topic is everybody's.
//!
//! A member's share is fixed first: whoever has the most keeps one more where units do not divide evenly. Whoever has more than its share
//! gives the rest away, and nobody gives away more than that. Which topics' partitions go where is said in `spread.rs`.

mod spread;

use std::collections::{BTreeMap, BTreeSet};

use crate::{Instance, Unit};

/// The same for the same arguments, always. Empty when there is no member; what is in `current` and not in `units` or not with one of the
/// `members` is as if it had no place.
pub fn place(units: &BTreeSet<Unit>, members: &BTreeSet<Instance>, current: &BTreeMap<Unit, Instance>) -> BTreeMap<Unit, Instance> {
    place_near(units, members, current, &BTreeMap::new())
}

/// As [`place`]; units without a place go to their `former` one where it has room.
pub(crate) fn place_near(
    units: &BTreeSet<Unit>,
    members: &BTreeSet<Instance>,
    current: &BTreeMap<Unit, Instance>,
    former: &BTreeMap<Unit, Instance>,
) -> BTreeMap<Unit, Instance> {
    let names: Vec<&Instance> = members.iter().collect();
    if names.is_empty() {
        return BTreeMap::new();
    }
    let member_of =
        |places: &BTreeMap<Unit, Instance>, unit: &Unit| places.get(unit).and_then(|instance| names.binary_search(&instance).ok());
    let mut place: BTreeMap<&Unit, Option<usize>> = units.iter().map(|unit| (unit, member_of(current, unit))).collect();
    let mut counts = vec![0; names.len()];
    place.values().flatten().for_each(|member| counts[*member] += 1);
    let shares = shares(units.len(), &counts);
    for (unit, place) in place.iter_mut().filter(|(_, place)| place.is_none()) {
        *place = member_of(former, unit).filter(|member| counts[*member] < shares[*member]);
        place.iter().for_each(|member| counts[*member] += 1);
    }
    let places = move_few(&place, &shares);
    places.into_iter().map(|(unit, member)| (unit.clone(), names[member].clone())).collect()
}

/// How many units each member gets. As few as possible have to move when those that have the most get one more.
fn shares(units: usize, counts: &[usize]) -> Vec<usize> {
    let (share, one_more) = (units / counts.len(), units % counts.len());
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|member| (std::cmp::Reverse(counts[*member]), *member));
    let mut shares = vec![share; counts.len()];
    order.into_iter().take(one_more).for_each(|member| shares[member] += 1);
    shares
}

/// Takes units from those that have more than their share, the highest partitions of a topic first, and gives out all that are free.
fn move_few<'a>(place: &BTreeMap<&'a Unit, Option<usize>>, shares: &[usize]) -> BTreeMap<&'a Unit, usize> {
    let mut topics: Vec<&str> = place.keys().map(|unit| &*unit.topic).collect();
    topics.dedup();
    let topic_of = |unit: &Unit| topics.binary_search(&&*unit.topic).expect("it is a unit's topic");
    let mut sizes = vec![0; topics.len()];
    let mut held = vec![vec![0; topics.len()]; shares.len()];
    for (unit, place) in place {
        sizes[topic_of(unit)] += 1;
        place.iter().for_each(|member| held[*member][topic_of(unit)] += 1);
    }
    let mut room = spread::spread(&sizes, &held, shares);
    let mut places = BTreeMap::new();
    for (unit, place) in place {
        let stays = place.filter(|member| take(&mut room[*member][topic_of(unit)]));
        places.extend(stays.map(|member| (*unit, member)));
    }
    for unit in place.keys() {
        let topic = topic_of(unit);
        places
            .entry(*unit)
            .or_insert_with(|| room.iter_mut().position(|room| take(&mut room[topic])).expect("there is room for every unit"));
    }
    places
}

fn take(room: &mut usize) -> bool {
    let some = *room > 0;
    *room -= usize::from(some);
    some
}
