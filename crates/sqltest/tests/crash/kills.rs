//! `kill -9` of the server.

use std::time::{Duration, Instant};

use anyhow::Result;
use millpond_sqltest::{Server, connect};
use rand::Rng;
use rand::rngs::StdRng;

use crate::workload::{Load, check_closed, set_up, set_up_closed};
use crate::{broker, seeded, with_workers};

#[test]
fn kill_9_loses_nothing_and_counts_nothing_twice() -> Result<()> {
    seeded(10, |random, crashes| crash_again_and_again(random, crashes, Vec::new()))
}

#[test]
fn nor_over_kafka() -> Result<()> {
    let kafka = broker()?;
    seeded(5, |random, crashes| crash_again_and_again(random, crashes, kafka.arguments()))
}

async fn crash_again_and_again(mut random: StdRng, crashes: u64, arguments: Vec<String>) -> Result<()> {
    let mut server = Server::start(&with_workers(&arguments, &mut random))?;
    set_up(&server).await?;
    set_up_closed(&server).await?;
    let mut load = Load::default();
    let mut slowest = Duration::ZERO;
    for _ in 0..crashes {
        load.start(&server, &mut random);
        // No event is waited for: the moment is what is random.
        tokio::time::sleep(Duration::from_millis(random.random_range(20..1_500))).await;
        server.kill()?;
        load.stop().await?;
        server.set_arguments(&with_workers(&arguments, &mut random));
        let started = Instant::now();
        server.start_again()?;
        let client = connect(&server.addresses().pg).await?;
        client.query("SELECT count(*) FROM counts", &[]).await?;
        slowest = slowest.max(started.elapsed());
    }
    eprintln!("{crashes} crashes, {} rows offered, first answer after at most {slowest:?}", load.offered());
    load.check(&server).await?;
    check_closed(&server).await
}
