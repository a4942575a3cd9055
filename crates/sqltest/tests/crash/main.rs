//! Things break at random moments while clients write and queries run: nothing acknowledged is lost, nothing is counted twice, and every
//! table is what DataFusion's batch engine makes of the same rows.
//!
//! The seed is printed; `MILLPOND_CRASH_SEED` repeats its choices and `MILLPOND_CRASHES` says how often something breaks (each test has its own
//! default). Which instruction is hit is up to the machine.

mod brokers;
mod damage;
mod disk;
mod kills;
mod members;
mod proxy;
mod rounds;
mod workload;

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use millpond_sqltest::Kafka;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Sessions and transactions time out. One crash test at a time, so that another one does not keep the machine from its brokers; the other tests run
/// meanwhile (`scripts/test`), which the pauses of [`workload`] leave room for.
static ALONE: Mutex<()> = Mutex::new(());

/// The other tests that want a broker run at the same time.
fn broker() -> Result<Kafka> {
    Kafka::acquire_one("kafka-crash")
}

/// A server's arguments with a number of workers. One hands over what it repartitions, two send about half of it through the topic; without a number it is
/// up to the machine and the load.
fn with_workers(arguments: &[String], random: &mut StdRng) -> Vec<String> {
    let workers = random.random_range(1..=2);
    eprintln!("--workers {workers}");
    [arguments, &["--workers".to_owned(), workers.to_string()]].concat()
}

/// Runs a test with its random choices and the number of its rounds, alone.
fn seeded<F: Future<Output = Result<()>>>(rounds: u64, test: impl FnOnce(StdRng, u64) -> F) -> Result<()> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = number("MILLPOND_CRASH_SEED").unwrap_or_else(|| rand::rng().random());
    eprintln!("MILLPOND_CRASH_SEED={seed}");
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let rounds = number("MILLPOND_CRASHES").unwrap_or(rounds);
    runtime.block_on(test(StdRng::seed_from_u64(seed), rounds)).with_context(|| format!("MILLPOND_CRASH_SEED={seed}"))
}
