//! Two processes of one service: either one dies or stands still at any moment, the other one takes over, and either one answers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millpond_sqltest::{Kafka, Server, connect};
use rand::Rng;
use rand::rngs::StdRng;

use crate::rounds::flush;
use crate::workload::{Load, set_up};
use crate::{broker, seeded, with_workers};

/// Tasks are shared out, or taken over, by then: a session's timeout, and what it takes to bring the state in.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// Longer than a session, and than a transaction may take.
const FREEZE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Freeze,
}

#[test]
fn members_die_and_come_back() -> Result<()> {
    let kafka = broker()?;
    seeded(3, |random, rounds| members_break(random, rounds, &kafka, Fault::Kill))
}

#[test]
fn a_member_is_frozen() -> Result<()> {
    let kafka = broker()?;
    seeded(2, |random, rounds| members_break(random, rounds, &kafka, Fault::Freeze))
}

async fn members_break(mut random: StdRng, rounds: u64, kafka: &Kafka, fault: Fault) -> Result<()> {
    let arguments = kafka.arguments();
    let mut start = || Server::start(&with_workers(&arguments, &mut random));
    let mut servers = [start()?, start()?];
    set_up(&servers[0]).await?;
    let mut load = Load::default();
    for round in 0..rounds {
        shared_out(&servers).await.with_context(|| format!("before round {round}"))?;
        let broken = random.random_range(0..2);
        let stays = 1 - broken;
        load.start(&servers[stays], &mut random);
        tokio::time::sleep(Duration::from_millis(random.random_range(100..2_000))).await;
        let begun = Instant::now();
        match fault {
            Fault::Kill => servers[broken].kill()?,
            Fault::Freeze => servers[broken].signal("STOP")?,
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(100..2_000))).await;
        load.stop().await?;
        // Not before the other one has taken over all that the broken one had.
        flush(&servers[stays], SETTLED_WITHIN).await?;
        eprintln!("round {round}: {fault:?} of {broken}, all is through at {stays} after {:?}", begun.elapsed());
        match fault {
            Fault::Kill => {
                servers[broken].set_arguments(&with_workers(&arguments, &mut random));
                servers[broken].start_again()?;
            }
            Fault::Freeze => {
                tokio::time::sleep(FREEZE.saturating_sub(begun.elapsed())).await;
                servers[broken].signal("CONT")?;
            }
        }
    }
    shared_out(&servers).await?;
    eprintln!("{rounds} rounds, {} rows offered", load.offered());
    flush(&servers[1], SETTLED_WITHIN).await?;
    load.check(&servers[0]).await.with_context(|| servers[1].log_tail())?;
    load.check_tables(&servers[1]).await.with_context(|| servers[0].log_tail())
}

/// Waits until each of both runs about half of the tasks, as either one says.
async fn shared_out(servers: &[Server; 2]) -> Result<()> {
    let begun = Instant::now();
    for server in servers {
        let client = connect(&server.addresses().pg).await?;
        loop {
            let rows = client.query("SELECT member, count(*) FROM millpond.tasks GROUP BY member", &[]).await?;
            let tasks: Vec<i64> = rows.iter().map(|row| row.get(1)).collect();
            if let [one, other] = *tasks
                && one.abs_diff(other) <= (one + other).unsigned_abs() / 4
            {
                break;
            }
            let late = || format!("{tasks:?} tasks; {}\n{}", servers[0].log_tail(), servers[1].log_tail());
            ensure!(begun.elapsed() < SETTLED_WITHIN, "the tasks are not shared out within {SETTLED_WITHIN:?}: {}", late());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}
