//! Errors: SQLSTATE, hint, and the position that psql draws its caret at.

use tokio_postgres::error::ErrorPosition;

use crate::server::{Server, fails, rows, told};

const DECLARED: &str = "CREATE STREAM orders (id INT KEY, amount DOUBLE, placed TIMESTAMP) WITH (kafka_topic = 'orders', partitions = 1)";

#[tokio::test]
async fn what_is_wrong_is_named() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute(DECLARED).await.unwrap();
    for (sql, sqlstate, hint) in [
        ("SELECT amont FROM orders", "42703", "Perhaps you meant \"amount\"."),
        ("SELECT * FROM oders", "42P01", ""),
        ("SELECT nosuch(1)", "42883", ""),
        ("SELEC 1", "42601", ""),
        ("SELECT 1 / 0 FROM orders LIMIT 0; SELECT 1 / 0", "22012", ""),
        ("INSERT INTO orders VALUES ('x')", "22P02", ""),
        ("INSERT INTO orders (id, amonut) VALUES (1, 2)", "42703", "Perhaps you meant \"amount\"."),
        ("INSERT INTO orders VALUES (1, 2, '2013-07-04', 4)", "42601", ""),
        ("DROP STREAM nosuch", "42P01", ""),
        ("DROP TABLE orders", "42809", "Use DROP STREAM to remove a stream."),
        ("DELETE FROM orders WHERE id = 1", "42809", ""),
        ("SET nosuch = 1", "42704", "SHOW ALL lists the settings there are."),
        ("TERMINATE nosuch", "42704", ""),
        ("FETCH 1 FROM nosuch", "34000", ""),
    ] {
        let (code, message, told) = fails(&client, sql).await;
        assert_eq!(code, sqlstate, "{sql}: {message}");
        assert!(told.contains(hint), "{sql}: {told}");
        assert!(!message.contains("DataFusion") && !message.ends_with('.'), "{sql}: {message}");
    }
}

/// The libraries' own texts, as PostgreSQL would put them. Where a place is given the caret is there.
#[tokio::test]
async fn what_libraries_say_is_put_as_postgresql_puts_it() {
    let server = Server::start();
    let client = server.connect().await;
    client
        .batch_execute(&format!(
            "{DECLARED}; CREATE TABLE t (k INT PRIMARY KEY, v INT, s VARCHAR, d DATE, r STRUCT<p INT>) WITH (kafka_topic = 't', partitions = 1); \
             INSERT INTO t VALUES (1, 10, 'a', '2013-01-01', '(1)'), (2, 20, 'b', '2013-01-02', '(2)'); FLUSH"
        ))
        .await
        .unwrap();
    for (sql, sqlstate, message, place) in [
        ("SELECT abs()", "42883", "function abs() does not exist", "abs"),
        ("SELECT abs(1, 2)", "42883", "function abs(integer, integer) does not exist", "abs"),
        ("SELECT abs('x') FROM t", "42883", "function abs(text) does not exist", "abs"),
        ("SELECT upper(v) FROM t", "42883", "function upper(integer) does not exist", "upper"),
        ("SELECT sum() FROM t", "42883", "function sum() does not exist", "sum"),
        ("SELECT * FROM nosuch(1)", "42883", "function nosuch does not exist", "nosuch"),
        ("SELECT v[1] FROM t", "42804", "cannot subscript type integer", ""),
        ("SELECT v FROM t WHERE v = ANY (s)", "42809", "op ANY/ALL (array) requires array on right side", ""),
        ("SELECT x.k FROM t", "42P01", "missing FROM-clause entry for table \"x\"", "x.k"),
        ("SELECT * FROM t, t", "42712", "table name \"t\" specified more than once", ""),
        (
            "SELECT v, count(*) FROM t",
            "42803",
            "column \"t.v\" must appear in the GROUP BY clause or be used in an aggregate function",
            "v,",
        ),
        (
            "SELECT v FROM t HAVING v > 1",
            "42803",
            "columns in HAVING must appear in the GROUP BY clause or be used in an aggregate function",
            "",
        ),
        ("SELECT count(*) FROM t WHERE count(*) > 1", "42803", "aggregate functions are not allowed in WHERE", ""),
        ("SELECT sum(count(*)) FROM t", "42803", "aggregate function calls cannot be nested", ""),
        ("SELECT v FROM t WHERE row_number() OVER () = 1", "42P20", "window functions are not allowed in WHERE", ""),
        ("SELECT v % 0 FROM t", "22012", "division by zero", ""),
        ("SELECT 2147483647 + 1", "22003", "integer out of range", ""),
        ("SELECT 9223372036854775807 + 1", "22003", "bigint out of range", ""),
        ("SELECT CAST('abc' AS INT)", "22P02", "invalid input syntax for type integer: \"abc\"", "'abc'"),
        ("SELECT CAST(s AS INT) FROM t", "22P02", "invalid input syntax for type integer: \"a\"", ""),
        ("SELECT CAST(9999999999 AS INT)", "22003", "integer out of range", ""),
        ("SELECT CAST('1.5' AS BOOLEAN)", "22P02", "invalid input syntax for type boolean: \"1.5\"", "'1.5'"),
        ("SELECT * FROM t WHERE d = 'nodate'", "22007", "invalid input syntax for type date: \"nodate\"", "'nodate'"),
        ("SELECT TIMESTAMP 'xyz'", "22007", "invalid input syntax for type timestamp: \"xyz\"", "'xyz'"),
        ("SELECT * FROM t WHERE v = 'x'", "22P02", "invalid input syntax for type integer: \"x\"", "'x'"),
        ("SELECT * FROM t WHERE v", "42804", "argument of WHERE must be type boolean, not type integer", ""),
        ("SELECT NOT v FROM t", "42804", "argument of NOT must be type boolean, not type integer", "v FROM"),
        ("SELECT v AND true FROM t", "42804", "argument of AND must be type boolean, not type integer", "v AND"),
        ("SELECT s + s FROM t", "42883", "operator does not exist: text + text", "s + s"),
        ("SELECT s LIKE 1 FROM t", "42883", "operator does not exist: text LIKE integer", ""),
        ("SELECT v FROM t UNION SELECT v, s FROM t", "42601", "each UNION query must have the same number of columns", "SELECT v FROM t"),
        ("SELECT v FROM t WHERE v = (SELECT v FROM t)", "21000", "more than one row returned by a subquery used as an expression", ""),
        ("SELECT v FROM t WHERE v IN (SELECT v, s FROM t)", "42601", "subquery must return only one column", "v, s"),
        ("VALUES (1), (1, 2)", "42601", "VALUES lists must all be the same length", ""),
        ("SELECT * FROM t LIMIT -1", "2201W", "LIMIT must not be negative", ""),
        ("SELECT * FROM t OFFSET -1", "2201X", "OFFSET must not be negative", ""),
        ("SELECT * FROM t LIMIT 'x'", "42804", "argument of LIMIT must be type bigint, not type text", ""),
        ("SELECT $1", "42P02", "there is no parameter $1", ""),
        ("WITH x AS (SELECT 1), x AS (SELECT 2) SELECT * FROM x", "42712", "WITH query name \"x\" specified more than once", ""),
        ("SELECT * FROM t ORDER BY 9", "42P10", "ORDER BY position 9 is not in select list", ""),
        ("SELECT v FROM t GROUP BY 9", "42P10", "GROUP BY position 9 is not in select list", ""),
        ("SELECT DISTINCT v FROM t ORDER BY s", "42P10", "for SELECT DISTINCT, ORDER BY expressions must appear in select list", ""),
        ("SELECT extract(nosuch FROM d) FROM t", "22023", "unit \"nosuch\" not recognized", ""),
        ("SELECT s ~ '[' FROM t", "2201B", "invalid regular expression", ""),
        ("SELECT sqrt(-1)", "2201F", "cannot take square root of a negative number", ""),
        ("SELECT r->nosuch FROM t", "42703", "field \"nosuch\" does not exist in the STRUCT", ""),
        ("SELECT (r).p FROM t", "0A000", "a field of an expression in parentheses cannot be selected", ""),
        ("SELECT \"open FROM t", "42601", "unterminated quoted identifier", "\"open"),
        ("SELECT 1 /* open", "42601", "unterminated /* comment", ""),
        ("DEALLOCATE nosuch", "26000", "prepared statement \"nosuch\" does not exist", ""),
        ("CREATE TABLE u AS SELECT nosuch FROM t", "42703", "column \"nosuch\" does not exist", "nosuch"),
        ("INSERT INTO nosuch VALUES (1)", "42P01", "relation \"nosuch\" does not exist", "nosuch"),
    ] {
        let error = client.simple_query(sql).await.expect_err(sql);
        let told = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
        assert_eq!((told.code().code(), told.message().starts_with(message)), (sqlstate, true), "{sql}: {told:?}");
        if !place.is_empty() {
            let expected = sql.find(place).unwrap() as u32 + 1;
            assert_eq!(told.position(), Some(&ErrorPosition::Original(expected)), "{sql}");
        }
    }
}

#[tokio::test]
async fn a_query_can_be_too_wide() {
    let server = Server::start();
    let client = server.connect().await;
    let wide = |columns: usize| format!("SELECT {}", vec!["1"; columns].join(", "));
    assert_eq!(fails(&client, &wide(70_000)).await.0, "54011");
    assert_eq!(rows(&client, &wide(1_664)).await[0].len(), 1_664);
    assert_eq!(told(&client.prepare(&wide(70_000)).await.unwrap_err()).0, "54011");
    client.batch_execute("CREATE STREAM s (k INT)").await.unwrap();
    assert_eq!(fails(&client, &format!("CREATE STREAM w AS {} FROM s", wide(70_000))).await.0, "54011");
}

#[tokio::test]
async fn positions_count_in_the_whole_message() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute(DECLARED).await.unwrap();
    for (sql, place) in [
        ("SELECT 1; SELECT amont FROM orders", "amont"),
        ("SELECT 'é',\n  amont FROM orders", "amont"),
        ("INSERT INTO orders VALUES (1, 'x')", "'x'"),
        ("SELECT id FRM orders WHERE", "orders"),
        ("SELECT 1; SELECT 'é', abs(1, 2)", "abs"),
        ("SELECT 'é';\n SELECT CAST('x' AS INT)", "'x'"),
    ] {
        let error = client.simple_query(sql).await.expect_err(sql);
        let position = error.as_db_error().unwrap().position().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone();
        let expected = sql[..sql.find(place).unwrap()].chars().count() as u32 + 1;
        assert_eq!(position, ErrorPosition::Original(expected), "{sql}");
    }
}

#[tokio::test]
async fn after_an_error_the_rest_of_the_message_is_skipped() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute(DECLARED).await.unwrap();
    fails(&client, "INSERT INTO orders (id) VALUES (1); SELECT nosuch FROM orders; INSERT INTO orders (id) VALUES (2)").await;
    assert_eq!(rows(&client, "SELECT id FROM orders").await, [["1"]]);
    assert!(rows(&client, "").await.is_empty());
    assert!(rows(&client, " ; -- nothing\n").await.is_empty());
    assert!(client.prepare("SELECT 1; SELECT 2").await.is_err());
    assert_eq!(rows(&client, "SELECT 1; SELECT 2").await, [["1"], ["2"]]);
}

#[tokio::test]
async fn settings_are_the_sessions_own() {
    let server = Server::start();
    let (one, other) = (server.connect().await, server.connect().await);
    one.batch_execute("SET dialect = 'ksqldb'").await.unwrap();
    assert_eq!(rows(&one, "SHOW dialect").await, [["ksqldb"]]);
    assert_eq!(rows(&other, "SHOW dialect").await, [["millpond"]]);
    one.batch_execute("RESET dialect").await.unwrap();
    assert_eq!(rows(&one, "SHOW dialect").await, [["millpond"]]);
    assert_eq!(fails(&one, "SET dialect = 'oracle'").await.0, "22023");
}
