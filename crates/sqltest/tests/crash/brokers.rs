//! Brokers that die, a cluster that is away, a network that is cut, a server that is frozen: processing stops, and goes on by itself.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millpond_sqltest::kafka::{arguments, directory, script, start};
use millpond_sqltest::{Server, connect};
use rand::rngs::StdRng;

use crate::proxy::{Network, Proxy};
use crate::rounds::under_load;
use crate::{seeded, with_workers};

/// Brokers of one test alone. Deleted when dropped.
struct Cluster {
    directory: PathBuf,
    bootstrap: String,
}

impl Cluster {
    fn start(name: &str, arguments: &[&str]) -> Result<Cluster> {
        let directory = directory(name)?;
        // What a test that was killed has left.
        run(&directory, &["reset"])?;
        let bootstrap = start(&directory, arguments)?;
        Ok(Cluster { directory, bootstrap })
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        run(&self.directory, arguments)
    }

    /// The server's arguments.
    fn arguments(&self) -> Vec<String> {
        arguments(&self.bootstrap)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What cannot be deleted now is deleted before the next test.
        let _ = self.run(&["reset"]);
    }
}

fn run(directory: &PathBuf, arguments: &[&str]) -> Result<()> {
    let (command, rest) = arguments.split_first().context("no command")?;
    let output = Command::new(script()).arg(command).arg("--dir").arg(directory).args(rest).output()?;
    ensure!(output.status.success(), "scripts/kafka {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Of three brokers each is killed in its turn while clients write, and comes back: coordinators and leaders move.
#[test]
fn brokers_die_and_come_back() -> Result<()> {
    let cluster = Cluster::start("kafka-three", &["--brokers", "3"])?;
    seeded(3, |random, rounds| brokers_die(random, rounds, &cluster))
}

async fn brokers_die(mut random: StdRng, rounds: u64, cluster: &Cluster) -> Result<()> {
    let arguments = [cluster.arguments(), vec!["--kafka-replicas".to_owned(), "3".to_owned()]].concat();
    under_load(Server::start(&with_workers(&arguments, &mut random))?, random, rounds, async |round| {
        let broker = (round.number % 3 + 1).to_string();
        round.a_moment().await;
        cluster.run(&["kill", &broker])?;
        round.goes_on(&format!("without broker {broker}")).await?;
        cluster.run(&["start-broker", &broker])?;
        round.goes_on(&format!("with broker {broker} again")).await
    })
    .await
}

/// The only broker is away for a while (`MILLPOND_OUTAGE_SECONDS`, 20): statements fail and say why, and everything goes on by itself.
#[test]
fn the_only_broker_is_away() -> Result<()> {
    let cluster = Cluster::start("kafka-away", &[])?;
    seeded(1, |random, rounds| broker_is_away(random, rounds, &cluster))
}

async fn broker_is_away(mut random: StdRng, rounds: u64, cluster: &Cluster) -> Result<()> {
    let seconds = std::env::var("MILLPOND_OUTAGE_SECONDS").ok().and_then(|value| value.parse().ok()).unwrap_or(20);
    under_load(Server::start(&with_workers(&cluster.arguments(), &mut random))?, random, rounds, async |round| {
        round.a_moment().await;
        cluster.run(&["kill"])?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        // What is committed can be read all the time.
        let client = connect(&round.server.addresses().pg).await?;
        client.query("SELECT count(*) FROM counts", &[]).await.context("a pull query while the broker is away")?;
        let begun = Instant::now();
        cluster.run(&["start-broker", "1"])?;
        round.goes_on("with the broker again").await?;
        eprintln!("written to again {:?} after the broker's start", begun.elapsed());
        Ok(())
    })
    .await
}

/// The server stands still for longer than its transactions may take: what it had begun is gone, and it begins anew.
#[test]
fn the_server_is_frozen() -> Result<()> {
    let cluster = Cluster::start("kafka-frozen", &[])?;
    seeded(1, |random, rounds| server_is_frozen(random, rounds, &cluster))
}

async fn server_is_frozen(mut random: StdRng, rounds: u64, cluster: &Cluster) -> Result<()> {
    under_load(Server::start(&with_workers(&cluster.arguments(), &mut random))?, random, rounds, async |round| {
        round.a_moment().await;
        round.server.signal("STOP")?;
        tokio::time::sleep(Duration::from_secs(20)).await;
        round.server.signal("CONT")?;
        round.goes_on("after the freeze").await
    })
    .await
}

/// The network to the broker is slow, dead without a word, and gone.
#[test]
fn the_network_is_cut() -> Result<()> {
    let cluster = Cluster::start("kafka-cut", &[])?;
    seeded(1, |random, rounds| network_is_cut(random, rounds, cluster))
}

async fn network_is_cut(mut random: StdRng, rounds: u64, cluster: Cluster) -> Result<()> {
    let proxy = Proxy::start(cluster.bootstrap.clone()).await?;
    // Clients are to come through the proxy, whatever they were told first.
    cluster.run(&["stop"])?;
    start(&cluster.directory, &["--property", &format!("advertised.listeners=PLAINTEXT://{}", proxy.address)])?;
    let server = Server::start(&with_workers(&arguments(&proxy.address), &mut random))?;
    under_load(server, random, rounds, async |round| {
        let cuts = [(Network::Slow(Duration::from_millis(100)), 3), (Network::Down, 5), (Network::Silent, 20)];
        for (network, seconds) in cuts {
            round.a_moment().await;
            proxy.set(network);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            proxy.set(Network::Up);
            round.goes_on(&format!("after {network:?}")).await?;
        }
        Ok(())
    })
    .await
}
