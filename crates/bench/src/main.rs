//! `millpond-bench`: Millpond against DataFusion's batch engine, over the same rows in one run, as a ratio; and the server over Kafka, on the
//! workloads that its peers have programs for.
//!
//! A figure of its own says more about the machine than about the program; a ratio of two programs in one run does not.

mod batch;
mod embedded;
mod latency;
mod over_kafka;
mod process;
mod queries;
mod restore;
mod rows;
mod service;
mod windowed_count;
mod writer;

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
    /// The server over topics of Kafka: filter, count, hop, session or join, a line of JSON.
    OverKafka(over_kafka::Options),
    /// The server over Kafka: how long from a row to the result that counts it, a line of JSON.
    Latency(latency::Options),
    /// The server over Kafka: how it comes back after `kill -9`, and over an empty directory, a line of JSON for each.
    Restore(restore::Options),
    /// The server over Kafka: what many queries cost against one, idle and busy, lines of JSON.
    Queries(queries::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().benchmark {
        Benchmark::WindowedCount(options) => windowed_count::run(&options),
        Benchmark::OverKafka(options) => over_kafka::run(&options),
        Benchmark::Latency(options) => latency::run(&options),
        Benchmark::Restore(options) => restore::run(&options),
        Benchmark::Queries(options) => queries::run(&options),
    }
}
