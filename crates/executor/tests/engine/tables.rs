//! Declared tables, and where rows go that are written to sources.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::BooleanArray;
use millpond_log::{Log, TopicPartition};
use millpond_state::{Backend, KeyRange, StoreConfig};

use crate::rig::{Rig, STREAM};

fn ends(log: &Arc<dyn Log>, topic: &str, partitions: u32) -> Vec<u64> {
    (0..partitions).map(|partition| log.offsets(&TopicPartition::new(topic, partition)).unwrap().end).collect()
}

fn rows_of(state: &Arc<dyn Backend>, store: &str, partitions: u32) -> usize {
    let store = state.open_store(store, StoreConfig::keep(partitions)).unwrap();
    let mut rows = 0;
    for partition in 0..partitions {
        let mut count = |_: &[u8], _: &[u8]| {
            rows += 1;
            std::ops::ControlFlow::Continue(())
        };
        state.scan(store, partition, KeyRange::ALL, &mut count).unwrap();
    }
    rows
}

#[test]
fn a_declared_table_is_kept_readable() {
    let rig = Rig::new(2);
    rig.sql("CREATE TABLE users (id BIGINT PRIMARY KEY, age BIGINT) WITH (kafka_topic = 'users', partitions = 3)").unwrap();
    rig.write("users", &[(&[1, 30], 0), (&[2, 40], 0), (&[3, 50], 0), (&[1, 31], 1)]);
    rig.flush();
    assert_eq!(rows_of(&rig.storage().state, "table/users", 3), 3);
    rig.try_write("users", &[(&[2, 0], 2)], Some(BooleanArray::from(vec![true]))).unwrap();
    let rig = rig.restarted(1);
    rig.flush();
    assert_eq!(rows_of(&rig.storage().state, "table/users", 3), 2);
    assert_eq!(rig.table("users", &["id"], &["age"]).into_values().collect::<BTreeSet<_>>(), ["31", "50"].map(str::to_owned).into());
    rig.sql("DROP TABLE users").unwrap();
    assert!(rig.stores().is_empty(), "{:?}", rig.stores());
    assert!(rig.topics().contains(&"users".to_owned()), "its topic stays unless DELETE TOPIC is said");
}

#[test]
fn rows_without_a_key_fill_the_emptiest_partition() {
    let rig = Rig::new(1);
    rig.sql(STREAM).unwrap();
    let values: Vec<[i64; 2]> = (0..20_000).map(|value| [value, 0]).collect();
    let rows: Vec<(&[i64], i64)> = values.iter().map(|value| (&value[..], 1)).collect();
    rig.write("events", &rows);
    assert_eq!(ends(&rig.storage().log, "events", 4), [8_192, 8_192, 3_616, 0]);
    rig.write("events", &rows[..10]);
    rig.write("events", &rows[..10_000]);
    assert_eq!(ends(&rig.storage().log, "events", 4), [8_192, 8_192, 3_616 + 1_808, 10 + 8_192]);
}

#[test]
fn rows_of_a_key_meet_in_one_partition() {
    let rig = Rig::new(1);
    rig.sql("CREATE STREAM keyed (k BIGINT KEY, v BIGINT) WITH (kafka_topic = 'keyed', partitions = 4)").unwrap();
    rig.sql("CREATE STREAM json (k BIGINT KEY, v BIGINT) WITH (kafka_topic = 'json', partitions = 4, value_format = 'json')").unwrap();
    for source in ["keyed", "json"] {
        for _ in 0..3 {
            rig.write(source, &[(&[1, 0], 0), (&[2, 0], 0), (&[3, 0], 0)]);
        }
    }
    let keyed = ends(&rig.storage().log, "keyed", 4);
    assert!(keyed.iter().all(|end| end % 3 == 0), "{keyed:?}");
    assert_eq!(keyed, ends(&rig.storage().log, "json", 4), "a native key is hashed as Kafka's own");
}

#[test]
fn what_cannot_be_written_is_refused_whole() {
    let rig = Rig::new(1);
    rig.sql("CREATE STREAM timed (k BIGINT, at BIGINT) WITH (kafka_topic = 'timed', partitions = 1, timestamp = 'at')").unwrap();
    let error = rig.try_write("timed", &[(&[1, 5], 5), (&[1, 6], -6)], None).unwrap_err();
    assert_eq!(error.to_string(), "cannot write to \"timed\": row 2: its timestamp is before 1970");
    assert_eq!(ends(&rig.storage().log, "timed", 1), [0]);
    let error = rig.sql("CREATE STREAM again (k BIGINT) WITH (kafka_topic = 'timed', partitions = 2)").unwrap_err();
    assert_eq!(error.to_string(), "topic \"timed\" has 1 partitions already, not 2");
}
