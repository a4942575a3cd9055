//! How a server comes back over Kafka with state of so many keys: after `kill -9` over its data, and over an empty directory.
//!
//! ```text
//!   events ──► server: count and maximum per id ──► kill -9 ──► start ──► stop, delete the data ──► start
//!   a row per id                                       └── restart ──┘                 └──── restore ────┘
//! ```
//! `restart`, from the start of the process: until it serves; until the table gives a row by its key (`first_answer_s`); and until a row that is
//! written to each partition of the source as the process starts is counted in the table (`processing_s`). Nothing was being processed when it
//! was killed, and its files are in the page cache.
//!
//! `restore`, from the start of the process, which is in the time and in its CPU (user and system, all threads), until all tasks run with all of
//! their state and the table gives rows. `records` are the offsets of all changelogs, that of the aggregate and that of the table: transactions'
//! markers and records that compaction has taken are among them.

use std::io::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use millpond_log::{Log, TopicConfig};
use millpond_sqltest::{Server, connect};
use tokio::runtime::Runtime;

use crate::process::Process;
use crate::service::{Service, figure, reaches, records_in};
use crate::writer::Writer;

/// How often it is looked whether a restarted server answers.
const LOOK: Duration = Duration::from_millis(10);
/// How often the server is asked how far its tasks are.
const LOOK_AT_TASKS: Duration = Duration::from_millis(100);
/// The producer's queue is empty by then.
const PATIENCE: Duration = Duration::from_secs(60);
/// The process is the same member of its group wherever its data are.
const INSTANCE: [&str; 2] = ["--instance", "bench"];

#[derive(Debug, Args)]
pub struct Options {
    /// `host:port` of a broker.
    #[arg(long)]
    bootstrap: String,
    /// Rows of the source, each with a key of its own.
    #[arg(long, default_value_t = 5_000_000)]
    rows: u64,
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

pub fn run(options: &Options) -> Result<()> {
    ensure!(options.partitions > 0 && options.workers > 0, "every number must be positive");
    ensure!(options.rows >= u64::from(options.partitions), "each partition needs a row");
    let service = Service::connect(&options.bootstrap, "restore")?;
    let measured = Bench { options, service: &service, events: service.topic("events") }.run();
    let removed = service.remove_topics();
    measured.and(removed)
}

struct Bench<'a> {
    options: &'a Options,
    service: &'a Service,
    /// The topic of the source.
    events: String,
}

impl Bench<'_> {
    fn run(&self) -> Result<()> {
        let (rows, workers) = (self.options.rows, self.options.workers);
        let writer = Writer::connect(&self.options.bootstrap)?;
        self.service.log.create_topic(&self.events, &TopicConfig::keep(self.options.partitions))?;
        self.write(&writer, 0..rows)?;
        let written = records_in(&self.service.log, &self.events)?;
        ensure!(written == rows, "{written} rows were written, of {rows}");

        let mut server = self.service.start(Some(workers), &INSTANCE)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let tasks = runtime.block_on(async {
            let client = connect(&server.addresses().pg).await?;
            client.batch_execute(&self.statements()).await?;
            reaches(&client, "SELECT sum(rows_in) FROM millpond.queries WHERE lag = 0", rows, LOOK_AT_TASKS).await?;
            figure(&client, "SELECT count(*) FROM millpond.tasks").await
        })?;
        self.restart(&mut server, &writer, &runtime)?;

        let (code, directory) = server.stop()?;
        ensure!(code == Some(0), "the server did not stop in good order: {code:?}");
        directory.close()?;
        self.restore(tasks, &runtime)
    }

    fn statements(&self) -> String {
        let (events, counts) = (&self.events, self.service.topic("counts"));
        format!(
            "CREATE STREAM events (id BIGINT, v BIGINT) WITH (kafka_topic = '{events}', value_format = 'json'); \
             CREATE TABLE counts WITH (kafka_topic = '{counts}', key_format = 'kafka') AS \
             SELECT id, count(*) AS n, max(v) AS top FROM events GROUP BY id;"
        )
    }

    /// A row for each id, the partitions in turns.
    fn write(&self, writer: &Writer, ids: Range<u64>) -> Result<()> {
        for id in ids {
            let partition = (id % u64::from(self.options.partitions)) as u32;
            writer.hand_over(&self.events, partition, &format!("{{\"id\":{id},\"v\":{id}}}"))?;
        }
        writer.flush(PATIENCE)
    }

    /// The ids of which [`Bench::restart`] writes a second row, one in each partition.
    fn again(&self) -> Range<u64> {
        0..u64::from(self.options.partitions)
    }

    /// Waits until the table has the second rows.
    async fn counted_again(&self, server: &Server) -> Result<()> {
        let ids: Vec<String> = self.again().map(|id| id.to_string()).collect();
        let query = format!("SELECT sum(n) FROM counts WHERE id IN ({})", ids.join(", "));
        let client = connect(&server.addresses().pg).await?;
        reaches(&client, &query, 2 * self.again().end, LOOK).await
    }

    fn restart(&self, server: &mut Server, writer: &Writer, runtime: &Runtime) -> Result<()> {
        server.kill()?;
        let started = Instant::now();
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| self.write(writer, self.again()));
            let serves = server.start_again();
            serves.and(writing.join().expect("the writer does not panic"))
        })?;
        let serving = started.elapsed();
        let first_answer = runtime.block_on(async {
            let client = connect(&server.addresses().pg).await?;
            // The last id: none of those that come again.
            let query = format!("SELECT n FROM counts WHERE id = {}", self.options.rows - 1);
            reaches(&client, &query, 1, LOOK).await?;
            anyhow::Ok(started.elapsed())
        })?;
        runtime.block_on(self.counted_again(server))?;
        let processing = started.elapsed();
        let line = serde_json::json!({
            "benchmark": "restart",
            "rows": self.options.rows,
            "serving_s": hundredths(serving),
            "first_answer_s": hundredths(first_answer),
            "processing_s": hundredths(processing),
        });
        Ok(writeln!(std::io::stdout(), "{line}")?)
    }

    /// `tasks`: how many there are.
    fn restore(&self, tasks: u64, runtime: &Runtime) -> Result<()> {
        let records = self.service.changelog_records()?;
        let started = Instant::now();
        let server = self.service.start(Some(self.options.workers), &INSTANCE)?;
        runtime.block_on(async {
            let client = connect(&server.addresses().pg).await?;
            let running = "SELECT count(*) FROM millpond.tasks WHERE progress_percent = 100 AND restored_percent IS NULL";
            reaches(&client, running, tasks, LOOK_AT_TASKS).await?;
            self.counted_again(&server).await
        })?;
        let (wall, cpu) = (started.elapsed(), Process::of(server.pid()).cpu()?);
        let line = serde_json::json!({
            "benchmark": "restore",
            "rows": self.options.rows,
            "records": records,
            "seconds": hundredths(wall),
            "cpu_s": hundredths(cpu),
            "records_per_s": (records as f64 / wall.as_secs_f64()).round(),
            "records_per_cpu_s": (records as f64 / cpu.as_secs_f64()).round(),
        });
        writeln!(std::io::stdout(), "{line}")?;
        server.stop()?;
        Ok(())
    }
}

fn hundredths(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}
