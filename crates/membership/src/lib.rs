//! Which of a service's processes runs what: membership by a group, placement by its leader (design D7, D8).
//!
//! ```text
//!    Group ── who is in, who leads ──┐                             ┌── Host::units: what there is to place
//!                                    ▼                             ▼
//!    hellos, acks ──► _millpond-<service>-members ──► leader: handover::next(assignment, members, units, acks)
//!         ▲                     │        ▲                         │
//!         │                     │        └──── assignment e + 1 ◄──┘
//!         │                     ▼
//!    every member: assignment e ──► Host::take(run these units) ──► what was taken away is stopped: ack e
//! ```
//!
//! A *unit* is a partition of an input topic: all tasks that read it move together. A *member* is a process that the group has let in, under
//! an id that is another one each time; its *instance* is what stays the same when the process is started again.
//!
//! MBR-1  a unit is given to a member only when no other one can be running it: whoever did has acked that it was taken away, has said
//!        good-bye, or is out of the group, and then what it writes is refused (GRP-1).
//! MBR-2  an assignment follows from the one before: a leader writes only after having read all that was written before it led, and what it
//!        has written itself (GRP-2).
//! MBR-3  a unit that stays where it is is not stopped, whatever happens to others.
//! MBR-4  a process that is no member any more, or another one than before, has dropped everything before it says hello again.
//! MBR-5  when nothing changes, nothing is written.

mod assignment;
mod coordinator;
mod error;
mod group;
pub mod handover;
pub mod memory;
pub mod placement;
mod records;
mod unit;
mod view;
mod wake;

pub use assignment::{Assignment, Leaving, Seat};
pub use coordinator::{Config, Coordinator, Holding, Host};
pub use error::{Error, Result};
pub use group::{Group, Member, Membership};
pub use records::{ARRIVAL, ASSIGNMENT, Arrival, Hello, MEMBER, topic};
pub use unit::Unit;

/// What stays the same of a process when it is started again: a name that its operator gives it.
pub type Instance = String;
