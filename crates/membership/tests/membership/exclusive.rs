//! MBR-1 and the end of it all, over random histories: processes come, go, freeze and are started again, units come and go, and news
//! is late.

use std::collections::{BTreeMap, BTreeSet};

use millpond_membership::handover::{Peer, next};
use millpond_membership::{Assignment, Instance, Unit};
use proptest::prelude::*;

const INSTANCES: usize = 4;

#[derive(Debug, Clone)]
enum Event {
    /// Another process comes under the instance: at first it has said nothing. What was there before is fenced.
    Start(usize),
    Hello(usize),
    Die(usize),
    /// It reads no further until it thaws.
    Freeze(usize),
    Thaw(usize),
    /// It reads so many assignments more, and runs what they say.
    Read(usize, usize),
    Ack(usize),
    Create(u32),
    Drop(u32),
    Lead,
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0..INSTANCES;
    prop_oneof![
        2 => who.clone().prop_map(Event::Start),
        4 => who.clone().prop_map(Event::Hello),
        1 => who.clone().prop_map(Event::Die),
        1 => who.clone().prop_map(Event::Freeze),
        1 => who.clone().prop_map(Event::Thaw),
        6 => (who.clone(), 1..4_usize).prop_map(|(who, count)| Event::Read(who, count)),
        3 => who.prop_map(Event::Ack),
        2 => (0..9_u32).prop_map(Event::Create),
        1 => (0..9_u32).prop_map(Event::Drop),
        8 => Just(Event::Lead),
    ]
}

/// A live process.
#[derive(Debug)]
struct Process {
    id: String,
    hello: bool,
    frozen: bool,
    /// How many assignments it has read.
    read: usize,
    running: BTreeSet<Unit>,
}

#[derive(Debug, Default)]
struct World {
    processes: BTreeMap<Instance, Process>,
    started: usize,
    units: BTreeSet<Unit>,
    assignments: Vec<Assignment>,
    acks: BTreeMap<String, u64>,
}

impl World {
    fn happen(&mut self, event: &Event) {
        let name = |who: &usize| format!("m{who}");
        match event {
            Event::Start(who) => {
                self.started += 1;
                let id = format!("m{who}-{}", self.started);
                let process = Process { id, hello: false, frozen: false, read: 0, running: BTreeSet::new() };
                self.processes.insert(name(who), process);
            }
            Event::Hello(who) => self.with(&name(who), |process| process.hello = true),
            Event::Die(who) => {
                self.processes.remove(&name(who));
            }
            Event::Freeze(who) => self.with(&name(who), |process| process.frozen = true),
            Event::Thaw(who) => self.with(&name(who), |process| process.frozen = false),
            Event::Read(who, count) => self.read(&name(who), *count),
            Event::Ack(who) => self.ack(&name(who)),
            Event::Create(unit) => {
                self.units.insert(Unit::new(if unit % 2 == 0 { "t" } else { "u" }, *unit));
            }
            Event::Drop(unit) => {
                self.units.remove(&Unit::new(if unit % 2 == 0 { "t" } else { "u" }, *unit));
            }
            Event::Lead => self.lead(),
        }
    }

    fn with(&mut self, instance: &str, change: impl FnOnce(&mut Process)) {
        if let Some(process) = self.processes.get_mut(instance) {
            change(process);
        }
    }

    fn read(&mut self, instance: &str, count: usize) {
        let Some(process) = self.processes.get_mut(instance).filter(|process| !process.frozen) else { return };
        process.read = (process.read + count).min(self.assignments.len());
        if let Some(latest) = process.read.checked_sub(1).map(|index| &self.assignments[index]) {
            process.running = latest.units_of_member(instance, &process.id).unwrap_or_default();
        }
    }

    /// Of the latest that it has read and runs.
    fn ack(&mut self, instance: &str) {
        let Some(process) = self.processes.get(instance).filter(|process| !process.frozen && process.hello && process.read > 0) else {
            return;
        };
        self.acks.insert(process.id.clone(), self.assignments[process.read - 1].epoch);
    }

    fn lead(&mut self) {
        let peer = |(instance, process): (&Instance, &Process)| Peer {
            id: process.id.clone(),
            instance: instance.clone(),
            address: process.hello.then(|| format!("{instance}:1")),
        };
        let live: Vec<Peer> = self.processes.iter().map(peer).collect();
        let current = self.assignments.last().cloned().unwrap_or_default();
        if let Some(next) = next(&current, &live, &self.units, &self.acks) {
            assert_eq!(next.epoch, current.epoch + 1);
            assert!(next.units.keys().all(|unit| self.units.contains(unit) && !next.leaving.contains_key(unit)), "{next:?}");
            self.check_untouched(&current, &next);
            self.assignments.push(next);
        }
    }

    /// MBR-3: what a live member has before and after is never taken away between. And nothing of the dead is waited for.
    fn check_untouched(&self, current: &Assignment, next: &Assignment) {
        for leaving in next.leaving.values() {
            assert!(self.processes.values().any(|process| process.id == leaving.member), "{next:?}");
        }
        for (unit, instance) in &next.units {
            let before = current.units.get(unit).and_then(|before| current.members.get(before));
            let after = &next.members[instance];
            let alive = before.filter(|seat| self.processes.values().any(|process| process.id == seat.member));
            assert!(alive.is_none_or(|seat| seat.member == after.member), "{unit} goes from {before:?} to {after:?} at once");
        }
    }

    /// MBR-1.
    fn check_exclusive(&self) {
        let mut running = BTreeMap::new();
        for process in self.processes.values() {
            for unit in &process.running {
                let other = running.insert(unit, &process.id);
                assert_eq!(other, None, "{unit} is run by {}, too", process.id);
            }
        }
    }

    /// Everybody reads and acks all there is, until the leader has nothing to change. Gives how many assignments that took.
    fn settle(&mut self) -> usize {
        let before = self.assignments.len();
        let instances: Vec<Instance> = self.processes.keys().cloned().collect();
        for instance in &instances {
            self.with(instance, |process| (process.frozen, process.hello) = (false, true));
        }
        loop {
            let known = self.assignments.len();
            self.lead();
            self.check_exclusive();
            for instance in &instances {
                self.read(instance, usize::MAX >> 1);
                self.check_exclusive();
                self.ack(instance);
                self.lead();
                self.check_exclusive();
            }
            if self.assignments.len() == known {
                return known - before;
            }
            assert!(known - before < 20, "it goes on and on: {:#?}", &self.assignments[before..]);
        }
    }

    fn check_settled(&self) {
        let Some(last) = self.assignments.last().filter(|_| !self.processes.is_empty()) else { return };
        assert_eq!(last.units.keys().collect::<Vec<_>>(), self.units.iter().collect::<Vec<_>>());
        assert!(last.leaving.is_empty());
        let counts: Vec<usize> = self.processes.keys().map(|instance| last.units_of(instance).len()).collect();
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        for (instance, process) in &self.processes {
            assert_eq!(process.running, last.units_of(instance));
            assert_eq!(last.members[instance].member, process.id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_unit_is_run_twice_and_all_are_in_the_end(events in proptest::collection::vec(event(), 0..120)) {
        let mut world = World::default();
        for event in &events {
            world.happen(event);
            world.check_exclusive();
        }
        world.settle();
        world.check_settled();
        assert_eq!(world.settle(), 0);
    }

    /// One assignment takes away, one more gives, for each ack that comes alone; and only what must moves.
    #[test]
    fn one_who_comes_gets_its_share_and_no_more_moves(units in 0..40_u32, members in 1..INSTANCES) {
        let mut world = World::default();
        (0..units).for_each(|unit| world.happen(&Event::Create(unit)));
        (0..members).for_each(|who| world.happen(&Event::Start(who)));
        world.settle();
        let before = world.assignments.last().cloned().unwrap();
        world.happen(&Event::Start(INSTANCES - 1));
        let took = world.settle();
        prop_assert!(took <= 1 + members, "{}", took);
        let after = world.assignments.last().unwrap();
        let moved = after.units.iter().filter(|(unit, instance)| before.units[*unit] != **instance).count();
        prop_assert_eq!(moved, after.units_of(&format!("m{}", INSTANCES - 1)).len());
    }
}
