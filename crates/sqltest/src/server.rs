//! A server process of its own for one test: its data in a temporary directory, its ports chosen by the system.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tempfile::TempDir;

use crate::binary;

/// A server that has not said that it serves by then is broken.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// How often the ready file is looked for.
const READY_POLL: Duration = Duration::from_millis(5);
/// How much of the server's log a failure shows.
const LOG_LINES_MAX: usize = 40;

/// Where a server listens, as it wrote it to its `--ready-file`.
#[derive(Debug, Clone, Deserialize)]
pub struct Addresses {
    pub pg: String,
    pub http: String,
}

/// Killed when dropped; its data goes with it.
pub struct Server {
    binary: PathBuf,
    directory: TempDir,
    arguments: Vec<String>,
    child: Child,
    addresses: Addresses,
    generation: u64,
}

impl Server {
    /// Starts a server and waits until it serves. `arguments` come after those that place it.
    pub fn start(arguments: &[String]) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("millpond-sqltest-").tempdir()?;
        Server::start_in(directory, &binary::locate()?, arguments)
    }

    /// Starts `binary` over a directory, which may have the data of an earlier one.
    pub fn start_in(directory: TempDir, binary: &Path, arguments: &[String]) -> Result<Self> {
        let (child, addresses) = spawn(binary, directory.path(), arguments)?;
        Ok(Server { binary: binary.to_path_buf(), directory, arguments: arguments.to_vec(), child, addresses, generation: 0 })
    }

    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Of the process that was started last.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        data_path(self.directory.path())
    }

    /// How often it has been started again: a connection of an older generation is dead.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// `kill -9`, and a new process over the same data.
    pub fn crash_and_restart(&mut self) -> Result<()> {
        self.kill()?;
        self.start_again()
    }

    /// SIGTERM: the exit code, and the directory with the data.
    pub fn stop(mut self) -> Result<(Option<i32>, TempDir)> {
        self.signal("TERM")?;
        let code = self.child.wait()?.code();
        Ok((code, std::mem::replace(&mut self.directory, tempfile::tempdir()?)))
    }

    /// Sends a signal, `STOP` for one.
    pub fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status()?;
        ensure!(sent.success(), "the server is gone already");
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill the server")?;
        self.child.wait()?;
        Ok(())
    }

    /// A new process over the data of the one that was killed.
    pub fn start_again(&mut self) -> Result<()> {
        let (child, addresses) = spawn(&self.binary, self.directory.path(), &self.arguments)?;
        self.child = child;
        self.addresses = addresses;
        self.generation += 1;
        Ok(())
    }

    /// The arguments of the processes that are started from now on.
    pub fn set_arguments(&mut self, arguments: &[String]) {
        self.arguments = arguments.to_vec();
    }

    /// Takes notice of where it listens by now: it may have started again by itself.
    pub fn look_again(&mut self) -> Result<()> {
        let ready = std::fs::read(self.directory.path().join("ready.json")).context("the server does not serve")?;
        self.addresses = serde_json::from_slice(&ready)?;
        Ok(())
    }

    /// All that the server has logged, when it was started before, too.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(log_path(self.directory.path()))?).into_owned())
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self) -> String {
        log_tail(self.directory.path())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that is gone already cannot be killed, and that is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(binary: &Path, directory: &Path, arguments: &[String]) -> Result<(Child, Addresses)> {
    let ready = directory.join("ready.json");
    if ready.exists() {
        std::fs::remove_file(&ready)?;
    }
    let log = File::options().create(true).append(true).open(log_path(directory))?;
    let mut child = Command::new(binary)
        .arg("--data-dir")
        .arg(data_path(directory))
        .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file"])
        .arg(&ready)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", binary.display()))?;
    match wait_until_ready(&mut child, &ready) {
        Ok(addresses) => Ok((child, addresses)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error.context(log_tail(directory)))
        }
    }
}

fn wait_until_ready(child: &mut Child, ready: &Path) -> Result<Addresses> {
    let started = Instant::now();
    loop {
        // Half a file does not parse, and the next look finds the rest.
        if let Some(addresses) = std::fs::read(ready).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            return Ok(addresses);
        }
        if let Some(status) = child.try_wait()? {
            bail!("the server ended while starting: {status}");
        }
        if started.elapsed() > START_TIMEOUT {
            bail!("the server did not serve within {START_TIMEOUT:?}");
        }
        std::thread::sleep(READY_POLL);
    }
}

fn data_path(directory: &Path) -> PathBuf {
    directory.join("data")
}

fn log_path(directory: &Path) -> PathBuf {
    directory.join("server.log")
}

fn log_tail(directory: &Path) -> String {
    let text = std::fs::read(log_path(directory)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(LOG_LINES_MAX)..];
    format!("the server's log ends with:\n{}", tail.join("\n"))
}
