//! Who runs what, at one moment.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Instance, Unit};

/// What the leader has decided. Only the latest one counts; it says all that a member or the next leader has to know.
///
/// In JSON, units are written by instance and topic, so that ten thousand of them fit into one record:
/// `{"epoch":7,"members":{"a":{"member":"a-1","address":"h:6455"}},"units":{"a":{"orders":[0,1]}},"leaving":{"orders/2":{"member":"a-1","since":7}}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Wire", try_from = "Wire")]
pub struct Assignment {
    /// One more each time; 0: nothing was assigned yet.
    pub epoch: u64,
    pub members: BTreeMap<Instance, Seat>,
    /// Each unit that somebody runs, or will run as soon as its process is back; all of them are among `members`.
    pub units: BTreeMap<Unit, Instance>,
    /// Units that were taken away and may be running yet: nobody else gets them before.
    pub leaving: BTreeMap<Unit, Leaving>,
}

/// A member as others find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seat {
    /// The id under which the group has let it in.
    pub member: String,
    /// `host:port` of its SQL port.
    pub address: String,
}

/// Who has to stop a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaving {
    /// The member's id.
    pub member: String,
    /// The epoch that took it away: an ack of this one or a later one says that it is stopped.
    pub since: u64,
}

impl Assignment {
    /// Where the unit is, if somebody has it.
    pub fn owner(&self, unit: &Unit) -> Option<(&Instance, &Seat)> {
        self.units.get(unit).and_then(|instance| self.members.get_key_value(instance))
    }

    /// What the instance has.
    pub fn units_of(&self, instance: &str) -> BTreeSet<Unit> {
        self.units.iter().filter(|(_, owner)| *owner == instance).map(|(unit, _)| unit.clone()).collect()
    }

    /// What this member is to run; `None`: it has no seat, perhaps its instance has one under another id.
    pub fn units_of_member(&self, instance: &str, member: &str) -> Option<BTreeSet<Unit>> {
        let seat = self.members.get(instance)?;
        (seat.member == member).then(|| self.units_of(instance))
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    epoch: u64,
    members: BTreeMap<Instance, Seat>,
    units: BTreeMap<Instance, BTreeMap<String, Vec<u32>>>,
    leaving: BTreeMap<Unit, Leaving>,
}

impl From<Assignment> for Wire {
    fn from(assignment: Assignment) -> Wire {
        let Assignment { epoch, members, units: placed, leaving } = assignment;
        let mut units = BTreeMap::<Instance, BTreeMap<String, Vec<u32>>>::new();
        for (unit, instance) in placed {
            units.entry(instance).or_default().entry(unit.topic.to_string()).or_default().push(unit.partition);
        }
        Wire { epoch, members, units, leaving }
    }
}

impl TryFrom<Wire> for Assignment {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Assignment, String> {
        let Wire { epoch, members, units: placed, leaving } = wire;
        let mut units = BTreeMap::new();
        for (instance, topics) in placed {
            if !members.contains_key(&instance) {
                return Err(format!("\"{instance}\" has units and no seat"));
            }
            for (topic, partitions) in topics {
                for partition in partitions {
                    let unit = Unit::new(topic.as_str(), partition);
                    if leaving.contains_key(&unit) || units.insert(unit.clone(), instance.clone()).is_some() {
                        return Err(format!("{unit} is in two places"));
                    }
                }
            }
        }
        Ok(Assignment { epoch, members, units, leaving })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = concat!(
        r#"{"epoch":7,"members":{"a":{"member":"a-1","address":"h:6455"}},"units":{"a":{"orders":[0,1]}},"#,
        r#""leaving":{"orders/2":{"member":"a-1","since":7}}}"#
    );

    #[test]
    fn an_assignment_comes_back() {
        let assignment: Assignment = serde_json::from_str(JSON).unwrap();
        assert_eq!(assignment.units_of_member("a", "a-1"), Some(BTreeSet::from([Unit::new("orders", 0), Unit::new("orders", 1)])));
        assert_eq!(assignment.units_of_member("a", "a-2"), None);
        assert_eq!(assignment.owner(&Unit::new("orders", 1)).map(|(instance, _)| instance.as_str()), Some("a"));
        assert_eq!(assignment.owner(&Unit::new("orders", 2)), None);
        assert_eq!(serde_json::to_string(&assignment).unwrap(), JSON);
    }

    #[test]
    fn a_contradiction_is_refused() {
        for (from, to) in [("[0,1]", "[0,0]"), ("[0,1]", "[0,2]"), (r#"{"a":{"o"#, r#"{"b":{"o"#), (r#""epoch":7"#, r#""epoch":7,"x":1"#)] {
            assert!(serde_json::from_str::<Assignment>(&JSON.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
