//! Things break at random moments while clients write and queries run: nothing acknowledged is lost, nothing is counted twice, and every
//! table is what DataFusion's batch engine makes of the same rows.
//!
//! The seed is printed; `MILLPOND_CRASH_SEED` repeats its choices and `MILLPOND_CRASHES` says how often something breaks (each test has its own
//! default). Which instruction is hit is up to the machine.

mod brokers;
mod kills;
mod members;
mod proxy;
mod workload;

use std::future::Future;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Runs a test with its random choices and the number of its rounds.
fn seeded<F: Future<Output = Result<()>>>(rounds: u64, test: impl FnOnce(StdRng, u64) -> F) -> Result<()> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = number("MILLPOND_CRASH_SEED").unwrap_or_else(|| rand::rng().random());
    eprintln!("MILLPOND_CRASH_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let rounds = number("MILLPOND_CRASHES").unwrap_or(rounds);
    runtime.block_on(test(StdRng::seed_from_u64(seed), rounds)).with_context(|| format!("MILLPOND_CRASH_SEED={seed}"))
}
