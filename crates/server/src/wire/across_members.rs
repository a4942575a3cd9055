//! Two servers that take each other for members of one service: what one does not have, it reads from the other.
//!
//! Both have all partitions of their tables, with other rows: which ones a query gets tells whom it has read.

mod link;
mod rig;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use millpond_serving::{Owner, Peer};

use self::rig::two;

const BY_PARTITION: &str = "SELECT rowpartition, s, count(*) > 0 FROM t GROUP BY 1, 2 ORDER BY 1, 2";

#[tokio::test(flavor = "multi_thread")]
async fn a_query_has_the_rows_of_all_members() {
    let (a, b) = two().await;
    for (server, here) in [(&a, "a"), (&b, "b")] {
        let session = server.connect().await;
        let expected = "0 it's a t, 1 it's b t, 2 it's a t, 3 it's b t";
        assert_eq!(session.rows(BY_PARTITION).await, expected, "at {here}");
        assert_eq!(session.rows("SELECT count(*), min(k), max(at) FROM t").await, "40 0 2020-01-01 00:00:39");
        assert_eq!(session.rows("SELECT count(*) FROM (SELECT s FROM t LIMIT 7)").await, "7");
        assert_eq!(session.rows("SELECT count(*) FROM t x JOIN t y ON x.k = y.k AND x.s = y.s").await, "40");
    }
    for server in [a, b] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_mean_the_same_at_the_other_member() {
    let (a, b) = two().await;
    let session = a.connect().await;
    // The members together have each key once, so each filter finds what it says.
    for (filter, count) in [
        ("k IN (1, 2, 3, 4, 5, 6, 7, 99)", 7),
        ("k BETWEEN 10 AND 19 AND s LIKE 'it''s %'", 10),
        ("v = 7.5", 1),
        ("v > 7.5 AND NOT (v >= 9.5 OR s IS NULL)", 1),
        ("at >= '2020-01-01 00:00:38'", 2),
        ("at = TIMESTAMP '2020-01-01 00:00:07' AND v <> 0.1", 1),
        ("rowtime IS NOT NULL AND upper(s) IN ('IT''S A', 'IT''S B')", 40),
        ("rowpartition IN (0, 1, 2, 3)", 40),
        ("s IN ('it''s a', 'it''s b') AND k <> -1", 40),
        ("s = 'it''s c'", 0),
    ] {
        assert_eq!(session.rows(&format!("SELECT count(*) FROM t WHERE {filter}")).await, count.to_string(), "{filter}");
    }
    session.client.batch_execute("SET dialect = 'ksqldb'").await.unwrap();
    let ksqldb = "SELECT `s`, COUNT(*) > 5 FROM `t` WHERE ROWTIME > 0 GROUP BY `s` ORDER BY 1";
    assert_eq!(session.rows(ksqldb).await, "it's a t, it's b t");
    session.client.batch_execute("RESET dialect").await.unwrap();

    // Look-ups go to the owner of the key, prepared ones as well.
    let owned: Vec<String> = session.rows("SELECT k, s FROM t ORDER BY k").await.split(", ").map(str::to_string).collect();
    let prepared = session.client.prepare("SELECT k, s FROM t WHERE k = $1").await.unwrap();
    for k in 0..40 {
        assert_eq!(session.rows(&format!("SELECT k, s FROM t WHERE k = {k}")).await, owned[k as usize]);
        let row = session.client.query_one(&prepared, &[&k]).await.unwrap();
        assert_eq!(format!("{} {}", row.get::<_, i32>(0), row.get::<_, String>(1)), owned[k as usize]);
    }
    let any = session.client.query("SELECT k FROM t WHERE k = ANY ($1)", &[&vec![1, 2, 3, 99]]).await.unwrap();
    assert_eq!(any.len(), 3);

    // What it takes away is here, but it counts what is there.
    let inside = b.connect().await;
    let theirs: i32 = inside.rows("SELECT min(k) FROM t WHERE rowpartition IN (1, 3)").await.parse().unwrap();
    inside.client.batch_execute(&format!("DELETE FROM t WHERE k = {theirs}; FLUSH")).await.unwrap();
    let deleted = session.client.execute(&format!("DELETE FROM t WHERE k IN ({theirs}, 98, 99)"), &[]).await.unwrap();
    assert_eq!(deleted, 0);
    for server in [a, b] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_while_they_are_asked_for() {
    let (a, b) = two().await;
    let (at_a, at_b) = (a.view.this.clone(), a.view.all[1].clone());
    let session = a.connect().await;
    let moving = |owners: Vec<Owner>, then: [Peer; 4]| {
        let view = Arc::clone(&a.view);
        view.set(owners);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            view.place(then.each_ref());
        })
    };
    // Nobody has them yet, or they are not known yet at all.
    moving(vec![Owner::Here, Owner::Nobody, Owner::Nobody], [&at_a, &at_a, &at_a, &at_b].map(Clone::clone));
    assert_eq!(session.rows(BY_PARTITION).await, "0 it's a t, 1 it's a t, 2 it's a t, 3 it's b t");
    // The one that is asked has them no more.
    b.view.place([&b.view.all[0]; 4]);
    let theirs = vec![Owner::At(at_b.clone()); 4];
    moving(theirs.clone(), [&at_a, &at_a, &at_a, &at_a].map(Clone::clone));
    assert_eq!(session.rows(BY_PARTITION).await, "0 it's a t, 1 it's a t, 2 it's a t, 3 it's a t");
    moving(theirs, [&at_a, &at_a, &at_a, &at_a].map(Clone::clone));
    assert_eq!(session.rows("SELECT s FROM t WHERE k = 1").await, "it's a");
    // The one that is asked gets them.
    b.view.place([&b.view.this; 4]);
    moving(vec![Owner::Nobody; 4], [&at_b, &at_b, &at_b, &at_b].map(Clone::clone));
    assert_eq!(session.rows(BY_PARTITION).await, "0 it's b t, 1 it's b t, 2 it's b t, 3 it's b t");
    for server in [a, b] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_here_when_so_asked() {
    let (a, b) = two().await;
    let session = b.connect().await;
    let of = |scope: &str, sql: &str| format!("SET local_partitions = '{scope}'; {sql}");
    assert_eq!(session.rows(&of("all", BY_PARTITION)).await, "1 it's b t, 3 it's b t");
    assert_eq!(session.rows(&of("3", BY_PARTITION)).await, "3 it's b t");
    for (scope, partition) in [("0", 0), ("1,2", 2), ("9", 9)] {
        let (sqlstate, message) = session.fails(&of(scope, BY_PARTITION)).await;
        assert_eq!((sqlstate.as_str(), message), ("57P03", format!("partition {partition} of table \"t\" is not here")));
    }
    // The connection has not ended with it.
    assert_eq!(session.fails("SET local_partitions = 'some'").await.0, "22023");
    assert_eq!(session.rows("RESET local_partitions; SELECT count(*) FROM t").await, "40");
    for server in [a, b] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn system_tables_are_of_all_members_that_answer() {
    let (a, b) = two().await;
    for server in [&a, &b] {
        let session = server.connect().await;
        session.client.batch_execute("CREATE TABLE u AS SELECT s, count(*) AS n FROM t GROUP BY s; FLUSH").await.unwrap();
    }
    let mut session = a.connect().await;
    let members = "SELECT instance, member_id, service, leader, here, tasks > 0 FROM millpond.members ORDER BY 1";
    assert_eq!(session.rows(members).await, "a a-1 test t t t, b b-1 test f f t");
    let tasks = "SELECT member, count(*) > 4 FROM millpond.tasks GROUP BY 1 ORDER BY 1";
    assert_eq!(session.rows(tasks).await, "a t, b t");
    let queries =
        "SELECT id, state, rows_in, lag, tasks = (SELECT count(*) FROM millpond.tasks WHERE query = 'ctas_u') FROM millpond.queries";
    assert_eq!(session.rows(queries).await, "ctas_u running 80 0 t");
    assert_eq!(session.rows("SET local_partitions = 'all'; SELECT rows_in FROM millpond.queries").await, "40");
    assert!(session.rows("RESET local_partitions; SHOW QUERIES").await.starts_with("ctas_u running u 80 100.0 % "));
    assert!(session.notices.try_recv().is_err());
    let address = a.view.all[1].address.to_string();
    b.stop().await;
    assert_eq!(session.rows(members).await, "a a-1 test t t t, b b-1 ∅ f f ∅");
    assert_eq!(session.rows(tasks).await, "a t");
    assert!(session.rows("SHOW QUERIES").await.starts_with("ctas_u running u 40 100.0 % "));
    for _ in 0..3 {
        let notice = session.notices.recv().await.unwrap();
        assert!(notice.starts_with(&format!("member \"b\" at {address} cannot be reached: ")), "{notice}");
        assert!(notice.ends_with("its rows are left out"), "{notice}");
    }
    a.stop().await;
}
