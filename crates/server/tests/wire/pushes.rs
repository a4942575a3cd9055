//! Push queries: rows as they come, and nothing left behind at the end.

use futures::TryStreamExt;
use tokio_postgres::NoTls;

use crate::server::{Server, rows, told};

const DECLARED: &str = "CREATE STREAM s (v INT) WITH (kafka_topic = 's', partitions = 1)";

#[tokio::test]
async fn rows_come_while_the_query_runs() {
    let server = Server::start();
    let (reader, writer) = (server.connect().await, server.connect().await);
    writer.batch_execute(DECLARED).await.unwrap();
    reader.batch_execute("SET auto.offset.reset = 'earliest'").await.unwrap();
    let stream = reader.copy_out("COPY (SELECT v + 1 AS w FROM s EMIT CHANGES LIMIT 3) TO STDOUT").await.unwrap();
    futures::pin_mut!(stream);
    for v in 1..=3 {
        writer.batch_execute(&format!("INSERT INTO s VALUES ({v})")).await.unwrap();
        let line = stream.try_next().await.unwrap().unwrap();
        assert_eq!(line, format!("{}\n", v + 1));
    }
    assert_eq!(stream.try_next().await.unwrap(), None);
}

#[tokio::test]
async fn a_cancel_request_ends_it() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute(DECLARED).await.unwrap();
    client.batch_execute("SET auto.offset.reset = 'earliest'; INSERT INTO s VALUES (1)").await.unwrap();
    let token = client.cancel_token();
    let stream = client.copy_out("COPY (SELECT v FROM s EMIT CHANGES) TO STDOUT").await.unwrap();
    futures::pin_mut!(stream);
    // It runs: its first row has come.
    assert_eq!(stream.try_next().await.unwrap().unwrap(), "1\n");
    token.cancel_query(NoTls).await.unwrap();
    let error = stream.try_next().await.unwrap_err();
    assert_eq!(told(&error).0, "57014");
    assert_eq!(rows(&client, "SELECT count(*) FROM s").await, [["1"]]);
}

#[tokio::test]
async fn a_timeout_ends_it() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute(DECLARED).await.unwrap();
    client.batch_execute("SET statement_timeout = '50ms'").await.unwrap();
    let error = client.simple_query("SELECT v FROM s EMIT CHANGES").await.unwrap_err();
    assert_eq!(told(&error).0, "57014");
}
