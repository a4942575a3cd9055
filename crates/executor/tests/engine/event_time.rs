//! Backfill gives what live gives (design D16), whatever the number of workers and the order in which partitions are read.

use std::sync::Arc;

use millpond_executor::QueryState;
use millpond_log::TopicPartition;

use crate::rig::{Random, Rig, STREAM, WINDOWED, by_hand, events, rows};

/// Sorted but for the disorder, so that each partition spans all of the time.
fn spread(rig: &Rig, events: &[([i64; 2], i64)]) {
    for run in events.chunks(8_192) {
        rig.write("events", &rows(run));
    }
}

#[test]
fn a_partition_held_back_loses_no_row_and_live_gives_the_same() {
    let events = events(200_000, 1, 1_000, &mut Random(42));
    let expected = by_hand(&events);
    for workers in [1, 4] {
        let backfilled = Rig::new(workers);
        backfilled.sql(STREAM).unwrap();
        spread(&backfilled, &events);
        let held_back = TopicPartition::new("events", 3);
        backfilled.faults.hold_back(held_back.clone());
        backfilled.sql(WINDOWED).unwrap();
        backfilled.flush();
        assert_ne!(backfilled.counts(), expected, "the partition held back is missing");
        backfilled.faults.release(&held_back);
        backfilled.engine.wake();
        backfilled.flush();
        assert_eq!(backfilled.counts(), expected, "{workers} workers");
        assert_eq!(backfilled.status("ctas_counts").late, 0);

        let live = Rig::new(workers);
        live.sql(STREAM).unwrap();
        live.sql(WINDOWED).unwrap();
        for run in events.chunks(40_000) {
            spread(&live, run);
            live.flush();
        }
        assert_eq!(live.counts(), expected, "{workers} workers, live");
    }
}

#[test]
fn late_rows_are_counted_and_the_count_survives_a_restart() {
    let rig = Rig::new(2);
    rig.sql("CREATE STREAM events (k BIGINT, v BIGINT) WITH (kafka_topic = 'events', partitions = 1)").unwrap();
    rig.sql(WINDOWED).unwrap();
    rig.write("events", &[(&[1, 1], 1_000), (&[1, 1], 60_000), (&[1, 1], 2_000), (&[1, 1], 3_000)]);
    rig.flush();
    assert_eq!(rig.status("ctas_counts").late, 2);
    let rig = rig.restarted(1);
    rig.flush();
    let status = rig.status("ctas_counts");
    assert_eq!((status.late, status.rows_in), (2, 4));
}

#[test]
fn a_quiet_source_closes_its_last_windows() {
    let rig = Rig::new(2);
    rig.sql(STREAM).unwrap();
    rig.sql(
        "CREATE TABLE finals AS SELECT k, COUNT(*) AS n FROM events WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 0 SECONDS) \
         GROUP BY k EMIT FINAL",
    )
    .unwrap();
    rig.write("events", &[(&[1, 1], 1_000), (&[1, 1], 2_000)]);
    rig.flush();
    assert!(rig.table("finals", &["k"], &["n"]).is_empty(), "three of the four partitions have said nothing");
    rig.advance(30_000);
    rig.advance(100);
    rig.eventually(|| {
        rig.advance(100);
        !rig.table("finals", &["k"], &["n"]).is_empty()
    });
    assert_eq!(rig.table("finals", &["k"], &["n"])["1"], "2");
}

#[test]
fn progress_ends_at_a_hundred() {
    let rig = Rig::new(2);
    rig.sql(STREAM).unwrap();
    spread(&rig, &events(50_000, 1, 0, &mut Random(7)));
    rig.sql(WINDOWED).unwrap();
    rig.until("ctas_counts", QueryState::Running);
    rig.flush();
    let status = rig.status("ctas_counts");
    assert_eq!((status.progress_percent, status.lag, status.rows_in), (100.0, 0, 50_000));
    assert!(status.tasks.iter().all(|task| task.progress_percent == 100.0));
    assert_eq!(Arc::new(status.tasks).len(), 8, "two sub-topologies of four partitions");
}
