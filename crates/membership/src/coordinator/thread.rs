//! The membership thread.

use std::sync::Arc;
use std::time::Instant;

use millpond_log::{Error as LogError, Log};

use super::Shared;
use super::follower::Follower;
use super::leader::Leader;
use crate::records::{Record, Records};
use crate::view::View;
use crate::wake::{End, Pace, Task};
use crate::{Config, Error, Group, Host, Result};

pub(super) struct Thread {
    service_id: String,
    log: Arc<dyn Log>,
    group: Arc<dyn Group>,
    shared: Arc<Shared>,
    records: Records,
    view: View,
    follower: Follower,
    leader: Leader,
    /// What went wrong the last time, in words.
    failure: Option<String>,
}

impl Thread {
    pub fn new(
        config: Config,
        log: Arc<dyn Log>,
        records: Records,
        group: Arc<dyn Group>,
        host: Arc<dyn Host>,
        shared: Arc<Shared>,
    ) -> Thread {
        let service_id = config.service_id.clone();
        let follower = Follower::new(config, Arc::clone(&host));
        let leader = Leader::new(Arc::clone(&group), host);
        Thread { service_id, log, group, shared, records, view: View::default(), follower, leader, failure: None }
    }

    pub fn run(mut self) {
        let (mut pace, mut task) = (Pace::new(), Task::All);
        loop {
            match task {
                Task::Look => self.work(false),
                Task::All => self.work(true),
                Task::End(End::Shutdown) => return self.shutdown(),
                Task::End(End::Abandon) => return self.follower.abandon(),
            }
            task = self.shared.wake.wait(&mut pace);
        }
    }

    /// As long as one step makes another one. What fails is tried again at the next tick, or when something has changed.
    fn work(&mut self, mut all: bool) {
        loop {
            match self.step(all) {
                Ok(true) => all = true,
                Ok(false) => {
                    self.failure = None;
                    return;
                }
                Err(error) => return self.tell(&error),
            }
        }
    }

    /// `all`: even when there are no new records. Gives whether it has changed anything.
    fn step(&mut self, all: bool) -> Result<bool> {
        // Before anything that can fail: who has lost its place stops at once.
        let changed = self.look();
        let read = self.read()?;
        if !(all || changed || read) {
            return Ok(false);
        }
        let said = self.follower.follow(&self.view, &self.records)?;
        let led = self.lead()?;
        Ok(said || led)
    }

    fn look(&mut self) -> bool {
        let changed = self.follower.look(self.group.membership());
        if changed {
            self.leader.rest();
            self.shared.set_member(self.follower.member().cloned(), self.follower.replaced().cloned());
        }
        changed
    }

    /// Gives whether it came further.
    fn read(&mut self) -> Result<bool> {
        let from = self.records.next_offset();
        match self.records.read() {
            Ok(records) => {
                self.apply(records);
                Ok(self.records.next_offset() > from)
            }
            Err(error @ Error::Log(LogError::UnknownTopic(_) | LogError::OffsetOutOfRange { .. })) => {
                tracing::error!(%error, "the members' topic is another one: starting over");
                self.records = Records::open(Arc::clone(&self.log), &self.service_id)?;
                self.view = View::default();
                self.leader.rest();
                self.follower.abandon();
                self.shared.set_assignment(&self.view.assignment);
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    fn apply(&mut self, records: Vec<Record>) {
        let epoch = self.view.assignment.epoch;
        records.into_iter().for_each(|record| self.view.apply(record));
        if self.view.assignment.epoch > epoch {
            self.shared.set_assignment(&self.view.assignment);
        }
    }

    fn lead(&mut self) -> Result<bool> {
        let membership = self.group.membership();
        if membership.leads && membership.member.as_ref() == self.follower.member() && membership.member.is_some() {
            self.leader.lead(&self.view, &self.records, Instant::now())
        } else {
            self.leader.rest();
            Ok(false)
        }
    }

    fn shutdown(&mut self) {
        self.look();
        let leads = self.group.membership().leads && self.follower.member().is_some();
        if let Err(error) = self.say_good_bye(leads) {
            // The group finds out that it has gone.
            tracing::warn!(%error, "the units are not handed over at once");
        }
    }

    /// Whoever leads gives its own units to others before it goes.
    fn say_good_bye(&mut self, leads: bool) -> Result<()> {
        let Some(offset) = self.follower.leave(&self.records)? else { return Ok(()) };
        if !leads {
            return Ok(());
        }
        loop {
            let records = self.records.read_to(offset)?;
            self.apply(records);
            if !self.leader.lead(&self.view, &self.records, Instant::now())? {
                return Ok(());
            }
            let records = self.records.read()?;
            self.apply(records);
        }
    }

    fn tell(&mut self, error: &Error) {
        let text = error.to_string();
        let known = self.failure.as_ref() == Some(&text);
        match error {
            // The group is about to say so.
            Error::Log(LogError::Fenced(_)) => tracing::debug!(%error, "not written"),
            _ if known => tracing::debug!(%error, "membership fails again"),
            _ => tracing::warn!(%error, "membership fails, and is tried again"),
        }
        self.failure = Some(text);
    }
}
