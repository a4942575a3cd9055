use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::operator::fixture::{Row, Run, backend, input, output, session_window, spec, store, stream, time_window};

fn run(names: &[&str], gap: i64, grace: i64, emit: Emit) -> Run {
    let (spec, backend) = (spec(Phase::Single, names, session_window(gap, grace), emit), backend());
    Run::new(SessionAggregate::new(&spec, &input(), &output(&spec), store(&backend)).unwrap(), &backend)
}

fn a(value: i64, time: i64) -> Row<'static> {
    (Some("a"), Some(value), time)
}

fn b(value: i64, time: i64) -> Row<'static> {
    (Some("b"), Some(value), time)
}

#[test]
fn a_session_is_taken_back_under_its_old_bounds() {
    let mut run = run(&["count", "array_agg"], 10, 100, Emit::Changes);
    run.process(stream(&[a(1, 100), b(2, 100), a(3, 125), a(4, 105)], 0));
    run.commit();
    assert_eq!(run.lines(), ["+a 100 105 2 [1, 4] @105", "+a 125 125 1 [3] @125", "+b 100 100 1 [2] @100"]);
    run.process(stream(&[a(5, 115), b(6, 100)], 125));
    run.commit();
    assert_eq!(
        run.lines(),
        [
            "-a 100 105 2 [1, 4] @105",
            "-a 125 125 1 [3] @125",
            "+a 100 125 4 [1, 4, 3, 5] @125",
            "-b 100 100 1 [2] @100",
            "+b 100 100 2 [2, 6] @100"
        ]
    );
}

#[test]
fn sessions_that_come_and_go_within_a_commit_are_not_seen() {
    let mut run = run(&["sum"], 10, 100, Emit::Changes);
    run.process(stream(&[a(1, 100), a(2, 120), a(3, 140)], 0));
    run.process(stream(&[a(4, 110)], 140));
    run.process(stream(&[a(5, 130)], 140));
    run.commit();
    assert_eq!(run.lines(), ["+a 100 140 15 @140"]);
}

#[test]
fn every_update_gives_each_row_its_session() {
    let mut run = run(&["count"], 10, 100, Emit::EveryUpdate);
    run.process(stream(&[a(1, 100), b(1, 101), a(1, 120), a(1, 110)], 0));
    assert_eq!(
        run.lines(),
        ["+a 100 100 1 @100", "+b 101 101 1 @101", "+a 120 120 1 @120", "-a 100 100 1 @100", "-a 120 120 1 @120", "+a 100 120 3 @120"]
    );
}

#[test]
fn a_row_is_late_when_its_merged_session_is() {
    let mut run = run(&["count"], 10, 5, Emit::Changes);
    run.process(stream(&[b(1, 115), a(1, 100), a(1, 99), b(1, 116), a(1, 100), a(1, 101), b(1, 90)], 0));
    run.commit();
    // At 115 a session may end at 100, not at 99; then the row at 99 joins the one that ends at 100. At 116 that is over: for the row at
    // 100, which is late, and for that at 101, which is not.
    assert_eq!(run.lines(), ["+b 115 116 2 @116", "+a 99 100 2 @100", "+a 101 101 1 @101"]);
    assert_eq!(run.counters.late, 2);
    let told: Vec<_> = run.incidents.iter().map(|incident| (incident.rowtime_ms, incident.message.as_str())).collect();
    let window = "the row is too late for the window from 1970-01-01 00:00:00";
    let of = |group: &str, at: &str| format!("group {group}: {window}{at}: stream time is 1970-01-01 00:00:00.116");
    assert_eq!(told, [(Some(100), of("a", ".100").as_str()), (Some(90), of("b", ".090").as_str())]);
}

#[test]
fn earlier_rows_find_earlier_sessions_within_one_commit() {
    let mut run = run(&["count"], 10, 1_000, Emit::Changes);
    run.process(stream(&[a(1, 100), a(1, 200)], 0));
    run.commit();
    run.lines();
    run.process(stream(&[a(1, 205)], 200));
    run.process(stream(&[a(1, 95)], 205));
    run.commit();
    assert_eq!(run.lines(), ["-a 100 100 1 @100", "+a 95 100 2 @100", "-a 200 200 1 @200", "+a 200 205 2 @205"]);
}

#[test]
fn final_sessions_come_when_nothing_can_join_them() {
    let mut run = run(&["count"], 10, 5, Emit::Final);
    run.process(stream(&[b(1, 103), a(1, 100), a(1, 103)], 0));
    run.commit();
    run.advance(118);
    assert_eq!(run.lines(), Vec::<String>::new());
    run.process(stream(&[a(1, 119)], 118));
    run.advance(119);
    assert_eq!(run.lines(), ["+a 100 103 2 @103", "+b 103 103 1 @103"], "in the order of ends, then starts");
    run.commit();
    run.advance(i64::MAX);
    assert_eq!(run.lines(), ["+a 119 119 1 @119"]);
    run.process(stream(&[a(1, 119)], 119));
    assert_eq!(run.counters.late, 1, "the session is closed");
}

#[test]
fn mistakes_of_the_planner_are_told() {
    let good = spec(Phase::Single, &["count"], session_window(10, 5), Emit::Changes);
    let backend = backend();
    for bad in [
        AggregateSpec { window: None, ..good.clone() },
        AggregateSpec { window: time_window(10, 10, 0), ..good.clone() },
        AggregateSpec { window: session_window(0, 5), ..good.clone() },
        AggregateSpec { phase: Phase::Partial, ..good.clone() },
    ] {
        let made = SessionAggregate::new(&bad, &input(), &output(&good), store(&backend));
        assert!(matches!(made, Err(Error::Topology(_))));
    }
}

fn by_hand(rows: &[Row<'_>], gap: i64) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut by_key: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for (key, value, time) in rows {
        by_key.entry(key.unwrap()).or_default().push((*time, value.unwrap()));
    }
    let mut sessions = BTreeMap::new();
    for (key, mut rows) in by_key {
        rows.sort();
        for session in rows.chunk_by(|one, next| next.0 - one.0 <= gap) {
            let bounds = [session[0].0, session[session.len() - 1].0].map(|time| time.to_string());
            let sum: i64 = session.iter().map(|row| row.1).sum();
            sessions.insert([vec![key.to_string()], bounds.to_vec()].concat(), vec![session.len().to_string(), sum.to_string()]);
        }
    }
    sessions
}

/// The table after `rows` in the pieces that `cuts` make, and all windows' end.
fn in_pieces(mut run: Run, rows: &[Row<'_>], cuts: &[u8]) -> BTreeMap<Vec<String>, Vec<String>> {
    run.feed(rows, cuts);
    run.advance(i64::MAX);
    run.table(3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn sessions_are_those_of_a_batch_whatever_the_cuts(
        rows in proptest::collection::vec((prop_oneof![Just("a"), Just("b")], -9_i64..9, 0_i64..300), 1..60),
        cuts in proptest::collection::vec(0_u8..3, 1..9),
    ) {
        let rows: Vec<Row<'_>> = rows.into_iter().map(|(key, value, time)| (Some(key), Some(value), time)).collect();
        for emit in [Emit::Changes, Emit::EveryUpdate, Emit::Final] {
            prop_assert_eq!(in_pieces(run(&["count", "sum"], 10, 1_000, emit), &rows, &cuts), by_hand(&rows, 10));
        }
    }

    #[test]
    fn late_rows_are_the_same_whatever_the_cuts(
        rows in proptest::collection::vec((prop_oneof![Just("a"), Just("b")], -9_i64..9, 0_i64..150), 1..60),
        cuts in proptest::collection::vec(0_u8..3, 1..9),
        grace in 0_i64..60,
    ) {
        let rows: Vec<Row<'_>> = rows.into_iter().map(|(key, value, time)| (Some(key), Some(value), time)).collect();
        let whole = in_pieces(run(&["count", "sum"], 10, grace, Emit::Changes), &rows, &[0]);
        for emit in [Emit::Changes, Emit::EveryUpdate, Emit::Final] {
            prop_assert_eq!(&in_pieces(run(&["count", "sum"], 10, grace, emit), &rows, &cuts), &whole);
        }
    }
}
