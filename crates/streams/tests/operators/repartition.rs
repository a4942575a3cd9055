use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use millpond_formats::Format;
use millpond_streams::Topology;
use millpond_streams::driver::{Driver, sorted_text};
use millpond_streams::time::StreamTime;
use millpond_streams::topology::{OperatorSpec, RepartitionSpec};

use crate::topologies::{layout, lines, node, schema, sink, source, sub_topology, topology};

const COLUMNS: &str = "k:Int64 v:Utf8";
const HEAD: &str = "k:Int64 v:Utf8 $timestamp:Int64\n";

/// `in`, 2 partitions, by `k` into 3.
fn by_key(table: bool) -> Topology {
    let schema = schema(COLUMNS);
    let spec =
        RepartitionSpec { topic: "by-k".into(), partitions: 3, key: vec![0], key_format: Format::Native, idle_timeout_ms: Some(1_000) };
    let source = source("in", layout(COLUMNS, 1));
    let source = if table { OperatorSpec::TableSource(source) } else { OperatorSpec::StreamSource(source) };
    let behind = OperatorSpec::RepartitionSource { topic: "by-k".into(), upstream_partitions: 2, table };
    topology(vec![
        sub_topology(0, 2, vec![node("source", source, &[], &schema), node("to", OperatorSpec::RepartitionSink(spec), &[0], &schema)]),
        sub_topology(
            1,
            3,
            vec![
                node("from", behind, &[], &schema),
                node("sink", OperatorSpec::Sink(sink("out", layout(COLUMNS, 1), 3, table)), &[0], &schema),
            ],
        ),
    ])
}

#[test]
fn rows_move_to_their_keys_partition() {
    let mut driver = Driver::new(by_key(false), &[("in", 2)]).unwrap();
    driver.write_rows("in", 0, &format!("{HEAD} 1 a 10\n 2 b 11\n 3 c 12\n 4 d 13\n - e 14")).unwrap();
    driver.write_rows("in", 1, &format!("{HEAD} 1 f 20\n 2 g 21")).unwrap();
    driver.run().unwrap();
    let rows = driver.read("out").unwrap().unwrap();
    let expected = "k v $timestamp\n - e 14\n 1 a 10\n 1 f 20\n 2 b 11\n 2 g 21\n 3 c 12\n 4 d 13";
    assert_eq!(sorted_text(&rows).unwrap(), lines(expected));
    for (partition, entries) in driver.entries("by-k").unwrap().iter().enumerate() {
        for rows in entries.iter().filter_map(|entry| entry.payload.batch()) {
            for key in rows.column(0).as_primitive::<Int64Type>().iter().flatten() {
                assert_eq!(millpond_log::murmur2::partition(&key.to_be_bytes(), 3), partition as u32);
            }
        }
    }
}

#[test]
fn time_behind_it_is_the_least_that_upstream_tasks_announce() {
    let mut driver = Driver::new(by_key(false), &[("in", 2)]).unwrap();
    let behind = |driver: &mut Driver| {
        let tasks = driver.tasks(1);
        tasks.into_iter().map(|task| driver.task(task).stream_time()).collect::<Vec<_>>()
    };
    driver.write_rows("in", 0, &format!("{HEAD} 1 a 500\n 2 b 100")).unwrap();
    driver.run().unwrap();
    assert_eq!(behind(&mut driver), [StreamTime::Unknown; 3], "the other upstream task has not been heard of");
    driver.write_rows("in", 1, &format!("{HEAD} 1 c 200")).unwrap();
    driver.run().unwrap();
    assert_eq!(behind(&mut driver), [StreamTime::At(200); 3]);
    assert_eq!(driver.announcements("by-k").unwrap(), [2, 2, 2]);

    driver.restart().unwrap();
    assert_eq!(behind(&mut driver), [StreamTime::At(200); 3], "channels are kept");
    driver.idle().unwrap();
    assert_eq!(behind(&mut driver), [StreamTime::End(Some(500)); 3]);
    driver.write_rows("in", 1, &format!("{HEAD} 1 d 300")).unwrap();
    driver.run().unwrap();
    assert_eq!(behind(&mut driver), [StreamTime::At(300); 3], "a row wakes its channel");
    let announced = driver.announcements("by-k").unwrap();
    driver.run().unwrap();
    assert_eq!(driver.announcements("by-k").unwrap(), announced, "nothing moved, nothing is said");
}

#[test]
fn an_upstream_partition_that_is_always_empty_holds_nothing_back_once_idle() {
    let mut driver = Driver::new(by_key(false), &[("in", 2)]).unwrap();
    driver.write_rows("in", 0, &format!("{HEAD} 1 a 500")).unwrap();
    driver.run().unwrap();
    let empty = driver.tasks(0)[1];
    driver.task(empty).set_idle(0, true);
    driver.run().unwrap();
    let task = driver.tasks(1)[0];
    assert_eq!(driver.task(task).stream_time(), StreamTime::At(500));
}

#[test]
fn a_table_moves_by_its_changes() {
    let mut driver = Driver::new(by_key(true), &[("in", 2)]).unwrap();
    driver.write_rows("in", 0, &format!("{HEAD} 1 a 10\n 2 b 11")).unwrap();
    driver.run().unwrap();
    driver.write_rows("in", 0, "k:Int64 v:Utf8 $timestamp:Int64 $tombstone:Boolean\n 1 - 20 true\n 2 c 21 false").unwrap();
    driver.run().unwrap();
    assert_eq!(driver.table_text("out").unwrap(), lines("k v rowtime\n 2 c 1970-01-01T00:00:00.021"));
}
