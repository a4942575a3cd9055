use datafusion::logical_expr::Operator::Divide;
use datafusion::physical_expr::expressions::{binary, col};
use millpond_streams::driver::Driver;
use millpond_streams::operator::IncidentKind;
use millpond_streams::topology::OperatorSpec;

use crate::topologies::{layout, line, lines, node, schema, sink, source};

#[test]
fn a_failing_expression_is_null_and_explained() {
    let (columns, projected) = ("a:Int64 b:Int64", "b:Int64 q:Float64");
    let (input, output) = (schema(columns), schema(projected));
    let quotient = binary(col("a", &input).unwrap(), Divide, col("b", &input).unwrap(), &input).unwrap();
    let expressions = vec![col("b", &input).unwrap(), quotient];
    let mut driver = Driver::new(
        line(vec![
            node("source", OperatorSpec::StreamSource(source("in", layout(columns, 0))), &[], &input),
            node("project", OperatorSpec::Project { expressions }, &[0], &output),
            node("sink", OperatorSpec::Sink(sink("out", layout(projected, 0), 1, false)), &[1], &output),
        ]),
        &[("in", 1)],
    )
    .unwrap();
    driver.write_rows("in", 0, "a:Int64 b:Int64 $timestamp:Int64\n 8 2 10\n 6 0 20\n - 1 30").unwrap();
    driver.run().unwrap();
    assert_eq!(driver.read_text("out").unwrap(), lines("b q $timestamp\n 2 4.0 10\n 0 - 20\n 1 - 30"));
    let incidents = driver.take_incidents();
    assert_eq!(incidents.len(), 1);
    assert_eq!((incidents[0].kind, incidents[0].node.as_str(), incidents[0].rowtime_ms), (IncidentKind::Expression, "project", Some(20)));
    assert_eq!(driver.counters().failed_expressions, 1);
}
