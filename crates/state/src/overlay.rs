//! A task's uncommitted changes of one store partition, over what is committed.

/// Reads see the overlay first, then the committed rows.
#[derive(Debug)]
pub struct Overlay {}
