//! Queries that are behind, beside others that are not.

use millpond_executor::QueryState;

use crate::rig::{Random, Rig, STREAM, WINDOWED, by_hand, events, rows};

const OTHER: &str = "CREATE STREAM other (k BIGINT, v BIGINT) WITH (kafka_topic = 'other', partitions = 1); \
     CREATE STREAM copied AS SELECT k, v FROM other";

#[test]
fn what_is_behind_catches_up_while_others_are_live() {
    let rig = Rig::new(1);
    rig.sql(&format!("{STREAM}; {OTHER}")).unwrap();
    // More than a turn for each partition, in many entries.
    let events = events(400_000, 1, 100, &mut Random(7));
    events.chunks(10_000).for_each(|chunk| rig.write("events", &rows(chunk)));
    rig.write("other", &[(&[0, 0], 1_000_000)]);
    rig.flush();

    rig.sql(WINDOWED).unwrap();
    let query = rig.engine.queries().into_iter().find(|query| query.id.contains("counts")).unwrap().id;
    rig.until(&query, QueryState::Running);
    let mut live = 1;
    while rig.status(&query).rows_in < 400_000 {
        rig.write("other", &[(&[live, 0], 1_000_000)]);
        live += 1;
        rig.advance(100);
        let copied = || rig.entries("copied").iter().map(|rows| rows.num_rows() as i64).sum::<i64>();
        rig.eventually(|| {
            rig.advance(10);
            copied() == live
        });
    }
    rig.flush();
    assert_eq!(rig.counts(), by_hand(&events));
}
