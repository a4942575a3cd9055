//! The ways in which each file is run; what it expects is the same in all of them.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    pub workers: u32,
    /// Kill the server after each FLUSH (SIGKILL) and start it again over the same data.
    pub restart: bool,
}

impl Variant {
    pub const ALL: [Variant; 4] = [
        Variant { workers: 1, restart: false },
        Variant { workers: 4, restart: false },
        Variant { workers: 1, restart: true },
        Variant { workers: 4, restart: true },
    ];
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workers={}{}", self.workers, if self.restart { ",restart" } else { "" })
    }
}
