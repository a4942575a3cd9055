//! The millpond server.
fn main() {}
