//! In which order a task takes the rows of several inputs, seen through a join.

use datafusion::physical_expr::expressions::col;
use millpond_streams::driver::{Driver, Pace};
use millpond_streams::task::Stores;
use millpond_streams::topology::{OperatorSpec, StreamTableJoinSpec};
use millpond_streams::{Error, Task, Topology};

use crate::topologies::{layout, line, lines, node, schema, sink, source};

fn join() -> Driver {
    Driver::new(topology("name:Utf8"), &[("rows", 1), ("names", 1)]).unwrap()
}

/// `column` is what the table's `name` is joined as.
fn topology(column: &str) -> Topology {
    let (stream, table) = ("k:Int64 v:Utf8", "id:Int64 name:Utf8");
    let (joined, both) = (schema(&format!("id:Int64 {column}")), format!("{stream} id:Int64 {column}"));
    let expressions = vec![col("id", &schema(table)).unwrap(), col("name", &schema(table)).unwrap()];
    let spec = StreamTableJoinSpec { stream_key: vec![col("k", &schema(stream)).unwrap()], table_key: vec![0], left: true, filter: None };
    line(vec![
        node("stream", OperatorSpec::StreamSource(source("rows", layout(stream, 0))), &[], &schema(stream)),
        node("table", OperatorSpec::TableSource(source("names", layout(table, 1))), &[], &schema(table)),
        node("project", OperatorSpec::Project { expressions }, &[1], &joined),
        node("join", OperatorSpec::StreamTableJoin(spec), &[0, 2], &schema(&both)),
        node("sink", OperatorSpec::Sink(sink("out", layout(&both, 0), 1, false)), &[3], &schema(&both)),
    ])
}

#[test]
fn a_store_of_other_columns_is_not_read() {
    let mut driver = join();
    driver.write_rows("names", 0, "id:Int64 name:Utf8 $timestamp:Int64\n 1 x 5").unwrap();
    driver.run().unwrap();
    let stores = Stores::new(driver.backend().clone());
    let build = |column: &str| Task::build("query", &topology(column).sub_topologies[0], 0, &stores).map(drop);
    build("name:Utf8").unwrap();
    let error = build("name:Int64").unwrap_err();
    assert!(matches!(error, Error::State(_)), "{error}");
    assert!(error.to_string().contains("the store of join was written with other columns"), "{error}");
}

#[test]
fn each_row_meets_the_table_as_it_was_at_its_time_however_entries_are_cut() {
    for rows_max in [1, 2, usize::MAX] {
        for restart in [false, true] {
            let mut driver = join().with_pace(Pace { rows_max, commit_every: 1 });
            driver.write_rows("rows", 0, "k:Int64 v:Utf8 $timestamp:Int64\n 1 a 4\n 1 b 5\n 1 c 6\n 1 d 9\n 1 e 20").unwrap();
            driver.write_rows("names", 0, "id:Int64 name:Utf8 $timestamp:Int64\n 1 x 5\n 1 y 8\n 2 z 10").unwrap();
            if restart {
                driver.step(0).unwrap();
                driver.commit(0).unwrap();
                driver.restart().unwrap();
            }
            driver.run().unwrap();
            let expected = "k v id name $timestamp\n 1 a - - 4\n 1 b 1 x 5\n 1 c 1 x 6\n 1 d 1 y 9\n 1 e 1 y 20";
            assert_eq!(driver.read_text("out").unwrap(), lines(expected), "{rows_max} {restart}");
        }
    }
}

#[test]
fn a_row_out_of_order_meets_the_table_as_the_rows_before_it_do() {
    let mut driver = join();
    driver.write_rows("rows", 0, "k:Int64 v:Utf8 $timestamp:Int64\n 1 a 10").unwrap();
    driver.run().unwrap();
    driver.write_rows("rows", 0, "k:Int64 v:Utf8 $timestamp:Int64\n 1 b 7").unwrap();
    driver.write_rows("names", 0, "id:Int64 name:Utf8 $timestamp:Int64\n 1 x 8").unwrap();
    driver.restart().unwrap();
    driver.run().unwrap();
    assert_eq!(driver.read_text("out").unwrap(), lines("k v id name $timestamp\n 1 a - - 10\n 1 b 1 x 7"));
}
