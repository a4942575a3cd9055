use datafusion::logical_expr::Operator::Gt;
use datafusion::physical_expr::expressions::{binary, col, lit};
use millpond_streams::driver::Driver;
use millpond_streams::topology::OperatorSpec;

use crate::topologies::{layout, line, lines, node, schema, sink, source};

#[test]
fn rows_stay_where_the_predicate_is_true() {
    let columns = "k:Int64 v:Int64";
    let schema = schema(columns);
    let predicate = binary(col("v", &schema).unwrap(), Gt, lit(2_i64), &schema).unwrap();
    let mut driver = Driver::new(
        line(vec![
            node("source", OperatorSpec::StreamSource(source("in", layout(columns, 0))), &[], &schema),
            node("filter", OperatorSpec::Filter { predicate }, &[0], &schema),
            node("sink", OperatorSpec::Sink(sink("out", layout(columns, 0), 1, false)), &[1], &schema),
        ]),
        &[("in", 1)],
    )
    .unwrap();
    driver.write_rows("in", 0, "k:Int64 v:Int64 $timestamp:Int64\n 1 3 10\n 2 2 20\n 3 - 30\n 4 5 40").unwrap();
    driver.run().unwrap();
    assert_eq!(driver.read_text("out").unwrap(), lines("k v $timestamp\n 1 3 10\n 4 5 40"));
    assert_eq!((driver.counters().rows_in, driver.counters().rows_out), (4, 2));
}
