//! No code: only the list of third-party libraries with the features that any crate of the workspace asks for.
//!
//! Cargo builds a library once per set of features, and the set depends on the packages that are selected. Without this list the
//! server alone (`-p millpond`), one crate under test (`-p millpond-streams`) and the whole workspace would each compile their own
//! DataFusion. The crates that use DataFusion depend on it; the test of `millpond-architecture` says what is missing here.
