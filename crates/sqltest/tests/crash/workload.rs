//! What runs while things break: writers, queries, and the batch queries that say what their tables must hold.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millpond_sqltest::{Server, connect, copy_in};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// `events` has no key, so a grouping goes through a repartition. A row is a function of its id ([`event`]). `moves` are written by one
/// client, in the order of their numbers. The topic of `by_region` is read as what it is: records.
const SCHEMA: &str = "
    CREATE STREAM events (id BIGINT, k BIGINT, v BIGINT, at TIMESTAMP) WITH (kafka_topic = 'events', partitions = 4, timestamp = 'at');
    CREATE TABLE accounts (account BIGINT PRIMARY KEY, region VARCHAR, balance BIGINT) WITH (kafka_topic = 'accounts', partitions = 2);
    CREATE STREAM moves (account BIGINT KEY, number BIGINT, at TIMESTAMP) WITH (kafka_topic = 'moves', partitions = 4, timestamp = 'at');
    CREATE TABLE places (k BIGINT PRIMARY KEY, place VARCHAR, since TIMESTAMP) WITH (kafka_topic = 'places', partitions = 4, timestamp = 'since');
    CREATE TABLE counts AS SELECT k, COUNT(*) AS n, SUM(v) AS total, MAX(v) AS top FROM events
        WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 1 HOUR) GROUP BY k;
    CREATE TABLE visits AS SELECT k, COUNT(*) AS n, SUM(v) AS total FROM events
        WINDOW SESSION (1 SECONDS, GRACE PERIOD 1 HOUR) GROUP BY k;
    CREATE STREAM placed AS SELECT e.k AS k, e.id AS id, e.v AS v, p.place AS place FROM events e LEFT JOIN places p ON e.k = p.k;
    CREATE TABLE by_region AS SELECT region, COUNT(*) AS n, SUM(balance) AS total FROM accounts GROUP BY region;
    CREATE TABLE by_place AS SELECT place, COUNT(*) AS n, SUM(v) AS total FROM placed GROUP BY place;
    CREATE STREAM moved AS SELECT account, number FROM moves;
    CREATE STREAM region_records (region VARCHAR KEY, n BIGINT, total BIGINT) WITH (kafka_topic = 'by_region');";

/// Windows that close, where a write that is under way when something breaks is there at once or never: behind later ones it would be late.
const CLOSED: &str = "
    CREATE TABLE closed WITH (idle_timeout = 'off') AS SELECT account % 20 AS part, COUNT(*) AS n, MAX(number) AS last FROM moves
        WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 5 SECONDS) GROUP BY account % 20 EMIT FINAL;
    CREATE STREAM closings (part BIGINT KEY, n BIGINT, last BIGINT)
        WITH (kafka_topic = 'closed', window_type = 'TUMBLING', window_size = '10 SECONDS');";

/// What each table holds, and what a batch query over the same rows gives.
const ORACLE: [(&str, &str, &str); 7] = [
    (
        "a windowed aggregate behind a repartition",
        "SELECT k, CAST(windowstart AS TIMESTAMP) AS start, n, total, top FROM counts",
        "SELECT k, date_bin(INTERVAL '10 seconds', at) AS start, count(*) AS n, sum(v) AS total, max(v) AS top FROM events
         GROUP BY k, date_bin(INTERVAL '10 seconds', at)",
    ),
    (
        "sessions",
        "SELECT k, windowstart, windowend, n, total FROM visits",
        "SELECT k, min(at) AS windowstart, max(at) AS windowend, count(*) AS n, sum(v) AS total FROM (
             SELECT k, at, v, sum(starts) OVER (PARTITION BY k ORDER BY at ROWS UNBOUNDED PRECEDING) AS session FROM (
                 SELECT k, at, v, CASE WHEN at - lag(at) OVER (PARTITION BY k ORDER BY at) <= INTERVAL '1 second' THEN 0 ELSE 1 END AS starts
                 FROM events) AS gaps) AS numbered
         GROUP BY k, session",
    ),
    (
        "a join of a stream with a table",
        "SELECT id, k, v, place FROM placed",
        "SELECT e.id, e.k, e.v, p.place FROM events e LEFT JOIN places p ON e.k = p.k",
    ),
    (
        "an aggregate of a table, with retraction",
        "SELECT region, n, total FROM by_region WHERE n > 0",
        "SELECT region, count(*) AS n, sum(balance) AS total FROM accounts GROUP BY region",
    ),
    (
        "an aggregate of a joined stream, behind another query",
        "SELECT place, n, total FROM by_place",
        "SELECT p.place, count(*) AS n, sum(e.v) AS total FROM events e JOIN places p ON e.k = p.k GROUP BY p.place",
    ),
    (
        "the records of a stream, in the order of each key",
        "SELECT account, number, row_number() OVER (PARTITION BY account ORDER BY rowoffset) AS nth FROM moved",
        "SELECT account, number, row_number() OVER (PARTITION BY account ORDER BY rowoffset) AS nth FROM moves",
    ),
    (
        "the last record of each key of a table",
        "SELECT region, n, total FROM (SELECT region, n, total, row_number() OVER (PARTITION BY region ORDER BY rowoffset DESC) AS nth
             FROM region_records) AS records WHERE nth = 1 AND n > 0",
        "SELECT region, count(*) AS n, sum(balance) AS total FROM accounts GROUP BY region",
    ),
];

/// The same for the windows up to an end.
fn closed_oracle(end: &str) -> (&'static str, String, String) {
    let start = "date_bin(INTERVAL '10 seconds', at)";
    (
        "the records of windows that are closed",
        format!("SELECT part, CAST(windowstart AS TIMESTAMP) AS start, n, last FROM closings WHERE windowend <= TIMESTAMP '{end}'"),
        format!(
            "SELECT account % 20 AS part, {start} AS start, count(*) AS n, max(number) AS last FROM moves
             GROUP BY account % 20, {start} HAVING {start} + INTERVAL '10 seconds' <= TIMESTAMP '{end}'"
        ),
    )
}

/// Between two statements of one client: without it the clients would take the whole machine, and a busy broker looks like a dead one.
const PAUSE: Duration = Duration::from_millis(10);
/// Behind a statement that failed: ids, and the time of events with them, are not to run away.
const PAUSE_FAILED: Duration = Duration::from_millis(200);
const KEYS: i64 = 40;
const PLACES: i64 = 30;
const ACCOUNTS: i64 = 200;
/// 2024-01-01.
const FIRST_MS: i64 = 1_704_067_200_000;

/// The row with this id: key, value and time (ms). A row each 20 ms of event time, up to 3 s out of order.
fn event(id: i64) -> (i64, i64, i64) {
    let mixed = (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    ((mixed % KEYS as u64) as i64, (mixed / 64 % 1_000) as i64, FIRST_MS + id * 20 - (mixed / 65_536 % 3_000) as i64)
}

fn timestamp(ms: i64) -> String {
    let (second, ms) = (ms.div_euclid(1_000) - FIRST_MS / 1_000, ms.rem_euclid(1_000));
    // Before the first of January there are the three seconds of disorder only.
    let (day, second) = if second < 0 { ("2023-12-31", second + 86_400) } else { ("2024-01-01", second) };
    format!("{day} {:02}:{:02}:{:02}.{ms:03}", second / 3_600, second / 60 % 60, second % 60)
}

/// Clients that write, and what they were told.
#[derive(Default)]
pub struct Load {
    writes: Arc<Writes>,
    clients: Vec<JoinHandle<Result<()>>>,
}

/// What clients were told is written. A batch is written whole or not at all, whatever the answer was.
#[derive(Default)]
struct Writes {
    next: AtomicI64,
    batches: Mutex<Vec<Batch>>,
    stop: AtomicBool,
}

struct Batch {
    ids: std::ops::Range<i64>,
    acknowledged: bool,
    /// Whether it wrote `moves`, too.
    moves: bool,
}

impl Writes {
    fn go_on(&self, client: &Client) -> bool {
        !self.stop.load(Ordering::Relaxed) && !client.is_closed()
    }

    fn take(&self, rows: i64) -> std::ops::Range<i64> {
        let from = self.next.fetch_add(rows, Ordering::Relaxed);
        from..from + rows
    }

    /// Notes it, and gives the others time.
    async fn answered(&self, batch: Batch) {
        let pause = if batch.acknowledged { PAUSE } else { PAUSE_FAILED };
        self.batches.lock().push(batch);
        tokio::time::sleep(pause).await;
    }
}

/// Makes the tables and starts the queries.
pub async fn set_up(server: &Server) -> Result<()> {
    let client = connect(&server.addresses().pg).await?;
    client.batch_execute(SCHEMA).await?;
    let places: Vec<String> = (0..PLACES).map(|k| format!("({k}, 'place {}', '2020-01-01')", k % 7)).collect();
    client.batch_execute(&format!("INSERT INTO places (k, place, since) VALUES {}; FLUSH", places.join(", "))).await?;
    Ok(())
}

/// Starts a query that writes the rows of windows when they are closed, which [`check_closed`] looks at.
pub async fn set_up_closed(server: &Server) -> Result<()> {
    connect(&server.addresses().pg).await?.batch_execute(CLOSED).await?;
    Ok(())
}

impl Load {
    /// Clients that write and flush, until [`Load::stop`] or the server's end.
    pub fn start(&mut self, server: &Server, random: &mut StdRng) {
        self.writes.stop.store(false, Ordering::Relaxed);
        let address = &server.addresses().pg;
        self.clients = vec![
            tokio::spawn(copy(address.clone(), Arc::clone(&self.writes), random.random())),
            tokio::spawn(transactions(address.clone(), Arc::clone(&self.writes), random.random())),
            tokio::spawn(flushes(address.clone(), Arc::clone(&self.writes))),
        ];
    }

    /// Waits for the answers to what is under way. A client that cannot go on any more has ended by itself.
    pub async fn stop(&mut self) -> Result<()> {
        self.writes.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            if let Err(error) = client.await? {
                eprintln!("a client has ended: {error:#}");
            }
        }
        Ok(())
    }

    /// How many rows were sent so far.
    pub fn offered(&self) -> i64 {
        self.writes.next.load(Ordering::Relaxed)
    }

    /// How many batches were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.writes.batches.lock().iter().filter(|batch| batch.acknowledged).count()
    }

    /// Waits until everything is through, and compares.
    pub async fn check(&mut self, server: &Server) -> Result<()> {
        let client = connect(&server.addresses().pg).await?;
        client.batch_execute("FLUSH").await?;
        let batches = std::mem::take(&mut *self.writes.batches.lock());
        check_stream(&client, &batches).await?;
        self.check_tables(server).await
    }

    /// Compares the tables, as this server has them, with the streams.
    pub async fn check_tables(&self, server: &Server) -> Result<()> {
        let client = connect(&server.addresses().pg).await?;
        for (what, table, batch) in ORACLE {
            check_table(&client, what, table, batch).await.map_err(|error| error.context(server.log_tail()))?;
        }
        Ok(())
    }
}

/// Behind [`Load::check`]: each partition gets a row a minute behind all others, so that their windows close.
pub async fn check_closed(server: &Server) -> Result<()> {
    let client = connect(&server.addresses().pg).await?;
    let times = "SELECT CAST(max(at) AS VARCHAR), CAST(max(at) + INTERVAL '1 minute' AS VARCHAR) FROM moves";
    let times = client.query_one(times, &[]).await?;
    let (end, later): (String, String) = (times.get(0), times.get(1));
    let closing: Vec<String> = (0..ACCOUNTS).map(|account| format!("({account}, -1, '{later}')")).collect();
    client.batch_execute(&format!("INSERT INTO moves (account, number, at) VALUES {}; FLUSH", closing.join(", "))).await?;
    let (what, table, batch) = closed_oracle(&end);
    check_table(&client, what, &table, &batch).await.map_err(|error| error.context(server.log_tail()))
}

/// COPY in runs of some hundred rows.
async fn copy(address: String, writes: Arc<Writes>, seed: u64) -> Result<()> {
    let client = connect(&address).await?;
    let mut random = StdRng::seed_from_u64(seed);
    while writes.go_on(&client) {
        let ids = writes.take(random.random_range(1..1_000));
        let acknowledged = copy_rows(&client, ids.clone()).await.is_ok();
        writes.answered(Batch { ids, acknowledged, moves: false }).await;
    }
    Ok(())
}

async fn copy_rows(client: &Client, ids: std::ops::Range<i64>) -> Result<()> {
    let mut text = String::new();
    for id in ids {
        let (k, v, ms) = event(id);
        text.push_str(&format!("{id},{k},{v},{}\n", timestamp(ms)));
    }
    copy_in(client, "COPY events FROM STDIN WITH (FORMAT csv)", text).await?;
    Ok(())
}

/// A transaction over three sources at a time; accounts move between regions.
async fn transactions(address: String, writes: Arc<Writes>, seed: u64) -> Result<()> {
    let client = connect(&address).await?;
    let mut random = StdRng::seed_from_u64(seed);
    while writes.go_on(&client) {
        let ids = writes.take(random.random_range(1..20));
        let events: Vec<String> = ids
            .clone()
            .map(|id| {
                let (k, v, ms) = event(id);
                format!("({id}, {k}, {v}, '{}')", timestamp(ms))
            })
            .collect();
        let moves: Vec<String> = ids.clone().map(|id| format!("({}, {id}, '{}')", id % ACCOUNTS, timestamp(FIRST_MS + id * 20))).collect();
        let accounts: Vec<String> = (0..5)
            .map(|_| {
                format!("({}, 'region {}', {})", random.random_range(0..ACCOUNTS), random.random_range(0..6), random.random_range(0..1_000))
            })
            .collect();
        let statements = format!(
            "BEGIN; INSERT INTO events (id, k, v, at) VALUES {}; INSERT INTO moves (account, number, at) VALUES {}; \
             INSERT INTO accounts (account, region, balance) VALUES {}; COMMIT",
            events.join(", "),
            moves.join(", "),
            accounts.join(", ")
        );
        let acknowledged = client.batch_execute(&statements).await.is_ok();
        writes.answered(Batch { ids, acknowledged, moves: true }).await;
        if random.random_range(0..4) == 0 {
            // Cut off or not: the row is deleted from the table and from its aggregate, or from neither.
            let _ = client.batch_execute(&format!("DELETE FROM accounts WHERE account = {}", random.random_range(0..ACCOUNTS))).await;
        }
    }
    Ok(())
}

/// Commits at other moments than the interval's.
async fn flushes(address: String, writes: Arc<Writes>) -> Result<()> {
    let client = connect(&address).await?;
    while writes.go_on(&client) {
        // While something is broken, it says so.
        let _ = client.batch_execute("FLUSH").await;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Every row as it was sent, once; every batch that was acknowledged, and of the others all or nothing.
async fn check_stream(client: &Client, batches: &[Batch]) -> Result<()> {
    let mut found = BTreeSet::new();
    for row in client.query("SELECT id, k, v, CAST(at AS VARCHAR) FROM events", &[]).await? {
        let (id, k, v): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let (expected_k, expected_v, _) = event(id);
        ensure!((k, v) == (expected_k, expected_v), "row {id} is not as it was sent: k {k}, v {v}");
        ensure!(found.insert(id), "row {id} is there twice");
    }
    check_whole("events", &found, batches)?;
    let mut moved = BTreeSet::new();
    for row in client.query("SELECT number, account FROM moves", &[]).await? {
        let (number, account): (i64, i64) = (row.get(0), row.get(1));
        ensure!(account == number % ACCOUNTS, "move {number} is not as it was sent: account {account}");
        ensure!(moved.insert(number), "move {number} is there twice");
    }
    check_whole("moves", &moved, batches.iter().filter(|batch| batch.moves))?;
    ensure!(batches.iter().any(|batch| batch.acknowledged), "nothing was written");
    Ok(())
}

/// What was acknowledged is there, and of each write all or nothing.
fn check_whole<'a>(stream: &str, found: &BTreeSet<i64>, batches: impl IntoIterator<Item = &'a Batch>) -> Result<()> {
    for Batch { ids, acknowledged, .. } in batches {
        let (there, whole) = (found.range(ids.clone()).count(), ids.clone().count());
        ensure!(!acknowledged || there == whole, "{stream}: {} of {whole} acknowledged rows from {} are gone", whole - there, ids.start);
        ensure!(there == whole || there == 0, "{stream}: {there} of {whole} rows of one write are there, from {}", ids.start);
    }
    Ok(())
}

async fn check_table(client: &Client, what: &str, table: &str, batch: &str) -> Result<()> {
    let count = |sql: String| async move { anyhow::Ok(client.query_one(&sql, &[]).await.with_context(|| sql.clone())?.get::<_, i64>(0)) };
    // EXCEPT drops duplicates: the number of rows must agree, too.
    let (rows, expected) =
        (count(format!("SELECT count(*) FROM ({table}) AS t")).await?, count(format!("SELECT count(*) FROM ({batch}) AS b")).await?);
    ensure!(rows == expected, "{what}: {rows} rows instead of {expected}");
    ensure!(rows > 0, "{what}: no rows");
    let wrong = count(format!("SELECT count(*) FROM (({table}) EXCEPT ({batch})) AS d")).await?;
    ensure!(wrong == 0, "{what}: {wrong} of {rows} rows are not those of the batch query");
    Ok(())
}
