//! What happens to the topics of sources behind a query's back.

use millpond_executor::{LineKind, QueryState};
use millpond_log::TopicPartition;

use crate::rig::Rig;

/// A query over a source of so many partitions, with `properties` behind its others.
fn copying(partitions: u32, properties: &str) -> Rig {
    let rig = Rig::new(partitions.min(2) as usize);
    let with = format!("kafka_topic = 'events', partitions = {partitions}{properties}");
    rig.sql(&format!("CREATE STREAM events (k BIGINT, v BIGINT) WITH ({with})")).unwrap();
    rig.sql("CREATE STREAM copy AS SELECT k, v FROM events").unwrap();
    rig
}

/// A query that has read ten rows and is paused, while five are deleted before it reads them and three stay.
fn behind_a_gap(on_data_loss: &str) -> Rig {
    let rig = copying(1, on_data_loss);
    let write = |rows: usize| rig.write("events", &vec![(&[1, 1][..], 1_000); rows]);
    write(10);
    rig.flush();
    rig.sql("PAUSE csas_copy").unwrap();
    write(5);
    write(3);
    rig.storage().log.trim(&[(TopicPartition::new("events", 0), 15)]).unwrap();
    rig
}

#[test]
fn behind_a_gap_a_query_goes_on_as_its_source_says_and_counts_what_it_has_lost() {
    for (on_data_loss, rows, lost) in [("", 14, 5), (", on_data_loss = 'earliest'", 14, 5), (", on_data_loss = 'latest'", 11, 8)] {
        let rig = behind_a_gap(on_data_loss);
        rig.sql("RESUME csas_copy").unwrap();
        rig.flush();
        rig.write("events", &[(&[1, 1], 1_000)]);
        rig.flush();
        let status = rig.status("csas_copy");
        assert_eq!((status.rows_in, status.lost), (rows, lost), "{on_data_loss}");
        let lines = rig.engine.processing_log();
        assert!(lines.iter().any(|line| line.kind == LineKind::Skipped && line.message.contains("10..15")), "{lines:?}");
        let rig = rig.restarted(1);
        rig.flush();
        assert_eq!(rig.status("csas_copy").lost, lost, "it is kept");
    }
}

#[test]
fn behind_a_gap_a_query_stops_where_its_source_says_so() {
    let rig = behind_a_gap(", on_data_loss = 'stop'");
    rig.sql("RESUME csas_copy").unwrap();
    rig.until("csas_copy", QueryState::Failed);
    let status = rig.status("csas_copy");
    let reason = status.reason.unwrap();
    assert!(reason.contains("10..15 of events/0") && reason.contains("ALTER QUERY csas_copy RESET"), "{reason}");
    assert_eq!((status.rows_in, status.lost), (10, 0));

    rig.sql("ALTER QUERY csas_copy RESET").unwrap();
    rig.flush();
    assert_eq!(rig.status("csas_copy").rows_in, 3);
}

/// While the clock goes on.
fn until_after_a_while(rig: &Rig, state: QueryState) {
    rig.eventually(|| {
        rig.advance(1_000);
        rig.status("csas_copy").state == state
    });
}

/// Over Kafka nobody is told of what others write to a partition that nobody has asked for.
#[test]
fn a_query_asks_for_what_comes_where_there_is_nothing_yet() {
    let rig = copying(4, "");
    rig.eventually(|| (0..4).all(|partition| rig.faults.was_fetched_from(&TopicPartition::new("events", partition))));
}

#[test]
fn a_query_whose_topic_was_expanded_stops_and_says_what_to_do() {
    let rig = copying(4, "");
    rig.flush();
    rig.faults.expand(&["events"]);
    until_after_a_while(&rig, QueryState::Failed);
    let reason = rig.status("csas_copy").reason.unwrap();
    assert!(reason.contains("\"events\" has 5 partitions now, and 4 when"), "{reason}");

    // Tried again it finds the same.
    rig.advance(2_000);
    rig.eventually(|| rig.status("csas_copy").failures >= 2);
    rig.faults.expand(&[]);
    until_after_a_while(&rig, QueryState::Running);
}

#[test]
fn a_query_whose_topic_was_deleted_stops() {
    let rig = copying(4, "");
    rig.flush();
    rig.storage().log.delete_topic("events").unwrap();
    until_after_a_while(&rig, QueryState::Failed);
    let reason = rig.status("csas_copy").reason.unwrap();
    assert!(reason.contains("events"), "{reason}");
}
