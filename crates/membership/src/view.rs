//! What the records of the members' topic come to.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::records::Record;
use crate::{Assignment, Hello, Instance};

#[derive(Debug, Default)]
pub(crate) struct View {
    /// The latest one that can be read.
    pub assignment: Arc<Assignment>,
    /// There is a later one that cannot: nothing may follow from the one before.
    pub unreadable: bool,
    /// What each instance has said last.
    pub hellos: BTreeMap<Instance, Hello>,
}

impl View {
    pub fn apply(&mut self, record: Record) {
        match record {
            // Of two of the same epoch, the first one is what members go by.
            Record::Assignment(assignment) if assignment.epoch <= self.assignment.epoch => {
                tracing::warn!(epoch = assignment.epoch, latest = self.assignment.epoch, "an assignment came too late and is not followed");
            }
            Record::Assignment(assignment) => (self.assignment, self.unreadable) = (Arc::new(assignment), false),
            Record::UnreadableAssignment => self.unreadable = true,
            Record::Hello(instance, Some(hello)) => {
                self.hellos.insert(instance, hello);
            }
            Record::Hello(instance, None) => {
                self.hellos.remove(&instance);
            }
        }
    }

    /// What the member has said under this id.
    pub fn hello(&self, instance: &str, member: &str) -> Option<&Hello> {
        self.hellos.get(instance).filter(|hello| hello.member == member)
    }

    /// The latest epoch that each member has acked, by its id.
    pub fn acks(&self) -> BTreeMap<String, u64> {
        self.hellos.values().map(|hello| (hello.member.clone(), hello.acked)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(epoch: u64, topic: &str) -> Record {
        let units = [(crate::Unit::new(topic, 0), "a".to_owned())].into();
        Record::Assignment(Assignment { epoch, units, ..Assignment::default() })
    }

    #[test]
    fn the_first_assignment_of_an_epoch_counts() {
        let mut view = View::default();
        for (record, epoch, unreadable) in [
            (of(2, "x"), 2, false),
            (Record::UnreadableAssignment, 2, true),
            (of(2, "y"), 2, true),
            (of(1, "z"), 2, true),
            (of(4, "x"), 4, false),
        ] {
            view.apply(record);
            assert_eq!((view.assignment.epoch, view.unreadable), (epoch, unreadable));
            assert_eq!(view.assignment.units.keys().next(), Some(&crate::Unit::new("x", 0)));
        }
    }

    #[test]
    fn the_last_hello_of_an_instance_counts() {
        let mut view = View::default();
        let hello = |member: &str, acked| Hello { member: member.to_owned(), address: String::new(), acked, gone: false };
        for (member, acked) in [("a-1", 7), ("a-2", 0), ("a-2", 3)] {
            view.apply(Record::Hello("a".to_owned(), Some(hello(member, acked))));
        }
        assert_eq!((view.hello("a", "a-1"), view.hello("a", "a-2")), (None, Some(&hello("a-2", 3))));
        assert_eq!(view.acks(), BTreeMap::from([("a-2".to_owned(), 3)]));
        view.apply(Record::Hello("a".to_owned(), None));
        assert_eq!(view.acks(), BTreeMap::new());
    }
}
