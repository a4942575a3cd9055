//! In which order a task takes the rows of several inputs, seen through a join.

use datafusion::physical_expr::expressions::col;
use millpond_streams::driver::{Driver, Pace};
use millpond_streams::topology::{OperatorSpec, StreamTableJoinSpec};

use crate::topologies::{layout, line, lines, node, schema, sink, source};

fn join() -> Driver {
    let (stream, table, both) = ("k:Int64 v:Utf8", "id:Int64 name:Utf8", "k:Int64 v:Utf8 id:Int64 name:Utf8");
    let spec = StreamTableJoinSpec { stream_key: vec![col("k", &schema(stream)).unwrap()], table_key: vec![0], left: true, filter: None };
    let topology = line(vec![
        node("stream", OperatorSpec::StreamSource(source("rows", layout(stream, 0))), &[], &schema(stream)),
        node("table", OperatorSpec::TableSource(source("names", layout(table, 1))), &[], &schema(table)),
        node("join", OperatorSpec::StreamTableJoin(spec), &[0, 1], &schema(both)),
        node("sink", OperatorSpec::Sink(sink("out", layout(both, 0), 1, false)), &[2], &schema(both)),
    ]);
    Driver::new(topology, &[("rows", 1), ("names", 1)]).unwrap()
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
