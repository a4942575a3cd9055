//! The hand-over, step by step.

use std::collections::{BTreeMap, BTreeSet};

use millpond_membership::handover::{Peer, next};
use millpond_membership::{Assignment, Leaving, Unit};

fn units(partitions: u32) -> BTreeSet<Unit> {
    (0..partitions).map(|partition| Unit::new("t", partition)).collect()
}

/// `a-1` is instance `a` under that id.
fn peer(id: &str) -> Peer {
    let instance = id.split('-').next().unwrap().to_owned();
    Peer { id: id.to_owned(), address: Some(format!("{instance}:6455")), instance }
}

fn silent(id: &str) -> Peer {
    Peer { address: None, ..peer(id) }
}

fn acks(acks: &[(&str, u64)]) -> BTreeMap<String, u64> {
    acks.iter().map(|(member, epoch)| ((*member).to_owned(), *epoch)).collect()
}

/// `0:a 1:a 2>a-1@2`: 0 and 1 are with a, 2 is leaving a-1 since epoch 2.
fn text(assignment: &Assignment) -> String {
    let placed = assignment.units.iter().map(|(unit, instance)| (unit, format!("{}:{instance}", unit.partition)));
    let leaving = assignment.leaving.iter();
    let leaving = leaving.map(|(unit, Leaving { member, since })| (unit, format!("{}>{member}@{since}", unit.partition)));
    let all: BTreeMap<&Unit, String> = placed.chain(leaving).collect();
    all.into_values().collect::<Vec<_>>().join(" ")
}

/// What `a-1` alone has, at epoch 1.
fn alone(partitions: u32) -> Assignment {
    next(&Assignment::default(), &[peer("a-1")], &units(partitions), &BTreeMap::new()).unwrap()
}

/// As it is once `b-1` has come and `a-1` has acked, at epoch 3.
fn shared(partitions: u32) -> Assignment {
    let live = [peer("a-1"), peer("b-1")];
    let asked = next(&alone(partitions), &live, &units(partitions), &BTreeMap::new()).unwrap();
    next(&asked, &live, &units(partitions), &acks(&[("a-1", 2)])).unwrap()
}

#[test]
fn the_first_member_gets_all_at_once() {
    assert_eq!((text(&alone(3)).as_str(), alone(3).epoch), ("0:a 1:a 2:a", 1));
    assert_eq!(next(&alone(3), &[peer("a-1")], &units(3), &BTreeMap::new()), None);
}

#[test]
fn a_unit_is_taken_away_before_it_is_given() {
    let live = [peer("a-1"), peer("b-1")];
    let asked = next(&alone(4), &live, &units(4), &BTreeMap::new()).unwrap();
    assert_eq!((text(&asked).as_str(), asked.epoch), ("0:a 1:a 2>a-1@2 3>a-1@2", 2));
    // An ack of an epoch before says nothing.
    assert_eq!(next(&asked, &live, &units(4), &acks(&[("a-1", 1)])), None);
    let given = next(&asked, &live, &units(4), &acks(&[("a-1", 2)])).unwrap();
    assert_eq!((text(&given).as_str(), given.epoch), ("0:a 1:a 2:b 3:b", 3));
    assert_eq!(next(&given, &live, &units(4), &acks(&[("a-1", 2)])), None);
}

#[test]
fn who_is_dead_acks_nothing() {
    let live = [peer("a-1"), peer("b-1")];
    let asked = next(&alone(4), &live, &units(4), &BTreeMap::new()).unwrap();
    assert_eq!(text(&next(&asked, &[peer("b-1")], &units(4), &BTreeMap::new()).unwrap()), "0:b 1:b 2:b 3:b");
}

#[test]
fn what_is_leaving_goes_back_when_nobody_wants_it() {
    let asked = next(&alone(4), &[peer("a-1"), peer("b-1")], &units(4), &BTreeMap::new()).unwrap();
    assert_eq!(text(&next(&asked, &[peer("a-1")], &units(4), &BTreeMap::new()).unwrap()), "0:a 1:a 2:a 3:a");
}

#[test]
fn what_is_leaving_prefers_where_it_is() {
    let (a, b, c) = (peer("a-1"), peer("b-1"), peer("c-1"));
    let asked = next(&shared(6), &[a.clone(), b.clone(), c.clone()], &units(6), &BTreeMap::new()).unwrap();
    assert_eq!(text(&asked), "0:a 1:a 2>a-1@4 3:b 4:b 5>b-1@4");
    // Of what is free now, who is left gets its own back.
    assert_eq!(text(&next(&asked, &[a, c.clone()], &units(6), &BTreeMap::new()).unwrap()), "0:a 1:a 2:a 3:c 4:c 5:c");
    assert_eq!(text(&next(&asked, &[b, c], &units(6), &BTreeMap::new()).unwrap()), "0:c 1:c 2:c 3:b 4:b 5:b");
}

#[test]
fn who_is_started_again_keeps_its_units_at_once() {
    let live = [peer("a-1"), peer("b-2")];
    let back = next(&shared(4), &live, &units(4), &BTreeMap::new()).unwrap();
    assert_eq!((text(&back).as_str(), back.members["b"].member.as_str()), ("0:a 1:a 2:b 3:b", "b-2"));
}

#[test]
fn who_is_about_to_say_hello_keeps_its_units_and_gets_none() {
    let live = [peer("a-1"), silent("b-2")];
    assert_eq!(next(&shared(4), &live, &units(4), &BTreeMap::new()), None);
    // Units 4 and 5 are one for each: that of b has to wait.
    let grown = next(&shared(4), &live, &units(6), &BTreeMap::new()).unwrap();
    assert_eq!((text(&grown).as_str(), grown.members["b"].member.as_str()), ("0:a 1:a 2:b 3:b 4:a", "b-1"));
    assert_eq!(text(&next(&grown, &[peer("a-1"), peer("b-2")], &units(6), &BTreeMap::new()).unwrap()), "0:a 1:a 2:b 3:b 4:a 5:b");
    // Who has never had a seat is not waited for.
    assert_eq!(next(&shared(4), &[peer("a-1"), peer("b-1"), silent("c-1")], &units(4), &BTreeMap::new()), None);
}

#[test]
fn an_instance_is_under_two_ids_for_a_while() {
    let live = [peer("a-1"), silent("b-1"), peer("b-2")];
    let asked = next(&shared(4), &live, &units(4), &BTreeMap::new()).unwrap();
    assert_eq!(text(&asked), "0:a 1:a 2>b-1@4 3>b-1@4");
    assert_eq!(next(&asked, &live, &units(4), &BTreeMap::new()), None);
    let given = next(&asked, &[peer("a-1"), peer("b-2")], &units(4), &BTreeMap::new()).unwrap();
    assert_eq!(text(&given), "0:a 1:a 2:b 3:b");
}

#[test]
fn new_units_are_given_at_once_and_old_ones_are_stopped_first() {
    let live = [peer("a-1"), peer("b-1")];
    assert_eq!(text(&next(&shared(4), &live, &units(6), &BTreeMap::new()).unwrap()), "0:a 1:a 2:b 3:b 4:a 5:b");
    // Units 2 and 3 are dropped, and made again before b has stopped them.
    let fewer = next(&shared(4), &live, &units(2), &BTreeMap::new()).unwrap();
    assert_eq!(text(&fewer), "0:a 1>a-1@4 2>b-1@4 3>b-1@4");
    let gone = next(&fewer, &live, &units(2), &acks(&[("a-1", 4), ("b-1", 4)])).unwrap();
    assert_eq!(text(&gone), "0:a 1:b");
    assert_eq!(text(&next(&fewer, &[peer("a-1"), peer("b-1")], &units(4), &BTreeMap::new()).unwrap()), "0:a 1:a 2:b 3:b");
}

#[test]
fn without_anybody_to_give_to_all_stays() {
    for live in [vec![], vec![silent("a-2")]] {
        assert_eq!(next(&shared(4), &live, &units(4), &BTreeMap::new()), None);
    }
}

#[test]
fn another_address_is_told() {
    let elsewhere = Peer { address: Some("elsewhere:1".to_owned()), ..peer("a-1") };
    let told = next(&alone(1), &[elsewhere], &units(1), &BTreeMap::new()).unwrap();
    assert_eq!((told.epoch, told.members["a"].address.as_str()), (2, "elsewhere:1"));
}
