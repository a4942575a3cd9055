//! Every `.sql` file below `examples/` through the real psql: what it prints is the `.out` file beside it.
//!
//! With `MILLPOND_EXAMPLES_UPDATE=1` the `.out` files are written anew: read the difference before keeping it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use millpond_sqltest::{Psql, Server, diff, repository};

fn main() {
    let arguments = Arguments::from_args();
    let root = repository().join("examples");
    let trials: Vec<Trial> = files(&root)
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap_or(&path).with_extension("").display().to_string();
            Trial::test(name, move || run(&path).map_err(|error| Failed::from(format!("{error:#}"))))
        })
        .collect();
    assert!(!trials.is_empty(), "no .sql file below {}", root.display());
    libtest_mimic::run(&arguments, trials).exit();
}

fn run(path: &Path) -> Result<()> {
    let server = Server::start(&[])?;
    let actual = Psql::new(&server).option("-q").file(path)?;
    let expected_path = path.with_extension("out");
    if std::env::var_os("MILLPOND_EXAMPLES_UPDATE").is_some() {
        return std::fs::write(&expected_path, actual).context("write the expected output");
    }
    let expected = std::fs::read_to_string(&expected_path).with_context(|| expected_path.display().to_string())?;
    let difference = diff(&expected, &actual);
    if difference.is_empty() {
        return Ok(());
    }
    bail!("{} differs:\n{difference}\nall of it:\n{actual}\n{}", expected_path.display(), server.log_tail())
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    files.sort();
    files
}
