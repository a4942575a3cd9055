//! ksqlDB's scalar and aggregate functions as DataFusion UDFs.
//!
//! Only what DataFusion lacks, or has under another name or with another meaning: whoever registers these after DataFusion's own gets
//! ksqlDB's (INSTR, FROM_UNIXTIME), and PostgreSQL's (TO_CHAR). A function that fails on a row fails its batch; finding the row is the engine's business.

mod aggregate;
mod scalar;

pub use aggregate::aggregate_functions;
pub use scalar::scalar_functions;
