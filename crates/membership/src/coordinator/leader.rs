//! Makes assignments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::handover::{self, Peer};
use crate::records::Records;
use crate::view::View;
use crate::{Assignment, Group, Host, Member, Result};

/// So long the units of an instance that has just been started again wait for its hello.
const HELLO_WAIT: Duration = Duration::from_secs(5);

pub(super) struct Leader {
    group: Arc<dyn Group>,
    host: Arc<dyn Host>,
    /// The offset to have read up to before anything is written; `None`: there may be anything in the air, of a former leader or of its own.
    read_to: Option<u64>,
    /// Since when members that have not said hello have been there, by their ids.
    silent: BTreeMap<String, Instant>,
}

impl Leader {
    pub fn new(group: Arc<dyn Group>, host: Arc<dyn Host>) -> Leader {
        Leader { group, host, read_to: None, silent: BTreeMap::new() }
    }

    /// Others may lead from now on.
    pub fn rest(&mut self) {
        self.read_to = None;
        self.silent.clear();
    }

    /// One assignment further, if there is need. Gives whether there may be more to read and to do at once.
    pub fn lead(&mut self, view: &View, records: &Records, now: Instant) -> Result<bool> {
        let Some(read_to) = self.read_to else {
            self.read_to = Some(records.settled_end()?);
            return Ok(true);
        };
        if records.next_offset() < read_to || view.unreadable {
            return Ok(false);
        }
        let peers = self.peers(view, now)?;
        // Whoever runs something of a time that nothing is known of (a topic that was deleted) has dropped it when it says hello.
        if view.assignment.epoch == 0 && peers.iter().any(|peer| peer.address.is_none()) {
            return Ok(false);
        }
        let Some(next) = handover::next(&view.assignment, &peers, &self.host.units(), &view.acks()) else { return Ok(false) };
        // Until it is known where it has been written to.
        self.read_to = None;
        self.read_to = Some(records.write_assignment(&next)?);
        let (epoch, members, units, leaving) = (next.epoch, next.members.len(), next.units.len(), next.leaving.len());
        tracing::info!(epoch, members, units, leaving, "assigned");
        Ok(true)
    }

    fn peers(&mut self, view: &View, now: Instant) -> Result<Vec<Peer>> {
        let members = self.group.members()?;
        self.silent.retain(|id, _| members.iter().any(|member| member.id == *id));
        let peers = members.into_iter().filter_map(|Member { id, instance }| {
            let hello = view.hello(&instance, &id);
            let mut waited = || *self.silent.entry(id.clone()).or_insert(now) + HELLO_WAIT <= now;
            let forgotten = match hello {
                Some(hello) => hello.gone,
                // Whoever may be running something is never forgotten.
                None => waited() && !is_named(&view.assignment, &id),
            };
            let address = hello.map(|hello| hello.address.clone());
            (!forgotten).then_some(Peer { id, instance, address })
        });
        Ok(peers.collect())
    }
}

fn is_named(assignment: &Assignment, member: &str) -> bool {
    let seats = assignment.members.values().map(|seat| &seat.member);
    seats.chain(assignment.leaving.values().map(|leaving| &leaving.member)).any(|named| named == member)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use millpond_log::{Log, MemoryLog};

    use super::*;
    use crate::memory::MemoryGroup;
    use crate::{Hello, Holding, Unit};

    struct Rig {
        log: Arc<dyn Log>,
        group: MemoryGroup,
        leader: Leader,
        records: Records,
        view: View,
        now: Instant,
    }

    struct Units;

    impl Host for Units {
        fn units(&self) -> BTreeSet<Unit> {
            (0..4).map(|partition| Unit::new("t", partition)).collect()
        }

        fn take(&self, _: Holding) {}
    }

    impl Rig {
        /// Instance `a` leads, as `a-1`; the log is as it may use it.
        fn new() -> Rig {
            let (group, log) = (MemoryGroup::new(), Arc::new(MemoryLog::new()));
            let member = group.join("a");
            let records = Records::open(Arc::new(member.fence(log.clone())), "s").unwrap();
            Rig { log, group, leader: Leader::new(member, Arc::new(Units)), records, view: View::default(), now: Instant::now() }
        }

        fn hello(&self, instance: &str, member: &str) {
            let hello = Hello { member: member.to_owned(), address: "h:1".to_owned(), acked: 0, gone: false };
            Records::open(Arc::clone(&self.log), "s").unwrap().write_hello(instance, &hello).unwrap();
        }

        fn read(&mut self) {
            self.records.read().unwrap().into_iter().for_each(|record| self.view.apply(record));
        }

        /// As often as there is something to do. Gives where units 0 to 3 are.
        fn lead(&mut self) -> String {
            self.read();
            while self.leader.lead(&self.view, &self.records, self.now).unwrap() {
                self.read();
            }
            self.view.assignment.units.values().map(String::as_str).collect()
        }
    }

    #[test]
    fn what_a_former_leader_has_written_is_read_first() {
        let mut rig = Rig::new();
        rig.hello("a", "a-1");
        rig.read();
        assert!(rig.leader.lead(&rig.view, &rig.records, rig.now).unwrap(), "it looks how far there is to read");
        rig.leader.rest();
        let former = Assignment { epoch: 7, ..Assignment::default() };
        Records::open(Arc::clone(&rig.log), "s").unwrap().write_assignment(&former).unwrap();
        for again in [true, false, false] {
            assert_eq!(rig.leader.lead(&rig.view, &rig.records, rig.now).unwrap(), again);
        }
        assert_eq!((rig.lead().as_str(), rig.view.assignment.epoch), ("aaaa", 8));
    }

    #[test]
    fn what_it_has_written_itself_is_read_first() {
        let mut rig = Rig::new();
        rig.hello("a", "a-1");
        rig.read();
        for again in [true, true, false] {
            assert_eq!(rig.leader.lead(&rig.view, &rig.records, rig.now).unwrap(), again);
        }
        assert_eq!((rig.lead().as_str(), rig.view.assignment.epoch), ("aaaa", 1));
    }

    #[test]
    fn after_an_error_it_looks_again_how_far_there_is_to_read() {
        let mut rig = Rig::new();
        rig.hello("a", "a-1");
        rig.read();
        assert!(rig.leader.lead(&rig.view, &rig.records, rig.now).unwrap());
        rig.group.freeze("a");
        rig.leader.lead(&rig.view, &rig.records, rig.now).unwrap_err();
        rig.group.thaw("a");
        let before = rig.records.settled_end().unwrap();
        assert!(rig.leader.lead(&rig.view, &rig.records, rig.now).unwrap());
        assert_eq!(rig.records.settled_end().unwrap(), before);
        assert_eq!(rig.lead(), "aaaa");
    }

    #[test]
    fn the_first_assignment_waits_for_everybodys_hello() {
        let mut rig = Rig::new();
        rig.group.join("b");
        rig.hello("a", "a-1");
        assert_eq!(rig.lead(), "");
        rig.hello("b", "b-2");
        assert_eq!(rig.lead(), "aabb");
    }

    #[test]
    fn but_not_for_ever() {
        let mut rig = Rig::new();
        rig.group.join("b");
        rig.hello("a", "a-1");
        assert_eq!(rig.lead(), "");
        rig.now += HELLO_WAIT;
        assert_eq!(rig.lead(), "aaaa");
    }

    #[test]
    fn who_is_started_again_is_waited_for_but_not_for_ever() {
        let mut rig = Rig::new();
        rig.group.join("b");
        rig.hello("a", "a-1");
        rig.hello("b", "b-2");
        assert_eq!(rig.lead(), "aabb");
        rig.group.join("b");
        assert_eq!(rig.lead(), "aabb");
        rig.now += HELLO_WAIT;
        assert_eq!(rig.lead(), "aaaa");
        rig.hello("b", "b-3");
        // They are leaving; nobody acks that here.
        assert_eq!(rig.lead(), "aa");
    }

    #[test]
    fn who_may_run_something_is_never_forgotten() {
        let mut rig = Rig::new();
        rig.group.join("b");
        rig.hello("a", "a-1");
        rig.hello("b", "b-2");
        assert_eq!(rig.lead(), "aabb");
        // Another one says hello as b while the group has the former one in yet.
        rig.hello("b", "b-3");
        for _ in 0..2 {
            assert_eq!(rig.lead(), "aabb");
            rig.now += HELLO_WAIT;
        }
        rig.group.leave("b");
        assert_eq!(rig.lead(), "aaaa");
    }
}
