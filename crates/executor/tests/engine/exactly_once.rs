//! Nothing is lost and nothing is counted twice: over restarts, crashes, commits that fail, in memory and in the embedded database.

use millpond_executor::{Error, QueryState, Storage};
use millpond_log_embedded::{Embedded, Options};

use crate::rig::{Random, Rig, STREAM, WINDOWED, by_hand, events, rows};

fn crash_and_restart(mut rig: Rig) {
    let mut random = Random(11);
    let all = events(60_000, 1, 100, &mut random);
    rig.sql(STREAM).unwrap();
    rig.sql(WINDOWED).unwrap();
    for (turn, run) in all.chunks(10_000).enumerate() {
        rig.write("events", &rows(run));
        let workers = 1 + turn % 3;
        rig = match turn % 3 {
            0 => rig.crashed(workers),
            1 => rig.restarted(workers),
            _ => {
                rig.flush();
                rig
            }
        };
    }
    rig.flush();
    assert_eq!(rig.counts(), by_hand(&all));
}

#[test]
fn crashes_and_restarts_leave_no_trace_in_memory() {
    crash_and_restart(Rig::new(2));
}

#[test]
fn crashes_and_restarts_leave_no_trace_in_the_embedded_database() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(directory.path(), &Options::default()).unwrap();
    crash_and_restart(Rig::over(Storage { log: embedded.clone(), state: embedded }, 2));
}

#[test]
fn a_full_disk_stops_queries_until_there_is_room() {
    let rig = Rig::new(2);
    rig.sql(STREAM).unwrap();
    rig.sql(WINDOWED).unwrap();
    let all = events(20_000, 1, 0, &mut Random(5));
    rig.write("events", &rows(&all[..10_000]));
    rig.flush();
    rig.faults.refuse_commits(true);
    rig.write("events", &rows(&all[10_000..]));
    let error = rig.engine.flush().unwrap_err();
    assert!(
        matches!(&error, Error::NotRunning { failed } if failed[0].query == "ctas_counts" && failed[0].reason.contains("no space left")),
        "{error}"
    );
    assert_eq!(rig.status("ctas_counts").state, QueryState::Failed);
    rig.faults.refuse_commits(false);
    rig.advance(60_000);
    rig.until("ctas_counts", QueryState::Running);
    rig.flush();
    assert_eq!(rig.counts(), by_hand(&all));
    assert_eq!(rig.status("ctas_counts").rows_in, 20_000, "rows that were not committed do not count");
}

#[test]
fn flush_sees_through_a_chain_of_queries() {
    let rig = Rig::new(3);
    rig.sql(STREAM).unwrap();
    rig.sql("CREATE STREAM odd AS SELECT k, v FROM events WHERE v % 2 = 1").unwrap();
    rig.sql("CREATE STREAM by_k AS SELECT k, v FROM odd PARTITION BY k").unwrap();
    rig.sql("CREATE TABLE sums AS SELECT k, SUM(v) AS total FROM by_k GROUP BY k").unwrap();
    let mut total = 0;
    for value in 0..40 {
        rig.write("events", &[(&[7, value], value)]);
        total += value * (value % 2);
        rig.flush();
        let expected = if total > 0 { Some(total.to_string()) } else { None };
        assert_eq!(rig.table("sums", &["k"], &["total"]).get("7"), expected.as_ref(), "after {value}");
    }
}
