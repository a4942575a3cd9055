//! How long it takes from a row's being written to a topic until a reader of committed records has the row of the table that counts it.
//!
//! ```text
//!   writer ──► bids ──► server: count and maximum per auction and 10 s ──► output ──► reader
//!     └── when each row was handed over, by auction ──────────────────────────────────► ┘ a maximum covers all rows up to it
//! ```
//! The price of a row is when it was handed over to an idempotent producer, in microseconds since the start.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use millpond_log::opaque::Columns;
use millpond_log::{FetchLimit, Log, Payload, TopicConfig, TopicPartition};
use millpond_log_kafka::KafkaLog;
use millpond_sqltest::connect;
use serde::Deserialize;

use crate::service::Service;
use crate::writer::Writer;

const AUCTIONS: usize = 10_000;
const PARTITIONS: u32 = 4;
/// Rows are handed over so often.
const STEP: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(1);
const FETCH: FetchLimit = FetchLimit::of(10_000, 4 << 20);
const WARM_UP: Duration = Duration::from_secs(5);
/// What is still on its way at the end is waited for so long.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct Options {
    /// `host:port` of a broker.
    #[arg(long)]
    bootstrap: String,
    /// Rows per second.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// What is measured, behind the first five seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    #[arg(long, default_value_t = 100)]
    commit_interval_ms: u64,
    /// Of the server; as many as it needs, unless given.
    #[arg(long)]
    workers: Option<usize>,
    /// A topic of JSON objects with `auction` and `price`: the same count over it begins at its beginning when the writing begins.
    #[arg(long)]
    behind: Option<String>,
}

/// When the rows of each auction were handed over that no result has covered yet, in microseconds since the start.
struct OnTheirWay {
    auctions: Vec<Mutex<VecDeque<u64>>>,
    written: AtomicU64,
}

#[derive(Deserialize)]
struct Counted {
    top: u64,
}

pub fn run(options: &Options) -> Result<()> {
    ensure!(options.rate > 0 && options.seconds > 0, "every number must be positive");
    let service = Service::connect(&options.bootstrap, "latency")?;
    let (bids, output) = (service.topic("bids"), service.topic("output"));
    service.log.create_topic(&bids, &TopicConfig::keep(PARTITIONS))?;
    let server = service.start(options.workers, &["--commit-interval", &format!("{}ms", options.commit_interval_ms)])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let client = connect(&server.addresses().pg).await?;
        client.batch_execute(&format!("{} FLUSH;", count("bids", &bids, "counts", &output))).await?;
        if let Some(topic) = &options.behind {
            client.batch_execute(&count("before", topic, "counts_before", &service.topic("behind"))).await?;
        }
        anyhow::Ok(())
    })?;

    let way = OnTheirWay { auctions: (0..AUCTIONS).map(|_| Mutex::default()).collect(), written: AtomicU64::new(0) };
    let (started, over) = (Instant::now(), AtomicBool::new(false));
    let mut latencies = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read(&service.log, &output, &way, started, &over));
        let written = write(&bids, options, &way, started);
        over.store(true, Ordering::Release);
        let latencies = reading.join().expect("the reader does not panic");
        written.and(latencies)
    })?;
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100] as f64 / 1_000.0;
    let line = serde_json::json!({
        "benchmark": "latency",
        "rows_per_s": options.rate,
        "commit_interval_ms": options.commit_interval_ms,
        "rows": latencies.len(),
        "p50_ms": at(50),
        "p90_ms": at(90),
        "p99_ms": at(99),
        "max_ms": at(100),
    });
    writeln!(std::io::stdout(), "{line}")?;
    server.stop()?;
    service.remove_topics()
}

/// A stream over `topic`, and the table of its counts, which goes to `output`.
fn count(stream: &str, topic: &str, table: &str, output: &str) -> String {
    format!(
        "CREATE STREAM {stream} (auction BIGINT, price BIGINT) WITH (kafka_topic = '{topic}', value_format = 'json'); \
         CREATE TABLE {table} WITH (kafka_topic = '{output}', key_format = 'kafka') AS SELECT auction, count(*) AS n, max(price) AS top \
         FROM {stream} WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 5 SECONDS) GROUP BY auction;"
    )
}

fn write(topic: &str, options: &Options, way: &OnTheirWay, started: Instant) -> Result<()> {
    let writer = Writer::connect(&options.bootstrap)?;
    let mut random = 1_u64;
    let mut written = 0;
    let mut next = started;
    while started.elapsed() < WARM_UP + Duration::from_secs(options.seconds) {
        let due = (started.elapsed().as_secs_f64() * options.rate as f64) as u64;
        for _ in written..due {
            // Knuth's multiplier: any will do. An auction's rows stay in one partition, in their order.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let auction = (random >> 33) as usize % AUCTIONS;
            let now_us = started.elapsed().as_micros() as u64;
            way.auctions[auction].lock().expect("nobody panics").push_back(now_us);
            let value = format!("{{\"auction\":{auction},\"price\":{now_us}}}");
            writer.hand_over(topic, auction as u32 % PARTITIONS, &value)?;
        }
        written = due;
        way.written.store(written, Ordering::Relaxed);
        writer.poll();
        next += STEP;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    writer.flush(PATIENCE)
}

/// Of each row that was written behind the warm-up, in microseconds.
fn read(log: &KafkaLog, topic: &str, way: &OnTheirWay, started: Instant, over: &AtomicBool) -> Result<Vec<u64>> {
    let (mut latencies, mut covered) = (Vec::new(), 0);
    let mut places: Vec<(TopicPartition, u64)> = (0..PARTITIONS).map(|partition| (TopicPartition::new(topic, partition), 0)).collect();
    let mut ends: Option<Instant> = None;
    loop {
        let mut came = false;
        for (partition, next) in &mut places {
            let Some(fetch) = log.fetch_ready(partition, *next, FETCH)? else { continue };
            let now_us = started.elapsed().as_micros() as u64;
            (*next, came) = (fetch.next_offset, true);
            for fetched in &fetch.entries {
                let Payload::Opaque(rows) = &fetched.entry.payload else { continue };
                let rows = Columns::of(rows)?;
                for row in 0..rows.timestamps.len() {
                    let (Some(key), Some(value)) = (rows.key(row), rows.value(row)) else { continue };
                    let auction = key.first_chunk().map(|auction| i64::from_be_bytes(*auction) as usize).context("a key of 8 bytes")?;
                    let Counted { top } = serde_json::from_slice(value)?;
                    let mut waiting = way.auctions[auction].lock().expect("nobody panics");
                    while let Some(handed_over) = waiting.pop_front_if(|handed_over| *handed_over <= top) {
                        covered += 1;
                        if handed_over >= WARM_UP.as_micros() as u64 {
                            latencies.push(now_us - handed_over);
                        }
                    }
                }
            }
        }
        if over.load(Ordering::Acquire) {
            if covered == way.written.load(Ordering::Relaxed) {
                return Ok(latencies);
            }
            let since = *ends.get_or_insert_with(Instant::now);
            ensure!(since.elapsed() < PATIENCE, "{covered} rows were covered by a result, of {}", way.written.load(Ordering::Relaxed));
        }
        if !came {
            std::thread::sleep(LOOK);
        }
    }
}
