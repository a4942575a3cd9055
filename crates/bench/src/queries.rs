//! What many persistent queries cost one process, against one of them: threads, connections, open files, memory and CPU.
//!
//! ```text
//!   writer ──► s0 … s9 ──► server: q0, q2, … filters, half of the rows       first q0 alone, then all:
//!                                  q1, q3, … counts per key and 10 s         idle, then busy with all the topics
//! ```
//! A filter and a count read the same topic, the next two the next one. Queries begin with what is written after them, so that none has to catch
//! up. Before each *idle* there is a pause, after which threads that statements have needed are gone. All figures but CPU are those of the last
//! moment of *idle* (five seconds without a row) and of *busy* (while rows are still on their way), from `/proc`: memory is `VmRSS`, which has
//! the state of the windows and RocksDB's caches in it; connections are TCP's established ones except those of Postgres' port. `cpu_cores` is
//! user and system time of all threads, per second. `lag` says whether the process keeps up.

use std::io::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use millpond_log::{Log, TopicConfig};
use millpond_sqltest::connect;
use tokio::runtime::Runtime;
use tokio_postgres::Client;

use crate::process::Process;
use crate::service::{Service, figure, reaches};
use crate::writer::Writer;

const PARTITIONS: u32 = 2;
const KEYS: u64 = 1_000;
/// Rows are handed over so often.
const STEP: Duration = Duration::from_millis(10);
/// Longer than tokio keeps a thread that has nothing to do.
const PAUSE: Duration = Duration::from_secs(15);
const IDLE: Duration = Duration::from_secs(5);
/// How often it is looked whether all queries run.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct Options {
    /// `host:port` of a broker.
    #[arg(long)]
    bootstrap: String,
    #[arg(long, default_value_t = 200)]
    queries: usize,
    #[arg(long, default_value_t = 10)]
    topics: usize,
    /// Rows per second, of all topics together.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// How long rows are written.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Of the server; as many as it needs, unless given.
    #[arg(long)]
    workers: Option<usize>,
}

pub fn run(options: &Options) -> Result<()> {
    ensure!(options.queries > 1, "there must be several queries");
    ensure!(options.topics > 0 && options.rate > 0 && options.seconds > 0, "every number must be positive");
    let service = Service::connect(&options.bootstrap, "queries")?;
    let measured = measure(options, &service);
    let removed = service.remove_topics();
    measured.and(removed)
}

fn measure(options: &Options, service: &Service) -> Result<()> {
    let topics: Vec<String> = (0..options.topics).map(|topic| service.topic(&format!("s{topic}"))).collect();
    topics.iter().try_for_each(|topic| service.log.create_topic(topic, &TopicConfig::keep(PARTITIONS)))?;
    let writer = Writer::connect(&options.bootstrap)?;
    let server = service.start(options.workers, &[])?;
    let (_, port) = server.addresses().pg.rsplit_once(':').context("no port in the server's address")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let client = runtime.block_on(async {
        let client = connect(&server.addresses().pg).await?;
        client.batch_execute("SET auto.offset.reset = 'latest'").await?;
        for (stream, topic) in topics.iter().enumerate() {
            let with = format!("WITH (kafka_topic = '{topic}', value_format = 'json')");
            client.batch_execute(&format!("CREATE STREAM s{stream} (k BIGINT, v BIGINT) {with}")).await?;
        }
        anyhow::Ok(client)
    })?;

    let bench = Bench { options, topics, writer, process: Process::of(server.pid()), port: port.parse()?, runtime, client };
    bench.create(service, 0..1)?;
    let one = bench.idle_and_busy(1)?;
    bench.create(service, 1..options.queries)?;
    let all = bench.idle_and_busy(options.queries)?;
    let more = (options.queries - 1) as f64;
    let line = serde_json::json!({
        "benchmark": "queries",
        "mb_per_query": hundredths((all.rss_mb() - one.rss_mb()) / more),
        "threads_more": all.threads as i64 - one.threads as i64,
        "connections_more": all.connections as i64 - one.connections as i64,
    });
    writeln!(std::io::stdout(), "{line}")?;
    server.stop()?;
    Ok(())
}

struct Bench<'a> {
    options: &'a Options,
    /// Of the streams, in their order.
    topics: Vec<String>,
    writer: Writer,
    process: Process,
    /// Postgres' one.
    port: u16,
    runtime: Runtime,
    client: Client,
}

/// What the process has at one moment.
struct Figures {
    threads: usize,
    connections: usize,
    files: usize,
    rss_bytes: u64,
    cpu_cores: f64,
}

impl Figures {
    fn rss_mb(&self) -> f64 {
        self.rss_bytes as f64 / f64::from(1 << 20)
    }
}

impl Bench<'_> {
    /// Waits until they run, and those before them.
    fn create(&self, service: &Service, numbers: Range<usize>) -> Result<()> {
        let all = numbers.end as u64;
        self.runtime.block_on(async {
            for number in numbers {
                let (topic, stream) = (service.topic(&format!("q{number}")), number / 2 % self.topics.len());
                let statement = query(number, &topic, stream);
                self.client.batch_execute(&statement).await.with_context(|| statement.clone())?;
            }
            let running = "SELECT count(*) FROM millpond.queries WHERE state = 'running' AND progress_percent = 100";
            reaches(&self.client, running, all, LOOK).await
        })
    }

    /// Gives the figures of *busy*.
    fn idle_and_busy(&self, queries: usize) -> Result<Figures> {
        std::thread::sleep(PAUSE);
        let idle = self.figures(|| {
            std::thread::sleep(IDLE);
            Ok(())
        })?;
        self.print(queries, "idle", &idle)?;
        let busy = self.figures(|| self.write())?;
        self.print(queries, "busy", &busy)?;
        Ok(busy)
    }

    /// At the end of `span`, and CPU over all of it.
    fn figures(&self, span: impl FnOnce() -> Result<()>) -> Result<Figures> {
        let (started, before) = (Instant::now(), self.process.cpu()?);
        span()?;
        Ok(Figures {
            cpu_cores: (self.process.cpu()? - before).as_secs_f64() / started.elapsed().as_secs_f64(),
            threads: self.process.threads()?,
            connections: self.process.connections(self.port)?,
            files: self.process.files()?,
            rss_bytes: self.process.rss_bytes()?,
        })
    }

    fn print(&self, queries: usize, state: &str, figures: &Figures) -> Result<()> {
        let lag = self.runtime.block_on(figure(&self.client, "SELECT sum(lag) FROM millpond.queries"))?;
        let line = serde_json::json!({
            "benchmark": "queries",
            "queries": queries,
            "state": state,
            "threads": figures.threads,
            "connections": figures.connections,
            "files": figures.files,
            "rss_mb": figures.rss_mb().round(),
            "cpu_cores": hundredths(figures.cpu_cores),
            "lag": lag,
        });
        Ok(writeln!(std::io::stdout(), "{line}")?)
    }

    /// The topics in turns, and of each the partitions.
    fn write(&self) -> Result<()> {
        let (started, topics) = (Instant::now(), self.topics.len() as u64);
        let (mut written, mut next) = (0, started);
        while started.elapsed() < Duration::from_secs(self.options.seconds) {
            let due = (started.elapsed().as_secs_f64() * self.options.rate as f64) as u64;
            for row in written..due {
                // Knuth's multiplier: any will do.
                let random = (row + 1).wrapping_mul(6_364_136_223_846_793_005) >> 33;
                let (k, v) = (random % KEYS, (random / KEYS % 1_000) as i64 - 500);
                let partition = (row / topics % u64::from(PARTITIONS)) as u32;
                self.writer.hand_over(&self.topics[(row % topics) as usize], partition, &format!("{{\"k\":{k},\"v\":{v}}}"))?;
            }
            written = due;
            self.writer.poll();
            next += STEP;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }
}

/// Filters and counts in turns.
fn query(number: usize, topic: &str, stream: usize) -> String {
    let (kind, select) = match number % 2 {
        0 => ("STREAM", format!("SELECT k, v FROM s{stream} WHERE v > 0")),
        _ => {
            let window = "WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 5 SECONDS)";
            ("TABLE", format!("SELECT k, count(*) AS n FROM s{stream} {window} GROUP BY k"))
        }
    };
    format!("CREATE {kind} q{number} WITH (kafka_topic = '{topic}', key_format = 'kafka') AS {select}")
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
