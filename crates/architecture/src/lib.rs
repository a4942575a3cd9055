//! Holds the direction of the dependencies between the crates.
