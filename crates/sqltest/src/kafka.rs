//! The Kafka of the tests: the broker that `MILLPOND_TEST_KAFKA` names (`host:port`), else one that `scripts/kafka` starts below the target
//! directory. That one goes on running, for the next test (`scripts/test` stops it in the end).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use millpond_log::Log;
use millpond_log_kafka::{KafkaLog, Options};

use crate::repository;

/// A broker without topics, for one test at a time: until this is dropped.
pub struct Kafka {
    pub bootstrap: String,
    _lock: File,
}

impl Kafka {
    /// Waits until no other test, of another process, too, has it.
    pub fn acquire() -> Result<Kafka> {
        Kafka::acquire_one("kafka")
    }

    /// The same, of the broker of that name below the target directory, for tests that run beside others.
    pub fn acquire_one(name: &str) -> Result<Kafka> {
        let given = std::env::var("MILLPOND_TEST_KAFKA").ok();
        let name = if given.is_some() { "kafka" } else { name };
        let lock = File::create(directory(&format!("{name}.lock"))?)?;
        lock.lock().context("wait for the broker")?;
        let bootstrap = match given {
            Some(bootstrap) => bootstrap,
            None => start(&directory(name)?, &[])?,
        };
        let log = KafkaLog::connect(Options::new(&bootstrap, "sqltest"))?;
        for topic in log.topics()? {
            log.delete_topic(&topic.name)?;
        }
        Ok(Kafka { bootstrap, _lock: lock })
    }

    /// Of a server over it.
    pub fn arguments(&self) -> Vec<String> {
        arguments(&self.bootstrap)
    }
}

/// Of a server over the cluster with that address.
pub fn arguments(bootstrap: &str) -> Vec<String> {
    vec!["--kafka".to_owned(), bootstrap.to_owned()]
}

pub fn script() -> PathBuf {
    repository().join("scripts/kafka")
}

/// A place for a cluster beside the test that runs: `…/tmp/NAME` of the target directory.
pub fn directory(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let target = test.ancestors().nth(3).context("the test is not in a target directory")?;
    let directory = target.join("tmp");
    std::fs::create_dir_all(&directory)?;
    Ok(directory.join(name))
}

/// Starts brokers in `directory`, unless they run; gives the bootstrap address.
pub fn start(directory: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(script());
    command.arg("start").arg("--dir").arg(directory).args(["--port", "0"]).args(arguments);
    let output = command.stdin(Stdio::null()).output().context("scripts/kafka")?;
    ensure!(output.status.success(), "scripts/kafka start: {}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout)?;
    Ok(printed.lines().last().context("scripts/kafka start printed no address")?.to_owned())
}
