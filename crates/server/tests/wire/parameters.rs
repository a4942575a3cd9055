//! Parameters of other types than the columns they meet.

use tokio_postgres::types::Type;

use crate::server::{Server, fails, rows};

#[tokio::test]
async fn a_number_that_a_column_cannot_hold_is_equal_to_none_of_its_values() {
    let server = Server::start();
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE TABLE t (k INT PRIMARY KEY, v INT) WITH (kafka_topic = 't', partitions = 1); INSERT INTO t VALUES (1, 10); FLUSH",
        )
        .await
        .unwrap();
    let select = client.prepare_typed("SELECT v FROM t WHERE k = $1", &[Type::FLOAT8]).await.unwrap();
    assert!(client.query(&select, &[&1.9f64]).await.unwrap().is_empty());
    assert_eq!(client.query_one(&select, &[&1.0f64]).await.unwrap().get::<_, i32>(0), 10);
    let large = client.prepare_typed("SELECT v FROM t WHERE k < $1", &[Type::INT8]).await.unwrap();
    assert_eq!(client.query(&large, &[&(1i64 << 40)]).await.unwrap().len(), 1);
    let delete = client.prepare_typed("DELETE FROM t WHERE k = $1", &[Type::FLOAT8]).await.unwrap();
    assert_eq!(client.execute(&delete, &[&1.9f64]).await.unwrap(), 0);
    assert_eq!(client.execute("DELETE FROM t WHERE k IN (1.9, NULL)", &[]).await.unwrap(), 0);
    assert_eq!(rows(&client, "FLUSH; SELECT v FROM t").await, [["10"]]);
    assert_eq!(client.execute(&delete, &[&1.0f64]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_declared_type_decides_what_the_rows_are() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("CREATE STREAM s (v INT) WITH (kafka_topic = 's', partitions = 1); INSERT INTO s VALUES (1)").await.unwrap();
    let sum = client.prepare_typed("SELECT v + $1 AS sum FROM s", &[Type::FLOAT8]).await.unwrap();
    assert_eq!(client.query_one(&sum, &[&0.5f64]).await.unwrap().get::<_, f64>(0), 1.5);
    let alone = client.prepare_typed("SELECT $1 AS n", &[Type::INT4]).await.unwrap();
    assert_eq!(client.query_one(&alone, &[&7i32]).await.unwrap().get::<_, i32>(0), 7);
}

#[tokio::test]
async fn what_is_written_is_rounded() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("CREATE STREAM s (v INT) WITH (kafka_topic = 's', partitions = 1)").await.unwrap();
    let insert = client.prepare_typed("INSERT INTO s VALUES ($1)", &[Type::FLOAT8]).await.unwrap();
    client.execute(&insert, &[&1.5f64]).await.unwrap();
    client.batch_execute("INSERT INTO s VALUES (2.5), (-7.5), (10.4)").await.unwrap();
    assert_eq!(rows(&client, "SELECT v FROM s ORDER BY v").await, [["-8"], ["2"], ["3"], ["10"]]);
    assert_eq!(fails(&client, "INSERT INTO s VALUES (1e10)").await.0, "22003");
}

#[tokio::test]
async fn structs_are_written_by_the_names_of_their_fields() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("CREATE STREAM s (r STRUCT<p INT, q VARCHAR>) WITH (kafka_topic = 's', partitions = 1)").await.unwrap();
    client.batch_execute("INSERT INTO s VALUES (STRUCT(q := 'x', p := 1))").await.unwrap();
    assert_eq!(rows(&client, "SELECT r FROM s").await, [["(1,x)"]]);
    assert_eq!(fails(&client, "INSERT INTO s VALUES (STRUCT(z := 1))").await.0, "42703");
}

#[tokio::test]
async fn arrays_are_compared_with_any_of_their_items() {
    let server = Server::start();
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE TABLE t (k VARCHAR PRIMARY KEY, n BIGINT) WITH (kafka_topic = 't', partitions = 2); \
             INSERT INTO t VALUES ('a', 1), ('b', 2), ('it''s', 3); FLUSH",
        )
        .await
        .unwrap();
    // tokio-postgres asks what the parameters are, and sends them in binary.
    let keys: &[&str] = &["a", "it's", "none"];
    let found = client.query("SELECT k FROM t WHERE k = ANY($1) ORDER BY k", &[&keys]).await.unwrap();
    assert_eq!(found.iter().map(|row| row.get::<_, &str>(0)).collect::<Vec<_>>(), ["a", "it's"]);
    let numbers: &[i64] = &[2, 3, 4];
    for (sql, expected) in [
        ("SELECT k FROM t WHERE n = ANY($1) ORDER BY k", &["b", "it's"][..]),
        ("SELECT k FROM t WHERE n <> ALL($1)", &["a"]),
        ("SELECT k FROM t WHERE n > ANY($1)", &["it's"]),
        ("SELECT k FROM t WHERE n = ANY($1::bigint[]) ORDER BY k", &["b", "it's"]),
        ("SELECT k FROM t WHERE NOT n = ANY($1)", &["a"]),
        ("SELECT k FROM t WHERE k = 'b' AND n IN (SELECT n FROM t WHERE n = ANY($1))", &["b"]),
    ] {
        let found = client.query(sql, &[&numbers]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(found.iter().map(|row| row.get::<_, &str>(0)).collect::<Vec<_>>(), expected, "{sql}");
    }
    let none: &[i64] = &[];
    assert!(client.query("SELECT k FROM t WHERE n = ANY($1)", &[&none]).await.unwrap().is_empty());
    assert_eq!(client.execute("DELETE FROM t WHERE k = ANY($1)", &[&keys]).await.unwrap(), 2);
    assert_eq!(rows(&client, "FLUSH; SELECT k FROM t").await, [["b"]]);
}

#[tokio::test]
async fn a_cast_says_what_a_parameter_is() {
    let server = Server::start();
    let client = server.connect().await;
    let row = client.query_one("SELECT $1::int + 1 AS i, $2::text AS s, $3::double precision AS d", &[&1i32, &"x", &0.5f64]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1), row.get::<_, f64>(2)), (2, "x", 0.5));
}

#[tokio::test]
async fn a_prepared_look_up_reads_what_is_committed_by_then() {
    let server = Server::start();
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR PRIMARY KEY, v INT) WITH (kafka_topic = 't', partitions = 4);
             CREATE STREAM s (k VARCHAR KEY, at TIMESTAMP) WITH (kafka_topic = 's', partitions = 4, timestamp = 'at');
             CREATE TABLE w AS SELECT k, count(*) AS n FROM s WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY k;
             INSERT INTO t VALUES (1, 'x', 1), (1, 'y', 2), (2, 'x', 3);
             INSERT INTO s VALUES ('j', '2020-01-01 00:10:00'), ('j', '2020-01-01 01:10:00'), ('k', '2020-01-01 01:20:00');
             FLUSH",
        )
        .await
        .unwrap();
    let one = client.prepare("SELECT v + 1, b FROM t WHERE a = $1 AND b = $2").await.unwrap();
    for (a, b, found) in [(1, "x", Some(2)), (2, "x", Some(4)), (2, "y", None), (1, "y", Some(3))] {
        assert_eq!(client.query_opt(&one, &[&a, &b]).await.unwrap().map(|row| row.get::<_, i32>(0)), found, "{a} {b}");
    }
    assert!(client.query_opt(&one, &[&1, &None::<&str>]).await.unwrap().is_none());
    client.batch_execute("INSERT INTO t VALUES (2, 'y', 9); FLUSH").await.unwrap();
    assert_eq!(client.query_one(&one, &[&2, &"y"]).await.unwrap().get::<_, i32>(0), 10);

    let some = client.prepare("SELECT v FROM t WHERE a IN ($1, $2) AND b = 'x' ORDER BY v").await.unwrap();
    assert_eq!(client.query(&some, &[&1, &2]).await.unwrap().len(), 2);
    assert_eq!(client.query(&some, &[&2, &None::<i32>]).await.unwrap().len(), 1);
    let beyond = client.prepare("SELECT v FROM t WHERE a = $1 AND b = 'x' AND v > $2").await.unwrap();
    assert_eq!(client.query(&beyond, &[&2, &2]).await.unwrap().len(), 1);
    assert!(client.query(&beyond, &[&2, &3]).await.unwrap().is_empty());

    let counts = client.prepare("SELECT n FROM w WHERE k = $1 AND windowstart >= '2020-01-01 01:00:00'").await.unwrap();
    assert_eq!(client.query(&counts, &[&"j"]).await.unwrap().len(), 1);
    let joined = client.prepare("SELECT count(*) FROM w JOIN w AS other ON w.k = other.k WHERE w.k = $1").await.unwrap();
    assert_eq!(client.query_one(&joined, &[&"j"]).await.unwrap().get::<_, i64>(0), 4);
}
