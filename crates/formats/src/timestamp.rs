//! Texts of dates and times: ISO's ([`parse_iso_timestamp`] and its like) and those of Java's patterns ([`Pattern`]).

mod civil;
mod iso;
mod pattern;
mod print;
mod read;
mod zone;

pub use iso::{parse_iso_date, parse_iso_time, parse_iso_timestamp};
pub use pattern::Pattern;
pub use zone::Zone;

pub(crate) const DAY_MS: i64 = 86_400_000;
