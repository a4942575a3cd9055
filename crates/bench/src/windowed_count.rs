//! Count and maximum price per auction and 10 s window.

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::{batch, embedded::Embedded, rows};

const BATCH_ROWS: usize = 8_192;

const BATCH_SQL: &str = "SELECT auction, date_bin(INTERVAL '10 seconds', \"at\") AS start, count(*) AS n, max(price) AS top \
                         FROM bids GROUP BY auction, date_bin(INTERVAL '10 seconds', \"at\")";

#[derive(Debug, Args)]
pub struct Options {
    #[arg(long, default_value_t = 3_000_000)]
    rows: usize,
    #[arg(long, default_value_t = 4)]
    partitions: usize,
    /// Worker threads, and DataFusion's.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(2, usize::from))]
    workers: usize,
    /// Runs of each; the fastest counts.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// As the server has it by default.
    #[arg(long, default_value_t = 100)]
    commit_interval_ms: u64,
    /// The stream has no key, so that its rows go through a repartition topic.
    #[arg(long)]
    repartition: bool,
}

pub fn run(options: &Options) -> Result<()> {
    ensure!(options.rows > 0 && options.partitions > 0 && options.workers > 0 && options.repeat > 0, "every number must be positive");
    let batches = rows::generate(options.rows, BATCH_ROWS)?;
    let mut out = std::io::stdout().lock();
    let key = if options.repartition { "without key, so through a repartition" } else { "with its key" };
    writeln!(out, "{} rows in {} partitions {key}, {} threads", options.rows, options.partitions, options.workers)?;

    let embedded = Embedded::open(options.workers, Duration::from_millis(options.commit_interval_ms))?;
    let mark = if options.repartition { "" } else { " KEY" };
    embedded.execute(&format!(
        "CREATE STREAM bids (auction BIGINT{mark}, price BIGINT, at TIMESTAMP) WITH (kafka_topic = 'bids', partitions = {}, timestamp = 'at')",
        options.partitions
    ))?;
    embedded.append("bids", &batches)?;

    let mut millpond = Duration::MAX;
    let mut datafusion = Duration::MAX;
    for run in 0..options.repeat {
        let made = embedded.timed_query(
            &format!("counts_{run}"),
            "SELECT auction, count(*) AS n, max(price) AS top FROM bids WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 5 SECONDS) GROUP BY auction",
        )?;
        millpond = millpond.min(made.elapsed);
        let outcome = batch::group_by(&batches, options.partitions, options.workers, BATCH_SQL)?;
        datafusion = datafusion.min(outcome.elapsed);
        writeln!(
            out,
            "run {}: millpond {:.3} s and {} changes, datafusion {:.3} s for {} groups",
            run + 1,
            made.elapsed.as_secs_f64(),
            made.changes,
            outcome.elapsed.as_secs_f64(),
            outcome.groups
        )?;
    }
    let rate = |elapsed: Duration| options.rows as f64 / elapsed.as_secs_f64();
    writeln!(out, "millpond   {:>12.0} rows/s", rate(millpond))?;
    writeln!(out, "datafusion {:>12.0} rows/s", rate(datafusion))?;
    writeln!(out, "ratio      {:>12.2}", rate(millpond) / rate(datafusion))?;
    Ok(())
}
