//! Cursors and portals: rows in portions.

use futures::TryStreamExt;

use crate::server::{Server, fails, rows};

#[tokio::test]
async fn a_cursor_gives_as_many_rows_as_are_asked_for() {
    let server = Server::start();
    let client = server.connect().await;
    client
        .batch_execute("CREATE STREAM s (v INT) WITH (kafka_topic = 's', partitions = 1); INSERT INTO s VALUES (1), (2), (3)")
        .await
        .unwrap();
    client.batch_execute("BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT v FROM s ORDER BY v").await.unwrap();
    assert_eq!(rows(&client, "FETCH FORWARD 2 FROM c").await, [["1"], ["2"]]);
    assert_eq!(rows(&client, "FETCH ALL FROM c").await, [["3"]]);
    assert!(rows(&client, "FETCH 1 FROM c").await.is_empty());
    client.batch_execute("CLOSE c; COMMIT").await.unwrap();
    assert_eq!(fails(&client, "DECLARE c CURSOR FOR SELECT 1").await.0, "25P01");
}

#[tokio::test]
async fn a_portal_is_suspended_and_goes_on() {
    let server = Server::start();
    let mut client = server.connect().await;
    client
        .batch_execute("CREATE STREAM s (v INT) WITH (kafka_topic = 's', partitions = 1); INSERT INTO s VALUES (1), (2), (3)")
        .await
        .unwrap();
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT v FROM s ORDER BY v", &[]).await.unwrap();
    let first: Vec<_> =
        transaction.query_portal_raw(&portal, 2).await.unwrap().map_ok(|row| row.get::<_, i32>(0)).try_collect().await.unwrap();
    let rest: Vec<_> =
        transaction.query_portal_raw(&portal, 2).await.unwrap().map_ok(|row| row.get::<_, i32>(0)).try_collect().await.unwrap();
    assert_eq!((first, rest), (vec![1, 2], vec![3]));
    transaction.rollback().await.unwrap();
}

#[tokio::test]
async fn a_push_query_is_read_through_a_cursor() {
    let server = Server::start();
    let (reader, writer) = (server.connect().await, server.connect().await);
    writer.batch_execute("CREATE STREAM s (v INT) WITH (kafka_topic = 's', partitions = 1); INSERT INTO s VALUES (1)").await.unwrap();
    reader.batch_execute("SET auto.offset.reset = 'earliest'; BEGIN; DECLARE c CURSOR FOR SELECT v FROM s EMIT CHANGES").await.unwrap();
    assert_eq!(rows(&reader, "FETCH 1 FROM c").await, [["1"]]);
    let fetch = rows(&reader, "FETCH 1 FROM c");
    let insert = writer.batch_execute("INSERT INTO s VALUES (2)");
    let (fetched, inserted) = tokio::join!(fetch, insert);
    inserted.unwrap();
    assert_eq!(fetched, [["2"]]);
    reader.batch_execute("COMMIT").await.unwrap();
}
