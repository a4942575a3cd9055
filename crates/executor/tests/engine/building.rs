//! Tasks are made beside the workers: state that has to be brought in first holds nobody up.

use std::thread;

use millpond_executor::QueryState;

use crate::rig::{Random, Rig, STREAM, WINDOWED, by_hand, events, rows};

#[test]
fn others_go_on_while_state_is_brought_in() {
    let rig = Rig::new(1);
    rig.sql(STREAM).unwrap();
    rig.sql(WINDOWED).unwrap();
    rig.sql("CREATE STREAM copies AS SELECT k, v FROM events EMIT CHANGES").unwrap();
    let all = events(2_000, 1, 0, &mut Random(11));
    rig.write("events", &rows(&all[..1_000]));
    rig.flush();
    rig.sql("PAUSE ctas_counts").unwrap();
    rig.faults.hold_up_restore(Some("ctas_counts/"));
    rig.sql("RESUME ctas_counts").unwrap();
    rig.write("events", &rows(&all[1_000..]));
    rig.eventually(|| {
        rig.advance(1_000);
        rig.status("csas_copies").rows_out == 2_000
    });
    assert_eq!(rig.status("ctas_counts").state, QueryState::Starting);
    rig.faults.hold_up_restore(None);
    rig.until("ctas_counts", QueryState::Running);
    rig.flush();
    assert_eq!(rig.counts(), by_hand(&all));
}

#[test]
fn a_query_that_is_dropped_meanwhile_leaves_nothing() {
    let rig = Rig::new(1);
    rig.sql(STREAM).unwrap();
    let (stores, topics) = (rig.stores(), rig.topics());
    rig.sql(WINDOWED).unwrap();
    rig.sql("PAUSE ctas_counts").unwrap();
    rig.faults.hold_up_restore(Some("ctas_counts/"));
    rig.sql("RESUME ctas_counts").unwrap();
    thread::scope(|scope| {
        let dropped = scope.spawn(|| rig.sql("DROP TABLE counts DELETE TOPIC"));
        rig.eventually(|| rig.engine.catalog().source("counts").is_err());
        rig.faults.hold_up_restore(None);
        dropped.join().unwrap().unwrap();
    });
    assert_eq!((rig.stores(), rig.topics()), (stores, topics));
}
