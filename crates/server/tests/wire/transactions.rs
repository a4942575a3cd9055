//! BEGIN … COMMIT: one append, or none.

use crate::server::{Server, fails, rows};

#[tokio::test]
async fn writes_are_seen_together_at_the_commit() {
    let server = Server::start();
    let (writer, reader) = (server.connect().await, server.connect().await);
    writer
        .batch_execute(
            "CREATE STREAM a (v INT) WITH (kafka_topic = 'a', partitions = 2); CREATE TABLE b (k INT PRIMARY KEY, v INT) WITH (kafka_topic = 'b', partitions = 2)",
        )
        .await
        .unwrap();
    writer.batch_execute("BEGIN; INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1, 10)").await.unwrap();
    let both = "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)";
    assert_eq!(rows(&reader, both).await, [["0", "0"]]);
    writer.batch_execute("COMMIT; FLUSH").await.unwrap();
    assert_eq!(rows(&reader, both).await, [["2", "1"]]);
    writer.batch_execute("BEGIN; INSERT INTO a VALUES (3); ROLLBACK").await.unwrap();
    assert_eq!(rows(&reader, both).await, [["2", "1"]]);
}

#[tokio::test]
async fn a_failed_transaction_can_only_be_ended() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("CREATE STREAM a (v INT) WITH (kafka_topic = 'a', partitions = 1)").await.unwrap();
    client.batch_execute("BEGIN; INSERT INTO a VALUES (1)").await.unwrap();
    assert_eq!(fails(&client, "CREATE STREAM c (v INT) WITH (kafka_topic = 'c', partitions = 1)").await.0, "25001");
    assert_eq!(fails(&client, "SELECT 1").await.0, "25P02");
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(rows(&client, "SELECT count(*) FROM a").await, [["0"]]);
}

#[tokio::test]
async fn rows_of_a_table_are_replaced_and_deleted_by_key() {
    let server = Server::start();
    let client = server.connect().await;
    client
        .batch_execute("CREATE TABLE t (k VARCHAR PRIMARY KEY, v INT) WITH (kafka_topic = 't', partitions = 4); INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3)")
        .await
        .unwrap();
    client.batch_execute("INSERT INTO t VALUES ('a', 10); FLUSH").await.unwrap();
    assert_eq!(rows(&client, "SELECT k, v FROM t ORDER BY k").await, [["a", "10"], ["b", "2"], ["c", "3"]]);
    assert_eq!(rows(&client, "SELECT v FROM t WHERE k IN ('a', 'c') ORDER BY k").await, [["10"], ["3"]]);
    assert_eq!(client.execute("DELETE FROM t WHERE k IN ('a', 'x')", &[]).await.unwrap(), 1);
    client.batch_execute("FLUSH").await.unwrap();
    assert_eq!(rows(&client, "SELECT k FROM t ORDER BY k").await, [["b"], ["c"]]);
    assert_eq!(client.execute("DELETE FROM t WHERE k = $1", &[&"b"]).await.unwrap(), 1);
    client.batch_execute("FLUSH").await.unwrap();
    assert_eq!(rows(&client, "SELECT k FROM t").await, [["c"]]);
    assert_eq!(fails(&client, "INSERT INTO t VALUES (NULL, 1)").await.0, "23502");
    assert_eq!(fails(&client, "DELETE FROM t WHERE v = 3").await.0, "0A000");
    let plan = rows(&client, "EXPLAIN SELECT v FROM t WHERE k = 'c'").await.concat().join("\n");
    assert!(plan.contains("lookup=[k = 'c']"), "{plan}");
}

#[tokio::test]
async fn the_statements_of_a_message_are_one_transaction() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("CREATE STREAM a (v INT) WITH (kafka_topic = 'a', partitions = 1)").await.unwrap();
    fails(&client, "INSERT INTO a VALUES (1); INSERT INTO a VALUES ('x')").await;
    assert!(rows(&client, "SELECT v FROM a").await.is_empty());
    assert_eq!(rows(&client, "INSERT INTO a VALUES (1); FLUSH; SELECT v FROM a; INSERT INTO a VALUES (2)").await, [["1"]]);
    assert_eq!(rows(&client, "FLUSH; SELECT v FROM a ORDER BY v").await, [["1"], ["2"]]);
}

#[tokio::test]
async fn a_rollback_undoes_what_was_set() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("SET application_name = 'one'; BEGIN; SET application_name = 'two'; ROLLBACK").await.unwrap();
    assert_eq!(rows(&client, "SHOW application_name").await, [["one"]]);
    client.batch_execute("BEGIN; SET application_name = 'two'; COMMIT").await.unwrap();
    assert_eq!(rows(&client, "SHOW application_name").await, [["two"]]);
}

#[tokio::test]
async fn a_read_only_transaction_writes_nothing() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE t (k INT PRIMARY KEY, v INT) WITH (kafka_topic = 't', partitions = 1)").await.unwrap();
    for sql in ["INSERT INTO t VALUES (1, 1)", "DELETE FROM t WHERE k = 1", "COPY t FROM STDIN"] {
        client.batch_execute("BEGIN READ ONLY").await.unwrap();
        assert_eq!(fails(&client, sql).await.0, "25006", "{sql}");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
    client.batch_execute("INSERT INTO t VALUES (1, 1)").await.unwrap();
}

#[tokio::test]
async fn what_is_set_locally_ends_with_the_transaction() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("SET application_name = 'one'; SET LOCAL application_name = 'two'").await.unwrap();
    assert_eq!(rows(&client, "SHOW application_name").await, [["one"]]);
    client.batch_execute("BEGIN; SET LOCAL application_name = 'two'; SET dialect = 'ksqldb'").await.unwrap();
    assert_eq!(rows(&client, "SHOW application_name").await, [["two"]]);
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(rows(&client, "SHOW application_name; SHOW dialect").await, [["one"], ["ksqldb"]]);
}
