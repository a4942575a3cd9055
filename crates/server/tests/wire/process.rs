//! The process: exit codes, signals, restarts, HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::server::{Server, command, rows};

#[tokio::test]
async fn sigterm_stops_it_cleanly_and_a_restart_has_everything() {
    let server = Server::start();
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE STREAM s (k INT KEY, v INT) WITH (kafka_topic = 's', partitions = 2); \
             CREATE TABLE t AS SELECT k, sum(v) AS total FROM s GROUP BY k EMIT CHANGES; \
             INSERT INTO s VALUES (1, 10), (2, 20), (1, 5); FLUSH",
        )
        .await
        .unwrap();
    let query = "SELECT k, total FROM t ORDER BY k";
    assert_eq!(rows(&client, query).await, [["1", "15"], ["2", "20"]]);
    let (code, directory) = server.stop();
    assert_eq!(code, Some(0));
    let server = Server::start_in(directory);
    let client = server.connect().await;
    assert_eq!(rows(&client, query).await, [["1", "15"], ["2", "20"]]);
    client.batch_execute("INSERT INTO s VALUES (1, 1); FLUSH").await.unwrap();
    assert_eq!(rows(&client, "SELECT total FROM t WHERE k = 1").await, [["16"]]);
    assert_eq!(rows(&client, "SELECT id, state FROM millpond.queries").await, [["ctas_t", "running"]]);
    assert_eq!(rows(&client, "SELECT count(*) FROM millpond.members").await, [["1"]]);
}

#[test]
fn bad_usage_exits_with_2() {
    let directory = tempfile::tempdir().unwrap();
    for wrong in [["--kafka-replicas", "3"], ["--memory", "much"], ["--nosuch", "x"]] {
        let output = command(directory.path()).args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(wrong[0]), "{wrong:?}");
    }
    assert!(command(directory.path()).arg("--version").output().unwrap().status.success());
}

#[test]
fn http_tells_health_and_metrics() {
    let server = Server::start();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&server.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/health/live").starts_with("HTTP/1.1 200"));
    assert!(get("/health/ready").starts_with("HTTP/1.1 200"));
    assert!(get("/metrics").starts_with("HTTP/1.1 200"));
    assert!(get("/nosuch").starts_with("HTTP/1.1 404"));
}

#[test]
fn a_message_that_is_none_is_answered() {
    let server = Server::start();
    let mut stream = TcpStream::connect(&server.pg).unwrap();
    let mut startup = b"user\0test\0\0".to_vec();
    let length = (startup.len() + 8) as u32;
    startup.splice(0..0, length.to_be_bytes().into_iter().chain(196_608u32.to_be_bytes()));
    stream.write_all(&startup).unwrap();
    // A type that does not exist.
    stream.write_all(&[1, 0, 0, 0, 4]).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("08P01"));
}
