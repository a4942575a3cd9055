//! Runs sql-tests/ against the real binary.
