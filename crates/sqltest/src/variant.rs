//! The ways in which each file is run; what it expects is the same in all of them.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    pub workers: u32,
    /// Kill the server after each FLUSH (SIGKILL) and start it again over the same data.
    pub restart: bool,
    /// Over a real Kafka, instead of the embedded log.
    pub kafka: bool,
}

impl Variant {
    pub const ALL: [Variant; 5] = [
        Variant { workers: 1, restart: false, kafka: false },
        Variant { workers: 4, restart: false, kafka: false },
        Variant { workers: 1, restart: true, kafka: false },
        Variant { workers: 4, restart: true, kafka: false },
        Variant { workers: 2, restart: true, kafka: true },
    ];
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |is_set: bool, text: &'static str| if is_set { text } else { "" };
        write!(f, "workers={}{}{}", self.workers, flag(self.restart, ",restart"), flag(self.kafka, ",kafka"))
    }
}
