//! What a consumer group gives: who is alive, who leads, and the fence around those that are not.

use std::fmt::Debug;

use millpond_log::Result;

/// This process in its group, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// The id under which the group has let it in; another one each time. `None`: it is not a member, not yet or not any more.
    pub member: Option<String>,
    /// Whether it is the one that places.
    pub leads: bool,
    /// Another process has come under the same instance: this one will never be let in again. Says how that was found out.
    pub replaced: Option<String>,
}

/// A member as the group has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub id: String,
    /// What stays the same when its process is started again.
    pub instance: String,
}

/// The group of a service's processes.
///
/// GRP-1  what a process that is not in the group any more writes to the service's own topics is refused.
/// GRP-2  at most one member leads, and what it writes once another one does is refused.
pub trait Group: Debug + Send + Sync {
    fn membership(&self) -> Membership;

    /// All members, whoever is about to come or to be thrown out included.
    fn members(&self) -> Result<Vec<Member>>;

    /// `notify` is called when [`Group::membership`] may have changed.
    fn subscribe(&self, notify: Box<dyn Fn() + Send + Sync>);
}
