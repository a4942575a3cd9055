//! The server as its clients see it: the real binary, with tokio-postgres and psql at the other end.

mod copy;
mod cursors;
mod errors;
mod parameters;
mod process;
mod protocol;
mod psql;
mod pushes;
mod server;
mod transactions;
mod types;
