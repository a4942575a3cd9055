//! `millpond-bench`: Millpond against DataFusion's batch engine, over the same rows in one run, as a ratio.
//!
//! A figure of its own says more about the machine than about the program; a ratio of two programs in one run does not.

mod batch;
mod embedded;
mod rows;
mod windowed_count;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "millpond-bench", about = "Benchmarks, as ratios in one run", version)]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Count and maximum per key and 10 s window, from the embedded log, against GROUP BY over the same rows in memory.
    WindowedCount(windowed_count::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().benchmark {
        Benchmark::WindowedCount(options) => windowed_count::run(&options),
    }
}
