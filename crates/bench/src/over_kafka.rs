//! The real server over Kafka, on the workloads of the peers: one process, from its start to the commit of the last row.
//!
//! Prints one line of JSON with the fields that Kafka Streams' and Flink's programs for the same workloads print: rows per second and per second of
//! CPU (user and system, all threads of the server), of the whole run and (`half2`) from the commit with which half of the topics was read.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use millpond_log::Log;
use millpond_log_kafka::KafkaLog;
use millpond_sqltest::{Server, connect};

use crate::process::Process;
use crate::service::{figure, records_in};

/// How often it is looked how far the server is.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct Options {
    workload: Workload,
    /// `host:port` of a broker.
    #[arg(long)]
    bootstrap: String,
    /// JSON: `{"auction": …, "bidder": …, "price": …}`, with timestamps of the event time and without keys.
    #[arg(long, default_value = "bids")]
    bids: String,
    /// JSON: `{"item": …, "seller": …, "category": …}`, the key of 8 bytes.
    #[arg(long, default_value = "auctions")]
    auctions: String,
    /// A topic that is not there yet.
    #[arg(long)]
    output: String,
    /// Of the server; as many as it needs, unless given.
    #[arg(long)]
    workers: Option<usize>,
    /// For the server.
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Workload {
    /// Half of the rows, with a product.
    Filter,
    /// Count and maximum per auction and 10 s.
    Count,
    /// Count per auction and 10 s, every 2 s.
    Hop,
    /// Count per bidder and session with a gap of 10 s.
    Session,
    /// Each bid with its auction.
    Join,
}

impl Workload {
    /// What `CREATE … AS` makes, and its SELECT.
    fn query(self) -> (&'static str, &'static str) {
        match self {
            Workload::Filter => ("STREAM", "SELECT auction, bidder, price * 0.908E0 AS price FROM bids WHERE price > 100000"),
            Workload::Count => (
                "TABLE",
                "SELECT auction, count(*) AS count, max(price) AS max_price FROM bids \
                 WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 5 SECONDS) GROUP BY auction",
            ),
            Workload::Hop => (
                "TABLE",
                "SELECT auction, count(*) AS count FROM bids \
                 WINDOW HOPPING (SIZE 10 SECONDS, ADVANCE BY 2 SECONDS, GRACE PERIOD 5 SECONDS) GROUP BY auction",
            ),
            Workload::Session => {
                ("TABLE", "SELECT bidder, count(*) AS count FROM bids WINDOW SESSION (10 SECONDS, GRACE PERIOD 5 SECONDS) GROUP BY bidder")
            }
            Workload::Join => (
                "STREAM",
                "SELECT b.auction, b.bidder, b.price, a.item, a.seller, a.category FROM bids b JOIN auctions a ON CAST(b.auction AS BIGINT) = a.id",
            ),
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// How many rows of the topics it reads.
    fn reads(self, bids: u64, auctions: u64) -> u64 {
        bids + if matches!(self, Workload::Join) { auctions } else { 0 }
    }
}

/// Where a run was at one moment.
#[derive(Clone, Copy)]
struct Point {
    wall: Duration,
    cpu: Duration,
    /// Of what is read, the part that was committed.
    read: f64,
}

pub fn run(options: &Options) -> Result<()> {
    let log = KafkaLog::connect(millpond_log_kafka::Options::new(&options.bootstrap, "bench"))?;
    let (rows, auctions) = (records_in(&log, &options.bids)?, records_in(&log, &options.auctions)?);
    ensure!(rows > 0, "there is nothing in \"{}\"", options.bids);
    let reads = options.workload.reads(rows, auctions);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;

    let started = Instant::now();
    let service = format!("bench-{}-{}", options.workload.name(), std::process::id());
    let mut own = ["--kafka", &options.bootstrap, "--service-id", &service].map(str::to_owned).to_vec();
    own.extend(options.workers.into_iter().flat_map(|workers| ["--workers".to_owned(), workers.to_string()]));
    let server = Server::start(&[own.as_slice(), options.arguments.as_slice()].concat())?;
    let process = Process::of(server.pid());
    let now = |read: u64| -> Result<Point> { Ok(Point { wall: started.elapsed(), cpu: process.cpu()?, read: read as f64 / reads as f64 }) };
    let (half, end, late) = runtime.block_on(async {
        let client = connect(&server.addresses().pg).await?;
        client.batch_execute(&statements(options)).await?;
        let mut half = None;
        loop {
            let read = figure(&client, "SELECT sum(rows_in) FROM millpond.queries").await?;
            if half.is_none() && read >= reads / 2 {
                half = Some(now(read)?);
            }
            if read >= reads {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        client.batch_execute("FLUSH").await?;
        let end = now(reads)?;
        let late = figure(&client, "SELECT sum(late) FROM millpond.queries").await?;
        anyhow::Ok((half.unwrap_or(end), end, late))
    })?;
    print(options, rows, &half, &end, process.peak_rss_bytes()?, late)?;

    server.stop()?;
    let internal = log.topics()?.into_iter().filter(|topic| topic.name.starts_with(&format!("_millpond-{service}-")));
    internal.into_iter().try_for_each(|topic| log.delete_topic(&topic.name))?;
    Ok(())
}

fn statements(options: &Options) -> String {
    let (bids, auctions, output) = (&options.bids, &options.auctions, &options.output);
    let (kind, select) = options.workload.query();
    let auctions = match options.workload {
        Workload::Join => format!(
            "CREATE TABLE auctions (id BIGINT PRIMARY KEY, item VARCHAR, seller INT, category INT) \
             WITH (kafka_topic = '{auctions}', key_format = 'kafka', value_format = 'json');"
        ),
        _ => String::new(),
    };
    format!(
        "CREATE STREAM bids (auction INT, bidder INT, price BIGINT) WITH (kafka_topic = '{bids}', value_format = 'json'); \
         {auctions} \
         CREATE {kind} results WITH (kafka_topic = '{output}', key_format = 'kafka') AS {select};"
    )
}

fn print(options: &Options, rows: u64, half: &Point, end: &Point, rss_bytes: u64, late: u64) -> Result<()> {
    let (wall, cpu) = (end.wall.as_secs_f64(), end.cpu.as_secs_f64());
    let (half_wall, half_cpu) = (wall - half.wall.as_secs_f64(), cpu - half.cpu.as_secs_f64());
    let (rows_f64, half_rows) = (rows as f64, rows as f64 * (1.0 - half.read));
    let per = |rows: f64, seconds: f64| (rows / seconds).round();
    let hundredths = |seconds: f64| (seconds * 100.0).round() / 100.0;
    let line = serde_json::json!({
        "system": "millpond",
        "workload": options.workload.name(),
        "rows": rows,
        "wall_s": hundredths(wall),
        "cpu_s": hundredths(cpu),
        "rows_per_s": per(rows_f64, wall),
        "rows_per_cpu_s": per(rows_f64, cpu),
        "half2_wall_s": hundredths(half_wall),
        "half2_cpu_s": hundredths(half_cpu),
        "half2_rows_per_s": per(half_rows, half_wall),
        "half2_rows_per_cpu_s": per(half_rows, half_cpu),
        "rss_mb": rss_bytes >> 20,
        "late": late,
        "output": options.output,
    });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
