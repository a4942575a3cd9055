//! The disk of the data directory fills up, and has room again: nothing is lost, and everything goes on by itself.
//!
//! It is a small file system in memory that only the server sees, mounted in a namespace of its own: the system must let its user make one.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millpond_sqltest::{Server, binary, connect};
use rand::rngs::StdRng;

use crate::rounds::under_load;
use crate::{broker, seeded, with_workers};

/// What runs leaves a part of it free.
const DISK: &str = "256m";
/// Buffers, and what RocksDB takes of the disk in advance, are small then.
const MEMORY: &str = "64MiB";
/// The server has found that there is no room by then.
const TOLD_WITHIN: Duration = Duration::from_secs(120);
const NO_ROOM: &str = "No space left on device";

#[test]
fn a_full_disk_loses_nothing() -> Result<()> {
    seeded(2, |random, rounds| disk_fills_up(random, rounds, Vec::new()))
}

#[test]
fn nor_does_one_over_kafka() -> Result<()> {
    let kafka = broker()?;
    seeded(2, |random, rounds| disk_fills_up(random, rounds, kafka.arguments()))
}

async fn disk_fills_up(mut random: StdRng, rounds: u64, arguments: Vec<String>) -> Result<()> {
    let home = tempfile::tempdir()?;
    let arguments = with_workers(&[arguments, vec!["--memory".to_owned(), MEMORY.to_owned()]].concat(), &mut random);
    let server = Server::start_in(tempfile::tempdir()?, &on_small_disk(home.path(), &binary::locate()?)?, &arguments)?;
    under_load(server, random, rounds, async |round| {
        round.a_moment().await;
        let told = |server: &Server| anyhow::Ok(server.log()?.matches(NO_ROOM).count());
        let (before, begun) = (told(round.server)?, Instant::now());
        let balloon = balloon(round.server);
        // RocksDB deletes files meanwhile, which gives it room.
        while told(round.server)? == before {
            fill(&balloon)?;
            ensure!(begun.elapsed() < TOLD_WITHIN, "the server does without a disk for {TOLD_WITHIN:?}: {}", round.server.log_tail());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        eprintln!("round {}: no room after {:?}", round.number, begun.elapsed());
        // What is committed can be read all the time.
        let client = connect(&round.server.addresses().pg).await?;
        client.query("SELECT count(*) FROM counts", &[]).await.context("a pull query while the disk is full")?;
        std::fs::remove_file(balloon)?;
        round.goes_on("with room again").await
    })
    .await
}

/// A program that starts `binary` with a disk of its own at `--data-dir`, which is its first argument.
fn on_small_disk(home: &Path, binary: &Path) -> Result<PathBuf> {
    let program = home.join("millpond");
    let script = format!(
        r#"#!/bin/sh
mkdir -p "$2"
user="--user --map-root-user"
unshare $user true 2>/dev/null || user=
exec unshare $user --mount sh -c 'mount -t tmpfs -o size={DISK} none "$2" && exec "$0" "$@"' '{}' "$@"
"#,
        binary.display()
    );
    OpenOptions::new().write(true).create_new(true).mode(0o755).open(&program)?.write_all(script.as_bytes())?;
    Ok(program)
}

/// The file that takes the rest of the server's disk.
fn balloon(server: &Server) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{}", server.pid(), server.data().display())).join("balloon")
}

fn fill(balloon: &Path) -> Result<()> {
    let mut file = File::options().create(true).append(true).open(balloon).context("the server's disk")?;
    let block = vec![0; 1 << 16];
    loop {
        match file.write_all(&block) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
