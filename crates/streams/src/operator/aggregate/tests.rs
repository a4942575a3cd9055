use std::collections::BTreeMap;

use arrow::array::Int64Array;
use millpond_state::KeyRange;
use proptest::prelude::*;

use super::*;
use crate::operator::IncidentKind;
use crate::operator::fixture::{Row, Run, backend, function, input, output, spec, store, stream, time_window};
use crate::topology::{AggregateCall, WindowSpec};

fn run(spec: &AggregateSpec) -> Run {
    let backend = backend();
    let handle = (spec.phase != Phase::Partial).then(|| store(&backend));
    Run::new(Aggregate::new(spec, &input(), &output(spec), handle).unwrap(), &backend)
}

fn a(value: i64, time: i64) -> Row<'static> {
    (Some("a"), Some(value), time)
}

fn b(value: i64, time: i64) -> Row<'static> {
    (Some("b"), Some(value), time)
}

#[test]
fn a_commit_gives_the_last_result_of_each_group_and_takes_the_one_before_back() {
    let mut run = run(&spec(Phase::Single, &["count", "sum", "max"], None, Emit::Changes));
    run.process(stream(&[b(1, 10), a(2, 11), b(3, 5)], 0));
    run.process(stream(&[(Some("b"), None, 12)], 11));
    assert_eq!(run.lines(), Vec::<String>::new(), "nothing before the commit");
    run.commit();
    assert_eq!(run.lines(), ["+b 2 4 3 @12", "+a 1 2 2 @11"]);
    run.process(stream(&[a(5, 7)], 12));
    run.commit();
    assert_eq!(run.lines(), ["-a 1 2 2 @11", "+a 2 7 5 @11"]);
    run.commit();
    assert_eq!(run.lines(), Vec::<String>::new());
}

#[test]
fn windows_are_groups() {
    let mut tumbling = run(&spec(Phase::Single, &["count"], time_window(10, 10, 0), Emit::Changes));
    tumbling.process(stream(&[a(1, 0), a(1, 9), a(1, 10), b(1, 9)], 0));
    tumbling.commit();
    assert_eq!(tumbling.lines(), ["+a 0 10 2 @9", "+a 10 20 1 @10"], "b came after the end of its window");
    let mut hopping = run(&spec(Phase::Single, &["count"], time_window(10, 5, 10), Emit::Changes));
    hopping.process(stream(&[a(1, 4), a(1, 7), a(1, 10)], 0));
    hopping.commit();
    assert_eq!(hopping.lines(), ["+a 0 10 2 @7", "+a 5 15 2 @10", "+a 10 20 1 @10"]);
}

#[test]
fn late_rows_are_counted_and_explained() {
    let mut run = run(&spec(Phase::Single, &["count"], time_window(10, 10, 5), Emit::Changes));
    run.process(stream(&[a(1, 14), a(1, 9), a(1, 15), a(1, 9), b(1, 8)], 0));
    run.commit();
    assert_eq!(run.lines(), ["+a 10 20 2 @15", "+a 0 10 1 @9"]);
    assert_eq!(run.counters.late, 2);
    let [first, second] = &run.incidents[..] else { panic!("one incident for each row") };
    assert_eq!((first.kind, first.rowtime_ms, second.rowtime_ms), (IncidentKind::Late, Some(9), Some(8)));
    let of = |group: &str| {
        let window = "the row is too late for the window from 1970-01-01 00:00:00: stream time is 1970-01-01 00:00:00.015";
        format!("group {group}: {window}")
    };
    assert_eq!((&first.message, &second.message), (&of("a"), &of("b")));
}

#[test]
fn rows_without_a_group_are_left_out() {
    let mut run = run(&spec(Phase::Single, &["sum"], None, Emit::Changes));
    run.process(stream(&[(None, Some(1), 1), a(2, 2), (None, Some(3), 3)], 0));
    run.commit();
    assert_eq!((run.lines(), run.counters.null_key), (vec!["+a 2 @2".to_string()], 2));
}

#[test]
fn every_update_gives_each_row_its_results() {
    let mut run = run(&spec(Phase::Single, &["count"], time_window(10, 5, 10), Emit::EveryUpdate));
    run.process(stream(&[a(1, 7), a(1, 4), b(1, 1)], 0));
    assert_eq!(run.lines(), ["+a 0 10 1 @7", "+a 5 15 1 @7", "-a 0 10 1 @7", "+a 0 10 2 @7", "+b 0 10 1 @1"]);
    run.commit();
    assert_eq!(run.lines(), Vec::<String>::new());
}

#[test]
fn filters_choose_the_rows_of_one_aggregate() {
    use datafusion::logical_expr::Operator::Gt;
    use datafusion::physical_expr::expressions::{binary, col, lit};
    let schema = input();
    let positive = binary(col("v", &schema).unwrap(), Gt, lit(0_i64), &schema).unwrap();
    let mut spec = spec(Phase::Single, &["count"], None, Emit::Changes);
    spec.aggregates.push(AggregateCall { function: function("count", "v"), filter: Some(positive) });
    let mut run = run(&spec);
    run.process(stream(&[a(1, 1), a(-1, 2), a(0, 3), b(-2, 4)], 0));
    run.commit();
    assert_eq!(run.lines(), ["+a 3 1 @3", "+b 1 0 @4"]);
}

#[test]
fn final_results_come_once_when_the_window_closes() {
    let mut run = run(&spec(Phase::Single, &["count"], time_window(10, 10, 5), Emit::Final));
    run.process(stream(&[b(1, 12), a(1, 12), a(1, 3), b(1, 4)], 0));
    run.advance(12);
    run.commit();
    run.process(stream(&[a(1, 14)], 12));
    run.advance(14);
    assert_eq!(run.lines(), Vec::<String>::new(), "not yet");
    run.advance(15);
    assert_eq!(run.lines(), ["+a 0 10 1 @3", "+b 0 10 1 @4"]);
    run.commit();
    run.advance(24);
    assert_eq!(run.lines(), Vec::<String>::new());
    run.advance(25);
    assert_eq!(run.lines(), ["+a 10 20 2 @14", "+b 10 20 1 @12"]);
    run.commit();
    run.advance(1_000);
    assert_eq!(run.lines(), Vec::<String>::new());
}

#[test]
fn the_end_of_a_quiet_stream_closes_its_windows_for_good() {
    let spec = spec(Phase::Single, &["count"], time_window(10, 10, 5), Emit::Final);
    let mut first = run(&spec);
    first.process(stream(&[a(1, 3), a(1, 12)], 0));
    first.advance(i64::MAX);
    assert_eq!(first.lines(), ["+a 0 10 1 @3", "+a 10 20 1 @12"]);
    first.commit();
    // The stream wakes up, and the operator is another one, too.
    let handle = store(&first.backend);
    let mut second = Run::new(Aggregate::new(&spec, &input(), &output(&spec), Some(handle)).unwrap(), &first.backend);
    second.process(stream(&[a(1, 13), a(1, 21)], 13));
    second.advance(i64::MAX);
    assert_eq!(second.lines(), ["+a 20 30 1 @21"]);
    assert_eq!(second.counters.late, 1);
}

#[test]
fn what_is_expired_is_forgotten_only_after_the_commit() {
    let window = WindowSpec { retention_ms: 40, ..time_window(10, 10, 5).unwrap() };
    let mut run = run(&spec(Phase::Single, &["count"], Some(window), Emit::Changes));
    let starts = |run: &Run| {
        let mut starts = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            starts.extend((key[0] == GROUP).then(|| bounds(key).0));
            std::ops::ControlFlow::Continue(())
        };
        run.backend.scan(store(&run.backend).id, 0, KeyRange::ALL, &mut visit).unwrap();
        starts
    };
    run.process(stream(&[a(1, 3), a(1, 12)], 0));
    run.advance(12);
    run.commit();
    run.process(stream(&[a(1, 40)], 12));
    run.advance(40);
    assert_eq!(starts(&run), [0, 10], "a replay would need them");
    run.commit();
    assert_eq!(starts(&run), [10, 40], "the first window began 40 ago");
}

#[test]
fn mistakes_of_the_planner_are_told() {
    let good = spec(Phase::Single, &["count"], time_window(10, 10, 5), Emit::Changes);
    let backend = backend();
    let error = |spec: &AggregateSpec, with_store: bool| {
        let handle = with_store.then(|| store(&backend));
        match Aggregate::new(spec, &input(), &output(&good), handle) {
            Err(Error::Topology(message)) => message,
            other => panic!("{:?}", other.err()),
        }
    };
    error(&good, false);
    error(&AggregateSpec { window: time_window(10, 11, 0), ..good.clone() }, true);
    error(&AggregateSpec { group: vec![], ..good.clone() }, true);
    error(&AggregateSpec { window: None, emit: Emit::Final, ..good.clone() }, true);
    error(&AggregateSpec { phase: Phase::Final, ..good.clone() }, true);
    error(&AggregateSpec { window: Some(WindowSpec { retention_ms: 14, ..good.window.unwrap() }), ..good.clone() }, true);
}

/// Count, sum, maximum, and all values in order.
const NAMES: [&str; 4] = ["count", "sum", "max", "array_agg"];

fn by_hand(rows: &[Row<'_>], windows: &TimeWindows) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut groups: BTreeMap<Vec<String>, Vec<Option<i64>>> = BTreeMap::new();
    let mut stream_time = 0;
    for (key, value, time) in rows {
        stream_time = stream_time.max(*time);
        let Some(key) = key else { continue };
        for start in windows.starts(*time).filter(|start| start + windows.size_ms + windows.grace_ms > stream_time) {
            let group = vec![key.to_string(), start.to_string(), (start + windows.size_ms).to_string()];
            groups.entry(group).or_default().push(*value);
        }
    }
    let text = |value: Option<i64>| value.map_or("null".to_string(), |value| value.to_string());
    let result = |values: Vec<Option<i64>>| {
        let there: Vec<i64> = values.iter().flatten().copied().collect();
        let sum = (!there.is_empty()).then(|| there.iter().sum());
        let all: Vec<String> = values.iter().map(|value| value.map_or(String::new(), |value| value.to_string())).collect();
        vec![there.len().to_string(), text(sum), text(there.iter().max().copied()), format!("[{}]", all.join(", "))]
    };
    groups.into_iter().map(|(group, values)| (group, result(values))).collect()
}

fn random_rows() -> impl Strategy<Value = Vec<(Option<&'static str>, Option<i64>, i64)>> {
    let key = prop_oneof![
        Just(None),
        Just(Some("a")),
        Just(Some("b")),
        Just(Some("")),
        Just(Some("a longer key than fits into a block of thirty-two"))
    ];
    let row = (key, proptest::option::weighted(0.9, -50_i64..50), -12_i64..6);
    proptest::collection::vec(row, 1..60).prop_map(|rows| {
        let timed = rows.into_iter().enumerate().map(|(at, (key, value, jitter))| (key, value, (at as i64 * 2 + jitter).max(0)));
        timed.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn results_are_those_of_a_batch_whatever_the_cuts(
        rows in random_rows(),
        cuts in proptest::collection::vec(0_u8..3, 1..9),
        advance in prop_oneof![Just(10_i64), Just(5), Just(3)],
        grace in 0_i64..12,
    ) {
        let window = time_window(10, advance, grace);
        let windows = TimeWindows::new(window.as_ref().unwrap()).unwrap();
        let expected = by_hand(&rows, &windows);
        for emit in [Emit::Changes, Emit::EveryUpdate] {
            let mut single = run(&spec(Phase::Single, &NAMES, window, emit));
            single.feed(&rows, &cuts);
            prop_assert_eq!(single.table(3), expected.clone());
        }
        let mut one_by_one = run(&spec(Phase::Single, &NAMES, window, Emit::Changes));
        one_by_one.feed(&rows, &[2]);
        prop_assert_eq!(one_by_one.table(3), expected.clone());
    }

    #[test]
    fn final_results_are_those_of_a_batch(
        rows in random_rows(),
        cuts in proptest::collection::vec(0_u8..3, 1..9),
        grace in 0_i64..12,
    ) {
        let window = time_window(10, 5, grace);
        let windows = TimeWindows::new(window.as_ref().unwrap()).unwrap();
        let mut run = run(&spec(Phase::Single, &NAMES, window, Emit::Final));
        run.feed(&rows, &cuts);
        run.advance(i64::MAX);
        prop_assert_eq!(run.table(3), by_hand(&rows, &windows));
    }

    #[test]
    fn partial_and_final_are_single(
        rows in random_rows(),
        cuts in proptest::collection::vec(0_u8..3, 1..9),
        others in proptest::collection::vec(0_u8..3, 1..9),
        grace in 0_i64..12,
    ) {
        let window = time_window(10, 5, grace);
        let windows = TimeWindows::new(window.as_ref().unwrap()).unwrap();
        let mut partial = run(&spec(Phase::Partial, &NAMES, window, Emit::Changes));
        partial.feed(&rows, &cuts);
        let partial_output = output(&spec(Phase::Partial, &NAMES, window, Emit::Changes));
        for emit in [Emit::Changes, Emit::Final] {
            let spec = AggregateSpec { group: vec![], ..spec(Phase::Final, &NAMES, window, emit) };
            let backend = backend();
            let operator = Aggregate::new(&spec, &partial_output, &output(&spec), Some(store(&backend))).unwrap();
            let mut last = Run::new(operator, &backend);
            for (at, batch) in partial.given.iter().enumerate() {
                last.process(batch.clone());
                if others[at % others.len()] > 1 {
                    last.commit();
                }
            }
            last.commit();
            last.advance(i64::MAX);
            prop_assert_eq!(last.table(3), by_hand(&rows, &windows));
        }
    }
}

#[test]
fn partials_carry_the_greatest_times_of_their_rows() {
    let mut run = run(&spec(Phase::Partial, &["count"], time_window(10, 10, 50), Emit::Changes));
    run.process(stream(&[a(1, 4), b(1, 31), a(1, 2)], 0));
    run.commit();
    let [batch] = &run.given[..] else { panic!("one batch") };
    assert!(batch.changes.is_none());
    assert_eq!((&batch.timestamps, &batch.stream_times), (&Int64Array::from(vec![4, 31]), &Int64Array::from(vec![31, 31])));
}
