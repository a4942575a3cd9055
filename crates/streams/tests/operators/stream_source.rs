use millpond_streams::Error;
use millpond_streams::driver::Driver;
use millpond_streams::topology::{OnError, OperatorSpec, SourceColumn, SourceSpec};

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
    let incidents = driver.take_incidents();
    let told: Vec<_> = incidents.iter().map(|incident| (incident.offset.unwrap(), incident.message.as_str())).collect();
    let expected = [
        (1, "column \"at\": the timestamp '1969-12-31T23:59' is before 1970"),
        (2, "column \"at\": 'soon' is no timestamp of its format"),
        (3, "column \"at\": the timestamp is null"),
    ];
    assert_eq!(told, expected);
    assert!(incidents.iter().all(|incident| incident.topic.as_deref() == Some("in") && incident.partition == Some(0)));
}

#[test]
fn a_row_without_a_time_may_stop_the_query() {
    let timestamp = Some((1, Some("yyyy-MM-dd".to_owned())));
    let mut driver =
        pass(SourceSpec { timestamp, on_error: OnError::Stop, ..source("in", layout("k:Int64 at:Utf8", 0)) }, "k:Int64 at:Utf8");
    driver.write_rows("in", 0, "k:Int64 at:Utf8 $timestamp:Int64\n 1 1970-01-02 5\n 2 soon 5\n 3 1970-01-03 5").unwrap();
    let error = driver.run().unwrap_err().to_string();
    assert_eq!(error, "record 1 of in/0 cannot be decoded: column \"at\": 'soon' is no timestamp of its format");
    assert_eq!(driver.read_text("out").unwrap(), lines("k at $timestamp\n 1 1970-01-02 86400000"));
}

#[test]
fn a_column_that_an_older_entry_lacks_is_null() {
    let mut driver = pass(source("in", layout("k:Int64 v:Utf8", 0)), "k:Int64 v:Utf8");
    driver.write_rows("in", 0, "k:Int64 $timestamp:Int64\n 1 5").unwrap();
    driver.write_rows("in", 0, "v:Utf8 k:Int64 $timestamp:Int64\n a 2 5").unwrap();
    driver.run().unwrap();
    assert_eq!(driver.read_text("out").unwrap(), lines("k v $timestamp\n 1 - 5\n 2 a 5"));
}

/// Whatever is read of it: the rows that the topic's new declaration cannot read are told.
#[test]
fn a_value_that_a_new_type_does_not_hold_is_told() {
    for (wanted, expected) in [("k:Int64 v:Int32", "k v $timestamp\n 1 10 5\n 3 - 5"), ("k:Int64", "k $timestamp\n 1 5\n 3 5")] {
        let columns = (0..schema(wanted).fields().len()).map(SourceColumn::Declared).collect();
        let mut driver = pass(SourceSpec { columns, ..source("in", layout("k:Int64 v:Int32", 0)) }, wanted);
        driver.write_rows("in", 0, "k:Int64 v:Utf8 $timestamp:Int64\n 1 10 5\n 2 ten 5\n 3 - 5").unwrap();
        driver.run().unwrap();
        assert_eq!(driver.read_text("out").unwrap(), lines(expected));
        assert_eq!((driver.counters().rows_in, driver.counters().undecodable), (3, 1));
        let incident = driver.take_incidents().remove(0);
        assert_eq!(incident.offset, Some(1));
        assert_eq!(incident.message, "column \"v\": cannot cast string 'ten' to value of Int32 type");
    }
}

#[test]
fn an_unsound_topology_is_refused() {
    let spec = SourceSpec { columns: vec![SourceColumn::Declared(7)], ..source("in", json("k:Int64 v:Utf8", 1)) };
    let schema = schema("k:Int64");
    let topology = line(vec![node("source", OperatorSpec::StreamSource(spec), &[], &schema)]);
    assert!(matches!(Driver::new(topology, &[("in", 1)]), Err(Error::Topology(_))));
}
