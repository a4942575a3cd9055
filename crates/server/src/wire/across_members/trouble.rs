//! What becomes of queries when the other member, or the way to it, fails.

use millpond_serving::Owner;

use super::rig::{Server, apart, two};

const COUNT: &str = "SELECT count(*) FROM t";

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_gone_is_named() {
    let (a, b) = two().await;
    let (session, other) = (a.connect().await, a.connect().await);
    assert_eq!(session.rows(COUNT).await, "40");
    let address = a.view.all[1].address.to_string();
    b.stop().await;
    let lookup = "SELECT k FROM t WHERE k IN (0, 1, 2, 3, 4, 5, 6, 7)";
    let ((sqlstate, message), (of_lookup, _)) = tokio::join!(session.fails(COUNT), other.fails(lookup));
    assert_eq!((sqlstate.as_str(), of_lookup.as_str()), ("08001", "08001"));
    assert!(message.starts_with(&format!("member \"b\" at {address} cannot be reached: ")), "{message}");
    a.view.set(vec![Owner::Here, Owner::Nobody, Owner::Here, Owner::Here]);
    let (sqlstate, message) = session.fails(COUNT).await;
    assert_eq!(
        (sqlstate.as_str(), message.as_str()),
        ("57P03", "partition 1 of table \"t\" is not ready: it is being restored, or moved to another member")
    );
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_and_replaced() {
    let (a, b, link) = apart().await;
    let session = a.connect().await;
    for _ in 0..3 {
        assert_eq!(session.rows(COUNT).await, "40");
        link.has(1).await;
    }
    link.cut();
    assert_eq!(session.rows(COUNT).await, "40");
    link.has(1).await;
    for server in [a, b] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_any_more_leaves_nothing_behind() {
    let (a, b, link) = apart().await;
    let session = a.connect().await;
    assert_eq!(session.rows(COUNT).await, "40");
    link.has(1).await;
    link.stand_still_after(0);
    session.client.batch_execute("SET statement_timeout = '300ms'").await.unwrap();
    assert_eq!(session.fails(COUNT).await.0, "57014");
    link.has(0).await;
    session.client.batch_execute("RESET statement_timeout").await.unwrap();
    let cancel = session.client.cancel_token();
    let cancelled = async {
        link.has(1).await;
        cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
    };
    assert_eq!(tokio::join!(session.fails(COUNT), cancelled).0.0, "57014");
    link.has(0).await;
    link.mend();
    assert_eq!(session.rows(COUNT).await, "40");
    for server in [a, b] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_break_off_are_an_error() {
    let (a, b, link) = apart().await;
    long_rows(&b).await;
    let session = a.connect().await;
    // The rows of one of its two partitions get through.
    link.break_after(1_500_000);
    let (sqlstate, message) = session.fails("SELECT s FROM t").await;
    assert_eq!(sqlstate, "08006", "{message}");
    assert!(message.starts_with("the rows of member \"b\" at "), "{message}");
    for server in [a, b] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_stands_still_is_not_waited_for_once_others_have_taken_over() {
    let (a, b, link) = apart().await;
    long_rows(&b).await;
    let session = a.connect().await;
    // It has begun to answer, and no rows get through.
    link.stand_still_after(100_000);
    let here = a.view.this.clone();
    let taken_over = async {
        link.has(1).await;
        a.view.place([&here; 4]);
    };
    assert_eq!(tokio::join!(session.rows("SELECT s, count(*) FROM t GROUP BY s"), taken_over).0, "it's a 40");
    link.has(0).await;
    for server in [a, b] {
        server.stop().await;
    }
}

/// About 1 MB in each partition.
async fn long_rows(server: &Server) {
    let session = server.connect().await;
    let rows: Vec<String> = (0..400).map(|k| format!("({k}, repeat('0123456789', 1000))")).collect();
    session.client.batch_execute(&format!("INSERT INTO t (k, s) VALUES {}; FLUSH", rows.join(", "))).await.unwrap();
    let sizes = session.rows("SET local_partitions = 'all'; SELECT sum(length(s)) FROM t GROUP BY rowpartition").await;
    assert!(sizes.split(", ").all(|size| (750_000..1_400_000).contains(&size.parse().unwrap())), "{sizes}");
}
