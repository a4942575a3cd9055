//! What this process is in its group, as far as it has heard.
//!
//! ```text
//!   (out) ── let in ──► member ── leads ──► leader        another id each time that it is let in
//!     ▲                   │  ▲                │
//!     └──── thrown out ───┤  └── revoked ─────┤
//!                         └────── replaced ───┴──► (replaced), for ever
//! ```

use std::time::Instant;

use millpond_log::{Error, Result};
use millpond_membership::Membership;
use parking_lot::{Condvar, Mutex};

use super::Standing;
use crate::notifier::Notifier;

#[derive(Debug, Default)]
pub(crate) struct Seat {
    state: Mutex<State>,
    changed: Condvar,
    notifier: Notifier,
}

#[derive(Debug, Default)]
struct State {
    /// The id, when it was last looked at.
    member: Option<String>,
    /// The id under which the partition was assigned.
    leads_as: Option<String>,
    /// The id as which the process goes on: the first one, then that of the last hello.
    goes_on_as: Option<String>,
    replaced: Option<String>,
    /// Why it is not let in, as far as is known.
    failed: Option<Error>,
}

impl State {
    fn membership(&self) -> Membership {
        let member = self.member.clone().filter(|_| self.replaced.is_none());
        Membership { leads: member.is_some() && member == self.leads_as, member, replaced: self.replaced.clone() }
    }
}

impl Seat {
    pub fn membership(&self) -> Membership {
        self.state.lock().membership()
    }

    pub fn subscribe(&self, notify: Box<dyn Fn() + Send + Sync>) {
        self.notifier.subscribe(notify);
    }

    /// The id is this one now.
    pub fn see(&self, member: Option<String>) {
        self.change(|state| state.member = member);
    }

    /// The group has said what is assigned to the member.
    pub fn assigned(&self, member: Option<String>, leads: bool) {
        self.change(|state| {
            state.leads_as = member.clone().filter(|_| leads);
            if state.goes_on_as.is_none() {
                state.goes_on_as.clone_from(&member);
            }
            state.member = member;
            state.failed = None;
        });
    }

    /// The partition is about to be given back, or is lost.
    pub fn revoked(&self) {
        self.change(|state| state.leads_as = None);
    }

    /// The broker takes nothing any more under the id.
    pub fn out(&self) {
        self.change(|state| (state.leads_as, state.member) = (None, None));
    }

    pub fn replace(&self, reason: String) {
        self.change(|state| {
            state.replaced.get_or_insert(reason);
        });
    }

    pub fn fail(&self, error: Error) {
        self.change(|state| state.failed = Some(error));
    }

    /// Fails unless the process goes on as `member`, and is what is asked for. With a hello it does from then on.
    pub fn pass(&self, member: &str, standing: &Standing) -> Result<()> {
        let mut state = self.state.lock();
        let goes_on = state.goes_on_as.as_deref();
        let reason = match standing {
            _ if state.replaced.is_some() => state.replaced.clone().unwrap_or_default(),
            Standing::Hello(hello) if hello == member => {
                state.goes_on_as = Some(member.to_owned());
                return Ok(());
            }
            Standing::Hello(hello) => format!("the group has this process as {member}, not as {hello}"),
            Standing::Member | Standing::Leader if goes_on != Some(member) => match goes_on {
                Some(before) => format!("the group has thrown {before} out, and {member} has not said hello yet"),
                None => format!("{member} is not let in yet"),
            },
            Standing::Leader if state.leads_as.as_deref() != Some(member) => format!("{member} does not lead"),
            Standing::Member | Standing::Leader => return Ok(()),
        };
        Err(Error::Fenced(reason))
    }

    /// Until the group has assigned something, or nothing, for the first time. At once where it will not.
    pub fn wait_let_in(&self, deadline: Instant) -> Result<()> {
        let mut state = self.state.lock();
        loop {
            if let Some(reason) = &state.replaced {
                return Err(Error::Fenced(reason.clone()));
            }
            if state.goes_on_as.is_some() {
                return Ok(());
            }
            if matches!(state.failed, Some(Error::Refused { .. } | Error::Setting(_))) || Instant::now() >= deadline {
                let late = || Error::Storage("Kafka: the group of the service has not let this process in in time".into());
                return Err(state.failed.take().unwrap_or_else(late));
            }
            self.changed.wait_until(&mut state, deadline);
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        let before = state.membership();
        change(&mut state);
        let after = state.membership();
        self.changed.notify_all();
        drop(state);
        if before != after {
            tracing::info!(target: "kafka", member = after.member, leads = after.leads, replaced = after.replaced, "in the service's group");
            self.notifier.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn refused(seat: &Seat, member: &str, standing: &Standing) -> String {
        match seat.pass(member, standing) {
            Err(Error::Fenced(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn hello(member: &str) -> Standing {
        Standing::Hello(member.to_owned())
    }

    #[test]
    fn every_id_but_the_first_has_to_say_hello() {
        let seat = Seat::default();
        assert!(refused(&seat, "a", &Standing::Member).contains("not let in"));
        seat.assigned(Some("a".into()), false);
        seat.pass("a", &Standing::Member).unwrap();
        assert!(refused(&seat, "a", &Standing::Leader).contains("does not lead"));
        seat.see(None);
        assert_eq!(seat.membership(), Membership::default());
        seat.assigned(Some("b".into()), true);
        for standing in [Standing::Member, Standing::Leader] {
            assert!(refused(&seat, "b", &standing).contains("thrown a out"));
        }
        assert!(refused(&seat, "b", &hello("a")).contains("as b, not as a"), "what the former member had to say comes too late");
        seat.pass("b", &hello("b")).unwrap();
        seat.pass("b", &Standing::Leader).unwrap();
        assert!(refused(&seat, "a", &Standing::Member).contains("thrown b out"));
    }

    #[test]
    fn who_led_under_another_id_does_not_lead() {
        let seat = Seat::default();
        seat.assigned(Some("a".into()), true);
        assert!(seat.membership().leads);
        seat.see(Some("b".into()));
        seat.pass("b", &hello("b")).unwrap();
        assert_eq!(seat.membership(), Membership { member: Some("b".into()), leads: false, replaced: None });
        assert!(refused(&seat, "b", &Standing::Leader).contains("does not lead"));
    }

    #[test]
    fn who_is_replaced_stays_so() {
        let seat = Seat::default();
        seat.assigned(Some("a".into()), true);
        seat.replace("first".into());
        seat.replace("second".into());
        seat.see(Some("b".into()));
        assert_eq!(seat.membership(), Membership { member: None, leads: false, replaced: Some("first".into()) });
        for standing in [Standing::Member, Standing::Leader, hello("a")] {
            assert_eq!(refused(&seat, "a", &standing), "first");
        }
    }

    #[test]
    fn subscribers_hear_of_changes_only() {
        let (seat, heard) = (Seat::default(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&heard);
        seat.subscribe(Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        for member in [None, Some("a"), Some("a"), None, None] {
            seat.see(member.map(str::to_owned));
        }
        assert_eq!(heard.load(Ordering::Relaxed), 2);
    }
}
