//! Backfill gives what live gives (design D16), over the server: two million rows in four partitions, up to a second out of order, one
//! partition written when the others are complete, counted behind a repartition in windows of ten seconds with a grace of five.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use millpond_sqltest::{Server, connect, copy_in};
use tokio_postgres::Client;

const ROWS: i64 = 2_000_000;
const ROWS_PER_COPY: usize = 50_000;
const PARTITIONS: usize = 4;
const GROUPS: u64 = 50;
const DISORDER_MS: u64 = 1_000;
const WINDOW_MS: i64 = 10_000;
/// 2024-01-01.
const FIRST_MS: i64 = 1_704_067_200_000;

const STREAM: &str = "CREATE STREAM events (p BIGINT KEY, k BIGINT, v BIGINT, at BIGINT) \
     WITH (kafka_topic = 'events', partitions = 4, timestamp = 'at')";

const TABLE: &str = "CREATE TABLE counts AS SELECT k, COUNT(*) AS n, SUM(v) AS total FROM events \
     WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 5 SECONDS) GROUP BY k";

/// Group, value and time (ms) of a row: two rows for each millisecond, up to a second late.
fn row(id: i64) -> (i64, i64, i64) {
    let mixed = (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let late = mixed / 100_000 % DISORDER_MS;
    ((mixed % GROUPS) as i64, (mixed / 64 % 1_000) as i64, FIRST_MS + id / 2 + (DISORDER_MS - late) as i64)
}

/// Which of the four keys a row has, and so its partition.
fn key(id: i64) -> usize {
    (id % PARTITIONS as i64) as usize
}

#[test]
fn a_partition_held_back_loses_no_row() -> Result<()> {
    for workers in [1, 4] {
        let held_back = (0..ROWS).filter(|id| key(*id) != 3).chain((0..ROWS).filter(|id| key(*id) == 3));
        run(workers, &[STREAM], held_back, &[TABLE]).with_context(|| format!("backfill, {workers} workers"))?;
    }
    Ok(())
}

#[test]
fn the_same_rows_live_give_the_same() -> Result<()> {
    for workers in [1, 4] {
        run(workers, &[STREAM, TABLE], 0..ROWS, &[]).with_context(|| format!("live, {workers} workers"))?;
    }
    Ok(())
}

fn run(workers: usize, before: &[&str], ids: impl Iterator<Item = i64>, after: &[&str]) -> Result<()> {
    let server = Server::start(&["--workers".to_string(), workers.to_string()])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = connect(&server.addresses().pg).await?;
        let keys = one_key_for_each_partition(&client).await?;
        for statement in before {
            client.batch_execute(statement).await?;
        }
        write(&client, ids, &keys).await?;
        for statement in after {
            client.batch_execute(statement).await?;
        }
        client.batch_execute("FLUSH").await?;
        let late: i64 = client.query_one("SELECT late FROM millpond.queries WHERE id = 'ctas_counts'", &[]).await?.get(0);
        ensure!(late == 0, "{late} rows were late");
        ensure!(table(&client).await? == expected(), "the table is not what the rows make");
        anyhow::Ok(())
    })
}

/// Found out by writing some.
async fn one_key_for_each_partition(client: &Client) -> Result<Vec<i64>> {
    client.batch_execute("CREATE STREAM probe (p BIGINT KEY, v BIGINT) WITH (kafka_topic = 'probe', partitions = 4)").await?;
    let values: Vec<String> = (0..100).map(|key| format!("({key}, 0)")).collect();
    client.batch_execute(&format!("INSERT INTO probe VALUES {}", values.join(", "))).await?;
    let rows = client.query("SELECT min(p) FROM probe GROUP BY rowpartition ORDER BY rowpartition", &[]).await?;
    ensure!(rows.len() == PARTITIONS, "the keys are in {} partitions", rows.len());
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn write(client: &Client, ids: impl Iterator<Item = i64>, keys: &[i64]) -> Result<()> {
    let ids: Vec<i64> = ids.collect();
    for ids in ids.chunks(ROWS_PER_COPY) {
        let mut text = String::new();
        for id in ids {
            let (k, v, at) = row(*id);
            text.push_str(&format!("{},{k},{v},{at}\n", keys[key(*id)]));
        }
        copy_in(client, "COPY events FROM STDIN WITH (FORMAT csv)", text).await?;
    }
    Ok(())
}

type Counts = BTreeMap<(i64, i64), (i64, i64)>;

/// Group and window start (ms) to count and sum.
async fn table(client: &Client) -> Result<Counts> {
    let sql = "SELECT k, CAST(date_part('epoch', windowstart) * 1000 AS BIGINT), n, total FROM counts";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3)))).collect())
}

fn expected() -> Counts {
    let mut counts = Counts::new();
    for id in 0..ROWS {
        let (k, v, at) = row(id);
        let (n, total) = counts.entry((k, at - at % WINDOW_MS)).or_insert((0, 0));
        *n += 1;
        *total += v;
    }
    counts
}
