//! Rows between tasks: handed over where one worker runs both, by way of the topic elsewhere, and each once, however that changes.

use millpond_executor::QueryState;
use millpond_log::TopicPartition;

use crate::rig::{Random, Rig, STREAM, WINDOWED, by_hand, events, rows};

/// How many rows and announcements the repartition topic of [`WINDOWED`] has.
fn repartitioned(rig: &Rig) -> u64 {
    let log = &rig.storage().log;
    let topics = log.topics().unwrap();
    let topic = topics.iter().find(|topic| topic.name.ends_with("-repartition")).expect("the query has one");
    let end = |partition| log.offsets(&TopicPartition::new(&*topic.name, partition)).unwrap().end;
    (0..topic.config.partitions).map(end).sum()
}

#[test]
fn one_worker_needs_no_topic() {
    let rig = Rig::new(1);
    rig.sql(STREAM).unwrap();
    rig.sql(WINDOWED).unwrap();
    let all = events(20_000, 1, 0, &mut Random(7));
    for run in all.chunks(5_000) {
        rig.write("events", &rows(run));
        rig.flush();
    }
    assert_eq!(rig.counts(), by_hand(&all));
    assert_eq!(repartitioned(&rig), 0);
}

#[test]
fn a_repartition_topic_is_trimmed_once_it_is_committed() {
    let rig = Rig::new(3);
    rig.sql(STREAM).unwrap();
    rig.sql(WINDOWED).unwrap();
    let all = events(6_000, 1, 0, &mut Random(10));
    rig.write("events", &rows(&all[..5_000]));
    rig.flush();
    assert!(repartitioned(&rig) > 0);
    let is_trimmed = || {
        let log = &rig.storage().log;
        let topic = log.topics().unwrap().into_iter().find(|topic| topic.name.ends_with("-repartition")).unwrap();
        (0..topic.config.partitions).all(|partition| {
            let range = log.offsets(&TopicPartition::new(&*topic.name, partition)).unwrap();
            range.start == range.end
        })
    };
    assert!(!is_trimmed(), "not with each commit");
    rig.advance(10_000);
    rig.eventually(is_trimmed);
    let rig = rig.restarted(3);
    rig.write("events", &rows(&all[5_000..]));
    rig.flush();
    assert_eq!(rig.counts(), by_hand(&all));
    assert_eq!(rig.status("ctas_counts").lost, 0);
}

#[test]
fn what_is_in_the_topic_is_taken_before_anything_is_handed_over() {
    let mut rig = Rig::new(3);
    rig.sql(STREAM).unwrap();
    rig.sql(WINDOWED).unwrap();
    let all = events(60_000, 1, 0, &mut Random(8));
    let mut by_topic = Vec::new();
    for (turn, run) in all.chunks(5_000).enumerate() {
        rig.write("events", &rows(run));
        rig.flush();
        by_topic.push(repartitioned(&rig));
        if turn == 5 {
            rig = rig.restarted(1);
        }
    }
    assert_eq!(rig.counts(), by_hand(&all));
    assert!(by_topic[0] > 0, "three workers hand over some rows only");
    assert_eq!(by_topic[11], by_topic[5], "one worker waits for what is in the topic, and needs it no more");
}

#[test]
fn tasks_are_spread_while_there_is_much_to_do() {
    let rig = Rig::gathering(3);
    let workers = || rig.status("ctas_counts").tasks.iter().map(|task| task.worker).max().unwrap();
    rig.sql(STREAM).unwrap();
    let all = events(600_000, 1, 0, &mut Random(9));
    all.chunks(60_000).for_each(|run| rig.write("events", &rows(run)));
    rig.sql(WINDOWED).unwrap();
    rig.until("ctas_counts", QueryState::Running);
    assert_eq!(workers(), 0);
    rig.eventually(|| {
        rig.advance(1_000);
        workers() > 0
    });
    rig.eventually(|| {
        rig.advance(1_000);
        workers() == 0
    });
    rig.flush();
    assert_eq!(rig.counts(), by_hand(&all));
}
