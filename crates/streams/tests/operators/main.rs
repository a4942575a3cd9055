//! Operators as a query sees them: small topologies, run by the synchronous driver.

mod filter;
mod formats;
mod join;
mod project;
mod repartition;
mod repartitioned_join;
mod splits;
mod stream_source;
mod table;
mod table_rows;
mod topologies;
