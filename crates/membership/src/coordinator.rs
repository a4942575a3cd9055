//! This process among the members: follows assignments, and makes them while it leads.
//!
//! ```text
//!   not a member ──► member: hello ──► seated: runs what it is assigned, acks what was taken away ──► shutdown: good-bye
//!        ▲                │                │
//!        └────────────────┴────────────────┴──► lost, or let in anew under another id: abandons everything
//!                                          └──► replaced: abandons everything and never comes back
//! ```

mod follower;
mod leader;
mod thread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millpond_log::Log;
use parking_lot::{Condvar, Mutex};

use crate::records::Records;
use crate::wake::{End, Wake};
use crate::{Assignment, Error, Group, Instance, Result, Seat, Unit};
use thread::Thread;

#[derive(Debug, Clone)]
pub struct Config {
    pub service_id: String,
    pub instance: Instance,
    /// `host:port` of this process's SQL port, as the other members reach it.
    pub address: String,
}

/// What a process runs from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// As this member of the group, exactly these units, whichever are known yet: a leader may know of a unit before this process does.
    Run { member: String, units: BTreeSet<Unit> },
    /// Nothing, and nothing of what was run may be committed any more: others may be running it already. `replaced`: it will never be given
    /// anything again, and why.
    Abandon { replaced: Option<String> },
}

/// Who runs units. Its calls come from the membership thread, one at a time; they must not wait for the [`Coordinator`].
pub trait Host: Send + Sync {
    /// All there is to place, as far as is known: asked of the one who leads. What is missing is taken from whoever runs it, so the catalog has
    /// to be there before the coordinator is started; [`Coordinator::replan`] says that it has changed.
    fn units(&self) -> BTreeSet<Unit>;

    /// Returns when what is taken away is committed and stopped, or, if it could not be committed, stopped all the same; what stays must not
    /// be stopped, and nothing need have been started. With [`Holding::Abandon`] it returns when nothing can be committed any more.
    fn take(&self, holding: Holding);
}

/// Its thread ends with [`Coordinator::shutdown`]; dropped without, it abandons everything.
#[derive(Debug)]
pub struct Coordinator {
    instance: Instance,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the membership thread and everybody else see of each other.
#[derive(Debug, Default)]
struct Shared {
    wake: Arc<Wake>,
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Seen {
    assignment: Arc<Assignment>,
    member: Option<String>,
    replaced: Option<String>,
}

impl Coordinator {
    /// Makes the members' topic when there is none.
    pub fn start(config: Config, log: Arc<dyn Log>, group: Arc<dyn Group>, host: Arc<dyn Host>) -> Result<Arc<Coordinator>> {
        let records = Records::open(Arc::clone(&log), &config.service_id)?;
        let shared = Arc::new(Shared::default());
        let instance = config.instance.clone();
        let wake = Arc::clone(&shared.wake);
        log.subscribe(Box::new(move || wake.log()));
        let wake = Arc::clone(&shared.wake);
        group.subscribe(Box::new(move || wake.other()));
        let thread = Thread::new(config, log, records, group, host, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("membership".to_owned()).spawn(move || thread.run()).map_err(Error::Thread)?;
        Ok(Arc::new(Coordinator { instance, shared, thread: Mutex::new(Some(thread)) }))
    }

    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The id under which this process is a member, if it is one.
    pub fn member(&self) -> Option<String> {
        self.shared.seen.lock().member.clone()
    }

    /// Why this process will never be a member again, if so.
    pub fn replaced(&self) -> Option<String> {
        self.shared.seen.lock().replaced.clone()
    }

    /// The latest one seen.
    pub fn assignment(&self) -> Arc<Assignment> {
        Arc::clone(&self.shared.seen.lock().assignment)
    }

    /// Everybody who can be given units, as of the latest assignment.
    pub fn members(&self) -> BTreeMap<Instance, Seat> {
        self.assignment().members.clone()
    }

    /// Waits for an assignment that is `wanted`, for one in which a unit has an owner, say. `None`: there was none within `timeout`.
    pub fn wait_until(&self, timeout: Duration, wanted: impl Fn(&Assignment) -> bool) -> Option<Arc<Assignment>> {
        let deadline = Instant::now() + timeout;
        let mut seen = self.shared.seen.lock();
        loop {
            if wanted(&seen.assignment) {
                return Some(Arc::clone(&seen.assignment));
            }
            if self.shared.changed.wait_until(&mut seen, deadline).timed_out() {
                return wanted(&seen.assignment).then(|| Arc::clone(&seen.assignment));
            }
        }
    }

    /// The host's units have changed.
    pub fn replan(&self) {
        self.shared.wake.other();
    }

    /// Has the host commit and stop everything, says good-bye, and ends the thread: others get the units at once. The group is to be left
    /// afterwards.
    pub fn shutdown(&self) {
        self.end(End::Shutdown);
    }

    fn end(&self, end: End) {
        self.shared.wake.end(end);
        let thread = self.thread.lock().take();
        // The host may have been the last to let go of it, on that thread.
        let thread = thread.filter(|thread| thread.thread().id() != std::thread::current().id());
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the membership thread ended in a panic");
        }
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.end(End::Abandon);
    }
}

impl Shared {
    fn set_assignment(&self, assignment: &Arc<Assignment>) {
        self.seen.lock().assignment = Arc::clone(assignment);
        self.changed.notify_all();
    }

    fn set_member(&self, member: Option<String>, replaced: Option<String>) {
        let mut seen = self.seen.lock();
        (seen.member, seen.replaced) = (member, replaced);
    }
}
