//! Queries start, stop, fail and go, each by itself.

use millpond_executor::{Error, LineKind, QueryState};
use millpond_log::{Append, Entry, TopicPartition, Transaction, opaque};

use crate::rig::{Rig, STREAM, WINDOWED};

#[test]
fn a_query_that_fails_fails_alone() {
    let rig = Rig::new(2);
    for (stream, on_error) in [("strict", "stop"), ("lax", "skip"), ("careful", "dead_letter")] {
        rig.sql(&format!(
            "CREATE STREAM {stream} (k BIGINT, v BIGINT) WITH (kafka_topic = 'raw', value_format = 'json', partitions = 1, on_error = '{on_error}')"
        ))
        .unwrap();
        rig.sql(&format!("CREATE STREAM {stream}_copy AS SELECT k, v FROM {stream}")).unwrap();
    }
    let record = |value: &'static str| opaque::Record { key: None, value: Some(value.as_bytes()), timestamp_ms: 5, headers: &[] };
    let values = [record("{\"k\": 1, \"v\": 1}"), record("nonsense"), record("{\"k\": 2, \"v\": 2}")];
    let entry = Entry::opaque(opaque::batch(values));
    let append = Append { target: TopicPartition::new("raw", 0), entry };
    rig.storage().log.append(Transaction { appends: vec![append] }).unwrap();
    // What came before the bad record is committed first.
    rig.engine.flush().unwrap_err();
    let reason = rig.status("csas_strict_copy").reason.unwrap();
    assert!(reason.contains("record 1 of raw/0 cannot be decoded"), "{reason}");
    assert_eq!((rig.status("csas_strict_copy").state, rig.status("csas_strict_copy").rows_out), (QueryState::Failed, 1));

    rig.sql("PAUSE csas_strict_copy").unwrap();
    rig.flush();
    for query in ["csas_lax_copy", "csas_careful_copy"] {
        let status = rig.status(query);
        assert_eq!((status.state, status.rows_out, status.undecodable), (QueryState::Running, 2, 1), "{query}");
    }
    let log = rig.engine.processing_log();
    assert!(log.iter().any(|line| line.kind == LineKind::Failure && line.query == "csas_strict_copy"));
    assert!(log.iter().any(|line| line.kind == LineKind::Deserialization && line.query == "csas_lax_copy" && line.offset == Some(1)));
    let letters = TopicPartition::new(rig.engine.dead_letters_topic(), 0);
    assert_eq!(rig.storage().log.offsets(&letters).unwrap().end, 1);
}

#[test]
fn a_changelog_that_cannot_be_written_to_fails_its_query_only() {
    let rig = Rig::new(1);
    rig.sql(STREAM).unwrap();
    rig.sql("CREATE TABLE sums WITH (partitions = 1) AS SELECT k, SUM(v) AS s FROM events GROUP BY k").unwrap();
    rig.sql(WINDOWED).unwrap();
    rig.faults.refuse_changelogs(Some("ctas_sums/"));
    rig.write("events", &[(&[1, 5], 1_000)]);
    rig.engine.flush().unwrap_err();
    rig.until("ctas_sums", QueryState::Failed);
    let reason = rig.status("ctas_sums").reason.unwrap();
    assert!(reason.contains("ctas_sums/") && reason.contains("no right to write"), "{reason}");
    rig.until("ctas_counts", QueryState::Running);
    rig.eventually(|| rig.counts().values().any(|counts| *counts == (1, 5)));
    rig.faults.refuse_changelogs(None);
    rig.advance(60_000);
    rig.until("ctas_sums", QueryState::Running);
    rig.flush();
    assert_eq!(rig.table("sums", &["k"], &["s"])["1"], "5");
}

#[test]
fn flush_waits_for_all_but_what_has_failed() {
    let rig = Rig::new(2);
    let with = "kafka_topic = 'raw', value_format = 'json', partitions = 1";
    rig.sql(&format!("CREATE STREAM strict (k BIGINT, v BIGINT) WITH ({with}, on_error = 'stop')")).unwrap();
    rig.sql(&format!("CREATE STREAM lax (k BIGINT, v BIGINT) WITH ({with})")).unwrap();
    rig.sql("CREATE STREAM a_copy AS SELECT k, v FROM strict").unwrap();
    rig.sql("CREATE STREAM b_copy AS SELECT k, v FROM a_copy").unwrap();
    rig.sql("CREATE STREAM c_copy AS SELECT k, v FROM lax").unwrap();
    let record = |value: &'static str| opaque::Record { key: None, value: Some(value.as_bytes()), timestamp_ms: 5, headers: &[] };
    let append = |values: &[&'static str]| {
        let entry = Entry::opaque(opaque::batch(values.iter().copied().map(record)));
        rig.storage().log.append(Transaction { appends: vec![Append { target: TopicPartition::new("raw", 0), entry }] }).unwrap();
    };
    append(&["nonsense"]);
    rig.engine.flush().unwrap_err();
    append(&["{\"k\": 1, \"v\": 1}", "{\"k\": 2, \"v\": 2}"]);
    let Err(Error::NotRunning { failed }) = rig.engine.flush() else { panic!("a failed query is an error") };
    assert_eq!(failed.iter().map(|failed| failed.query.as_str()).collect::<Vec<_>>(), ["csas_a_copy"]);
    assert_eq!(rig.status("csas_c_copy").rows_out, 2, "the others are waited for");
}

#[test]
fn a_declared_table_that_fails_is_called_by_its_name() {
    let rig = Rig::new(1);
    rig.sql("CREATE TABLE t (k BIGINT PRIMARY KEY, v BIGINT) WITH (partitions = 1, value_format = 'json', on_error = 'stop')").unwrap();
    let record = opaque::Record { key: Some(&[0, 0, 0, 0, 0, 0, 0, 1]), value: Some(b"nonsense"), timestamp_ms: 5, headers: &[] };
    let append = Append { target: TopicPartition::new("t", 0), entry: Entry::opaque(opaque::batch([record])) };
    rig.storage().log.append(Transaction { appends: vec![append] }).unwrap();
    let error = rig.engine.flush().unwrap_err();
    assert!(error.to_string().starts_with("table \"t\" has failed"), "{error}");
    assert!(error.hint().unwrap().contains("DROP TABLE t;"));
    rig.sql("DROP TABLE t").unwrap();
    rig.flush();
}

#[test]
fn a_topic_is_not_deleted_under_another_source() {
    let rig = Rig::new(1);
    rig.sql("CREATE STREAM d1 (v BIGINT) WITH (kafka_topic = 'd', partitions = 1)").unwrap();
    rig.sql("CREATE STREAM d2 (v BIGINT) WITH (kafka_topic = 'd', partitions = 1)").unwrap();
    let error = rig.sql("DROP STREAM d1 DELETE TOPIC").unwrap_err();
    assert_eq!(error.sqlstate(), "2BP01");
    assert!(error.to_string().ends_with("use it: d2"), "{error}");
    assert!(rig.engine.catalog().sources.contains_key("d1"));
    rig.sql("DROP STREAM d1").unwrap();
    rig.sql("DROP STREAM d2 DELETE TOPIC").unwrap();
    assert!(!rig.topics().contains(&"d".to_owned()));
}

#[test]
fn a_kept_topic_says_how_many_partitions_there_are() {
    let rig = Rig::new(2);
    rig.sql("CREATE STREAM events (k BIGINT, v BIGINT) WITH (kafka_topic = 'events', partitions = 2)").unwrap();
    rig.sql("CREATE TABLE sums WITH (kafka_topic = 'kept', partitions = 3) AS SELECT k, SUM(v) AS total FROM events GROUP BY k").unwrap();
    rig.sql("DROP TABLE sums; DROP STREAM events").unwrap();
    let error = rig.sql("CREATE STREAM events (k BIGINT, v BIGINT) WITH (kafka_topic = 'events', partitions = 4)").unwrap_err();
    assert_eq!((error.sqlstate(), error.to_string().as_str()), ("22023", "topic \"events\" has 2 partitions already, not 4"));
    assert_eq!(error.hint().as_deref(), Some("Leave PARTITIONS out, or give the number there is."));
    rig.sql("CREATE STREAM events (k BIGINT, v BIGINT) WITH (kafka_topic = 'events')").unwrap();
    rig.sql("CREATE TABLE sums WITH (kafka_topic = 'kept') AS SELECT k, SUM(v) AS total FROM events GROUP BY k").unwrap();
    let catalog = rig.engine.catalog();
    assert_eq!((catalog.source("events").unwrap().partitions, catalog.source("sums").unwrap().partitions), (2, 3));
    rig.write("events", &[(&[1, 5], 1_000), (&[2, 6], 1_000), (&[1, 1], 1_000)]);
    rig.flush();
    let rig = rig.restarted(1);
    rig.flush();
    assert_eq!(rig.table("kept", &["k"], &["total"])["1"], "6");
}

#[test]
fn a_failed_query_is_tried_again_with_growing_patience() {
    let rig = Rig::new(1);
    rig.sql(STREAM).unwrap();
    rig.sql(WINDOWED).unwrap();
    rig.faults.refuse_commits(true);
    rig.write("events", &[(&[1, 1], 1_000)]);
    rig.engine.flush().unwrap_err();
    assert_eq!(rig.status("ctas_counts").failures, 1);
    rig.advance(1_000);
    rig.until("ctas_counts", QueryState::Running);
    rig.engine.flush().unwrap_err();
    assert_eq!(rig.status("ctas_counts").failures, 2);
    rig.advance(1_000);
    assert_eq!(rig.status("ctas_counts").state, QueryState::Failed, "the second time it takes two seconds");
    rig.faults.refuse_commits(false);
    rig.advance(2_000);
    rig.until("ctas_counts", QueryState::Running);
    rig.flush();
    rig.advance(60_000);
    let status = rig.status("ctas_counts");
    assert_eq!((status.failures, status.reason), (0, None), "a minute of health");
}

#[test]
fn a_paused_query_goes_on_where_it_stopped() {
    let rig = Rig::new(2);
    rig.sql(STREAM).unwrap();
    rig.sql(WINDOWED).unwrap();
    rig.write("events", &[(&[1, 5], 1_000)]);
    rig.sql("PAUSE ctas_counts").unwrap();
    rig.write("events", &[(&[1, 6], 2_000)]);
    rig.flush();
    assert_eq!(rig.status("ctas_counts").state, QueryState::Paused);
    let rig = rig.restarted(1);
    assert_eq!(rig.status("ctas_counts").state, QueryState::Paused, "a restart does not resume it");
    rig.sql("RESUME ctas_counts").unwrap();
    rig.flush();
    assert_eq!(rig.counts()[&(1, 0)], (2, 11));
}

#[test]
fn what_is_dropped_leaves_nothing_behind() {
    let rig = Rig::new(2);
    rig.sql(STREAM).unwrap();
    let (stores, topics) = (rig.stores(), rig.topics());
    rig.sql(WINDOWED).unwrap();
    rig.write("events", &[(&[1, 1], 1_000)]);
    rig.flush();
    assert!(rig.stores().contains(&"ctas_counts/aggregate".to_owned()));
    assert!(rig.topics().iter().any(|topic| topic.ends_with("-repartition")), "{:?}", rig.topics());
    rig.sql("DROP TABLE counts DELETE TOPIC").unwrap();
    assert_eq!((rig.stores(), rig.topics()), (stores, topics));
    assert!(rig.engine.queries().is_empty());
    let rig = rig.restarted(2);
    assert!(rig.engine.queries().is_empty());
    rig.sql(WINDOWED).unwrap();
    rig.flush();
    assert_eq!(rig.counts()[&(1, 0)], (1, 1), "made anew, it reads from the beginning");
}

#[test]
fn a_terminated_query_leaves_its_table() {
    let rig = Rig::new(2);
    rig.sql("CREATE STREAM events (k BIGINT, v BIGINT) WITH (kafka_topic = 'events', partitions = 2)").unwrap();
    rig.sql("CREATE TABLE sums AS SELECT k, SUM(v) AS total FROM events GROUP BY k").unwrap();
    rig.write("events", &[(&[1, 5], 1_000), (&[2, 6], 1_000)]);
    rig.flush();
    rig.sql("TERMINATE ctas_sums").unwrap();
    rig.write("events", &[(&[1, 5], 2_000)]);
    rig.flush();
    assert_eq!(rig.table("sums", &["k"], &["total"])["1"], "5");
    assert!(rig.stores().contains(&"table/sums".to_owned()));
    assert!(rig.engine.queries().is_empty());
}

#[test]
fn a_query_called_table_takes_no_table_with_it() {
    let rig = Rig::new(1);
    rig.sql(STREAM).unwrap();
    rig.sql("CREATE TABLE sums (k BIGINT PRIMARY KEY, total BIGINT) WITH (kafka_topic = 'sums', partitions = 2)").unwrap();
    rig.sql("CREATE STREAM copy AS SELECT k, v FROM events").unwrap();
    rig.sql("INSERT INTO copy WITH (query_id = 'table') SELECT k, v FROM events").unwrap();
    rig.flush();
    rig.sql("TERMINATE 'table'").unwrap();
    assert!(rig.stores().contains(&"table/sums".to_owned()), "{:?}", rig.stores());
    assert!(!rig.stores().iter().any(|store| store.starts_with("table/0")), "{:?}", rig.stores());
}

#[test]
fn a_query_that_does_not_plan_any_more_does_not_keep_the_server_from_starting() {
    let rig = Rig::new(1);
    rig.sql(STREAM).unwrap();
    rig.sql("CREATE STREAM copy AS SELECT k, v FROM events").unwrap();
    let catalog = rig.engine.catalog();
    let mut broken = millpond_catalog::Query::clone(catalog.query("csas_copy").unwrap());
    broken.id = "insert_1_copy".to_owned();
    broken.sql = "INSERT INTO copy SELECT k, no_such_function(v) FROM events".to_owned();
    let sound = rig.engine.catalog();
    let topology = millpond_planner::topology_of(sound.query("csas_copy").unwrap(), &sound).unwrap();
    let topology = millpond_streams::Topology { query: broken.id.clone(), ..topology };
    rig.engine.execute(millpond_catalog::Command::Insert { query: broken }, Some(topology)).unwrap();
    let rig = rig.restarted(1);
    let status = rig.status("insert_1_copy");
    assert_eq!(status.state, QueryState::Failed);
    assert!(status.reason.unwrap().contains("no_such_function"));
    assert_eq!(rig.engine.queries().len(), 2);
    rig.sql("TERMINATE insert_1_copy").unwrap();
    rig.flush();
}

#[test]
fn the_table_of_a_query_that_does_not_plan_any_more_stays_readable() {
    for (window, materialized) in [("", true), ("WINDOW SESSION (1 HOUR)", false)] {
        let rig = Rig::new(1);
        rig.sql(STREAM).unwrap();
        rig.sql(&format!("CREATE TABLE sums AS SELECT k, sum(v) AS total FROM events {window} GROUP BY k")).unwrap();
        rig.write("events", &[(&[1, 1], 0), (&[2, 2], 1)]);
        rig.flush();
        let catalog = rig.engine.catalog();
        let source = millpond_catalog::Source::clone(catalog.source("sums").unwrap());
        let mut query = millpond_catalog::Query::clone(catalog.query("ctas_sums").unwrap());
        let topology = millpond_planner::topology_of(&query, &catalog).unwrap();
        query.sql = query.sql.replace("sum(v)", "no_such_function(v)");
        rig.engine.execute(millpond_catalog::Command::CreateAs { source, query, or_replace: true }, Some(topology)).unwrap();
        let rig = rig.restarted(1);
        assert_eq!(rig.status("ctas_sums").state, QueryState::Failed);
        rig.engine.flush().unwrap_err();
        let is_read_anew = rig.stores().iter().any(|store| store.starts_with("materialize_sums/"));
        assert_eq!(is_read_anew, materialized, "what the query has stored is not overwritten with what was before: {window}");
        let source = std::sync::Arc::clone(rig.engine.catalog().source("sums").unwrap());
        let table = rig.engine.stored_table(&source).unwrap().expect("somebody keeps it");
        assert_eq!(Some("table/sums".to_owned()), rig.name_of(table.store.unwrap()), "{window}");
    }
}

#[test]
fn fifty_queries_over_one_stream_share_its_rows() {
    let rig = Rig::new(2);
    rig.sql(STREAM).unwrap();
    for query in 0..50 {
        rig.sql(&format!("CREATE STREAM copy_{query} AS SELECT k, v FROM events WHERE v <> {query}")).unwrap();
    }
    let values: Vec<[i64; 2]> = (0..1_000).map(|value| [value % 7, value % 100]).collect();
    rig.write("events", &values.iter().map(|value| (&value[..], 1)).collect::<Vec<_>>());
    rig.flush();
    assert!(rig.engine.queries().iter().all(|status| (status.rows_in, status.rows_out) == (1_000, 990)));
}
