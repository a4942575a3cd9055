//! Something breaks and is mended while clients write, a number of times.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millpond_sqltest::{Server, connect};
use rand::Rng;
use rand::rngs::StdRng;

use crate::workload::{Load, set_up};

/// A server that has not committed anything by then does not go on; retries may be a minute apart.
const GOES_ON_WITHIN: Duration = Duration::from_secs(300);

/// Clients write while `fault` breaks something and mends it, again and again; in the end all queries run, and nothing is lost.
pub async fn under_load(
    server: Server,
    mut random: StdRng,
    rounds: u64,
    mut fault: impl AsyncFnMut(&mut Round<'_>) -> Result<()>,
) -> Result<()> {
    set_up(&server).await?;
    let mut load = Load::default();
    for number in 0..rounds {
        load.start(&server, &mut random);
        fault(&mut Round { number, server: &server, load: &load, random: &mut random }).await?;
        load.stop().await?;
    }
    eprintln!("{rounds} rounds, {} rows offered", load.offered());
    all_run(&server).await?;
    flush(&server, GOES_ON_WITHIN).await?;
    load.check(&server).await.context(server.log_tail())
}

/// One time that something breaks.
pub struct Round<'a> {
    pub number: u64,
    pub server: &'a Server,
    load: &'a Load,
    random: &'a mut StdRng,
}

impl Round<'_> {
    /// Lets the clients write for a while: what they are at then is random.
    pub async fn a_moment(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.random.random_range(500..2_000))).await;
    }

    /// Waits until more is acknowledged than at the beginning; `when` is for the error.
    pub async fn goes_on(&self, when: &str) -> Result<()> {
        let (begun, before) = (Instant::now(), self.load.acknowledged());
        while self.load.acknowledged() < before + 3 {
            let on_time = begun.elapsed() < GOES_ON_WITHIN;
            ensure!(on_time, "{when} nothing was acknowledged within {GOES_ON_WITHIN:?}; {}", self.server.log_tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// Waits until every query that failed meanwhile has been started again.
async fn all_run(server: &Server) -> Result<()> {
    let client = connect(&server.addresses().pg).await?;
    let begun = Instant::now();
    loop {
        let failed = client.query("SELECT id, reason FROM millpond.queries WHERE state = 'failed'", &[]).await?;
        if failed.is_empty() {
            return Ok(());
        }
        let reasons: Vec<String> = failed.iter().map(|row| format!("{}: {}", row.get::<_, String>(0), row.get::<_, String>(1))).collect();
        ensure!(begun.elapsed() < GOES_ON_WITHIN, "queries do not go on by themselves: {}", reasons.join("; "));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// FLUSH, which says so where it cannot be done yet.
pub async fn flush(server: &Server, within: Duration) -> Result<()> {
    let client = connect(&server.addresses().pg).await?;
    let begun = Instant::now();
    while let Err(error) = client.batch_execute("FLUSH").await {
        ensure!(begun.elapsed() < within, "FLUSH fails for {within:?}: {error}; {}", server.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
