//! A group within one process: for tests.
//!
//! ```
//! # use std::sync::Arc;
//! # use millpond_log::{Log, MemoryLog};
//! # use millpond_membership::{Group, memory::MemoryGroup};
//! let (group, log) = (MemoryGroup::new(), Arc::new(MemoryLog::new()));
//! let a = group.join("a");
//! let log_of_a: Arc<dyn Log> = Arc::new(a.fence(log));
//! assert!(a.membership().leads);
//! group.kick("a");
//! assert_eq!(a.membership().member, None);
//! ```

mod fenced;

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::{Group, Member, Membership};
pub use fenced::FencedLog;

type Notify = Box<dyn Fn() + Send + Sync>;

/// The group. The oldest member leads.
#[derive(Debug, Clone, Default)]
pub struct MemoryGroup {
    state: Arc<RwLock<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which they were last let in, whoever is out included.
    processes: Vec<Process>,
    /// How many were ever let in.
    admissions: u64,
}

struct Process {
    token: u64,
    instance: String,
    /// While it is in.
    id: Option<String>,
    /// The id under which it may write: its first one, then that of its last hello.
    goes_on_as: Mutex<Option<String>>,
    replaced: Option<String>,
    /// What it believes of itself while it is frozen.
    frozen: Option<Membership>,
    subscribers: Vec<Arc<Notify>>,
}

/// What a process sees of the group.
#[derive(Debug)]
pub struct MemoryMember {
    group: MemoryGroup,
    token: u64,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("instance", &self.instance).field("id", &self.id).finish_non_exhaustive()
    }
}

impl MemoryGroup {
    pub fn new() -> MemoryGroup {
        MemoryGroup::default()
    }

    /// A process comes. One that has come before under the same instance is replaced.
    pub fn join(&self, instance: &str) -> Arc<MemoryMember> {
        let token = self.change(|state| {
            for process in state.processes.iter_mut().filter(|process| process.instance == instance) {
                process.id = None;
                process.replaced = Some(format!("another process has come as {instance}"));
            }
            let token = state.processes.len() as u64;
            let (instance, id) = (instance.to_owned(), Some(state.next_id(instance)));
            let goes_on_as = Mutex::new(id.clone());
            state.processes.push(Process { token, instance, id, goes_on_as, replaced: None, frozen: None, subscribers: Vec::new() });
            token
        });
        Arc::new(MemoryMember { group: self.clone(), token })
    }

    /// Out, as one that was not heard of for too long; for good if it is not let in again.
    pub fn kick(&self, instance: &str) {
        self.change(|state| state.process(instance).id = None);
    }

    /// Out, by itself.
    pub fn leave(&self, instance: &str) {
        self.kick(instance);
    }

    /// Lets one that is out in again, under another id; the youngest one then.
    pub fn readmit(&self, instance: &str) {
        self.change(|state| {
            let id = state.next_id(instance);
            let process = state.process(instance);
            assert!(process.id.is_none(), "{instance} is in");
            process.id = Some(id);
            let token = process.token;
            let index = state.processes.iter().position(|process| process.token == token).expect("it was found just now");
            let process = state.processes.remove(index);
            state.processes.push(process);
        });
    }

    /// From now on it hears nothing of the group, and its log neither takes nor gives anything; the group has it in yet.
    pub fn freeze(&self, instance: &str) {
        self.change(|state| {
            let token = state.process(instance).token;
            state.process(instance).frozen = Some(state.membership(token));
        });
    }

    pub fn thaw(&self, instance: &str) {
        self.change(|state| state.process(instance).frozen = None);
    }

    /// The members as they are.
    pub fn members(&self) -> Vec<Member> {
        self.state.read_recursive().members()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (changed, subscribers) = {
            let mut state = self.state.write();
            let changed = change(&mut state);
            let awake = state.processes.iter().filter(|process| process.frozen.is_none());
            (changed, awake.flat_map(|process| process.subscribers.clone()).collect::<Vec<_>>())
        };
        subscribers.iter().for_each(|notify| notify());
        changed
    }
}

impl State {
    fn next_id(&mut self, instance: &str) -> String {
        self.admissions += 1;
        format!("{instance}-{}", self.admissions)
    }

    /// The latest one to have come as that.
    fn process(&mut self, instance: &str) -> &mut Process {
        let all = self.processes.iter_mut().filter(|process| process.instance == instance);
        all.max_by_key(|process| process.token).expect("it has joined")
    }

    fn of(&self, token: u64) -> &Process {
        self.processes.iter().find(|process| process.token == token).expect("processes are never forgotten")
    }

    fn members(&self) -> Vec<Member> {
        let member = |process: &Process| Some(Member { id: process.id.clone()?, instance: process.instance.clone() });
        self.processes.iter().filter_map(member).collect()
    }

    /// As the group has it.
    fn membership(&self, token: u64) -> Membership {
        let leader = self.processes.iter().find(|process| process.id.is_some());
        let Process { id, replaced, .. } = self.of(token);
        Membership { member: id.clone(), leads: leader.is_some_and(|leader| leader.token == token), replaced: replaced.clone() }
    }
}

impl MemoryMember {
    /// The log as this process may use it.
    pub fn fence(self: &Arc<Self>, log: Arc<dyn millpond_log::Log>) -> FencedLog {
        FencedLog::new(log, Arc::clone(self))
    }
}

impl Group for MemoryMember {
    fn membership(&self) -> Membership {
        // Subscribers of the log may ask while an append holds the lock.
        let state = self.group.state.read_recursive();
        state.of(self.token).frozen.clone().unwrap_or_else(|| state.membership(self.token))
    }

    fn members(&self) -> millpond_log::Result<Vec<Member>> {
        Ok(self.group.members())
    }

    fn subscribe(&self, notify: Notify) {
        let mut state = self.group.state.write();
        let token = self.token;
        let process = state.processes.iter_mut().find(|process| process.token == token).expect("processes are never forgotten");
        process.subscribers.push(Arc::new(notify));
    }
}
