use millpond_streams::Error;
use millpond_streams::driver::Driver;
use millpond_streams::topology::{OperatorSpec, SourceColumn, SourceSpec};

use crate::topologies::{json, layout, line, lines, node, schema, sink, source};

fn pass(spec: SourceSpec, columns: &str) -> Driver {
    let schema = schema(columns);
    let topology = line(vec![
        node("source", OperatorSpec::StreamSource(spec), &[], &schema),
        node("sink", OperatorSpec::Sink(sink("out", layout(columns, 0), 1, false)), &[0], &schema),
    ]);
    Driver::new(topology, &[("in", 1)]).unwrap()
}

#[test]
fn rowtime_comes_from_the_timestamp_column() {
    let declared = layout("k:Int64 at:Utf8", 0);
    let columns = vec![SourceColumn::Declared(0), SourceColumn::Rowtime, SourceColumn::RowOffset, SourceColumn::RowPartition];
    let timestamp = Some((1, Some("yyyy-MM-dd'T'HH:mm".to_owned())));
    let mut driver = pass(SourceSpec { columns, timestamp, ..source("in", declared) }, "k:Int64 t:Int64 o:Int64 p:Int32");
    let rows = "k:Int64 at:Utf8 $timestamp:Int64
                1 1970-01-01T00:01 5
                2 1969-12-31T23:59 5
                3 soon 5
                4 - 5
                5 1970-01-01T00:00 5";
    driver.write_rows("in", 0, rows).unwrap();
    driver.run().unwrap();
    let expected = "k t o p $timestamp
                    1 60000 0 0 60000
                    5 0 4 0 0";
    assert_eq!(driver.read_text("out").unwrap(), lines(expected));
    assert_eq!(driver.counters().bad_timestamp, 3);
}

#[test]
fn a_column_that_an_older_entry_lacks_is_null() {
    let mut driver = pass(source("in", layout("k:Int64 v:Utf8", 0)), "k:Int64 v:Utf8");
    driver.write_rows("in", 0, "k:Int64 $timestamp:Int64\n 1 5").unwrap();
    driver.write_rows("in", 0, "v:Utf8 k:Int64 $timestamp:Int64\n a 2 5").unwrap();
    driver.run().unwrap();
    assert_eq!(driver.read_text("out").unwrap(), lines("k v $timestamp\n 1 - 5\n 2 a 5"));
}

#[test]
fn an_unsound_topology_is_refused() {
    let spec = SourceSpec { columns: vec![SourceColumn::Declared(7)], ..source("in", json("k:Int64 v:Utf8", 1)) };
    let schema = schema("k:Int64");
    let topology = line(vec![node("source", OperatorSpec::StreamSource(spec), &[], &schema)]);
    assert!(matches!(Driver::new(topology, &[("in", 1)]), Err(Error::Topology(_))));
}
