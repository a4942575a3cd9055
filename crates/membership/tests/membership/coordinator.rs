//! Members that come and go as they should.

use std::collections::BTreeSet;
use std::time::Duration;

use millpond_membership::{Holding, Unit};

use crate::rig::{Service, units};

#[test]
fn the_first_one_runs_everything() {
    let service = Service::new(4);
    let a = service.start("a");
    a.host.wait_running(|running| *running == units(0..4));
    assert_eq!(a.host.told(), vec![Holding::Run { member: "a-1".to_owned(), units: units(0..4) }]);
    assert_eq!((a.coordinator.instance(), a.coordinator.member().as_deref(), a.coordinator.replaced()), ("a", Some("a-1"), None));
    assert_eq!(a.coordinator.members()["a"].address, "a:6455");
}

#[test]
fn the_second_one_gets_half_and_the_rest_is_not_stopped() {
    let service = Service::new(8);
    let a = service.start("a");
    a.host.wait_running(|running| running.len() == 8);
    let b = service.start("b");
    b.host.wait_running(|running| running.len() == 4);
    let told = [units(0..8), units(0..4)].map(|units| Holding::Run { member: "a-1".to_owned(), units });
    assert_eq!(a.host.told(), told);
    assert_eq!(b.host.running(), units(4..8));
    for unit in units(4..8) {
        assert_eq!(a.wait(|seen| seen.owner(&unit).is_some()).owner(&unit).unwrap().1.address, "b:6455");
    }
}

#[test]
fn a_unit_is_given_when_it_has_been_stopped() {
    let service = Service::new(2);
    let a = service.start("a");
    a.host.wait_running(|running| running.len() == 2);
    a.host.hold_up();
    let b = service.start("b");
    a.host.wait(|told| told.len() == 2);
    let seen = b.wait(|seen| !seen.leaving.is_empty());
    assert_eq!((seen.leaving[&Unit::new("t", 1)].member.as_str(), b.host.running()), ("a-1", BTreeSet::new()));
    a.host.go_on();
    b.host.wait_running(|running| *running == units(1..2));
}

#[test]
fn a_third_one_gets_a_third() {
    let service = Service::new(9);
    let processes = service.start_all(&["a", "b", "c"]);
    let all: BTreeSet<Unit> = processes.iter().flat_map(|process| process.host.running()).collect();
    assert_eq!(all, units(0..9));
    assert!(processes.iter().all(|process| process.host.abandoned() == 0));
}

#[test]
fn new_units_are_placed_and_old_ones_stopped() {
    let service = Service::new(4);
    let processes = service.start_all(&["a", "b"]);
    let before: Vec<_> = processes.iter().map(|process| process.host.told().len()).collect();
    service.set_units(units(0..6));
    processes[0].coordinator.replan();
    processes.iter().for_each(|process| process.host.wait_running(|running| running.len() == 3));
    let after: Vec<_> = processes.iter().map(|process| process.host.told().len()).collect();
    assert_eq!(after, before.iter().map(|count| count + 1).collect::<Vec<_>>());
    service.set_units(units(0..2));
    processes[0].coordinator.replan();
    processes.iter().for_each(|process| process.host.wait_running(|running| running.len() == 1));
    processes[1].wait(|seen| seen.units.len() == 2 && seen.leaving.is_empty());
}

#[test]
fn nothing_is_written_without_need() {
    let service = Service::new(4);
    let processes = service.start_all(&["a", "b"]);
    let before = service.end();
    processes.iter().for_each(|process| process.coordinator.replan());
    // New units are one assignment, and nobody has to ack it.
    service.set_units(units(0..6));
    processes[0].coordinator.replan();
    processes.iter().for_each(|process| process.host.wait_running(|running| running.len() == 3));
    service.set_units(units(0..8));
    processes[0].coordinator.replan();
    processes.iter().for_each(|process| process.host.wait_running(|running| running.len() == 4));
    assert_eq!(service.end(), before + 2);
}

#[test]
fn who_shuts_down_hands_over_at_once() {
    let service = Service::new(6);
    let processes = service.start_all(&["a", "b", "c"]);
    let c = &processes[2];
    c.coordinator.shutdown();
    // The group has it in yet.
    assert_eq!(service.group.members().len(), 3);
    processes[..2].iter().for_each(|process| process.host.wait_running(|running| running.len() == 3));
    assert_eq!((c.host.running(), c.host.abandoned()), (BTreeSet::new(), 0));
    c.coordinator.shutdown();
}

#[test]
fn a_leader_who_shuts_down_hands_over_at_once() {
    let service = Service::new(6);
    let processes = service.start_all(&["a", "b"]);
    processes[0].coordinator.shutdown();
    processes[1].host.wait_running(|running| running.len() == 6);
    service.group.leave("a");
    service.set_units(units(0..7));
    processes[1].coordinator.replan();
    processes[1].host.wait_running(|running| running.len() == 7);
}

#[test]
fn who_waits_for_too_long_is_told_so() {
    let service = Service::new(1);
    let a = service.start("a");
    a.host.wait_running(|running| running.len() == 1);
    let elsewhere = Unit::new("u", 0);
    assert_eq!(a.coordinator.wait_until(Duration::from_millis(10), |seen| seen.owner(&elsewhere).is_some()), None);
}
