//! Which of a service's processes runs what.

mod group;

pub use group::{Group, Member, Membership};
