//! Statements and the topologies they become.

use millpond_catalog::Snapshot;
use millpond_planner::{Error, Settings, create_as, create_source, explain, insert_select, push, topology_of};
use millpond_sql::ast::{Emit, Kind};
use millpond_sql::{Dialect, parse};
use millpond_streams::Topology;

/// What became of a script: the catalog, and each query's topology.
struct Planned {
    snapshot: Snapshot,
    topologies: Vec<Topology>,
}

fn plan(script: &str) -> Result<Planned, Error> {
    plan_with(script, &Settings::default())
}

fn plan_with(script: &str, settings: &Settings) -> Result<Planned, Error> {
    let mut planned = Planned { snapshot: Snapshot::default(), topologies: Vec::new() };
    for statement in parse(script, settings.dialect)? {
        let command = match &statement.kind {
            Kind::CreateSource(create) => create_source(create, &statement.text, &planned.snapshot, settings)?,
            Kind::CreateAs(create) => {
                let persistent = create_as(create, &statement.text, &planned.snapshot, settings)?;
                planned.topologies.push(persistent.topology);
                persistent.command
            }
            Kind::InsertSelect(insert) => {
                let persistent = insert_select(insert, &statement.text, &planned.snapshot, settings)?;
                planned.topologies.push(persistent.topology);
                persistent.command
            }
            Kind::Query(query) if query.emit == Some(Emit::Changes) => {
                planned.topologies.push(push(query, &planned.snapshot, settings)?.topology);
                continue;
            }
            other => panic!("not planned here: {other:?}"),
        };
        planned.snapshot = planned.snapshot.apply(&command)?;
    }
    Ok(planned)
}

fn explained(script: &str) -> String {
    let planned = plan(script).unwrap_or_else(|error| panic!("{script}: {error:?}"));
    explain(planned.topologies.last().expect("a query")).join("\n")
}

const FLIGHTS: &str = "CREATE STREAM flights (origin VARCHAR, dest VARCHAR, tailnum VARCHAR, dep_delay DOUBLE, time_hour TIMESTAMP)
    WITH (kafka_topic = 'flights', partitions = 4, timestamp = 'time_hour');
    CREATE TABLE airports (faa VARCHAR PRIMARY KEY, name VARCHAR) WITH (partitions = 2);
    CREATE STREAM keyed (id INT KEY, v DOUBLE) WITH (partitions = 3);";

#[test]
fn a_windowed_count_is_combined_before_its_repartition() {
    let text = explained(&format!(
        "{FLIGHTS} CREATE TABLE delays AS SELECT origin, COUNT(*) AS flights, AVG(dep_delay) AS mean FROM flights
         WINDOW TUMBLING (SIZE 1 DAY, GRACE PERIOD 1 DAY) GROUP BY origin EMIT CHANGES;"
    ));
    assert!(text.contains("CombineAggregate: group=["), "{text}");
    assert!(text.contains("FinalAggregate: group=["), "{text}");
    assert!(text.contains("window=tumbling(86400000 ms, grace 86400000 ms)"), "{text}");
    assert!(text.contains("RepartitionSink: topic=_millpond-default-ctas_delays-repartition, key=[origin], partitions=4"), "{text}");
    assert!(text.contains("Sink: delays, topic=delays, store=aggregate"), "{text}");
    assert!(!text.contains("tailnum"), "columns nobody asked for are read: {text}");
}

#[test]
fn a_table_whose_rows_follow_from_groups_has_no_store_of_its_own() {
    let window = "WINDOW TUMBLING (SIZE 1 DAY)";
    for (with, query, store) in [
        ("", "SELECT origin, COUNT(*) * 2 AS n FROM flights GROUP BY origin HAVING COUNT(*) > 1".to_owned(), "aggregate"),
        ("", "SELECT COUNT(*) AS n, dest, origin FROM flights GROUP BY origin, dest".to_owned(), "aggregate"),
        ("", "SELECT origin, COLLECT_LIST(dest) AS dests FROM flights GROUP BY origin".to_owned(), "table/t"),
        ("", "SELECT origin, COUNT(DISTINCT dest) AS dests FROM flights GROUP BY origin".to_owned(), "table/t"),
        ("", format!("SELECT origin, MAX(dest) AS last FROM flights {window} GROUP BY origin"), "aggregate"),
        ("", format!("SELECT origin, COLLECT_LIST(dest) AS dests FROM flights {window} GROUP BY origin"), "table/t"),
        ("", format!("SELECT origin, COUNT(*) AS n FROM flights {window} GROUP BY origin HAVING COUNT(*) > 9"), "table/t"),
        (
            "",
            "SELECT origin, COUNT(*) AS n FROM flights WINDOW TUMBLING (SIZE 1 DAY, RETENTION 9 DAYS) GROUP BY origin".to_owned(),
            "table/t",
        ),
        ("", format!("SELECT origin, COUNT(*) AS n FROM flights {window} GROUP BY origin EMIT FINAL"), "table/t"),
        ("", "SELECT origin, COUNT(*) AS n FROM flights WINDOW SESSION (1 HOUR) GROUP BY origin".to_owned(), "table/t"),
        ("", "SELECT origin, COUNT(*) AS n, uuid() AS id FROM flights GROUP BY origin".to_owned(), "table/t"),
        ("", "SELECT origin, COUNT(*) AS n FROM flights GROUP BY origin HAVING COUNT(*) > random()".to_owned(), "table/t"),
        ("WITH (retention_ms = 86400000)", format!("SELECT origin, COUNT(*) AS n FROM flights {window} GROUP BY origin"), "table/t"),
        ("WITH (timestamp = 'last')", "SELECT origin, MAX(time_hour) AS last FROM flights GROUP BY origin".to_owned(), "table/t"),
    ] {
        let text = explained(&format!("{FLIGHTS} CREATE TABLE t {with} AS {query};"));
        assert!(text.contains(&format!("Sink: t, topic=t, store={store}\n")), "{query}: {text}");
    }
}

#[test]
fn a_table_with_rows_of_others_is_read_from_its_topic() {
    let text = explained(&format!(
        "{FLIGHTS} CREATE TABLE t (origin VARCHAR PRIMARY KEY, n BIGINT) WITH (kafka_topic = 't', partitions = 4);
         CREATE OR REPLACE TABLE t AS SELECT origin, COUNT(*) AS n FROM flights GROUP BY origin;"
    ));
    assert!(text.contains("Sink: t, topic=t, read from its topic\n"), "{text}");
}

#[test]
fn what_is_grouped_by_the_source_key_stays_where_it_is() {
    let text = explained(&format!("{FLIGHTS} CREATE TABLE sums AS SELECT id, SUM(v) AS total FROM keyed GROUP BY id;"));
    assert!(!text.contains("Repartition"), "{text}");
    assert!(text.contains("Aggregate: group="), "{text}");
}

#[test]
fn a_session_sends_rows() {
    let text = explained(&format!(
        "{FLIGHTS} CREATE TABLE sessions AS SELECT tailnum, COUNT(*) AS hops FROM flights WINDOW SESSION (2 HOURS) GROUP BY tailnum;"
    ));
    assert!(text.contains("RepartitionSink"), "{text}");
    assert!(text.contains("window=session(7200000 ms"), "{text}");
    assert!(!text.contains("Combine"), "{text}");
}

#[test]
fn a_join_places_the_stream_as_the_table_is() {
    let text = explained(&format!(
        "{FLIGHTS} CREATE STREAM named AS SELECT f.dest, a.name, f.origin FROM flights f LEFT JOIN airports a ON f.dest = a.faa;"
    ));
    assert!(text.contains("StreamTableJoin: left"), "{text}");
    assert!(text.contains("key=[dest], partitions=2"), "{text}");
}

#[test]
fn a_table_over_a_table_retracts() {
    let text = explained(&format!(
        "{FLIGHTS} CREATE TABLE per_origin AS SELECT origin, COUNT(*) AS n FROM flights GROUP BY origin;
         CREATE TABLE histogram AS SELECT n, COUNT(*) AS origins FROM per_origin GROUP BY n;"
    ));
    assert!(text.contains("TableAggregate"), "{text}");
    assert!(text.contains("TableSource: per_origin"), "{text}");
}

#[test]
fn a_push_query_ends_at_the_client() {
    let text = explained(&format!("{FLIGHTS} SELECT * FROM flights WHERE dep_delay > 60 EMIT CHANGES;"));
    assert!(text.contains("Push"), "{text}");
    assert!(!text.contains("rowtime"), "{text}");
}

#[test]
fn the_key_of_a_result_is_what_it_is_grouped_by_under_its_new_name() {
    let planned =
        plan(&format!("{FLIGHTS} CREATE TABLE t AS SELECT COUNT(*) AS n, origin AS airport FROM flights GROUP BY origin;")).expect("plans");
    let table = planned.snapshot.source("t").expect("made");
    assert_eq!(table.columns[0].name, "airport");
    assert!(table.columns[0].key && !table.columns[1].key);
}

#[test]
fn a_restart_plans_the_same() {
    let planned = plan(&format!(
        "{FLIGHTS} CREATE TABLE delays AS SELECT origin, COUNT(*) AS n FROM flights WINDOW HOPPING (SIZE 2 HOURS, ADVANCE BY 1 HOUR)
         GROUP BY origin HAVING COUNT(*) > 1;
         CREATE STREAM late AS SELECT * FROM flights WHERE dep_delay > 60;
         INSERT INTO late SELECT * FROM flights WHERE dep_delay < -60;"
    ))
    .expect("plans");
    for topology in &planned.topologies {
        let query = planned.snapshot.query(&topology.query).expect("in the catalog");
        let again = topology_of(query, &planned.snapshot).expect("plans again");
        assert_eq!(explain(topology), explain(&again));
    }
}

#[test]
fn a_replacement_goes_on_from_the_same_state_or_is_refused() {
    const OLD: &str = "CREATE TABLE t AS SELECT origin, COUNT(*) AS n FROM flights WHERE dep_delay > 0 GROUP BY origin HAVING COUNT(*) > 1;
        CREATE TABLE w AS SELECT origin, COUNT(*) AS n FROM flights WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY origin;
        CREATE TABLE u AS SELECT faa, name FROM airports WHERE name <> '';
        CREATE STREAM s AS SELECT id, v FROM keyed WHERE v > 1;
        CREATE STREAM j AS SELECT f.dest, a.name FROM flights f JOIN airports a ON f.dest = a.faa;";
    let refused = [
        ("TABLE t AS SELECT origin, SUM(1) AS n FROM flights WHERE dep_delay > 0 GROUP BY origin HAVING COUNT(*) > 1", "aggregates"),
        ("TABLE t AS SELECT origin, COUNT(*) AS n FROM flights WHERE dep_delay > 9 GROUP BY origin HAVING COUNT(*) > 1", "WHERE"),
        ("TABLE t AS SELECT origin, COUNT(*) AS n FROM flights WHERE dep_delay > 0 GROUP BY origin HAVING COUNT(*) > 2", "HAVING"),
        (
            "TABLE t AS SELECT origin, COUNT(*) AS n, MAX(dep_delay) AS m FROM flights WHERE dep_delay > 0 GROUP BY origin HAVING COUNT(*) > 1",
            "aggregates",
        ),
        ("TABLE w AS SELECT dest AS origin, COUNT(*) AS n FROM flights WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY dest", "GROUP BY"),
        ("TABLE w AS SELECT origin, COUNT(*) AS n FROM flights WINDOW TUMBLING (SIZE 2 HOURS) GROUP BY origin", "WINDOW"),
        ("TABLE w AS SELECT origin, COUNT(*) AS n FROM flights WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY origin EMIT FINAL", "EMIT"),
        ("TABLE u AS SELECT faa, name, name AS again FROM airports WHERE name <> ''", "columns"),
        ("TABLE u AS SELECT faa, name FROM airports WHERE name <> 'x'", "WHERE"),
        ("STREAM s AS SELECT k.id, k.v FROM keyed k JOIN ids i ON k.id = i.id WHERE k.v > 1", "FROM"),
        ("STREAM s AS SELECT id, v * 2 AS v FROM keyed WHERE v > 1", "column \"v\""),
        ("STREAM j AS SELECT f.dest, a.name FROM flights f LEFT JOIN airports a ON f.dest = a.faa", "FROM"),
    ];
    let with = |replacement: &str| {
        plan(&format!(
            "{FLIGHTS} CREATE TABLE ids (id INT PRIMARY KEY, x INT) WITH (partitions = 3); {OLD} CREATE OR REPLACE {replacement};"
        ))
    };
    for (replacement, changed) in refused {
        let error = with(replacement).err().unwrap_or_else(|| panic!("{replacement} was planned"));
        assert_eq!(error.sqlstate, "0A000", "{replacement}: {error:?}");
        assert!(error.message.contains(changed), "{replacement}: {error:?}");
        assert_eq!(error.hint.as_deref(), Some("DROP it and CREATE it again; its topic can be kept."), "{replacement}");
    }
    let taken = [
        "TABLE t AS SELECT origin, COUNT(*) AS n FROM flights WHERE dep_delay > 0 GROUP BY origin HAVING COUNT(*) > 1",
        "TABLE w AS SELECT origin, COUNT(*) AS n FROM flights WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY origin",
        "TABLE u AS SELECT faa, name FROM airports WHERE name <> ''",
        "STREAM s AS SELECT id, v, v + 1 AS w FROM keyed WHERE v > 5",
        "STREAM s AS SELECT id, v FROM keyed",
        "STREAM j AS SELECT f.dest, a.name, a.name || '!' AS loud FROM flights f JOIN airports a ON f.dest = a.faa",
    ];
    for replacement in taken {
        with(replacement).unwrap_or_else(|error| panic!("{replacement}: {error:?}"));
    }
}

#[test]
fn what_a_query_keeps_of_a_source_must_fit_its_new_columns() {
    let with = |rest: &str| plan(&format!("{FLIGHTS} {rest}"));
    let replaced = "CREATE OR REPLACE TABLE airports (faa VARCHAR PRIMARY KEY, name VARCHAR, city VARCHAR) WITH (partitions = 2);";
    with(&format!("CREATE TABLE named AS SELECT faa, name FROM airports; {replaced}")).expect("reads what it names");
    let error = with(&format!("CREATE TABLE all_of AS SELECT * FROM airports; {replaced}")).err().expect("keeps whole rows");
    assert_eq!(error.sqlstate, "0A000");
    assert!(error.message.contains("ctas_all_of"), "{error:?}");
    let over = "CREATE STREAM copy AS SELECT id, v FROM keyed; CREATE OR REPLACE STREAM copy (id INT KEY, v DOUBLE) WITH (partitions = 3);";
    assert_eq!(with(over).err().expect("a query fills it").sqlstate, "0A000");
}

#[test]
fn a_format_that_cannot_hold_a_column_is_refused_with_one_that_can() {
    let cases = [
        ("CREATE STREAM x (a INT, b ARRAY<INT>) WITH (value_format = 'delimited');", "\"b\"", "Give VALUE_FORMAT = 'json'."),
        ("CREATE STREAM x (a BOOLEAN KEY, b INT) WITH (value_format = 'json');", "\"a\"", "Give KEY_FORMAT = 'json'."),
        ("CREATE STREAM x (a MAP<INT, INT>) WITH (value_format = 'json');", "\"a\"", "Give FORMAT = 'native'."),
        (
            "CREATE STREAM d (a INT, b INT) WITH (value_format = 'delimited'); CREATE STREAM x AS SELECT a, ARRAY[a, b] AS ab FROM d;",
            "\"ab\"",
            "Give VALUE_FORMAT = 'json'.",
        ),
    ];
    for (sql, column, hint) in cases {
        let error = plan(sql).err().unwrap_or_else(|| panic!("{sql} was planned"));
        assert_eq!((error.sqlstate, error.hint.as_deref()), ("42P16", Some(hint)), "{sql}: {error:?}");
        assert!(error.message.contains(column), "{sql}: {error:?}");
    }
}

#[test]
fn a_topic_that_another_source_is_over_says_how_many_partitions_there_are() {
    let planned =
        plan(&format!("{FLIGHTS} CREATE STREAM to_it WITH (kafka_topic = 'keyed') AS SELECT origin FROM flights;")).expect("plans");
    assert_eq!(planned.snapshot.source("to_it").expect("made").partitions, 3);
}

#[test]
fn the_other_dialect_folds_up_and_counts_milliseconds() {
    let settings = Settings { dialect: Dialect::Ksqldb, ..Settings::default() };
    let planned = plan_with(
        "CREATE STREAM s (a VARCHAR, b INT) WITH (kafka_topic='s', partitions=1, value_format='json');
         CREATE TABLE t AS SELECT a, COUNT(*) AS n, WINDOWSTART AS ws FROM s WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY a;
         CREATE STREAM r AS SELECT b, ROWTIME AS rt FROM s;",
        &settings,
    )
    .expect("plans");
    let text = explain(&planned.topologies[0]).join("\n");
    assert!(text.contains("Sink: T, topic=T, store=aggregate"), "{text}");
    let table = planned.snapshot.source("T").expect("upper case");
    assert_eq!(table.column("WS").expect("selected").sql_type.to_string(), "BIGINT");
    assert_eq!(planned.snapshot.source("R").expect("made").column("RT").expect("selected").sql_type.to_string(), "BIGINT");
}

#[test]
fn integer_literals_do_not_widen() {
    const SOURCES: &str = "CREATE STREAM s (id INT KEY, n INT, b BIGINT) WITH (partitions = 3);
        CREATE TABLE t (id INT PRIMARY KEY, x INT) WITH (partitions = 3);";
    let cases = [
        ("STREAM r AS SELECT id, n + 1 AS c FROM s", "INT"),
        ("STREAM r AS SELECT id, b + 1 AS c FROM s", "BIGINT"),
        ("STREAM r AS SELECT id, n + 3000000000 AS c FROM s", "BIGINT"),
        ("STREAM r AS SELECT id, CASE WHEN n > 5 THEN 1 ELSE 0 END AS c FROM s WHERE n IN (1, 2) OR b BETWEEN 1 AND 2", "INT"),
        ("STREAM r AS SELECT id, ARRAY[1, -2] AS c FROM s", "ARRAY<INT>"),
        ("STREAM r AS SELECT id, c FROM (SELECT id, coalesce(n, 0) AS c FROM s) x", "INT"),
        ("STREAM r AS WITH x AS (SELECT id, 1 AS c FROM s) SELECT id, c FROM x", "INT"),
        ("STREAM r AS SELECT n AS c, id FROM s UNION ALL SELECT 1 AS c, id FROM s", "INT"),
        ("TABLE r AS SELECT n % 2 AS c, count(*) AS k FROM s GROUP BY n % 2 HAVING count(*) > 1", "INT"),
        ("TABLE r AS SELECT id, max(n + 1) AS c FROM s GROUP BY id", "INT"),
        ("TABLE r AS SELECT id, sum(1) AS c FROM s GROUP BY id", "BIGINT"),
        ("TABLE r AS SELECT id, topk(n, 3) AS c FROM s GROUP BY id", "ARRAY<INT>"),
        ("STREAM r AS SELECT t.id, x * 2 AS c FROM s JOIN t ON s.n + 1 = t.id", "INT"),
    ];
    for (query, wanted) in cases {
        let planned = plan(&format!("{SOURCES} CREATE {query};")).unwrap_or_else(|error| panic!("{query}: {error:?}"));
        let column = planned.snapshot.source("r").expect("made").column("c").expect("selected").sql_type.clone();
        assert_eq!(column.to_string(), wanted, "{query}");
    }
    plan(&format!(
        "{SOURCES} CREATE STREAM r (id INT, n INT) WITH (partitions = 3); INSERT INTO r SELECT id + 1 AS id, n * 2 AS n FROM s;"
    ))
    .expect("fits without a CAST");
}

#[test]
fn an_aggregate_that_cannot_run_is_refused_at_the_statement() {
    const SOURCES: &str = "CREATE STREAM s (id INT KEY, v INT, w VARCHAR) WITH (partitions = 3);
        CREATE TABLE t (id INT PRIMARY KEY, v INT, w VARCHAR) WITH (partitions = 3);";
    let cases = [
        ("count(DISTINCT v, w)", "0A000", "count with DISTINCT takes one argument"),
        ("collect_list(DISTINCT v)", "0A000", "collect_list does not take DISTINCT"),
        ("topk(DISTINCT v, 2)", "0A000", "topk does not take DISTINCT"),
        ("topk(v, 0)", "22023", "function topk does not take these arguments: topk takes a number greater than 0"),
        ("topk(v, -1)", "22023", "function topk does not take these arguments: topk takes a number greater than 0"),
        ("topk(v, v)", "22023", "function topk does not take these arguments: the number that topk takes must be a literal"),
    ];
    for (key, from) in [("id", "s"), ("w", "s"), ("w", "s WINDOW SESSION (1 HOUR)"), ("w", "t")] {
        let with = |call: &str| plan(&format!("{SOURCES} CREATE TABLE r AS SELECT {key}, {call} AS c FROM {from} GROUP BY {key};"));
        for (call, sqlstate, message) in cases {
            let error = with(call).err().unwrap_or_else(|| panic!("{call} over {from} was planned"));
            assert_eq!((error.sqlstate, error.message.as_str()), (sqlstate, message), "{call} over {from}");
        }
        for call in ["topk(v, 2)", "count(DISTINCT v)", "collect_list(v)"] {
            with(call).unwrap_or_else(|error| panic!("{call} over {from}: {error:?}"));
        }
    }
}

#[test]
fn a_stream_does_not_join_a_windowed_table() {
    let cases = [
        "CREATE TABLE w AS SELECT origin, COUNT(*) AS n FROM flights WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY origin;
         CREATE STREAM j AS SELECT f.origin, w.n FROM flights f JOIN w ON f.origin = w.origin;",
        "CREATE TABLE w (origin VARCHAR PRIMARY KEY, n INT) WITH (window_type = 'session', partitions = 4);
         CREATE STREAM j AS SELECT f.origin, w.n FROM flights f LEFT JOIN w ON f.origin = w.origin;",
    ];
    for sql in cases {
        let error = plan(&format!("{FLIGHTS} {sql}")).err().unwrap_or_else(|| panic!("{sql} was planned"));
        assert_eq!((error.sqlstate, error.message.as_str()), ("0A000", "a stream cannot join \"w\": it is a windowed table"), "{sql}");
        assert!(error.hint.is_some(), "{sql}");
    }
}

#[test]
fn a_query_does_not_write_to_what_it_reads() {
    let cases = [
        "INSERT INTO keyed SELECT id, v FROM keyed;",
        "INSERT INTO keyed SELECT id, v FROM (SELECT id, v FROM keyed) x;",
        "CREATE STREAM other (id INT KEY, v DOUBLE) WITH (kafka_topic = 'keyed', partitions = 3); INSERT INTO other SELECT id, v FROM keyed;",
        "CREATE STREAM other WITH (kafka_topic = 'keyed') AS SELECT id, v FROM keyed;",
    ];
    for sql in cases {
        let error = plan(&format!("{FLIGHTS} {sql}")).err().unwrap_or_else(|| panic!("{sql} was planned"));
        assert_eq!(error.sqlstate, "42P19", "{sql}: {error:?}");
        assert!(error.message.starts_with("the query reads \"keyed\""), "{sql}: {error:?}");
    }
}

#[test]
fn a_subquery_in_an_expression_is_refused_with_the_join_to_write() {
    let cases = [
        ("id IN (SELECT id FROM t)", "IN (SELECT …)", "FROM s JOIN t"),
        ("id NOT IN (SELECT id FROM t)", "NOT IN (SELECT …)", "LEFT JOIN"),
        ("EXISTS (SELECT id FROM t)", "EXISTS (SELECT …)", "FROM s JOIN t"),
        ("id = (SELECT max(id) FROM t)", "a subquery in an expression", "FROM s JOIN t"),
    ];
    for (predicate, clause, hint) in cases {
        let sql = format!(
            "{FLIGHTS} CREATE TABLE t (id INT PRIMARY KEY, x INT) WITH (partitions = 3);
             CREATE STREAM r AS SELECT id, v FROM keyed WHERE {predicate};"
        );
        let error = plan(&sql).err().unwrap_or_else(|| panic!("{predicate} was planned"));
        assert_eq!((error.sqlstate, error.message), ("0A000", format!("{clause} cannot stream")), "{predicate}");
        assert!(error.hint.is_some_and(|given| given.contains(hint)), "{predicate}");
    }
}

#[test]
fn a_union_or_subquery_has_the_key_that_partition_by_gives_it() {
    const UNION: &str = "SELECT id, v FROM keyed UNION ALL SELECT id, v FROM keyed WHERE v > 1";
    let cases = [
        (UNION.to_string(), false),
        ("SELECT id, v FROM (SELECT id, v FROM keyed) x".to_string(), false),
        ("WITH x AS (SELECT id, v FROM keyed) SELECT id, v FROM x".to_string(), false),
        (format!("SELECT id, v FROM ({UNION}) x PARTITION BY id"), true),
    ];
    for (query, keyed) in cases {
        let planned = plan(&format!("{FLIGHTS} CREATE STREAM r AS {query};")).unwrap_or_else(|error| panic!("{query}: {error:?}"));
        assert_eq!(planned.snapshot.source("r").expect("made").columns[0].key, keyed, "{query}");
    }
}

#[test]
fn a_timestamp_format_that_means_nothing_is_refused_at_its_place() {
    let sources = "CREATE STREAM s (id INT KEY, at VARCHAR) WITH (partitions = 1);";
    let cases = [
        ("CREATE STREAM x (at VARCHAR) WITH (timestamp = 'at', timestamp_format = 'qqqq');", "too many letters 'q' at position 1"),
        (
            "CREATE TABLE x (at VARCHAR PRIMARY KEY, n INT) WITH (timestamp = 'at', timestamp_format = 'yyyy-MM-ddTHH');",
            "letter 'T' at position 11 has no meaning",
        ),
        (
            "CREATE STREAM x WITH (timestamp = 'at', timestamp_format = 'DD.MM.YYYY') AS SELECT id, at FROM s;",
            "letter 'Y' at position 7 has no meaning",
        ),
    ];
    for (sql, reason) in cases {
        let error = plan(&format!("{sources}{sql}")).err().unwrap_or_else(|| panic!("{sql} was planned"));
        assert_eq!(error.sqlstate, "22023", "{sql}: {error:?}");
        assert!(error.message.starts_with("invalid date pattern '") && error.message.ends_with(reason), "{sql}: {error:?}");
        assert!(error.hint.is_some_and(|hint| hint.contains("yyyy-MM-dd HH:mm:ss")), "{sql}");
        let at = sql.find("timestamp_format").map(|offset| offset as u32 + 1);
        assert_eq!(error.position.map(|position| position.0), at, "{sql}");
    }
}

#[test]
fn an_aggregate_without_group_by_is_refused_over_nothing_else() {
    const SOURCES: &str = "CREATE STREAM k (id INT KEY, v INT) WITH (partitions = 3);
        CREATE STREAM w (id INT KEY, v INT) WITH (window_type = 'session', partitions = 3);
        CREATE TABLE t (id INT PRIMARY KEY, v INT) WITH (partitions = 3);";
    let grouped = |column: &str| ("42803", format!("column \"{column}\" must appear in the GROUP BY clause"));
    let cannot = || ("0A000", "an aggregate without GROUP BY cannot stream".to_string());
    let cases = [
        ("SELECT count(*) AS n FROM k", cannot()),
        ("SELECT abs(sum(v)) + 1 AS n FROM w", cannot()),
        ("SELECT max(v) AS n, min(v) AS m FROM t", cannot()),
        ("SELECT 1 AS n FROM k HAVING count(*) > 1", cannot()),
        ("SELECT count(*) AS n FROM k PARTITION BY v", cannot()),
        ("SELECT count(*) AS n FROM k JOIN t ON k.id = t.id", cannot()),
        ("SELECT count(*) AS n FROM (SELECT v FROM k) x", cannot()),
        ("SELECT n FROM (SELECT count(*) AS n FROM k) x", cannot()),
        ("WITH x AS (SELECT collect_list(v) AS n FROM k) SELECT n FROM x", cannot()),
        ("SELECT id, count(*) AS n FROM k", grouped("k.id")),
        ("SELECT count(*) AS n, v + 1 AS v FROM k", grouped("k.v")),
    ];
    for (query, wanted) in cases {
        for statement in [format!("CREATE TABLE r AS {query};"), format!("CREATE STREAM r AS {query};"), format!("{query} EMIT CHANGES;")] {
            let error = plan(&format!("{SOURCES}{statement}")).err().unwrap_or_else(|| panic!("{statement} was planned"));
            assert!(error.sqlstate == wanted.0 && error.message.contains(&wanted.1), "{statement}: {error:?}");
            assert!(wanted.0 != "0A000" || error.hint.is_some_and(|hint| hint.contains("GROUP BY k")), "{statement}");
        }
    }
    plan(&format!("{SOURCES} CREATE TABLE r AS SELECT 'all' AS k, count(*) AS n FROM k GROUP BY k;")).expect("what the hint says");
    plan(&format!("{SOURCES} CREATE TABLE r AS SELECT id, sum(v) AS n FROM k GROUP BY id HAVING count(*) > 1;")).expect("has groups");
}

#[test]
fn what_makes_rows_of_an_array_is_refused_by_its_name() {
    const SOURCES: &str = "CREATE STREAM s (id INT KEY, n INT, tags ARRAY<INT>) WITH (partitions = 3);";
    let cases = [
        ("SELECT id, unnest(tags) AS tag FROM s", "UNNEST"),
        ("SELECT unnest(tags) AS tag FROM s", "UNNEST"),
        ("SELECT id, 1 + UNNEST(tags) AS tag FROM s WHERE n > 1", "UNNEST"),
        ("SELECT id, explode(tags) AS tag FROM s", "EXPLODE"),
        ("SELECT id, cube_explode(tags) AS tag FROM s", "CUBE_EXPLODE"),
        ("SELECT n, unnest(tags) AS tag FROM s PARTITION BY n", "UNNEST"),
        ("SELECT unnest(tags) AS tag, count(*) AS n FROM s GROUP BY unnest(tags)", "UNNEST"),
        ("SELECT id, unnest(collect_list(n)) AS m FROM s GROUP BY id", "UNNEST"),
        ("SELECT id, n FROM s WHERE unnest(tags) = 1", "UNNEST"),
        ("SELECT id, t.tag FROM s, unnest(s.tags) AS t(tag)", "UNNEST"),
        ("SELECT id, t.tag FROM s CROSS JOIN LATERAL explode(s.tags) AS t(tag)", "EXPLODE"),
        ("SELECT id, tag FROM (SELECT id, unnest(tags) AS tag FROM s) x", "UNNEST"),
    ];
    for (query, name) in cases {
        for statement in [format!("CREATE STREAM r AS {query};"), format!("{query} EMIT CHANGES;")] {
            let error = plan(&format!("{SOURCES}{statement}")).err().unwrap_or_else(|| panic!("{statement} was planned"));
            assert_eq!((error.sqlstate, error.message), ("0A000", format!("{name} cannot stream yet")), "{statement}");
            assert!(error.hint.is_some_and(|hint| hint.contains("where you read the result")), "{statement}");
        }
    }
}

#[test]
fn a_shape_that_cannot_stream_is_refused_before_its_columns() {
    let cases = [
        ("SELECT sum(v) OVER () AS n FROM keyed", "OVER (…) cannot stream"),
        ("SELECT v FROM (SELECT v FROM keyed LIMIT 3) x", "LIMIT in a subquery cannot stream"),
        ("SELECT x.v FROM keyed k, LATERAL (SELECT v FROM keyed WHERE id = k.id) x", "LATERAL cannot stream"),
    ];
    for (query, message) in cases {
        let sql = format!("{FLIGHTS} CREATE STREAM r AS {query};");
        let error = plan(&sql).err().unwrap_or_else(|| panic!("{query} was planned"));
        assert_eq!((error.sqlstate, error.message.as_str()), ("0A000", message), "{query}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do_instead() {
    let cases = [
        ("CREATE TABLE t AS SELECT origin, COUNT(*) FROM flights GROUP BY origin ORDER BY 1;", "0A000"),
        ("CREATE TABLE t AS SELECT COUNT(*) AS n FROM flights GROUP BY origin;", "42P16"),
        ("CREATE TABLE t AS SELECT origin, dest FROM flights;", "42P16"),
        ("CREATE STREAM t AS SELECT origin, COUNT(*) AS n FROM flights GROUP BY origin;", "42809"),
        ("CREATE STREAM t AS SELECT DISTINCT origin FROM flights;", "0A000"),
        ("CREATE STREAM t AS SELECT orign FROM flights;", "42703"),
        ("CREATE STREAM t AS SELECT origin FROM flight;", "42P01"),
        ("CREATE STREAM t AS SELECT nosuch(origin) AS x FROM flights;", "42883"),
        ("CREATE STREAM t AS SELECT origin FROM flights LIMIT 3;", "0A000"),
        ("CREATE STREAM flights AS SELECT origin FROM flights;", "42P07"),
        ("CREATE TABLE t AS SELECT id, COUNT(*) AS n FROM keyed GROUP BY id EMIT FINAL;", "42601"),
        ("CREATE TABLE t AS SELECT id, COUNT(*) AS n FROM keyed WINDOW TUMBLING (SIZE 0 SECONDS) GROUP BY id;", "22023"),
        ("CREATE STREAM t AS SELECT v FROM keyed;", "42P16"),
        ("CREATE STREAM t AS SELECT SUM(dep_delay) AS s FROM flights;", "0A000"),
        ("CREATE STREAM t AS SELECT k.id, f.origin FROM keyed k JOIN flights f ON k.id = f.dep_delay;", "0A000"),
        ("CREATE TABLE t AS SELECT faa, name FROM airports PARTITION BY name;", "0A000"),
        ("INSERT INTO keyed SELECT origin, dep_delay FROM flights;", "42804"),
        ("CREATE STREAM x (a INT PRIMARY KEY, b INT);", "42P16"),
        ("CREATE TABLE x (a INT, b INT);", "42P16"),
        ("CREATE STREAM x (rowtime INT, b INT);", "42939"),
        ("CREATE STREAM x (a INT, a INT);", "42701"),
        ("CREATE STREAM x (a INT) WITH (value_format = 'avro');", "22023"),
    ];
    for (sql, sqlstate) in cases {
        match plan(&format!("{FLIGHTS} {sql}")) {
            Ok(planned) => panic!("{sql} was planned: {:?}", planned.topologies.last().map(explain)),
            Err(error) => assert_eq!(error.sqlstate, sqlstate, "{sql}: {error:?}"),
        }
    }
}
