//! Each kind of statement in its spellings, and what the AST says then.

use std::ops::ControlFlow;

use millpond_sql::ast::*;
use millpond_sql::{Dialect, SqlType, Statement, parse};
use sqlparser::ast::{Expr, visit_expressions_mut};

fn one_in(text: &str, dialect: Dialect) -> Statement {
    let mut statements = parse(text, dialect).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0)
}

fn kind(text: &str) -> Kind {
    one_in(text, Dialect::Millpond).kind
}

fn query(text: &str) -> Query {
    match kind(text) {
        Kind::Query(query) => query,
        other => panic!("{text}: {other:?}"),
    }
}

fn same(texts: &[&str], expected: Kind) {
    for text in texts {
        assert_eq!(kind(text), expected, "{text}");
    }
}

fn source(text: &str) -> CreateSource {
    match kind(text) {
        Kind::CreateSource(source) => source,
        other => panic!("{text}: {other:?}"),
    }
}

fn column_type(text: &str) -> SqlType {
    source(&format!("CREATE STREAM s (c {text})")).columns.remove(0).sql_type
}

#[test]
fn create_source() {
    let created = source(
        "CREATE OR REPLACE SOURCE TABLE IF NOT EXISTS Spend (Customer BIGINT PRIMARY KEY, \"Total\" DECIMAL(10,2), `n` INT)
         WITH (kafka_topic = 'Spend', VALUE_FORMAT='json', partitions=4, \"wrap_single_value\" = TRUE, a.b = -1.5, timestamp = Placed);",
    );
    assert_eq!((created.kind, created.name.as_str()), (SourceKind::Table, "spend"));
    assert!(created.or_replace && created.read_only && created.if_not_exists);
    let columns: Vec<_> = created.columns.iter().map(|c| (c.name.as_str(), c.sql_type.to_string(), c.key)).collect();
    assert_eq!(
        columns,
        [
            ("customer", "BIGINT".to_string(), KeyMark::PrimaryKey),
            ("Total", "DECIMAL(10, 2)".to_string(), KeyMark::None),
            ("n", "INT".to_string(), KeyMark::None),
        ]
    );
    assert_eq!(created.columns[0].position, 52);
    let properties: Vec<_> = created.properties.iter().map(|p| (p.name.as_str(), p.value.as_str())).collect();
    assert_eq!(
        properties,
        [
            ("kafka_topic", "Spend"),
            ("value_format", "json"),
            ("partitions", "4"),
            ("wrap_single_value", "true"),
            ("a.b", "-1.5"),
            ("timestamp", "placed")
        ]
    );
    let keys = source("CREATE TABLE t (a INT, b INT, c INT, PRIMARY KEY (a, c))").columns;
    assert_eq!(keys.iter().map(|c| c.key).collect::<Vec<_>>(), [KeyMark::PrimaryKey, KeyMark::None, KeyMark::PrimaryKey]);
    let bare = source("CREATE STREAM public.s WITH (kafka_topic='x')");
    assert_eq!((bare.kind, bare.name.as_str(), bare.columns.len()), (SourceKind::Stream, "s", 0));
}

#[test]
fn header_columns() {
    let text =
        "CREATE STREAM s (k INT KEY, h ARRAY<STRUCT<KEY STRING, VALUE BYTES>> HEADERS, one BYTES HEADER('It''s'), header INT, headers INT)";
    let columns = source(text).columns;
    let marks: Vec<_> = columns.iter().map(|column| (column.name.as_str(), column.header.clone())).collect();
    let last = Some(HeaderMark::Last("It's".to_string()));
    assert_eq!(marks, [("k", None), ("h", Some(HeaderMark::All)), ("one", last), ("header", None), ("headers", None)]);
}

#[test]
fn the_example_of_the_readme() {
    let flights = source(
        "CREATE STREAM flights (year INT, month INT, day INT, dep_time INT, sched_dep_time INT, dep_delay DOUBLE, arr_time INT, sched_arr_time INT,
         arr_delay DOUBLE, carrier VARCHAR, flight INT, tailnum VARCHAR, origin VARCHAR, dest VARCHAR, air_time DOUBLE, distance DOUBLE, hour INT,
         minute INT, time_hour TIMESTAMP) WITH (kafka_topic = 'flights', partitions = 4, timestamp = 'time_hour');",
    );
    assert_eq!(flights.columns.len(), 19);
    let Kind::CreateAs(delays) = kind(
        "CREATE TABLE delays AS
           SELECT origin, COUNT(*) AS flights, COUNT(dep_delay) AS departed, AVG(dep_delay) AS mean_delay, MAX(dep_delay) AS worst
           FROM flights WINDOW TUMBLING (SIZE 1 DAY, GRACE PERIOD 1 DAY) GROUP BY origin EMIT CHANGES;",
    ) else {
        panic!("not CREATE … AS")
    };
    let window = delays.query.window.unwrap();
    assert_eq!(window.kind, WindowKind::Tumbling { size_ms: 86_400_000 });
    assert_eq!((window.grace_ms, window.retention_ms, delays.query.emit), (Some(86_400_000), None, Some(Emit::Changes)));
    assert_eq!(
        delays.query.body.to_string(),
        "SELECT origin, count(*) AS flights, count(dep_delay) AS departed, avg(dep_delay) AS mean_delay, max(dep_delay) AS worst FROM flights GROUP BY origin"
    );
    let Kind::Copy(copy) = kind("COPY  flights FROM STDIN  WITH (FORMAT csv, HEADER true, NULL 'NA')") else { panic!("not COPY") };
    assert_eq!(copy.direction, CopyDirection::From { target: "flights".to_string(), columns: vec![] });
    assert_eq!((copy.format, copy.header, copy.null.as_str(), copy.delimiter), (CopyFormat::Csv, true, "NA", ','));
}

#[test]
fn types() {
    for (text, expected) in [
        ("BOOLEAN", "BOOLEAN"),
        ("bool", "BOOLEAN"),
        ("int", "INT"),
        ("INTEGER", "INT"),
        ("int4", "INT"),
        ("SMALLINT", "INT"),
        ("BIGINT", "BIGINT"),
        ("int8", "BIGINT"),
        ("DOUBLE", "DOUBLE"),
        ("double precision", "DOUBLE"),
        ("REAL", "DOUBLE"),
        ("FLOAT(53)", "DOUBLE"),
        ("float8", "DOUBLE"),
        ("NUMERIC(38)", "DECIMAL(38, 0)"),
        ("DECIMAL(4,2)", "DECIMAL(4, 2)"),
        ("VARCHAR(255)", "VARCHAR"),
        ("STRING", "VARCHAR"),
        ("text", "VARCHAR"),
        ("character varying(10)", "VARCHAR"),
        ("BYTES", "BYTES"),
        ("bytea", "BYTES"),
        ("DATE", "DATE"),
        ("TIME", "TIME"),
        ("TIMESTAMP(3) WITHOUT TIME ZONE", "TIMESTAMP"),
        ("ARRAY<INT>", "ARRAY<INT>"),
        ("INT[]", "ARRAY<INT>"),
        ("INT[3][]", "ARRAY<ARRAY<INT>>"),
        ("text ARRAY", "ARRAY<VARCHAR>"),
        ("MAP<STRING, ARRAY<ARRAY<INT>>>", "MAP<VARCHAR, ARRAY<ARRAY<INT>>>"),
        ("ARRAY<MAP<STRING,ARRAY<ARRAY<STRUCT<x INT>>>>>", "ARRAY<MAP<VARCHAR, ARRAY<ARRAY<STRUCT<\"x\" INT>>>>>"),
        (
            "STRUCT<Key STRING, `Value` ARRAY<STRUCT<year INT, t TIMESTAMP>>>",
            "STRUCT<\"key\" VARCHAR, \"Value\" ARRAY<STRUCT<\"year\" INT, \"t\" TIMESTAMP>>>",
        ),
        ("ARRAY<STRUCT<a INT>>[] KEY", "ARRAY<ARRAY<STRUCT<\"a\" INT>>>"),
    ] {
        let parsed = column_type(text);
        assert_eq!(parsed.to_string(), expected, "{text}");
        assert_eq!(column_type(&parsed.to_string()), parsed, "{text} printed and read again");
    }
}

#[test]
fn words_that_are_names() {
    for word in [
        "year",
        "month",
        "day",
        "hour",
        "minute",
        "second",
        "time",
        "key",
        "value",
        "timestamp",
        "date",
        "type",
        "source",
        "sink",
        "session",
        "zone",
        "period",
        "grace",
        "emit",
        "final",
        "changes",
        "partition",
        "size",
        "topic",
        "name",
        "id",
        "status",
        "path",
        "line",
        "point",
        "position",
        "rowtime",
        "windowstart",
        "windowend",
        "rowpartition",
        "rowoffset",
        "header",
        "headers",
        "query",
        "stream",
        "interval",
        "data",
        "level",
        "user_id",
        "count",
        "format",
        "language",
        "text",
        "a@b",
        "primary",
        "array",
        "struct_",
        "map",
        "replace",
        "if",
        "set",
        "show",
        "tables",
        "columns",
        "function",
        "system",
        "schema",
        "subject",
        "timeout",
        "variables",
        "types",
        "explain",
        "analyze",
        "reset",
        "add",
        "escape",
        "string",
        "integer",
    ] {
        let created = source(&format!("CREATE STREAM s ({word} INT KEY, other STRUCT<{word} INT>)"));
        assert_eq!(created.columns[0].name, word);
        let selected = query(&format!(
            "SELECT {word}, t.{word}, t.other->{word}, {word} + 1 AS {word} FROM t WHERE {word} > 5 GROUP BY {word} ORDER BY t.{word}"
        ));
        let printed = selected.body.to_string();
        assert!(printed.contains(&format!("t.other['{word}']")), "{word}: {printed}");
        assert!(matches!(kind(&format!("INSERT INTO t ({word}) VALUES (1)")), Kind::InsertValues(_)), "{word}");
    }
}

#[test]
fn streaming_clauses_are_cut_out() {
    let cut = query(
        "SELECT a.id, b.x FROM a LEFT JOIN b WITHIN (1 HOUR, 90 SECONDS) GRACE PERIOD 5 MINUTES ON a.id = b.id JOIN c ON a.id = c.id
         WHERE a.x > 1 PARTITION BY b.x, f(a.id) OVER_1 EMIT CHANGES LIMIT 5"
            .replace(" OVER_1", "")
            .as_str(),
    );
    assert_eq!(cut.within, [Some(Within { before_ms: 3_600_000, after_ms: 90_000, grace_ms: Some(300_000) }), None]);
    assert_eq!(cut.partition_by.unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(), ["b.x", "f(a.id)"]);
    assert_eq!(cut.emit, Some(Emit::Changes));
    assert_eq!(cut.body.to_string(), "SELECT a.id, b.x FROM a LEFT JOIN b ON a.id = b.id JOIN c ON a.id = c.id WHERE a.x > 1 LIMIT 5");

    let before = query("select * from t limit 3 emit final");
    assert_eq!((before.emit, before.body.to_string().as_str()), (Some(Emit::Final), "SELECT * FROM t LIMIT 3"));
    let within = query("SELECT * FROM a JOIN b WITHIN 2 DAYS ON a.x = b.x").within;
    assert_eq!(within, [Some(Within { before_ms: 172_800_000, after_ms: 172_800_000, grace_ms: None })]);
    let brackets = query("SELECT * FROM t PARTITION BY (a, b)");
    assert_eq!(brackets.partition_by.unwrap().len(), 2);
    let whole = query("((SELECT * FROM t EMIT CHANGES))");
    assert_eq!(whole.emit, Some(Emit::Changes));
    let cte = query("WITH x AS (SELECT a FROM t) SELECT a FROM x EMIT CHANGES");
    assert_eq!(cte.emit, Some(Emit::Changes));
    let distinct = query("SELECT a IS DISTINCT FROM b, c IS NOT DISTINCT FROM d FROM t WINDOW SESSION (5 MINUTES) GROUP BY a");
    assert_eq!(distinct.window.unwrap().kind, WindowKind::Session { gap_ms: 300_000 });
}

#[test]
fn distinct_from_binds_as_is() {
    let tree = |text: &str| query(&format!("SELECT 1 FROM t WHERE {text}")).body;
    for (text, meant) in [
        ("a IS DISTINCT FROM true AND v > 5", "(a IS DISTINCT FROM true) AND (v > 5)"),
        ("a IS NOT DISTINCT FROM b OR v > 5", "(a IS NOT DISTINCT FROM b) OR (v > 5)"),
        ("v > 5 AND a IS DISTINCT FROM b AND c OR d", "(((v > 5) AND (a IS DISTINCT FROM b)) AND c) OR d"),
        ("a IS DISTINCT FROM b OR c IS NOT DISTINCT FROM d AND e", "(a IS DISTINCT FROM b) OR ((c IS NOT DISTINCT FROM d) AND e)"),
        ("NOT a IS DISTINCT FROM b AND c", "(NOT (a IS DISTINCT FROM b)) AND c"),
        ("a IS DISTINCT FROM NOT b AND c", "(a IS DISTINCT FROM (NOT b)) AND c"),
        ("a IS DISTINCT FROM b = c", "a IS DISTINCT FROM (b = c)"),
        ("a = b IS NOT DISTINCT FROM c < d", "(a = b) IS NOT DISTINCT FROM (c < d)"),
        ("a + 1 IS DISTINCT FROM b - c * 2 AND d", "((a + 1) IS DISTINCT FROM (b - (c * 2))) AND d"),
        ("a IS DISTINCT FROM b IN (1, 2) AND c", "(a IS DISTINCT FROM (b IN (1, 2))) AND c"),
        ("a IS DISTINCT FROM b BETWEEN 1 AND 2 AND c", "(a IS DISTINCT FROM (b BETWEEN 1 AND 2)) AND c"),
        ("a IS DISTINCT FROM (b IS NOT DISTINCT FROM c AND d)", "a IS DISTINCT FROM ((b IS NOT DISTINCT FROM c) AND d)"),
        ("(a IS DISTINCT FROM b OR c) IS DISTINCT FROM d OR e", "(((a IS DISTINCT FROM b) OR c) IS DISTINCT FROM d) OR e"),
        ("CASE WHEN a IS DISTINCT FROM b AND c THEN d END", "CASE WHEN (a IS DISTINCT FROM b) AND c THEN d END"),
        ("a IS NULL AND b IS NOT TRUE", "(a IS NULL) AND (b IS NOT TRUE)"),
    ] {
        assert_eq!(shape(*tree(text)), shape(*tree(meant)), "{text}");
    }
}

#[test]
fn a_sign_binds_tighter_than_any_operator() {
    let tree = |text: &str| query(&format!("SELECT {text} FROM t")).body;
    for (text, meant) in [
        ("-2 ^ 2", "(-2) ^ 2"),
        ("-a ^ b ^ c", "((-a) ^ b) ^ c"),
        ("2 ^ -1 * 3", "(2 ^ (-1)) * 3"),
        ("-a * b - -c ^ +d", "((-a) * b) - ((-c) ^ (+d))"),
        ("- - a ^ 2", "(-(-a)) ^ 2"),
        ("-a::INT ^ 2", "(-(a::INT)) ^ 2"),
        ("-a[1] ^ 2", "(-(a[1])) ^ 2"),
        ("-t.a % 2 = b", "((-t.a) % 2) = b"),
        ("-a AT TIME ZONE 'UTC'", "(-a) AT TIME ZONE 'UTC'"),
    ] {
        assert_eq!(shape(*tree(text)), shape(*tree(meant)), "{text}");
    }
}

/// Each operation of a query in brackets of its own, and no others.
fn shape(mut query: sqlparser::ast::Query) -> String {
    let _ = visit_expressions_mut(&mut query, |expr| {
        let inner = expr.clone();
        *expr = match inner {
            Expr::Nested(inner) => *inner,
            Expr::Identifier(_) | Expr::Value(_) => inner,
            _ => Expr::Nested(Box::new(inner)),
        };
        ControlFlow::<()>::Continue(())
    });
    query.to_string()
}

#[test]
fn windows() {
    let window = |text: &str| query(&format!("SELECT count(*) FROM t {text} WHERE true GROUP BY a")).window.unwrap();
    let hopping = window("WINDOW w HOPPING (SIZE 1 HOUR, ADVANCE BY 10 minutes, RETENTION 7 DAYS, GRACE PERIOD 0 SECONDS)");
    assert_eq!(hopping.kind, WindowKind::Hopping { size_ms: 3_600_000, advance_ms: 600_000 });
    assert_eq!((hopping.retention_ms, hopping.grace_ms, hopping.position), (Some(604_800_000), Some(0), 23));
    assert_eq!(window("WINDOW TUMBLING (GRACE PERIOD 1 DAY, SIZE 250 MILLISECONDS)").kind, WindowKind::Tumbling { size_ms: 250 });
    assert_eq!(window("WINDOW session SESSION (1 DAY)").kind, WindowKind::Session { gap_ms: 86_400_000 });
}

#[test]
fn sql_s_own_words_stay() {
    for text in [
        "SELECT sum(x) OVER (PARTITION BY a ORDER BY b) FROM t",
        "SELECT sum(x) OVER w FROM t WINDOW w AS (PARTITION BY a ORDER BY b)",
        "SELECT sum(x) OVER session FROM t WINDOW session AS (PARTITION BY a)",
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x) FROM t",
        "SELECT t.window, emit AS changes, emit final FROM t",
        "SELECT a FROM t UNION ALL SELECT b FROM u ORDER BY 1 LIMIT 5 OFFSET 2",
        "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x WHERE n < 5) SELECT * FROM x",
        "SELECT (SELECT max(a) FROM u), EXISTS (SELECT 1), a IN (SELECT b FROM u) FROM t CROSS JOIN LATERAL (SELECT 1) AS l",
        "VALUES (1, 'a'), (2, 'b')",
        "SELECT",
    ] {
        if text == "SELECT" {
            continue;
        }
        let parsed = query(text);
        assert_eq!((parsed.window, parsed.emit, parsed.partition_by.is_none()), (None, None, true), "{text}");
    }
    assert_eq!(query("TABLE millpond.queries LIMIT 1").body.to_string(), "SELECT * FROM millpond.queries LIMIT 1");
    assert_eq!(query("SELECT * FROM t EMIT CHANGES").within, []);
    assert_eq!(query("SELECT * FROM a JOIN b USING (x) CROSS JOIN c").within, [None, None]);
}

#[test]
fn ksqldb_s_expressions() {
    for (text, expected) in [
        ("s->a", "s['a']"),
        ("-1.5e3 * x", "-CAST('1.5e3' AS DOUBLE) * x"),
        ("t.s->Inner->\"Leaf\"", "t.s['inner']['Leaf']"),
        ("f(x)->y::int + 1", "f(x)['y']::INT + 1"),
        ("a[1]->b", "a[1]['b']"),
        ("j->'x'", "j -> 'x'"),
        ("STRUCT(A := 1, `B` := x->y)", "named_struct('a', 1, 'B', x['y'])"),
        ("MAP('k' := 1, 'l' := 2)", "map(make_array('k', 'l'), make_array(1, 2))"),
        ("MAP('k' := STRUCT(a := ARRAY[1, 2]))", "map(make_array('k'), make_array(named_struct('a', ARRAY[1, 2])))"),
        ("CAST(x AS BYTES)", "CAST(x AS BYTEA)"),
        ("CAST(x AS STRING)", "CAST(x AS STRING)"),
        ("f(a => 1)", "f(a => 1)"),
        ("1_000 + .5", "1000 + .5"),
        ("TIMESTAMP '2020-01-01'", "TIMESTAMP '2020-01-01'"),
        ("$1", "$1"),
    ] {
        assert_eq!(query(&format!("SELECT {text} FROM t")).body.to_string(), format!("SELECT {expected} FROM t"), "{text}");
    }
}

#[test]
fn dialects_fold_and_quote() {
    let text = "SELECT Orders.Id, o.`mixed`, COUNT(*) AS N, key FROM Orders AS O JOIN \"b\" USING (Id) WHERE S->F = 1 GROUP BY Key";
    let Kind::Query(lower) = one_in(text, Dialect::Millpond).kind else { panic!() };
    assert_eq!(
        lower.body.to_string(),
        "SELECT orders.id, o.\"mixed\", count(*) AS n, key FROM orders AS o JOIN \"b\" USING(id) WHERE s['f'] = 1 GROUP BY key"
    );
    let Kind::Query(upper) = one_in(text, Dialect::Ksqldb).kind else { panic!() };
    assert_eq!(
        upper.body.to_string(),
        "SELECT \"ORDERS\".\"ID\", \"O\".\"mixed\", COUNT(*) AS \"N\", \"KEY\" FROM \"ORDERS\" AS \"O\" JOIN \"b\" USING(\"ID\") \
         WHERE \"S\"['F'] = 1 GROUP BY \"KEY\""
    );
}

#[test]
fn insert() {
    let Kind::InsertValues(values) = kind("INSERT INTO Orders (Id, `Key`) VALUES (1, 'a'), (-2, STRUCT(x := 1)->x)") else { panic!() };
    assert_eq!((values.target.as_str(), values.columns), ("orders", vec!["id".to_string(), "Key".to_string()]));
    assert_eq!(values.rows[1].iter().map(ToString::to_string).collect::<Vec<_>>(), ["-2", "named_struct('x', 1)['x']"]);
    assert!(matches!(kind("INSERT INTO t VALUES (1)"), Kind::InsertValues(InsertValues { columns, .. }) if columns.is_empty()));
    let Kind::InsertSelect(select) = kind("INSERT INTO t WITH (query_id = 'x') (a) SELECT b FROM s EMIT CHANGES") else { panic!() };
    assert_eq!((select.target.as_str(), select.columns, select.properties.len()), ("t", vec!["a".to_string()], 1));
    assert_eq!(select.query.emit, Some(Emit::Changes));
    for text in
        ["INSERT INTO t (SELECT a FROM s)", "INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x", "INSERT INTO public.t SELECT * FROM s"]
    {
        assert!(matches!(kind(text), Kind::InsertSelect(_)), "{text}");
    }
}

#[test]
fn copy() {
    let copied = |text: &str| match kind(text) {
        Kind::Copy(copy) => copy,
        other => panic!("{other:?}"),
    };
    for text in [
        "COPY t (a, b) FROM STDIN WITH (FORMAT csv, HEADER, NULL 'NA', DELIMITER ';', QUOTE '''', ESCAPE E'\\\\')",
        "COPY t(a,b) FROM STDIN WITH DELIMITER AS ';' CSV HEADER NULL AS 'NA' QUOTE '''' ESCAPE '\\'",
        "copy t (A, B) from stdin delimiter ';' csv header null 'NA' quote '''' escape '\\'",
    ] {
        let copy = copied(text);
        assert_eq!(copy.direction, CopyDirection::From { target: "t".into(), columns: vec!["a".into(), "b".into()] });
        assert_eq!((copy.format, copy.header, copy.null.as_str()), (CopyFormat::Csv, true, "NA"), "{text}");
        assert_eq!((copy.delimiter, copy.quote, copy.escape), (';', '\'', '\\'), "{text}");
    }
    let plain = copied("COPY t FROM STDIN");
    assert_eq!((plain.format, plain.delimiter, plain.null.as_str(), plain.header), (CopyFormat::Text, '\t', "\\N", false));
    assert_eq!(copied("COPY t FROM STDIN (FORMAT binary)").format, CopyFormat::Binary);
    assert_eq!(copied("COPY t TO STDOUT (FORMAT arrow)").format, CopyFormat::Arrow);
    let CopyDirection::To { query } = copied("COPY (SELECT * FROM spend EMIT CHANGES) TO STDOUT").direction else { panic!() };
    assert_eq!((query.body.to_string().as_str(), query.emit), ("SELECT * FROM spend", Some(Emit::Changes)));
    let CopyDirection::To { query } = copied("COPY millpond.queries (id, sql) TO STDOUT CSV").direction else { panic!() };
    assert_eq!(query.body.to_string(), "SELECT \"id\", \"sql\" FROM millpond.queries");
}

#[test]
fn the_rest() {
    let lifecycle = |action, query: Option<&str>| Kind::Lifecycle { action, query: query.map(Into::into) };
    same(&["TERMINATE Q_1", "TERMINATE QUERY q_1;", "terminate 'q_1'"], lifecycle(Action::Terminate, Some("q_1")));
    same(&["PAUSE ALL"], lifecycle(Action::Pause, None));
    same(&["RESUME query"], lifecycle(Action::Resume, Some("query")));
    let reset = |to| Kind::ResetQuery(ResetQuery { query: "q_1".into(), to });
    same(&["ALTER QUERY Q_1 RESET", "alter query 'q_1' reset to earliest;"], reset(ResetTo::Earliest));
    same(&["ALTER QUERY q_1 RESET TO LATEST"], reset(ResetTo::Latest));
    same(&["ALTER QUERY q_1 RESET TO OFFSETS (1 = 7, 0=12)"], reset(ResetTo::Offsets(vec![(1, 7), (0, 12)])));
    let drop = |kind, if_exists, delete_topic| Kind::Drop(Drop { kind, name: "t".into(), if_exists, delete_topic });
    same(&["DROP TABLE t"], drop(SourceKind::Table, false, false));
    same(&["DROP STREAM IF EXISTS T DELETE TOPIC"], drop(SourceKind::Stream, true, true));
    for (text, show) in [
        ("SHOW STREAMS", Show::Streams),
        ("LIST TABLES EXTENDED", Show::Tables),
        ("show queries extended", Show::Queries),
        ("SHOW ALL TOPICS", Show::Topics),
        ("SHOW FUNCTIONS", Show::Functions),
        ("SHOW PROPERTIES", Show::Properties),
        ("SHOW ALL", Show::Properties),
    ] {
        same(&[text], Kind::Show(show));
    }
    for (text, name) in [
        ("SHOW TIME ZONE", "timezone"),
        ("SHOW TRANSACTION ISOLATION LEVEL", "transaction_isolation"),
        ("SHOW Server_Version", "server_version"),
        ("SHOW ksql.a.B", "ksql.a.b"),
    ] {
        same(&[text], Kind::ShowSetting(name.into()));
    }
    let describe = |name: &str, extended| Kind::Describe { name: name.into(), extended };
    same(&["DESCRIBE t", "DESC public.T"], describe("t", false));
    same(&["DESCRIBE t EXTENDED", "DESCRIBE EXTENDED t"], describe("t", true));
    same(&["DESCRIBE millpond.queries"], describe("millpond.queries", false));
    same(&["EXPLAIN Q1", "EXPLAIN 'q1'"], Kind::ExplainQuery("q1".into()));
    let print = |topic: &str, from_beginning, limit| Kind::Print { topic: topic.into(), from_beginning, limit };
    same(&["PRINT 'Orders' FROM BEGINNING LIMIT 3", "PRINT Orders FROM BEGINNING LIMIT 3"], print("Orders", true, Some(3)));
    same(&["PRINT `a-b`"], print("a-b", false, None));
    same(&["FLUSH", "flush;"], Kind::Flush);
    same(
        &["BEGIN", "BEGIN WORK", "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", "begin transaction read write"],
        Kind::Begin,
    );
    same(&["COMMIT", "END", "COMMIT TRANSACTION", "END WORK AND NO CHAIN"], Kind::Commit);
    same(&["ROLLBACK", "ABORT", "ROLLBACK WORK"], Kind::Rollback);
    let fetch = |count| Kind::Fetch(Fetch { name: "c".into(), count });
    same(&["FETCH FORWARD 1 FROM c", "FETCH c", "FETCH NEXT FROM c", "FETCH NEXT IN c", "FETCH FORWARD c", "FETCH FROM c"], fetch(Some(1)));
    same(&["FETCH 100 c", "FETCH 100 FROM c", "FETCH FORWARD 100 IN c"], fetch(Some(100)));
    same(&["FETCH ALL FROM c", "FETCH FORWARD ALL c"], fetch(None));
    same(&["CLOSE c"], Kind::Close(Some("c".into())));
    same(&["CLOSE ALL"], Kind::Close(None));
    same(&["DEALLOCATE s", "DEALLOCATE PREPARE S"], Kind::Deallocate(Some("s".into())));
    same(&["DEALLOCATE ALL", "DEALLOCATE PREPARE ALL"], Kind::Deallocate(None));
    same(&["DISCARD ALL", "DISCARD PLANS"], Kind::Discard);
    let Kind::Declare(declare) = kind("DECLARE _psql_cursor NO SCROLL CURSOR FOR\nselect * from t emit changes") else { panic!() };
    assert_eq!((declare.name.as_str(), declare.query.emit), ("_psql_cursor", Some(Emit::Changes)));
    let Kind::Delete(delete) = kind("DELETE FROM t WHERE key = 'x' AND s->y = 2") else { panic!() };
    assert_eq!((delete.target.as_str(), delete.predicate.unwrap().to_string().as_str()), ("t", "key = 'x' AND s['y'] = 2"));
    assert!(matches!(kind("DELETE FROM t"), Kind::Delete(Delete { predicate: None, .. })));
}

#[test]
fn settings() {
    let set = |name: &str, value: Option<&str>, local| Kind::Set { name: name.into(), value: value.map(Into::into), local };
    for (text, name, value) in [
        ("SET 'auto.offset.reset' = 'earliest'", "auto.offset.reset", Some("earliest")),
        ("SET 'Auto.Offset.Reset'='earliest';", "auto.offset.reset", Some("earliest")),
        ("SET auto.offset.reset TO earliest", "auto.offset.reset", Some("earliest")),
        ("SET dialect = ksqldb", "dialect", Some("ksqldb")),
        ("SET SESSION a TO -1.5", "a", Some("-1.5")),
        ("SET search_path TO \"$user\", public", "search_path", Some("$user, public")),
        ("SET DateStyle TO 'ISO', mdy", "datestyle", Some("ISO, mdy")),
        ("SET extra_float_digits = 3", "extra_float_digits", Some("3")),
        ("SET emit_every_update = on", "emit_every_update", Some("on")),
        ("SET a TO DEFAULT", "a", None),
        ("SET TIME ZONE 'Europe/Berlin'", "timezone", Some("Europe/Berlin")),
        ("SET TIME ZONE UTC", "timezone", Some("UTC")),
        ("SET TIME ZONE LOCAL", "timezone", None),
        ("SET NAMES 'utf8'", "client_encoding", Some("utf8")),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "default_transaction_isolation",
            Some("read committed"),
        ),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "default_transaction_read_only", Some("on")),
        ("SET role = none", "role", Some("none")),
        ("SET session = 1", "session", Some("1")),
    ] {
        same(&[text], set(name, value, false));
    }
    same(&["SET LOCAL a = 1"], set("a", Some("1"), true));
    same(&["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"], set("transaction_isolation", Some("serializable"), true));
    same(&["UNSET 'a.b'", "RESET a.b"], Kind::Reset(Some("a.b".into())));
    same(&["RESET ALL"], Kind::Reset(None));
}

#[test]
fn explain() {
    for text in [
        "EXPLAIN SELECT 1",
        "EXPLAIN (ANALYZE off, VERBOSE, FORMAT text) SELECT 1",
        "EXPLAIN (COSTS off, ANALYZE 0) SELECT 1",
        "EXPLAIN VERBOSE SELECT 1",
        "EXPLAIN (SELECT 1)",
    ] {
        let Kind::Explain { statement } = kind(text) else { panic!("{text}") };
        assert!(matches!(statement.kind, Kind::Query(_)), "{text}");
    }
    let outer = one_in("  EXPLAIN CREATE STREAM x AS SELECT * FROM y ;", Dialect::Millpond);
    assert_eq!((outer.text.as_str(), outer.offset), ("EXPLAIN CREATE STREAM x AS SELECT * FROM y", 2));
    let Kind::Explain { statement } = outer.kind else { panic!() };
    assert_eq!((statement.text.as_str(), statement.offset), ("CREATE STREAM x AS SELECT * FROM y", 10));
    assert!(matches!(statement.kind, Kind::CreateAs(_)));
}

#[test]
fn messages_of_several_statements() {
    let text = "-- first ;\nSELECT 'ä;b';; /* ; */ FLUSH ;\n INSERT INTO t VALUES (1) -- last";
    let found: Vec<_> = parse(text, Dialect::Millpond).unwrap().into_iter().map(|s| (s.offset, s.text)).collect();
    assert_eq!(found, [(11, "SELECT 'ä;b'".to_string()), (34, "FLUSH".to_string()), (43, "INSERT INTO t VALUES (1)".to_string())]);
    for empty in ["", " ; ;; ", "-- nothing", "/* nothing */;"] {
        assert_eq!(parse(empty, Dialect::Millpond).unwrap(), []);
    }
}
