//! What placement, the hand-over and the coordinator promise.

mod coordinator;
mod exclusive;
mod faults;
mod handover;
mod placement;
mod restart;
mod rig;
