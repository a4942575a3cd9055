//! What the aggregates give, and that parts merged in order give what the whole gives.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::util::display::array_value_to_string;
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{col, lit};
use datafusion::scalar::ScalarValue;
use proptest::prelude::*;

fn rows(values: &[(Option<i64>, Option<&str>)]) -> RecordBatch {
    let numbers: Int64Array = values.iter().map(|(number, _)| *number).collect();
    let texts: StringArray = values.iter().map(|(_, text)| *text).collect();
    let doubles: Float64Array = numbers.iter().map(|number| number.map(|number| number as f64 / 2.0)).collect();
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
        numbers.iter().map(|number| number.map(|number| vec![Some(number as i32), None, Some(1)])),
    );
    let columns: Vec<(&str, ArrayRef)> =
        vec![("n", Arc::new(numbers)), ("t", Arc::new(texts)), ("d", Arc::new(doubles)), ("l", Arc::new(lists))];
    let fields: Vec<Field> = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, column)| column).collect()).unwrap()
}

enum Argument {
    Column(&'static str),
    Number(i64),
    Flag(bool),
}
use Argument::{Column, Flag, Number};

fn aggregate(name: &str, arguments: &[Argument]) -> AggregateFunctionExpr {
    try_aggregate(name, arguments).unwrap()
}

fn try_aggregate(name: &str, arguments: &[Argument]) -> datafusion::error::Result<AggregateFunctionExpr> {
    let schema = rows(&[]).schema();
    let expressions: Vec<Arc<dyn PhysicalExpr>> = arguments
        .iter()
        .map(|argument| match argument {
            Column(name) => col(name, &schema).unwrap(),
            Number(number) => lit(*number),
            Flag(flag) => lit(*flag),
        })
        .collect();
    let functions = millpond_functions::aggregate_functions();
    let named = |function: &&Arc<_>| {
        let function: &datafusion::logical_expr::AggregateUDF = function;
        function.name() == name || function.aliases().iter().any(|alias| alias == name)
    };
    let function = Arc::clone(functions.iter().find(named).unwrap());
    AggregateExprBuilder::new(function, expressions).schema(schema).alias("x").build()
}

fn update(aggregate: &AggregateFunctionExpr, accumulator: &mut dyn Accumulator, batch: &RecordBatch) {
    let arguments: Vec<ArrayRef> = aggregate
        .expressions()
        .iter()
        .map(|expression| expression.evaluate(batch).unwrap().into_array(batch.num_rows()).unwrap())
        .collect();
    accumulator.update_batch(&arguments).unwrap();
}

fn whole(aggregate: &AggregateFunctionExpr, batch: &RecordBatch) -> ScalarValue {
    let mut accumulator = aggregate.create_accumulator().unwrap();
    update(aggregate, accumulator.as_mut(), batch);
    accumulator.evaluate().unwrap()
}

fn print(value: &ScalarValue) -> String {
    if value.is_null() { "NULL".to_string() } else { array_value_to_string(&value.to_array().unwrap(), 0).unwrap() }
}

#[test]
fn results_follow_ksqldb() {
    let batch = rows(&[
        (Some(3), Some("a")),
        (None, Some("b")),
        (Some(5), None),
        (Some(3), Some("c")),
        (Some(4), Some("a")),
        (Some(5), Some("e")),
        (None, None),
    ]);
    for (name, arguments, result) in [
        ("collect_list", vec![Column("n")], "[3, , 5, 3, 4, 5, ]"),
        ("collect_set", vec![Column("n")], "[3, , 5, 4]"),
        ("topk", vec![Column("n"), Number(3)], "[5, 5, 4]"),
        (
            "topk",
            vec![Column("n"), Column("t"), Number(4)],
            "[{sort_col: 5, col0: }, {sort_col: 5, col0: e}, {sort_col: 4, col0: a}, {sort_col: 3, col0: a}]",
        ),
        ("topk", vec![Column("t"), Number(9)], "[e, c, b, a, a]"),
        ("topkdistinct", vec![Column("n"), Number(2)], "[5, 4]"),
        ("topkdistinct", vec![Column("t"), Number(9)], "[e, c, b, a]"),
        ("latest_by_offset", vec![Column("n")], "5"),
        ("latest_by_offset", vec![Column("n"), Flag(false)], "NULL"),
        ("latest_by_offset", vec![Column("n"), Number(2)], "[4, 5]"),
        ("latest_by_offset", vec![Column("n"), Number(2), Flag(false)], "[5, ]"),
        ("earliest_by_offset", vec![Column("t")], "a"),
        ("earliest_by_offset", vec![Column("n"), Number(3)], "[3, 5, 3]"),
        ("earliest_by_offset", vec![Column("n"), Number(3), Flag(false)], "[3, , 5]"),
        ("count_distinct", vec![Column("n")], "3"),
        ("attr", vec![Column("n")], "NULL"),
        ("histogram", vec![Column("t")], "{a: 2, b: 1, c: 1, e: 1}"),
        ("sum_list", vec![Column("l")], "25"),
        ("stddev_sample", vec![Column("d")], "0.5"),
        // As near to 1 as the sums of products come.
        ("correlation", vec![Column("d"), Column("d")], "1.0000000000000002"),
    ] {
        let aggregate = aggregate(name, &arguments);
        let value = whole(&aggregate, &batch);
        assert_eq!(print(&value), result, "{name}");
        assert_eq!(value.data_type(), *aggregate.field().data_type(), "{name}");
    }
    assert_eq!(print(&whole(&aggregate("attr", &[Column("n")]), &rows(&[(Some(7), None), (Some(7), None)]))), "7");
    assert_eq!(print(&whole(&aggregate("attr", &[Column("n")]), &rows(&[(Some(7), None), (None, None)]))), "NULL");
}

#[test]
fn nothing_gives_an_empty_result() {
    for (name, arguments, result) in [
        ("collect_list", vec![Column("n")], "[]"),
        ("topk", vec![Column("n"), Column("t"), Number(2)], "[]"),
        ("latest_by_offset", vec![Column("t")], "NULL"),
        ("count_distinct", vec![Column("n")], "0"),
        ("histogram", vec![Column("t")], "{}"),
        ("sum_list", vec![Column("l")], "0"),
    ] {
        let value = whole(&aggregate(name, &arguments), &rows(&[]));
        assert_eq!(print(&value), result, "{name}");
    }
}

#[test]
fn constants_must_be_constant_and_sensible() {
    for arguments in [vec![Column("n"), Number(0)], vec![Column("n"), Number(-1)], vec![Column("n"), Column("n")]] {
        let created = try_aggregate("topk", &arguments).and_then(|aggregate| aggregate.create_accumulator());
        assert!(created.is_err());
    }
}

#[test]
fn integers_wrap() {
    let lists = rows(&[(Some(i64::from(i32::MAX)), None)]);
    assert_eq!(whole(&aggregate("sum_list", &[Column("l")]), &lists), ScalarValue::Int32(Some(i32::MIN)));
}

fn all() -> Vec<(&'static str, Vec<Argument>)> {
    vec![
        ("collect_list", vec![Column("t")]),
        ("collect_set", vec![Column("n")]),
        ("collect_set", vec![Column("l")]),
        ("topk", vec![Column("n"), Number(3)]),
        ("topk", vec![Column("n"), Column("t"), Column("l"), Number(3)]),
        ("topkdistinct", vec![Column("t"), Number(2)]),
        ("latest_by_offset", vec![Column("t")]),
        ("latest_by_offset", vec![Column("t"), Flag(false)]),
        ("latest_by_offset", vec![Column("l"), Number(2), Flag(false)]),
        ("earliest_by_offset", vec![Column("t")]),
        ("earliest_by_offset", vec![Column("t"), Flag(false)]),
        ("earliest_by_offset", vec![Column("n"), Number(3)]),
        ("count_distinct", vec![Column("t")]),
        ("attr", vec![Column("t")]),
        ("histogram", vec![Column("t")]),
        ("sum_list", vec![Column("l")]),
    ]
}

proptest! {
    /// AGG-1, AGG-2: any cut into parts, states taken at every step and merged in order, gives what the whole gives.
    #[test]
    fn parts_give_what_the_whole_gives(
        values in proptest::collection::vec((proptest::option::of(-3i64..3), proptest::option::of(0usize..4)), 0..24),
        cuts in proptest::collection::vec(0usize..24, 0..5),
    ) {
        const TEXTS: [&str; 4] = ["a", "b", "c", "ä"];
        let values: Vec<_> = values.into_iter().map(|(number, text)| (number, text.map(|text| TEXTS[text]))).collect();
        let batch = rows(&values);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(values.len())).chain([0, values.len()]).collect();
        cuts.sort_unstable();
        for (name, arguments) in all() {
            let aggregate = aggregate(name, &arguments);
            let expected = whole(&aggregate, &batch);
            let types: Vec<DataType> = aggregate.state_fields().unwrap().iter().map(|field| field.data_type().clone()).collect();
            // One accumulator over all parts, its state taken in between; and parts of their own, merged.
            let mut along = aggregate.create_accumulator().unwrap();
            let mut merged = aggregate.create_accumulator().unwrap();
            let mut states: Vec<Vec<ScalarValue>> = vec![Vec::new(); types.len()];
            for cut in cuts.windows(2) {
                let part = batch.slice(cut[0], cut[1] - cut[0]);
                update(&aggregate, along.as_mut(), &part);
                let before = along.state().unwrap();
                prop_assert_eq!(before, along.state().unwrap());
                let mut own = aggregate.create_accumulator().unwrap();
                update(&aggregate, own.as_mut(), &part);
                let state = own.state().unwrap();
                prop_assert_eq!(state.iter().map(ScalarValue::data_type).collect::<Vec<_>>(), types.clone());
                let arrays: Vec<ArrayRef> = state.iter().map(|value| value.to_array().unwrap()).collect();
                merged.merge_batch(&arrays).unwrap();
                states.iter_mut().zip(state).for_each(|(states, state)| states.push(state));
            }
            prop_assert_eq!(&along.evaluate().unwrap(), &expected, "{}", name);
            prop_assert_eq!(&merged.evaluate().unwrap(), &expected, "{}", name);
            // All states in one batch, into what a stored state gave.
            let mut at_once = aggregate.create_accumulator().unwrap();
            let arrays: Vec<ArrayRef> = states.into_iter().map(|states| ScalarValue::iter_to_array(states).unwrap()).collect();
            at_once.merge_batch(&arrays).unwrap();
            prop_assert_eq!(&at_once.evaluate().unwrap(), &expected, "{}", name);
        }
    }
}
