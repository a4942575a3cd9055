//! The real psql against a server.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use crate::{Server, repository};

/// How psql is to be called.
pub struct Psql<'a> {
    server: &'a Server,
    options: Vec<String>,
}

impl<'a> Psql<'a> {
    /// Without anyone's psqlrc; it ends at the first error.
    pub fn new(server: &'a Server) -> Self {
        let options = ["-X", "-v", "ON_ERROR_STOP=1"].map(str::to_string).to_vec();
        Psql { server, options }
    }

    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_string());
        self
    }

    /// Runs a script and returns what psql printed to its standard output.
    pub fn script(&self, sql: &str) -> Result<String> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("script.sql");
        std::fs::write(&path, sql)?;
        self.file(&path)
    }

    /// Runs a file, from the root of the clone.
    pub fn file(&self, path: &Path) -> Result<String> {
        let output = self.run(&["-f", path.to_str().context("a path in UTF-8")?])?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "psql failed ({}):\n{errors}\n{}", output.status, self.server.log_tail());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs psql with further arguments and returns all that came of it.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let address = &self.server.addresses().pg;
        let (host, port) = address.rsplit_once(':').with_context(|| format!("no port in {address}"))?;
        Command::new("psql")
            .args(["-h", host, "-p", port, "-U", "millpond", "-d", "millpond"])
            .args(&self.options)
            .args(arguments)
            .env("PGCLIENTENCODING", "UTF8")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("PGOPTIONS")
            .current_dir(repository())
            .output()
            .context("start psql (Debian's package is postgresql-client)")
    }
}

/// What differs between two texts, line by line; empty when nothing does. Blanks at the end of a line do not count.
pub fn diff(expected: &str, actual: &str) -> String {
    let clean = |text: &str| text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_string).collect::<Vec<_>>();
    let (expected, actual) = (clean(expected), clean(actual));
    let mut text = String::new();
    for index in 0..expected.len().max(actual.len()) {
        let (wanted, found) = (expected.get(index), actual.get(index));
        if wanted == found {
            continue;
        }
        if let Some(wanted) = wanted {
            text.push_str(&format!("line {}  expected: {wanted}\n", index + 1));
        }
        if let Some(found) = found {
            text.push_str(&format!("line {}  actual:   {found}\n", index + 1));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::diff;

    #[test]
    fn says_which_line_differs() {
        assert_eq!(diff("a \n\nb\n", "a\nb"), "");
        assert_eq!(diff("a\nb", "a\nc\nd"), "line 2  expected: b\nline 2  actual:   c\nline 3  actual:   d\n");
    }
}
