//! PLC-1 to PLC-4, each as a property.

use std::collections::{BTreeMap, BTreeSet};

use millpond_membership::placement::place;
use millpond_membership::{Instance, Unit};
use proptest::prelude::*;

const TOPICS: [&str; 3] = ["t", "u", "v"];

#[derive(Debug, Clone)]
struct Given {
    units: BTreeSet<Unit>,
    members: BTreeSet<Instance>,
    current: BTreeMap<Unit, Instance>,
}

/// Some units and members, and a place for some units: not all of them are among the units, nor with one of the members.
fn given(partitions_max: u32, members_max: usize) -> impl Strategy<Value = Given> {
    let unit = (0..TOPICS.len(), 0..partitions_max).prop_map(|(topic, partition)| Unit::new(TOPICS[topic], partition));
    let instance = (0..=members_max).prop_map(|member| format!("m{member}"));
    let units = proptest::collection::btree_set(unit.clone(), 0..TOPICS.len() * partitions_max as usize);
    let members = proptest::collection::btree_set(instance.clone(), 1..=members_max);
    let current = proptest::collection::btree_map(unit, instance, 0..TOPICS.len() * partitions_max as usize);
    (units, members, current).prop_map(|(units, members, current)| Given { units, members, current })
}

impl Given {
    fn place(&self) -> BTreeMap<Unit, Instance> {
        place(&self.units, &self.members, &self.current)
    }

    /// Where a unit is that has a place.
    fn at(&self, unit: &Unit) -> Option<&Instance> {
        self.current.get(unit).filter(|instance| self.members.contains(*instance))
    }

    /// How many units leave one member for another.
    fn moves(&self, placed: &BTreeMap<Unit, Instance>) -> usize {
        placed.iter().filter(|(unit, instance)| self.at(unit).is_some_and(|at| at != *instance)).count()
    }

    /// The fewest moves of any balanced placement: of all ways to say who gets one more, the one where the fewest are over their share.
    fn moves_min(&self) -> usize {
        let held = |member: &Instance| self.units.iter().filter(|unit| self.at(unit) == Some(member)).count();
        let held: Vec<usize> = self.members.iter().map(held).collect();
        let (share, one_more) = (self.units.len() / held.len(), self.units.len() % held.len());
        let choices = (0..1_u32 << held.len()).filter(|choice| choice.count_ones() as usize == one_more);
        let moves = |choice: u32| -> usize {
            held.iter().enumerate().map(|(member, held)| held.saturating_sub(share + (choice >> member & 1) as usize)).sum()
        };
        choices.map(moves).min().unwrap()
    }

    /// All placements, balanced or not.
    fn all(&self) -> Vec<BTreeMap<Unit, Instance>> {
        let mut all = vec![BTreeMap::new()];
        for unit in &self.units {
            let with = |placed: &BTreeMap<Unit, Instance>, member: &Instance| {
                let mut placed = placed.clone();
                placed.insert(unit.clone(), member.clone());
                placed
            };
            all = all.iter().flat_map(|placed| self.members.iter().map(|member| with(placed, member)).collect::<Vec<_>>()).collect();
        }
        all
    }
}

fn counts(members: &BTreeSet<Instance>, placed: &BTreeMap<Unit, Instance>, topic: Option<&str>) -> Vec<usize> {
    let of = |member: &Instance| {
        placed.iter().filter(|(unit, instance)| *instance == member && topic.is_none_or(|topic| *unit.topic == *topic)).count()
    };
    members.iter().map(of).collect()
}

fn within_one(counts: &[usize]) -> bool {
    counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1
}

fn squares(members: &BTreeSet<Instance>, placed: &BTreeMap<Unit, Instance>) -> usize {
    TOPICS.iter().flat_map(|topic| counts(members, placed, Some(topic))).map(|count| count * count).sum()
}

proptest! {
    #[test]
    fn every_unit_has_one_place(given in given(8, 6)) {
        let placed = given.place();
        prop_assert_eq!(placed.keys().collect::<BTreeSet<_>>(), given.units.iter().collect::<BTreeSet<_>>());
        prop_assert!(placed.values().all(|instance| given.members.contains(instance)));
    }

    #[test]
    fn nobody_has_two_more_than_another(given in given(8, 6)) {
        prop_assert!(within_one(&counts(&given.members, &given.place(), None)));
    }

    #[test]
    fn no_more_move_than_must(given in given(8, 6)) {
        prop_assert_eq!(given.moves(&given.place()), given.moves_min());
    }

    #[test]
    fn what_is_placed_stays(given in given(8, 6)) {
        let placed = given.place();
        prop_assert_eq!(place(&given.units, &given.members, &placed), placed);
    }

    #[test]
    fn the_same_comes_of_the_same(given in given(8, 6)) {
        prop_assert_eq!(given.place(), given.clone().place());
    }

    #[test]
    fn topics_are_spread_where_nothing_had_a_place(mut given in given(8, 6)) {
        given.current.clear();
        let placed = given.place();
        for topic in TOPICS {
            prop_assert!(within_one(&counts(&given.members, &placed, Some(topic))), "{}: {:?}", topic, placed);
        }
    }

    /// Among all balanced placements with as few moves, and as many units for each member.
    #[test]
    fn topics_are_spread_as_evenly_as_can_be(given in given(3, 3)) {
        prop_assume!(given.units.len() <= 7);
        let placed = given.place();
        let moves = given.moves(&placed);
        let like = |other: &BTreeMap<Unit, Instance>| {
            given.moves(other) == moves && counts(&given.members, other, None) == counts(&given.members, &placed, None)
        };
        let best = given.all().iter().filter(|other| like(other)).map(|other| squares(&given.members, other)).min();
        prop_assert_eq!(Some(squares(&given.members, &placed)), best, "{:?}", placed);
    }
}

#[test]
fn without_members_nothing_is_placed() {
    assert_eq!(place(&BTreeSet::from([Unit::new("t", 0)]), &BTreeSet::new(), &BTreeMap::new()), BTreeMap::new());
}

/// A thousand queries, each with a topic of its own between its parts.
#[test]
fn many_topics_are_placed() {
    let units: BTreeSet<Unit> =
        (0..1_000).flat_map(|topic| (0..12).map(move |partition| Unit::new(format!("t{topic}"), partition))).collect();
    let members = |count: usize| -> BTreeSet<Instance> { (0..count).map(|member| format!("m{member}")).collect() };
    let four = place(&units, &members(4), &BTreeMap::new());
    let five = place(&units, &members(5), &four);
    assert_eq!(five.iter().filter(|(unit, instance)| four[*unit] != **instance).count(), 12_000 / 5);
    let mut spread = BTreeMap::<(&str, &str), usize>::new();
    five.iter().for_each(|(unit, instance)| *spread.entry((&*unit.topic, instance)).or_default() += 1);
    assert_eq!(spread.len(), 5_000);
    assert!(spread.values().all(|partitions| (2..=3).contains(partitions)), "{spread:?}");
}
