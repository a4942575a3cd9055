//! ARCH-1  a crate depends on earlier layers only.
//! ARCH-2  RocksDB is behind `log-embedded` and `state-rocksdb`, librdkafka behind `log-kafka`, DataFusion and tokio are above the pure crates.
//! ARCH-3  there is one version of each library whose types are in our interfaces.
//! ARCH-4  the server alone is built of the same libraries as the whole workspace.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use millpond_architecture::{LAYERS, LIBRARIES, ONE_VERSION};

/// Of the workspace's own crates: what they depend on is not resolved, which would need the libraries of every platform.
fn metadata() -> Metadata {
    MetadataCommand::new().no_deps().exec().expect("cargo metadata")
}

/// The names of a package's dependencies outside its tests.
fn normal(package: &Package) -> BTreeSet<String> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind == DependencyKind::Normal)
        .map(|dependency| dependency.name.to_string())
        .collect()
}

#[test]
fn dependencies_point_downwards() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let Some(layer) = LAYERS.iter().position(|name| *name == package.name.as_str()) else { continue };
        for dependency in normal(package).iter().filter(|name| name.starts_with("millpond") && *name != LIBRARIES) {
            if !LAYERS[..layer].contains(&dependency.as_str()) {
                wrong.push(format!("{} must not depend on {dependency}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_crate_has_its_place() {
    let tools = [LIBRARIES, "millpond-architecture", "millpond-bench", "millpond-sqltest"];
    let metadata = metadata();
    let known: BTreeSet<&str> = LAYERS.into_iter().chain(tools).collect();
    let found: BTreeSet<&str> = metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    assert_eq!(found, known, "a new crate gets its place in LAYERS");
}

#[test]
fn libraries_stay_behind_their_crates() {
    // The crates that may name the library.
    let borders: [(&str, &[&str]); 5] = [
        ("rocksdb", &["millpond-state-rocksdb", "millpond-log-embedded"]),
        // The benchmarks write as users' programs do, which `log-kafka` does not.
        ("rdkafka", &["millpond-log-kafka", "millpond-bench"]),
        ("pgwire", &["millpond"]),
        ("axum", &["millpond"]),
        ("tokio", &["millpond-serving", "millpond", LIBRARIES, "millpond-bench", "millpond-sqltest"]),
    ];
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let dependencies = normal(package);
        for (library, allowed) in borders {
            if dependencies.contains(library) && !allowed.contains(&package.name.as_str()) {
                wrong.push(format!("{} must not depend on {library}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn shared_libraries_have_one_version() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    for name in ONE_VERSION {
        let versions: Vec<&str> = lock.split("[[package]]").filter(|entry| entry.contains(&format!("\nname = \"{name}\"\n"))).collect();
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}

/// Of the clone that is tested, which need not be the one that filled the target directory.
fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.join("../..")
}

/// Every library with the features it is built with.
fn features(selection: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--prefix", "none", "--format", "{p} [{f}]", "--edges"])
        .args(selection)
        .current_dir(root())
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|line| !line.is_empty() && !line.starts_with("millpond"))
        .map(str::to_string)
        .collect()
}

#[test]
fn the_server_alone_is_built_of_the_same_libraries() {
    let workspace = features(&["normal,build,dev", "--workspace"]);
    for selection in [
        &["normal,build", "-p", "millpond"][..],
        &["normal,build,dev", "-p", "millpond-streams"],
        &["normal,build,dev", "-p", "millpond-executor"],
    ] {
        let missing: Vec<String> = features(selection).difference(&workspace).cloned().collect();
        assert!(
            missing.is_empty(),
            "{} would compile these libraries a second time; add the workspace's features to crates/libraries/Cargo.toml:\n{}",
            selection.last().expect("not empty"),
            missing.join("\n")
        );
    }
}
