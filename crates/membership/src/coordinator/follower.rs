//! What this process is and runs, and what it has said of that.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::records::Records;
use crate::view::View;
use crate::{Config, Hello, Holding, Host, Membership, Result, Unit};

pub(super) struct Follower {
    config: Config,
    host: Arc<dyn Host>,
    /// The id under which it has last been seen in the group. What follows is of this id.
    member: Option<String>,
    replaced: Option<String>,
    /// What the host was told to run; `None`: it has no seat.
    running: Option<BTreeSet<Unit>>,
    acked: u64,
    /// What others have been told.
    said: Option<Hello>,
}

impl Follower {
    pub fn new(config: Config, host: Arc<dyn Host>) -> Follower {
        Follower { config, host, member: None, replaced: None, running: None, acked: 0, said: None }
    }

    pub fn member(&self) -> Option<&String> {
        self.member.as_ref()
    }

    pub fn replaced(&self) -> Option<&String> {
        self.replaced.as_ref()
    }

    /// Abandons everything when it is not who it was. Gives whether it is not.
    pub fn look(&mut self, membership: Membership) -> bool {
        let Membership { member, replaced, .. } = membership;
        if self.replaced.is_some() {
            return false;
        }
        if let Some(reason) = replaced {
            tracing::error!(instance = self.config.instance, reason, "this process has been replaced and does nothing more");
            (self.member, self.replaced) = (None, Some(reason));
            self.abandon();
            return true;
        }
        if member == self.member {
            return false;
        }
        match &member {
            Some(member) => tracing::info!(member, "this process is a member"),
            None => tracing::warn!("this process is no member any more"),
        }
        if std::mem::replace(&mut self.member, member).is_some() {
            self.abandon();
        }
        true
    }

    /// Nothing is run, and nothing that was said holds any more.
    pub fn abandon(&mut self) {
        (self.running, self.acked, self.said) = (None, 0, None);
        self.host.take(Holding::Abandon { replaced: self.replaced.clone() });
    }

    /// Runs what it is assigned, and says what is new. Gives whether it has said anything.
    pub fn follow(&mut self, view: &View, records: &Records) -> Result<bool> {
        let Some(member) = self.member.clone() else { return Ok(false) };
        match view.assignment.units_of_member(&self.config.instance, &member) {
            Some(units) => {
                if self.running.as_ref() != Some(&units) {
                    self.host.take(Holding::Run { member: member.clone(), units: units.clone() });
                    self.running = Some(units);
                }
                let asked = view.assignment.leaving.values().any(|leaving| leaving.member == member && leaving.since > self.acked);
                self.acked = if asked { view.assignment.epoch } else { self.acked };
            }
            // The leader has not found it in the group, and has given its units away.
            None if self.running.is_some() => {
                tracing::warn!(member, epoch = view.assignment.epoch, "this process has lost its seat");
                self.abandon();
            }
            None => {}
        }
        let hello = self.hello(member, false);
        let new = self.said.as_ref() != Some(&hello);
        if new {
            records.write_hello(&self.config.instance, &hello)?;
            self.said = Some(hello);
        }
        Ok(new)
    }

    /// Commits and stops everything. Gives the offset behind the good-bye; `None`: nobody knows of this process.
    pub fn leave(&mut self, records: &Records) -> Result<Option<u64>> {
        let Some(member) = self.member.take() else { return Ok(None) };
        if self.running.take().is_some() {
            self.host.take(Holding::Run { member: member.clone(), units: BTreeSet::new() });
        }
        let hello = self.hello(member, true);
        Ok(Some(records.write_hello(&self.config.instance, &hello)?))
    }

    fn hello(&self, member: String, gone: bool) -> Hello {
        Hello { member, address: self.config.address.clone(), acked: self.acked, gone }
    }
}
