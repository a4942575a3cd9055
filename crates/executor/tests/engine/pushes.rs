//! Push queries give rows as they come, wait for slow readers, and leave nothing behind.

use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use millpond_executor::{Push, PushEvent};

use crate::rig::{Rig, STREAM};

const PATIENCE: Duration = Duration::from_secs(60);

fn next(push: &Push) -> Vec<i64> {
    match push.recv(PATIENCE) {
        PushEvent::Rows(batch) => batch.rows.column(0).as_primitive::<Int64Type>().values().to_vec(),
        other => panic!("no rows: {other:?}"),
    }
}

#[test]
fn rows_come_as_they_are_written() {
    let rig = Rig::new(2);
    rig.sql(STREAM).unwrap();
    rig.write("events", &[(&[1, 1], 0)]);
    let all = rig.push("SELECT k FROM events EMIT CHANGES", true);
    let new = rig.push("SELECT k FROM events EMIT CHANGES", false);
    assert_eq!(next(&all), [1]);
    rig.write("events", &[(&[2, 1], 0)]);
    assert_eq!((next(&all), next(&new)), (vec![2], vec![2]));
    assert!(matches!(new.recv(Duration::ZERO), PushEvent::Idle));
}

#[test]
fn an_aggregate_through_a_repartition_leaves_nothing_behind() {
    let rig = Rig::new(2);
    rig.sql(STREAM).unwrap();
    let (stores, topics) = (rig.stores(), rig.topics());
    let push = rig.push("SELECT k, COUNT(*) AS n FROM events GROUP BY k EMIT CHANGES", true);
    rig.write("events", &[(&[4, 1], 0), (&[4, 1], 0)]);
    rig.eventually(|| {
        rig.advance(100);
        match push.recv(Duration::ZERO) {
            PushEvent::Rows(batch) => {
                let count = batch.rows.column(1).as_primitive::<Int64Type>();
                (count.len(), count.value(count.len() - 1)) == (1, 2)
            }
            PushEvent::Idle => false,
            other => panic!("{other:?}"),
        }
    });
    drop(push);
    assert_eq!((rig.stores(), rig.topics()), (stores, topics));
    rig.flush();
    assert!(rig.engine.queries().is_empty());
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody() {
    let rig = Rig::new(1);
    rig.sql("CREATE STREAM events (k BIGINT, v BIGINT) WITH (kafka_topic = 'events', partitions = 1)").unwrap();
    rig.sql("CREATE STREAM copy AS SELECT k, v FROM events").unwrap();
    let push = rig.push("SELECT k FROM events EMIT CHANGES", true);
    let values: Vec<[i64; 2]> = (0..50_000).map(|value| [value, 0]).collect();
    let rows: Vec<(&[i64], i64)> = values.iter().map(|value| (&value[..], 1)).collect();
    for _ in 0..5 {
        rig.write("events", &rows);
        rig.flush();
    }
    assert_eq!(rig.status("csas_copy").rows_out, 250_000);
    let mut read = 0;
    while read < 250_000 {
        read += next(&push).len();
    }
    assert_eq!(read, 250_000);
}

#[test]
fn it_ends_with_its_source_and_with_the_server() {
    let rig = Rig::new(2);
    rig.sql(STREAM).unwrap();
    rig.sql("CREATE STREAM other (k BIGINT, v BIGINT) WITH (kafka_topic = 'other', partitions = 1)").unwrap();
    let (dropped, stopped) = (rig.push("SELECT k FROM other EMIT CHANGES", true), rig.push("SELECT k FROM events EMIT CHANGES", true));
    rig.sql("DROP STREAM other").unwrap();
    assert!(matches!(dropped.recv(PATIENCE), PushEvent::Ended));
    rig.engine.shutdown();
    assert!(matches!(stopped.recv(PATIENCE), PushEvent::Ended));
}
