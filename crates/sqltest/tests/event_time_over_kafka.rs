//! Backfill gives what live gives (design D16), over Kafka: bids like those that other systems were compared with (`date_time` is the record's time, a
//! fifth of them up to a second out of order, no key), in four partitions of which one has twelve times the rows of another. Whoever reads record by
//! record is minutes of event time ahead in the small one; counted behind a repartition with a grace of five seconds, none may be late.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millpond_log::opaque::{Record, batch};
use millpond_log::{Append, Entry, Log, TopicConfig, TopicPartition, Transaction};
use millpond_log_kafka::{KafkaLog, Options};
use millpond_sqltest::{Kafka, Server, connect};
use tokio_postgres::Client;

const ROWS: u64 = 200_000;
const ROWS_PER_APPEND: u64 = 10_000;
/// How many of twenty rows each partition gets.
const SHARES: [u64; 4] = [1, 2, 5, 12];
const AUCTIONS: u64 = 1_000;
const LENGTH_MS: u64 = 300_000;
const DISORDER_MS: u64 = 1_000;
const WINDOW_MS: i64 = 10_000;
/// 2024-01-01.
const FIRST_MS: i64 = 1_704_067_200_000;
/// A second process has joined, and what cannot be flushed while tasks move can be, by then.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

const STREAM: &str = "CREATE STREAM bids (auction BIGINT, price BIGINT) WITH (kafka_topic = 'bids', value_format = 'json')";

const TABLE: &str = "CREATE TABLE counts AS SELECT auction, COUNT(*) AS n, MAX(price) AS top FROM bids \
     WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 5 SECONDS) GROUP BY auction";

struct Bid {
    partition: u32,
    auction: i64,
    price: i64,
    at_ms: i64,
}

impl Bid {
    fn nth(id: u64) -> Bid {
        let mixed = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        let mut share = mixed % SHARES.iter().sum::<u64>();
        let mut partition = 0;
        for rows in SHARES {
            if share < rows {
                break;
            }
            share -= rows;
            partition += 1;
        }
        let late = if (mixed / 32).is_multiple_of(5) { mixed / 160 % DISORDER_MS } else { 0 };
        Bid {
            partition,
            // New auctions come, and the newest are bid for.
            auction: (id / 100 + mixed / 1_000 % AUCTIONS) as i64,
            price: (mixed / 7 % 1_000_000) as i64,
            at_ms: FIRST_MS + (DISORDER_MS + id * LENGTH_MS / ROWS - late) as i64,
        }
    }

    fn json(&self) -> String {
        let (auction, price, extra) = (self.auction, self.price, "x".repeat(150));
        format!("{{\"auction\":{auction},\"price\":{price},\"date_time\":{},\"extra\":\"{extra}\"}}", self.at_ms)
    }
}

#[test]
fn one_worker_loses_no_row() -> Result<()> {
    run(&[1])
}

#[test]
fn two_workers_lose_no_row() -> Result<()> {
    run(&[2])
}

#[test]
fn two_processes_lose_no_row() -> Result<()> {
    run(&[1, 1])
}

/// Processes of one service, with so many workers each, read the topic from its beginning.
fn run(workers: &[usize]) -> Result<()> {
    let kafka = Kafka::acquire()?;
    write(&kafka)?;
    let start = |workers: &usize| Server::start(&[kafka.arguments(), vec!["--workers".to_owned(), workers.to_string()]].concat());
    let servers = workers.iter().map(start).collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let logs = || servers.iter().map(Server::log_tail).collect::<Vec<_>>().join("\n");
    runtime.block_on(count(&servers)).with_context(logs)
}

fn write(kafka: &Kafka) -> Result<()> {
    let log = KafkaLog::connect(Options::new(&kafka.bootstrap, "bids"))?;
    log.create_topic("bids", &TopicConfig::keep(SHARES.len() as u32))?;
    for first in (0..ROWS).step_by(ROWS_PER_APPEND as usize) {
        let mut partitions = BTreeMap::<u32, Vec<(i64, String)>>::new();
        for bid in (first..ROWS.min(first + ROWS_PER_APPEND)).map(Bid::nth) {
            partitions.entry(bid.partition).or_default().push((bid.at_ms, bid.json()));
        }
        let append = |(partition, bids): (u32, Vec<(i64, String)>)| {
            let record = |(at, json)| Record { key: None, value: Some(str::as_bytes(json)), timestamp_ms: at, headers: &[] };
            let records = batch(bids.iter().map(|(at, json)| record((*at, json))));
            Append { target: TopicPartition::new("bids", partition), entry: Entry::opaque(records) }
        };
        log.append(Transaction { appends: partitions.into_iter().map(append).collect() })?;
    }
    Ok(())
}

async fn count(servers: &[Server]) -> Result<()> {
    let client = connect(&servers[0].addresses().pg).await?;
    let begun = Instant::now();
    while number(&client, "SELECT count(*) FROM millpond.members").await? < servers.len() as i64 {
        ensure!(begun.elapsed() < SETTLED_WITHIN, "the processes do not find each other");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    client.batch_execute(&format!("{STREAM}; {TABLE}")).await?;
    let begun = Instant::now();
    while let Err(error) = client.batch_execute("FLUSH").await {
        ensure!(begun.elapsed() < SETTLED_WITHIN, "FLUSH fails: {error:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let members = number(&client, "SELECT count(DISTINCT member) FROM millpond.tasks WHERE rows_in > 0").await?;
    ensure!(members == servers.len() as i64, "the rows went through {members} processes");
    let late = number(&client, "SELECT late FROM millpond.queries WHERE id = 'ctas_counts'").await?;
    ensure!(late == 0, "{late} rows were late");
    let (table, expected) = (table(&client).await?, expected());
    let wrong = expected.iter().filter(|(key, bids)| table.get(key) != Some(bids)).count();
    ensure!(table.len() == expected.len() && wrong == 0, "{wrong} of {} windows are wrong, there are {}", expected.len(), table.len());
    Ok(())
}

async fn number(client: &Client, sql: &str) -> Result<i64> {
    Ok(client.query_one(sql, &[]).await.with_context(|| sql.to_owned())?.get(0))
}

/// Auction and window start (ms) to count and highest price.
type Counts = BTreeMap<(i64, i64), (i64, i64)>;

async fn table(client: &Client) -> Result<Counts> {
    let sql = "SELECT auction, CAST(date_part('epoch', windowstart) * 1000 AS BIGINT), n, top FROM counts";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3)))).collect())
}

fn expected() -> Counts {
    let mut counts = Counts::new();
    for bid in (0..ROWS).map(Bid::nth) {
        let (n, top) = counts.entry((bid.auction, bid.at_ms - bid.at_ms % WINDOW_MS)).or_insert((0, 0));
        *n += 1;
        *top = bid.price.max(*top);
    }
    counts
}
