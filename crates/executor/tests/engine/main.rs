//! The engine over whole statements: what it promises about results, restarts, failures and what it leaves behind.

mod behind;
mod building;
mod event_time;
mod exactly_once;
mod faults;
mod handover;
mod lifecycle;
mod members;
mod pushes;
mod reset;
mod rig;
mod sources;
mod tables;
