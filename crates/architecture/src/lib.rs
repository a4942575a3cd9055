//! Holds the direction of the dependencies between the crates: the tests in `tests/` read `cargo metadata`, `cargo tree` and
//! `Cargo.lock`.

/// The crates of the engine, in order: each may depend on those before it only.
///
/// `state-rocksdb` stands below `log-embedded`, because in embedded mode the log and the state are one RocksDB database.
pub const LAYERS: [&str; 16] = [
    "millpond-sql",
    "millpond-catalog",
    "millpond-formats",
    "millpond-functions",
    "millpond-log",
    "millpond-membership",
    "millpond-log-kafka",
    "millpond-state",
    "millpond-state-rocksdb",
    "millpond-state-changelog",
    "millpond-log-embedded",
    "millpond-streams",
    "millpond-planner",
    "millpond-executor",
    "millpond-serving",
    "millpond",
];

/// Has no code: the features of the third-party libraries, for whoever uses DataFusion.
pub const LIBRARIES: &str = "millpond-libraries";

/// Of these there is one version, whoever brings it along: their types cross the crates' borders.
pub const ONE_VERSION: [&str; 6] = ["arrow", "arrow-schema", "datafusion", "sqlparser", "pgwire", "rocksdb"];
