//! Files of the data directory are damaged: over Kafka the server makes its state anew, and says so.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millpond_sqltest::{Server, binary, connect};
use rand::Rng;
use rand::rngs::StdRng;

use crate::workload::{Load, set_up};
use crate::{broker, seeded, with_workers};

/// The server has started again by itself by then, and has its state.
const ANEW_WITHIN: Duration = Duration::from_secs(120);

#[test]
fn damaged_files_are_made_anew_over_kafka() -> Result<()> {
    let kafka = broker()?;
    seeded(2, |random, rounds| damage_again_and_again(random, rounds, kafka.arguments()))
}

async fn damage_again_and_again(mut random: StdRng, rounds: u64, arguments: Vec<String>) -> Result<()> {
    let mut server = Server::start(&with_workers(&arguments, &mut random))?;
    set_up(&server).await?;
    let mut load = Load::default();
    for round in 0..rounds {
        load.start(&server, &mut random);
        tokio::time::sleep(Duration::from_secs(2)).await;
        load.stop().await?;
        // What was in the log of the database is in files then.
        server.crash_and_restart()?;
        let (_, directory) = server.stop()?;
        let damaged = damage(&directory.path().join("data"), &mut random)?;
        let begun = Instant::now();
        server = Server::start_in(directory, &binary::locate()?, &with_workers(&arguments, &mut random))?;
        load.start(&server, &mut random);
        while count(&mut server).await.is_err() {
            ensure!(begun.elapsed() < ANEW_WITHIN, "not anew within {ANEW_WITHIN:?}: {}", server.log_tail());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        load.stop().await?;
        eprintln!("round {round}: {damaged} files damaged, first answer after {:?}", begun.elapsed());
        ensure!(server.log()?.matches("the state is made anew").count() as u64 > round, "{}", server.log_tail());
    }
    load.check(&server).await
}

/// The ports are others when the server has started again.
async fn count(server: &mut Server) -> Result<()> {
    server.look_again()?;
    let client = connect(&server.addresses().pg).await?;
    client.batch_execute("SELECT count(*) FROM counts; SELECT count(*) FROM visits").await.context("the tables")
}

/// One byte in the first block of each file of rows.
fn damage(data: &Path, random: &mut StdRng) -> Result<usize> {
    let mut damaged = 0;
    for entry in std::fs::read_dir(data)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sst") {
            let file = File::options().read(true).write(true).open(&path)?;
            let (mut byte, place) = ([0], random.random_range(0..32));
            file.read_exact_at(&mut byte, place)?;
            file.write_all_at(&[!byte[0]], place)?;
            damaged += 1;
        }
    }
    ensure!(damaged > 0, "no files in {}", data.display());
    Ok(damaged)
}
