//! Errors: SQLSTATE, hint, and the position that psql draws its caret at.

use tokio_postgres::error::ErrorPosition;

use crate::server::{Server, fails, rows};

const DECLARED: &str = "CREATE STREAM orders (id INT KEY, amount DOUBLE, placed TIMESTAMP) WITH (kafka_topic = 'orders', partitions = 1)";

#[tokio::test]
async fn what_is_wrong_is_named() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute(DECLARED).await.unwrap();
    for (sql, sqlstate, hint) in [
        ("SELECT amont FROM orders", "42703", "Perhaps you meant \"amount\"."),
        ("SELECT * FROM oders", "42P01", ""),
        ("SELECT nosuch(1)", "42883", ""),
        ("SELEC 1", "42601", ""),
        ("SELECT 1 / 0 FROM orders LIMIT 0; SELECT 1 / 0", "22012", ""),
        ("INSERT INTO orders VALUES ('x')", "22P02", ""),
        ("INSERT INTO orders (id, amonut) VALUES (1, 2)", "42703", "Perhaps you meant \"amount\"."),
        ("INSERT INTO orders VALUES (1, 2, '2013-07-04', 4)", "42601", ""),
        ("DROP STREAM nosuch", "42P01", ""),
        ("DROP TABLE orders", "42809", "Use DROP STREAM to remove a stream."),
        ("DELETE FROM orders WHERE id = 1", "42809", ""),
        ("SET nosuch = 1", "42704", "SHOW ALL lists the settings there are."),
        ("TERMINATE nosuch", "42704", ""),
        ("FETCH 1 FROM nosuch", "34000", ""),
    ] {
        let (code, message, told) = fails(&client, sql).await;
        assert_eq!(code, sqlstate, "{sql}: {message}");
        assert!(told.contains(hint), "{sql}: {told}");
        assert!(!message.contains("DataFusion") && !message.ends_with('.'), "{sql}: {message}");
    }
}

#[tokio::test]
async fn positions_count_in_the_whole_message() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute(DECLARED).await.unwrap();
    for (sql, place) in [
        ("SELECT 1; SELECT amont FROM orders", "amont"),
        ("SELECT 'é',\n  amont FROM orders", "amont"),
        ("INSERT INTO orders VALUES (1, 'x')", "'x'"),
        ("SELECT id FRM orders WHERE", "orders"),
    ] {
        let error = client.simple_query(sql).await.expect_err(sql);
        let position = error.as_db_error().unwrap().position().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone();
        let expected = sql[..sql.find(place).unwrap()].chars().count() as u32 + 1;
        assert_eq!(position, ErrorPosition::Original(expected), "{sql}");
    }
}

#[tokio::test]
async fn after_an_error_the_rest_of_the_message_is_skipped() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute(DECLARED).await.unwrap();
    fails(&client, "INSERT INTO orders (id) VALUES (1); SELECT nosuch FROM orders; INSERT INTO orders (id) VALUES (2)").await;
    assert_eq!(rows(&client, "SELECT id FROM orders").await, [["1"]]);
    assert!(rows(&client, "").await.is_empty());
    assert!(rows(&client, " ; -- nothing\n").await.is_empty());
    assert!(client.prepare("SELECT 1; SELECT 2").await.is_err());
    assert_eq!(rows(&client, "SELECT 1; SELECT 2").await, [["1"], ["2"]]);
}

#[tokio::test]
async fn settings_are_the_sessions_own() {
    let server = Server::start();
    let (one, other) = (server.connect().await, server.connect().await);
    one.batch_execute("SET dialect = 'ksqldb'").await.unwrap();
    assert_eq!(rows(&one, "SHOW dialect").await, [["ksqldb"]]);
    assert_eq!(rows(&other, "SHOW dialect").await, [["millpond"]]);
    one.batch_execute("RESET dialect").await.unwrap();
    assert_eq!(rows(&one, "SHOW dialect").await, [["millpond"]]);
    assert_eq!(fails(&one, "SET dialect = 'oracle'").await.0, "22023");
}
