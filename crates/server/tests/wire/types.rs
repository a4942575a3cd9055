//! Every type, in and out, in text and in binary.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use crate::server::{Server, rows};

const DECLARED: &str = "CREATE STREAM everything (id INT KEY, b BOOLEAN, i INT, l BIGINT, d DOUBLE, n DECIMAL(12, 2), s VARCHAR, x BYTES, \
    dt DATE, tm TIME, ts TIMESTAMP, a ARRAY<INT>, m MAP<VARCHAR, INT>, r STRUCT<p INT, q VARCHAR>) WITH (kafka_topic = 'everything', partitions = 2)";

#[tokio::test]
async fn values_come_back_as_text() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute(DECLARED).await.unwrap();
    client
        .batch_execute(
            "INSERT INTO everything VALUES (1, true, -7, 9000000000, 1.5, 12.3, 'it''s', '\\x00ff', '2013-07-04', '12:30:00', '2013-07-04 05:06:07.089', \
             '{1,2,NULL}', '{\"k\": 1}', '{\"p\": 3, \"q\": \"z z\"}'); INSERT INTO everything (id) VALUES (2)",
        )
        .await
        .unwrap();
    let found = rows(&client, "SELECT * FROM everything ORDER BY id").await;
    let first = [
        "1",
        "t",
        "-7",
        "9000000000",
        "1.5",
        "12.30",
        "it's",
        "\\x00ff",
        "2013-07-04",
        "12:30:00",
        "2013-07-04 05:06:07.089",
        "{1,2,NULL}",
        "{\"k\": 1}",
        "(3,\"z z\")",
    ];
    assert_eq!(found[0], first);
    assert_eq!(found[1][1..], ["∅"; 13]);
}

#[tokio::test]
async fn parameters_and_results_in_binary() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute(DECLARED).await.unwrap();
    let insert = client
        .prepare("INSERT INTO everything (id, b, i, l, d, s, x, dt, tm, ts) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
        .await
        .unwrap();
    let date = NaiveDate::from_ymd_opt(2013, 7, 4).unwrap();
    let time = NaiveTime::from_hms_milli_opt(23, 59, 59, 999).unwrap();
    let stamp: NaiveDateTime = date.and_time(time);
    let bytes: &[u8] = &[0, 255];
    for id in 1..=3i32 {
        let written = client
            .execute(&insert, &[&id, &true, &-7i32, &9_000_000_000i64, &1.5f64, &"text", &bytes, &date, &time, &stamp])
            .await
            .unwrap();
        assert_eq!(written, 1);
    }
    let query = "SELECT id, b, i, l, d, s, x, dt, tm, ts FROM everything WHERE id = $1 AND ts <= $2";
    let found = client.query(query, &[&2i32, &stamp]).await.unwrap();
    assert_eq!(found.len(), 1);
    let row = &found[0];
    assert_eq!((row.get::<_, i32>(0), row.get::<_, bool>(1), row.get::<_, i32>(2), row.get::<_, i64>(3)), (2, true, -7, 9_000_000_000));
    assert_eq!((row.get::<_, f64>(4), row.get::<_, &str>(5), row.get::<_, &[u8]>(6)), (1.5, "text", bytes));
    assert_eq!((row.get::<_, NaiveDate>(7), row.get::<_, NaiveTime>(8), row.get::<_, NaiveDateTime>(9)), (date, time, stamp));
    let none: Option<&str> = None;
    client.execute("INSERT INTO everything (id, s) VALUES ($1, $2)", &[&4i32, &none]).await.unwrap();
    let null: Option<String> = client.query_one("SELECT s FROM everything WHERE id = 4", &[]).await.unwrap().get(0);
    assert_eq!(null, None);
    let array: Vec<i32> = client.query_one("SELECT ARRAY[1, 2] AS a", &[]).await.unwrap().get(0);
    assert_eq!(array, [1, 2]);
}

#[tokio::test]
async fn a_prepared_statement_outlives_a_change_of_the_catalog() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("CREATE STREAM s (v INT) WITH (kafka_topic = 's', partitions = 1); INSERT INTO s VALUES (1), (2)").await.unwrap();
    let count = client.prepare("SELECT count(*) FROM s WHERE v >= $1").await.unwrap();
    assert_eq!(client.query_one(&count, &[&1i32]).await.unwrap().get::<_, i64>(0), 2);
    client
        .batch_execute("CREATE STREAM other (v INT) WITH (kafka_topic = 'other', partitions = 1); INSERT INTO s VALUES (3)")
        .await
        .unwrap();
    assert_eq!(client.query_one(&count, &[&1i32]).await.unwrap().get::<_, i64>(0), 3);
    assert_eq!(client.query_one(&count, &[&3i32]).await.unwrap().get::<_, i64>(0), 1);
}
