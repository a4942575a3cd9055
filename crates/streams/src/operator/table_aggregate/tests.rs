use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::operator::fixture::{Row, Run, backend, changes, input, output, spec, store, time_window};

fn run(names: &[&str], emit: Emit) -> Run {
    let (spec, backend) = (spec(Phase::Single, names, None, emit), backend());
    Run::new(TableAggregate::new(&spec, &input(), &output(&spec), store(&backend)).unwrap(), &backend)
}

fn is_invertible(names: &[&str]) -> bool {
    let (spec, backend) = (spec(Phase::Single, names, None, Emit::Changes), backend());
    let made = TableAggregate::new(&spec, &input(), &output(&spec), store(&backend)).unwrap();
    matches!(made.method, Method::Invertible(_))
}

fn a(value: i64, time: i64) -> Row<'static> {
    (Some("a"), Some(value), time)
}

fn b(value: i64, time: i64) -> Row<'static> {
    (Some("b"), Some(value), time)
}

#[test]
fn exact_functions_take_rows_back_and_others_are_computed_anew() {
    assert!(is_invertible(&["count", "sum"]));
    assert!(!is_invertible(&["count", "max"]));
    assert!(!is_invertible(&["avg"]), "of bigints, as doubles");
}

#[test]
fn rows_move_between_groups_and_groups_stay() {
    for (names, lines) in [
        (
            &["count", "sum"][..],
            ["+a 2 3 @2", "+b 1 5 @3", "-a 2 3 @4", "+a 1 2 @4", "-b 1 5 @4", "+b 2 6 @4", "-a 1 2 @5", "+a 0 null @5"],
        ),
        (
            &["count", "min"][..],
            ["+a 2 1 @2", "+b 1 5 @3", "-a 2 1 @4", "+a 1 2 @4", "-b 1 5 @4", "+b 2 1 @4", "-a 1 2 @5", "+a 0 null @5"],
        ),
    ] {
        let mut run = run(names, Emit::Changes);
        run.process(changes(&[(1, a(1, 1)), (1, a(2, 2)), (1, b(5, 3))]));
        run.commit();
        run.process(changes(&[(-1, a(1, 4)), (1, b(1, 4))]));
        run.commit();
        run.process(changes(&[(-1, a(2, 5))]));
        run.commit();
        assert_eq!(run.lines(), lines);
    }
}

#[test]
fn every_update_is_one_for_a_change_within_a_group() {
    for names in [["count", "sum"], ["count", "max"]] {
        let mut run = run(&names, Emit::EveryUpdate);
        run.process(changes(&[(1, a(1, 1)), (-1, a(1, 2)), (1, a(7, 2)), (-1, a(7, 3)), (1, b(7, 3))]));
        assert_eq!(run.lines(), ["+a 1 1 @1", "-a 1 1 @2", "+a 1 7 @2", "-a 1 7 @3", "+a 0 null @3", "+b 1 7 @3"]);
    }
}

#[test]
fn rows_without_a_group_are_left_out() {
    let mut run = run(&["count"], Emit::Changes);
    run.process(changes(&[(1, (None, Some(1), 1)), (-1, (None, Some(1), 2)), (1, a(1, 2))]));
    run.commit();
    assert_eq!((run.lines(), run.counters.null_key), (vec!["+a 1 @2".to_string()], 1));
}

#[test]
fn filters_choose_the_rows_of_one_aggregate() {
    use datafusion::logical_expr::Operator::Gt;
    use datafusion::physical_expr::expressions::{binary, col, lit};
    for (names, lines) in [
        (["sum", "sum"], ["+a -2 1 @3", "-a -2 1 @4", "+a -3 null @4", "-a -3 null @5", "+a null null @5"]),
        (["max", "max"], ["+a 1 1 @3", "-a 1 1 @4", "+a -3 null @4", "-a -3 null @5", "+a null null @5"]),
    ] {
        let schema = input();
        let mut spec = spec(Phase::Single, &names, None, Emit::Changes);
        spec.aggregates[1].filter = Some(binary(col("v", &schema).unwrap(), Gt, lit(0_i64), &schema).unwrap());
        let backend = backend();
        let mut run = Run::new(TableAggregate::new(&spec, &schema, &output(&spec), store(&backend)).unwrap(), &backend);
        for batch in [vec![(1, a(1, 1)), (1, a(-3, 3))], vec![(-1, a(1, 4))], vec![(-1, a(-3, 5))]] {
            run.process(changes(&batch));
            run.commit();
        }
        assert_eq!(run.lines(), lines);
    }
}

#[test]
fn a_row_that_is_there_many_times_counts_as_often() {
    let mut run = run(&["sum", "max"], Emit::Changes);
    run.process(changes(&vec![(1, a(3, 1)); 20_000]));
    run.commit();
    run.process(changes(&vec![(-1, a(3, 2)); 9_999]));
    run.commit();
    assert_eq!(run.lines(), ["+a 60000 3 @1", "-a 60000 3 @2", "+a 30003 3 @2"]);
}

#[test]
fn where_the_order_matters_rows_are_added_as_they_came() {
    let (spec, backend) = (spec(Phase::Single, &["array_agg", "count"], None, Emit::Changes), backend());
    let batches = [
        vec![(1, a(50, 1)), (1, b(7, 1)), (1, a(10, 2)), (1, a(30, 3))],
        vec![(-1, a(10, 4))],
        vec![(1, a(10, 5)), (1, a(50, 6))],
        vec![(-1, a(50, 7)), (-1, a(20, 8))],
        vec![(1, a(20, 9)), (1, a(5, 9))],
    ];
    let run = || Run::new(TableAggregate::new(&spec, &input(), &output(&spec), store(&backend)).unwrap(), &backend);
    let mut lines = Vec::new();
    for batch in &batches {
        // What is there is there for an operator that is built anew, too.
        let mut run = run();
        run.process(changes(batch));
        run.commit();
        lines.extend(run.lines().into_iter().filter(|line| line.starts_with("+a")));
    }
    let expected =
        ["+a [50, 10, 30] 3 @3", "+a [50, 30] 2 @4", "+a [50, 30, 10, 50] 4 @6", "+a [30, 10, 50] 3 @8", "+a [30, 10, 50, 5] 4 @9"];
    assert_eq!(lines, expected);
}

#[test]
fn how_ordered_rows_are_cut_makes_no_difference() {
    let rows: Vec<_> = [(1, 5), (1, 3), (-1, 5), (1, 5), (-1, 9), (1, 3), (1, 9), (-1, 3), (1, 9)]
        .into_iter()
        .map(|(sign, value)| (sign, a(value, 1)))
        .collect();
    for emit in [Emit::Changes, Emit::EveryUpdate] {
        for rows_max in 1..=rows.len() {
            let mut run = run(&["array_agg"], emit);
            for batch in rows.chunks(rows_max) {
                run.process(changes(batch));
                run.commit();
            }
            let table = run.table(1);
            assert_eq!(table[&vec!["a".to_string()]], ["[5, 3, 9]"], "{emit:?}, {rows_max} at a time");
        }
    }
}

#[test]
fn mistakes_of_the_planner_are_told() {
    let good = spec(Phase::Single, &["count"], None, Emit::Changes);
    let backend = backend();
    for bad in [
        AggregateSpec { window: time_window(10, 10, 0), ..good.clone() },
        AggregateSpec { phase: Phase::Final, ..good.clone() },
        AggregateSpec { emit: Emit::Final, ..good.clone() },
        AggregateSpec { group: vec![], ..good.clone() },
    ] {
        let made = TableAggregate::new(&bad, &input(), &output(&good), store(&backend));
        assert!(matches!(made, Err(Error::Topology(_))));
    }
}

/// What a table's keys come to: of each, which row it has after each step.
type Steps = Vec<(u8, Option<(&'static str, Option<i64>)>)>;

fn by_hand(steps: &Steps, names: &[&str]) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut table = BTreeMap::new();
    let mut groups: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (key, row) in steps {
        table.insert(key, row);
        groups.extend(row.map(|(group, _)| (group, Vec::new())));
    }
    for (group, value) in table.into_values().flatten() {
        groups.entry(group).or_default().extend(value);
    }
    let result = |name: &&str, values: &[i64]| match *name {
        "count" => Some(values.len() as i64),
        _ if values.is_empty() => None,
        "sum" => Some(values.iter().sum()),
        "min" => values.iter().min().copied(),
        _ => values.iter().max().copied(),
    };
    let text = |value: Option<i64>| value.map_or("null".to_string(), |value| value.to_string());
    let row = |values: Vec<i64>| names.iter().map(|name| text(result(name, &values))).collect();
    groups.into_iter().map(|(group, values)| (vec![group.to_string()], row(values))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn results_are_those_of_the_present_rows(
        steps in proptest::collection::vec(
            (0_u8..6, proptest::option::weighted(0.8, (prop_oneof![Just("a"), Just("b"), Just("c")], proptest::option::weighted(0.9, -5_i64..5)))),
            1..50,
        ),
        cuts in proptest::collection::vec(0_u8..3, 1..9),
    ) {
        for (names, emit) in [
            (&["count", "sum"][..], Emit::Changes),
            (&["count", "sum"][..], Emit::EveryUpdate),
            (&["min", "count", "max"][..], Emit::Changes),
            (&["min", "count", "max"][..], Emit::EveryUpdate),
        ] {
            let mut run = run(names, emit);
            let mut present = BTreeMap::new();
            let mut pending = Vec::new();
            for (at, (key, row)) in steps.iter().enumerate() {
                let old = match row {
                    Some(row) => present.insert(*key, *row),
                    None => present.remove(key),
                };
                let change = |sign: i8, (group, value): (&'static str, Option<i64>)| (sign, (Some(group), value, at as i64));
                pending.extend(old.map(|old| change(-1, old)));
                pending.extend(row.map(|new| change(1, new)));
                let cut = if at + 1 == steps.len() { 2 } else { cuts[at % cuts.len()] };
                if cut > 0 {
                    run.process(changes(&std::mem::take(&mut pending)));
                }
                if cut > 1 {
                    run.commit();
                }
            }
            prop_assert_eq!(run.table(1), by_hand(&steps, names));
        }
    }
}
