//! Where the server under test is.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// `$MILLPOND_BIN`, or `millpond` in the directory that this test was built into.
pub fn locate() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MILLPOND_BIN") {
        let path = PathBuf::from(path);
        if path.is_file() {
            return Ok(path);
        }
        bail!("MILLPOND_BIN is {}, and there is no such file", path.display());
    }
    let test = std::env::current_exe()?;
    match beside(&test) {
        Some(path) => Ok(path),
        None => bail!(
            "the server is not built: run `cargo build --release -p millpond` (scripts/test does), or point MILLPOND_BIN at it (looked beside {})",
            test.display()
        ),
    }
}

/// `…/release/deps/slt-0123` has `…/release/millpond` beside it.
fn beside(test: &Path) -> Option<PathBuf> {
    test.ancestors().skip(1).take(2).map(|directory| directory.join("millpond")).find(|path| path.is_file())
}
