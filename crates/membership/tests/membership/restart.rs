//! Members that are lost, frozen, replaced or started again.

use millpond_membership::{Group, Holding, Unit};

use crate::rig::{Service, units};

#[test]
fn who_is_thrown_out_drops_everything_and_comes_back() {
    let service = Service::new(8);
    let processes = service.start_all(&["a", "b"]);
    let (a, b) = (&processes[0], &processes[1]);
    service.group.kick("b");
    b.host.wait(|told| told.last() == Some(&Holding::Abandon { replaced: None }));
    a.host.wait_running(|running| running.len() == 8);
    service.group.readmit("b");
    b.host.wait_running(|running| running.len() == 4);
    assert!(matches!(b.host.told().last(), Some(Holding::Run { member, .. }) if member == "b-3"));
    assert_eq!((a.host.abandoned(), b.host.abandoned()), (0, 1));
}

#[test]
fn who_comes_back_at_once_drops_everything_too() {
    let service = Service::new(8);
    let processes = service.start_all(&["a", "b"]);
    service.group.freeze("b");
    service.group.kick("b");
    service.group.readmit("b");
    service.group.thaw("b");
    let b = &processes[1];
    b.host.wait(|told| matches!(told.last(), Some(Holding::Run { member, units }) if member == "b-3" && units.len() == 4));
    assert_eq!(b.host.abandoned(), 1);
}

#[test]
fn the_next_leader_goes_on_from_the_last_assignment() {
    let service = Service::new(9);
    let mut processes = service.start_all(&["a", "b", "c"]);
    let told = [processes[1].host.running(), processes[2].host.running()];
    service.group.kick("a");
    drop(processes.remove(0));
    for (process, before) in processes.iter().zip(told) {
        process.host.wait_running(|running| running.len() >= 4 && running.is_superset(&before));
        assert_eq!(process.host.abandoned(), 0);
    }
}

#[test]
fn a_leader_who_was_thrown_out_follows_the_next_one() {
    let service = Service::new(6);
    let processes = service.start_all(&["a", "b"]);
    service.group.kick("a");
    processes[1].host.wait_running(|running| running.len() == 6);
    service.group.readmit("a");
    processes.iter().for_each(|process| process.host.wait_running(|running| running.len() == 3));
    assert!(processes[1].member.membership().leads && processes[1].host.abandoned() == 0);
}

#[test]
fn the_units_of_a_frozen_one_wait_until_it_is_out() {
    let service = Service::new(6);
    let processes = service.start_all(&["a", "b"]);
    let (a, b) = (&processes[0], &processes[1]);
    let kept = b.host.running();
    service.group.freeze("b");
    let c = service.start("c");
    c.host.wait_running(|running| running.len() == 1);
    let seen = c.wait(|seen| seen.leaving.values().any(|leaving| leaving.member == "b-2"));
    assert_eq!((seen.leaving.len(), seen.units_of("b").len(), b.host.running()), (1, 2, kept));
    // It has not heard that it is out, and what it writes is refused.
    service.group.kick("b");
    for process in [a, &c] {
        process.host.wait_running(|running| running.len() == 3);
    }
    assert_eq!(b.host.abandoned(), 0);
    service.group.thaw("b");
    b.host.wait(|told| told.last() == Some(&Holding::Abandon { replaced: None }));
}

#[test]
fn who_is_started_again_gets_the_same_units() {
    let service = Service::new(8);
    let processes = service.start_all(&["a", "b"]);
    let (a, old) = (&processes[0], &processes[1]);
    let (running, told) = (old.host.running(), a.host.told().len());
    let new = service.start("b");
    new.host.wait_running(|units| *units == running);
    assert_eq!(a.host.told().len(), told);
    let reason = Some("another process has come as b".to_owned());
    old.host.wait(|told| told.last() == Some(&Holding::Abandon { replaced: reason.clone() }));
    assert_eq!((old.coordinator.replaced(), old.coordinator.member()), (reason, None));
    assert_eq!(new.coordinator.member().as_deref(), Some("b-3"));
}

#[test]
fn a_service_that_was_shut_down_starts_again() {
    let service = Service::new(4);
    for process in service.start_all(&["a", "b"]) {
        process.coordinator.shutdown();
        service.group.leave(&process.instance);
    }
    let processes = ["b", "a"].map(|instance| service.start(instance));
    processes.iter().for_each(|process| process.host.wait_running(|running| running.len() == 2));
}

#[test]
fn who_is_dropped_abandons_everything() {
    let service = Service::new(2);
    let a = service.start("a");
    a.host.wait_running(|running| *running == units(0..2));
    let (host, coordinator) = (a.host.clone(), a.coordinator.clone());
    drop(a);
    assert_eq!(host.running(), units(0..2));
    drop(coordinator);
    assert_eq!(host.told().last(), Some(&Holding::Abandon { replaced: None }));
    assert!(!host.running().contains(&Unit::new("t", 0)));
}
