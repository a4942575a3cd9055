use std::sync::Arc;

use millpond_log::opaque::{Columns, Record, batch};
use millpond_log::{Entry, Fetched, Payload};
use millpond_state::memory::MemoryBackend;
use millpond_streams::driver::{Driver, Pace};
use millpond_streams::operator::IncidentKind;
use millpond_streams::task::Stores;
use millpond_streams::topology::{OnError, OperatorSpec, RecordLayout, SourceColumn, SourceSpec, Windowed};
use millpond_streams::{Error, Task, Topology};

use crate::topologies::{json, layout, line, lines, node, schema, sink, source};

fn records(records: &[(Option<&'static str>, Option<&'static str>, i64)]) -> Entry {
    let record = |(key, value, timestamp_ms): &(Option<&'static str>, Option<&'static str>, i64)| Record {
        key: key.map(str::as_bytes),
        value: value.map(str::as_bytes),
        timestamp_ms: *timestamp_ms,
        headers: &[],
    };
    Entry::opaque(batch(records.iter().map(record)))
}

const ONE_OF_THREE_IS_BAD: [(Option<&str>, Option<&str>, i64); 3] =
    [(Some("1"), Some(r#"{"V": "a"}"#), 10), (Some("2"), Some("{oops"), 20), (None, None, 30)];

fn json_to_out(on_error: OnError) -> Topology {
    let columns = "k:Int64 v:Utf8";
    let spec = SourceSpec { on_error, ..source("in", json(columns, 1)) };
    line(vec![
        node("source", OperatorSpec::StreamSource(spec), &[], &schema(columns)),
        node("sink", OperatorSpec::Sink(sink("out", layout(columns, 1), 1, false)), &[0], &schema(columns)),
    ])
}

fn from_json(on_error: OnError) -> Driver {
    let mut driver = Driver::new(json_to_out(on_error), &[("in", 1)]).unwrap();
    driver.write("in", 0, records(&ONE_OF_THREE_IS_BAD)).unwrap();
    driver
}

#[test]
fn what_cannot_be_decoded_is_skipped_and_explained() {
    let mut driver = from_json(OnError::Skip);
    driver.run().unwrap();
    assert_eq!(driver.read_text("out").unwrap(), lines("k v $timestamp $tombstone\n 1 a 10 false\n - - 30 true"));
    assert_eq!((driver.counters().rows_in, driver.counters().undecodable), (3, 1));
    let incident = driver.take_incidents().remove(0);
    assert_eq!((incident.kind, incident.offset, incident.topic.as_deref()), (IncidentKind::Deserialization, Some(1), Some("in")));
    assert_eq!(incident.raw, None);
}

#[test]
fn a_dead_letter_has_the_raw_record() {
    let mut driver = from_json(OnError::DeadLetter);
    driver.run().unwrap();
    assert_eq!(driver.take_incidents()[0].raw, Some((Some(b"2".to_vec()), Some(b"{oops".to_vec()))));
}

#[test]
fn what_stands_before_the_record_that_stops_a_query_is_processed() {
    for (rows_max, commit_every) in [(usize::MAX, 1), (usize::MAX, 10), (1, 1), (1, 10), (2, 10)] {
        let mut driver = from_json(OnError::Stop).with_pace(Pace { rows_max, commit_every });
        // Begun anew it stops at the same record, and takes no row twice.
        for _ in 0..2 {
            assert!(matches!(driver.run(), Err(Error::Undecodable { offset: 1, .. })));
            assert_eq!(driver.read_text("out").unwrap(), lines("k v $timestamp\n 1 a 10"));
            assert_eq!((driver.counters().rows_in, driver.counters().undecodable), (1, 0));
            driver.restart().unwrap();
        }
    }
}

#[test]
fn offsets_without_records_are_not_passed_behind_the_record_that_stops_a_query() {
    let stores = Stores::new(Arc::new(MemoryBackend::new()));
    let mut task = Task::build("query", &json_to_out(OnError::Stop).sub_topologies[0], 0, &stores).unwrap();
    task.seek(0, 0);
    let fetched = Fetched { base_offset: 0, offsets: None, next_offset: 3, entry: Arc::new(records(&ONE_OF_THREE_IS_BAD)) };
    task.process(0, &fetched, 0).unwrap();
    task.commit(0).unwrap();
    task.pass(0, 4);
    assert_eq!(task.inputs()[0].position, Some(1));
    assert!(matches!(task.set_end(0, 0), Err(Error::Undecodable { offset: 1, .. })));
}

#[test]
fn a_record_is_bad_whatever_is_read_of_it() {
    let schema = schema("a:Int32");
    let declared = json("a:Int32 bb:Boolean", 0);
    let spec = SourceSpec { columns: vec![SourceColumn::Declared(0)], ..source("in", declared) };
    let topology = line(vec![
        node("source", OperatorSpec::StreamSource(spec), &[], &schema),
        node("sink", OperatorSpec::Sink(sink("out", layout("a:Int32", 0), 1, false)), &[0], &schema),
    ]);
    let mut driver = Driver::new(topology, &[("in", 1)]).unwrap();
    let values = [r#"{"a":1,"bb":"x"}"#, r#"{"a":2,"bb":true}"#, r#"{"a":3}"#];
    driver.write("in", 0, records(&values.map(|value| (None, Some(value), 10)))).unwrap();
    driver.run().unwrap();
    assert_eq!(driver.read_text("out").unwrap(), lines("a $timestamp\n 2 10\n 3 10"));
    assert_eq!(driver.counters().undecodable, 1);
    assert_eq!(driver.take_incidents()[0].message, "column \"bb\": expected a boolean, found a text");
}

#[test]
fn a_table_is_written_as_records_with_tombstones() {
    let columns = "k:Int64 v:Utf8";
    let topology = line(vec![
        node("source", OperatorSpec::TableSource(source("in", layout(columns, 1))), &[], &schema(columns)),
        node("sink", OperatorSpec::Sink(sink("out", json(columns, 1), 2, true)), &[0], &schema(columns)),
    ]);
    let mut driver = Driver::new(topology, &[("in", 1)]).unwrap();
    driver.write_rows("in", 0, "k:Int64 v:Utf8 $timestamp:Int64\n 1 a 10\n 2 b 11").unwrap();
    driver.run().unwrap();
    driver.write_rows("in", 0, "k:Int64 v:Utf8 $timestamp:Int64 $tombstone:Boolean\n 1 - 20 true").unwrap();
    driver.run().unwrap();
    let mut written = Vec::new();
    for (partition, entries) in driver.entries("out").unwrap().iter().enumerate() {
        for entry in entries {
            let Payload::Opaque(rows) = &entry.payload else { panic!("{entry:?}") };
            let record = Columns::of(rows).unwrap();
            for row in 0..rows.num_rows() {
                let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
                assert_eq!(millpond_log::murmur2::partition(record.key(row).unwrap(), 2), partition as u32);
                written.push((text(record.key(row)).unwrap(), text(record.value(row)), record.timestamps.value(row)));
            }
        }
    }
    written.sort();
    let row = |key: &str, value: Option<&str>, time_ms| (key.to_owned(), value.map(str::to_owned), time_ms);
    assert_eq!(written, [row("1", None, 20), row("1", Some(r#"{"v":"a"}"#), 10), row("2", Some(r#"{"v":"b"}"#), 11)]);
    assert_eq!(driver.table_text("out").unwrap(), lines("k v rowtime\n 2 b 1970-01-01T00:00:00.011"));
}

#[test]
fn windowed_keys_go_through_bytes() {
    let columns = "k:Int64 windowstart:Int64 windowend:Int64 v:Utf8";
    let windowed = |layout: RecordLayout| RecordLayout { windowed: Some(Windowed::Time { size_ms: 10 }), ..layout };
    let spec = |name: &str, layout: RecordLayout| SourceSpec {
        columns: vec![SourceColumn::Declared(0), SourceColumn::WindowStart, SourceColumn::WindowEnd, SourceColumn::Declared(1)],
        ..source(name, layout)
    };
    let (native, bytes) = (windowed(layout("k:Int64 v:Utf8", 1)), windowed(json("k:Int64 v:Utf8", 1)));
    let to = |name: &str, layout: &RecordLayout| {
        let sink = sink(name, layout.clone(), 1, true);
        OperatorSpec::Sink(millpond_streams::topology::SinkSpec { columns: vec![0, 3], window: Some((1, 2)), ..sink })
    };
    let pass = |from: SourceSpec, to: OperatorSpec| {
        line(vec![node("source", OperatorSpec::TableSource(from), &[], &schema(columns)), node("sink", to, &[0], &schema(columns))])
    };
    let mut driver = Driver::new(pass(spec("in", native.clone()), to("bytes", &bytes)), &[("in", 1)]).unwrap();
    let rows = "k:Int64 windowstart:Int64 windowend:Int64 v:Utf8 $timestamp:Int64\n 7 10 20 a 15\n 7 20 30 b 25";
    driver.write_rows("in", 0, rows).unwrap();
    driver.run().unwrap();
    let expected = "k v windowstart windowend rowtime
        7 a 1970-01-01T00:00:00.010 1970-01-01T00:00:00.020 1970-01-01T00:00:00.015
        7 b 1970-01-01T00:00:00.020 1970-01-01T00:00:00.030 1970-01-01T00:00:00.025";
    assert_eq!(driver.table_text("bytes").unwrap(), lines(expected));

    let entries = driver.entries("bytes").unwrap().remove(0);
    let mut back = Driver::new(pass(spec("bytes", bytes), to("out", &native)), &[("bytes", 1)]).unwrap();
    for entry in entries {
        back.write("bytes", 0, entry.as_ref().clone()).unwrap();
    }
    back.run().unwrap();
    assert_eq!(back.table_text("out").unwrap(), lines(expected));
}
