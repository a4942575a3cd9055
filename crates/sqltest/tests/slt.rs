//! Every `.slt` file below `sql-tests/`, each with one and with four workers, plain and with a crash after each FLUSH, and over Kafka.
//!
//! `cargo test --release -p millpond-sqltest --test slt -- windows/session` runs those whose name contains the text. With
//! `MILLPOND_SLT_UPDATE=1` a file's expectations become what the server says (in its first variant): read the difference before
//! keeping it.

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use millpond_sqltest::{Variant, check_form, repository, run_file};

fn main() {
    let arguments = Arguments::from_args();
    let update = std::env::var_os("MILLPOND_SLT_UPDATE").is_some();
    let root = repository().join("sql-tests");
    let files = files(&root);
    let all = files.clone();
    let mut trials = vec![Trial::test("every file begins with its rule", move || {
        all.iter().try_for_each(|path| check_form(path)).map_err(|error| Failed::from(format!("{error:#}")))
    })];
    assert!(!files.is_empty(), "no .slt file below {}", root.display());
    for path in files {
        let name = path.strip_prefix(&root).unwrap_or(&path).with_extension("").display().to_string();
        for variant in Variant::ALL.into_iter().take(if update { 1 } else { Variant::ALL.len() }) {
            // What only the embedded log has.
            if variant.kafka && name.starts_with("embedded/") {
                continue;
            }
            let path = path.clone();
            trials.push(Trial::test(format!("{name} {variant}"), move || {
                run_file(&path, variant, update).map_err(|error| Failed::from(format!("{error:#}")))
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// In the order of their names.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            files.push(path);
        }
    }
    files
}
