//! See the crate's documentation.
#[derive(Debug)]
pub struct Task;
