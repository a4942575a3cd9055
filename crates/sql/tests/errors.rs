//! What is refused: the SQLSTATE, the message, the place it points at, and what the hint says.

use millpond_sql::{Dialect, Error, parse};

fn error(text: &str) -> Error {
    match parse(text, Dialect::Millpond) {
        Err(error) => error,
        Ok(parsed) => panic!("{text}: {parsed:?}"),
    }
}

/// `^` marks the place: it is taken out before parsing.
fn check(marked: &str, sqlstate: &str, message: &str, hint: &str) {
    let at = marked.chars().position(|c| c == '^').expect("a mark");
    let text: String = marked.replacen('^', "", 1);
    let error = error(&text);
    assert_eq!((error.sqlstate, error.message.as_str()), (sqlstate, message), "{marked}: {error:?}");
    assert_eq!(error.position.map(|position| position.0 as usize), Some(at + 1), "{marked}: {error:?}");
    let found = error.hint.clone().unwrap_or_default();
    assert!(found.contains(hint), "{marked}: {error:?}");
}

#[test]
fn syntax_errors_say_where_and_what_was_meant() {
    for (marked, near, hint) in [
        ("^SELEC * FROM t", "SELEC", "Perhaps you meant SELECT."),
        ("SELECT a FORM ^t", "t", "Perhaps you meant FROM."),
        ("SELECT * ^FORM t", "FORM", "Perhaps you meant FROM."),
        ("SELECT * FROM t WHER ^a = 1", "a", "Perhaps you meant WHERE."),
        ("SELECT ä, (1 + ^) FROM t", ")", "an expression"),
        ("SELECT (1 + 2^; SELECT 1", ";", ""),
        ("SELECT 1 ^1", "1", ""),
        ("^foo bar", "foo", ""),
        ("^1", "1", ""),
        ("^)", ")", ""),
        ("CREATE ^STRAEM s (a INT)", "STRAEM", "Perhaps you meant STREAM."),
        ("CREATE STREAM s (^select INT)", "select", "double quotes"),
        ("CREATE STREAM s (a INT^; FLUSH", ";", ""),
        ("CREATE STREAM s (a INT,^)", ")", ""),
        ("CREATE STREAM s (a INT) WITH (x ^'y')", "'y'", ""),
        ("CREATE STREAM s (a INT) ^SELECT 1", "SELECT", "AS"),
        ("CREATE TABLE t AS ^SELCT 1", "SELCT", "Perhaps you meant SELECT."),
        ("INSERT INTO t ^VALEUS (1)", "VALEUS", "Perhaps you meant VALUES."),
        ("SELECT * FROM t EMIT ^CHANGE", "CHANGE", "Perhaps you meant EMIT CHANGES."),
        ("SELECT * FROM t EMIT CHANGES ^WHERE a = 1", "WHERE", "EMIT ends a query"),
        ("SELECT * FROM t EMIT CHANGES LIMIT 5 ^WHERE a = 1", "WHERE", "EMIT ends a query"),
        ("SELECT * FROM t WHERE a ^WINDOW TUMBLING (SIZE 1 DAY)", "WINDOW", "before WHERE"),
        ("SELECT * FROM t GROUP BY a ^WINDOW TUMBLING (SIZE 1 DAY)", "WINDOW", "before WHERE"),
        ("SELECT * FROM t WINDOW TUMBLING (SIZE 1 ^DYA)", "DYA", "Perhaps you meant DAY."),
        ("SELECT * FROM t WINDOW TUMBLING (SIZE 1 ^fortnight)", "fortnight", "Units are"),
        ("SELECT * FROM t WINDOW TUMBLING (^1 DAY)", "1", ""),
        ("SELECT * FROM t WINDOW TUMBLING (SIZE 1 DAY, ^ADVANCE BY 1 DAY)", "ADVANCE", ""),
        ("SELECT * FROM a JOIN b ON a.x = b.x ^WITHIN 1 HOUR", "WITHIN", "before ON"),
        ("SELECT * FROM t HAVING a ^PARTITION BY b", "PARTITION", "before EMIT"),
        ("SELECT * FROM t PARTITION BY ^EMIT CHANGES", "EMIT", ""),
        ("SELECT * FROM t PARTITION BY a, ^EMIT CHANGES", "EMIT", "an expression"),
        ("DELETE FROM t ^WHRE a = 1", "WHRE", ""),
        ("SET a ^1", "1", ""),
        ("FLUSH ^now", "now", ""),
        ("PRINT my^-topic", "-", "quotes"),
        ("COPY t FROM ^STDOUT", "STDOUT", "Perhaps you meant STDIN."),
        ("^ALTRE QUERY q RESET", "ALTRE", "Perhaps you meant ALTER."),
        ("ALTER ^QURY q RESET", "QURY", "Perhaps you meant QUERY."),
        ("ALTER QUERY ^ALL RESET", "ALL", "id of a query"),
        ("ALTER QUERY q ^RESTE", "RESTE", "Perhaps you meant RESET."),
        ("ALTER QUERY q ^PAUSE", "PAUSE", "ALTER QUERY id RESET"),
        ("ALTER QUERY q RESET ^EARLIEST", "EARLIEST", "TO EARLIEST"),
        ("ALTER QUERY q RESET TO ^OFFSET (0 = 1)", "OFFSET", "Perhaps you meant OFFSETS."),
        ("ALTER QUERY q RESET TO ^0", "0", "TO OFFSETS (partition = offset, …)"),
        ("ALTER QUERY q RESET TO OFFSETS ^0 = 1", "0", "(partition = offset, …)"),
        ("ALTER QUERY q RESET TO OFFSETS (^)", ")", "(partition = offset, …)"),
        ("ALTER QUERY q RESET TO OFFSETS (0 ^: 1)", ":", "(partition = offset, …)"),
        ("ALTER QUERY q RESET TO OFFSETS (0 = ^-1)", "-", "(partition = offset, …)"),
        ("ALTER QUERY q RESET TO OFFSETS (0 = 1,^)", ")", "(partition = offset, …)"),
        ("ALTER QUERY q RESET TO LATEST ^FLUSH", "FLUSH", "ALTER QUERY id RESET"),
    ] {
        check(marked, "42601", &format!("syntax error at or near \"{near}\""), hint);
    }
    for marked in ["SELECT (1 + 2^", "CREATE STREAM^", "SELECT * FROM t WHERE^", "INSERT INTO t^", "DELETE FROM t WHERE^", "SET a =^  "] {
        check(marked, "42601", "syntax error at end of input", "");
    }
    for (marked, hint) in [("ALTER QUERY^", "id of a query"), ("ALTER QUERY q^", "RESET"), ("ALTER QUERY q RESET TO^", "TO EARLIEST")] {
        check(marked, "42601", "syntax error at end of input", hint);
    }
    check("SELECT ^'abc", "42601", "unterminated string literal", "");
}

#[test]
fn streaming_inside_of_a_subquery() {
    for (marked, clause) in [
        ("SELECT * FROM (SELECT a FROM t ^EMIT CHANGES) x", "EMIT"),
        ("WITH x AS (SELECT a FROM t ^WINDOW TUMBLING (SIZE 1 DAY) GROUP BY a) SELECT * FROM x", "WINDOW"),
        ("SELECT * FROM (SELECT a FROM t ^PARTITION BY a) x EMIT CHANGES", "PARTITION BY"),
        ("SELECT * FROM (a JOIN b ^WITHIN 1 HOUR ON a.x = b.x)", "WITHIN"),
    ] {
        check(
            marked,
            "0A000",
            &format!("{clause} inside of brackets or of a subquery is not supported"),
            "stream or table of its own first",
        );
    }
    let union = "SELECT a FROM t UNION ALL SELECT a FROM u ^WINDOW TUMBLING (SIZE 1 DAY) GROUP BY a";
    check(union, "0A000", "WINDOW is not supported in a branch of UNION, EXCEPT or INTERSECT", "own first");
}

#[test]
fn known_and_not_supported() {
    for (marked, what, hint) in [
        ("^UPDATE t SET a = 1", "UPDATE", "INSERT INTO"),
        ("^ALTER TABLE t ADD COLUMN a INT", "ALTER", "CREATE OR REPLACE"),
        ("^GRANT SELECT ON t TO u", "GRANT", "privileges"),
        ("^TRUNCATE t", "TRUNCATE", "DELETE"),
        ("^CREATE INDEX i ON t (a)", "CREATE INDEX", "primary key"),
        ("^CREATE OR REPLACE VIEW v AS SELECT 1", "CREATE VIEW", "CREATE TABLE"),
        ("^CREATE MATERIALIZED VIEW v AS SELECT 1", "CREATE MATERIALIZED VIEW", "CREATE TABLE"),
        ("^CREATE TEMP TABLE t (a INT)", "CREATE TEMP", "leave"),
        ("^CREATE SOURCE CONNECTOR c WITH (a = 'b')", "CREATE CONNECTOR", "Kafka Connect"),
        ("^DROP TYPE t", "DROP TYPE", "Write"),
        ("^SAVEPOINT s", "SAVEPOINT", "whole"),
        ("ROLLBACK ^TO s", "SAVEPOINT", "whole"),
        ("CREATE STREAM s (a INT ^NOT NULL)", "NOT NULL", "IS NOT NULL"),
        ("CREATE STREAM s (a INT ^DEFAULT 1)", "DEFAULT", "COALESCE"),
        ("INSERT INTO t VALUES (1) ^ON CONFLICT DO NOTHING", "ON CONFLICT", "replaces"),
        ("INSERT INTO t VALUES (1) ^RETURNING a", "RETURNING", "stored"),
        ("INSERT INTO t ^DEFAULT VALUES", "DEFAULT VALUES", "NULL"),
        ("COPY t FROM ^'/tmp/x'", "COPY with a file of the server", "\\copy"),
        ("COPY t FROM ^PROGRAM 'x'", "COPY with a program of the server", "\\copy"),
        ("COPY t FROM STDIN (^FORCE_NULL (a))", "COPY option FORCE_NULL", "Options are"),
        ("FETCH ^BACKWARD 1 FROM c", "FETCH BACKWARD", "forward"),
        ("^SELECT a INTO x FROM t", "SELECT … INTO", "CREATE TABLE"),
        ("SHOW ^VARIABLES", "SHOW VARIABLES", "SHOW knows"),
        ("DROP TABLE a^, b", "dropping several at once", "one DROP for each"),
        ("SELECT * FROM t ^TABLESAMPLE BERNOULLI (10) REPEATABLE (1) WHERE a = 1", "TABLESAMPLE", "WHERE"),
        ("SELECT sample, \"tablesample\" FROM t AS x (sample) ^tablesample (5 ROWS) EMIT CHANGES", "TABLESAMPLE", "WHERE"),
        ("SELECT * FROM a JOIN (SELECT b FROM b ^TABLESAMPLE SYSTEM (1)) x ON true", "TABLESAMPLE", "WHERE"),
        ("SELECT * FROM (SELECT sample FROM b) x ^SAMPLE (1)", "TABLESAMPLE", "WHERE"),
        ("CREATE STREAM s AS SELECT * FROM t ^TABLESAMPLE SYSTEM (10) EMIT CHANGES", "TABLESAMPLE", "WHERE"),
        ("INSERT INTO s SELECT * FROM t ^TABLESAMPLE SYSTEM (10)", "TABLESAMPLE", "WHERE"),
        ("COPY (SELECT * FROM t ^TABLESAMPLE SYSTEM (10)) TO STDOUT", "TABLESAMPLE", "WHERE"),
        ("DELETE FROM t WHERE k IN (SELECT k FROM u ^TABLESAMPLE SYSTEM (10))", "TABLESAMPLE", "WHERE"),
        ("EXPLAIN ^ANALYZE SELECT 1", "EXPLAIN ANALYZE", "Write EXPLAIN"),
        ("EXPLAIN ^ANALYSE VERBOSE SELECT 1", "EXPLAIN ANALYZE", "Write EXPLAIN"),
        ("EXPLAIN (VERBOSE, ^ANALYZE, FORMAT text) SELECT 1", "EXPLAIN ANALYZE", "Write EXPLAIN"),
        ("EXPLAIN (^ANALYZE on) SELECT 1", "EXPLAIN ANALYZE", "Write EXPLAIN"),
        ("^ANALYZE t", "ANALYZE", "EXPLAIN shows"),
    ] {
        check(marked, "0A000", &format!("{what} is not supported"), hint);
    }
    check("SELECT s^->* FROM t", "0A000", "all fields of a struct at once (->*) are not supported", "s->a AS a");
    check("SELECT transform(a, x ^=> x + 1) FROM t", "0A000", "lambda functions are not supported", "array");
    check("SELECT reduce(a, 0, (s, x) ^=> s + x) FROM t", "0A000", "lambda functions are not supported", "array");
}

#[test]
fn wrong_values() {
    check("CREATE STREAM s (a ^INTT)", "42704", "type \"intt\" does not exist", "Perhaps you meant INT.");
    check("CREATE STREAM s (a ^jsonb)", "42704", "type \"jsonb\" does not exist", "VARCHAR");
    check("CREATE STREAM s (a ^DECIMAL)", "42601", "DECIMAL needs a precision and a scale", "DECIMAL(10, 2)");
    check("CREATE STREAM s (a DECIMAL(^50, 2))", "22023", "DECIMAL(50, 2) is out of range", "1 to 38");
    check("CREATE STREAM s (a TIMESTAMP ^WITH TIME ZONE)", "0A000", "TIMESTAMP WITH TIME ZONE is not supported", "UTC");
    check("CREATE STREAM s (a ^ARRAY<INT>>)", "42601", "a type has more closing brackets than opening ones", "");
    check("CREATE TABLE t (a INT, PRIMARY KEY ^(b))", "42703", "column \"b\" of the primary key does not exist", "after");
    check(
        "CREATE TABLE other.^t (a INT)".replace('^', "").replace("other", "^other").as_str(),
        "3F000",
        "streams and tables cannot be in schema \"other\"",
        "public",
    );
    check("CREATE STREAM s WITH (a = '1', ^A = '2')", "42601", "property \"a\" is given twice", "");
    check("CREATE STREAM s ^(a INT) AS SELECT 1", "42601", "columns and a query cannot both be given", "CAST");
    check("SELECT * FROM t WINDOW TUMBLING (SIZE ^0 DAYS)", "22023", "the size of a window must be longer than zero", "");
    check("SELECT * FROM t WINDOW TUMBLING (SIZE ^99999999999999 DAYS)", "22023", "the time span is too long", "");
    check(
        "SELECT * FROM t WINDOW HOPPING (^SIZE 1 HOUR, ADVANCE BY 1 DAY)",
        "22023",
        "a hopping window cannot advance by more than its size",
        "none",
    );
    check("SELECT * FROM t WINDOW HOPPING (^SIZE 1 HOUR)", "42601", "a HOPPING window needs ADVANCE BY", "ADVANCE BY");
    check("COPY t FROM STDIN (DELIMITER ^'ab')", "22023", "COPY DELIMITER must be a single one-byte character", "");
    check("COPY ^t FROM STDIN (QUOTE '''')", "42601", "COPY QUOTE is not for this format", "csv");
    check("COPY t FROM STDIN (FORMAT ^parquet)", "22023", "COPY format \"parquet\" not recognized", "csv");
    check("ALTER QUERY q RESET TO OFFSETS (0 = 1, ^0 = 2)", "42601", "partition 0 is given twice", "");
    check("ALTER QUERY q RESET TO OFFSETS (^4294967296 = 0)", "22023", "there is no partition 4294967296", "");
    check("ALTER QUERY q RESET TO OFFSETS (0 = ^1.5)", "22023", "\"1.5\" is not a whole number, or too large", "");
    check("SELECT STRUCT(^1, a := 2)", "42601", "each argument needs a name, := and a value", "STRUCT(name");
}

#[test]
fn positions_count_from_the_message() {
    check("SELECT 'é';\n\n  SELECT a FROM t\n  WHERE ^) ", "42601", "syntax error at or near \")\"", "");
    check("SELECT 'é'; EXPLAIN SELECT * FROM t EMIT ^CHANGE", "42601", "syntax error at or near \"CHANGE\"", "CHANGES");
}

#[test]
fn deep_and_long_statements_are_refused_not_crashed_on() {
    let deep = |open: &str, close: &str, n: usize| format!("SELECT {}1{}", open.repeat(n), close.repeat(n));
    for text in [
        deep("(", ")", 10_000),
        deep("[", "]", 10_000),
        deep("CASE WHEN ", " THEN 1 END", 10_000),
        deep("- ", "", 100_000),
        deep("NOT ", "", 100_000),
        deep("1 + ", "", 100_000),
        deep("a = 1 OR ", "", 100_000),
        deep("SELECT 1 UNION ", "", 100_000).replacen("SELECT 1", "SELECT 2", 1),
        deep("(SELECT ", ")", 10_000),
        deep("STRUCT(a := ", ")", 10_000),
        deep("f(", ")", 10_000),
        deep("1", "::int", 10_000),
        format!("SELECT * FROM {}t{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("CREATE STREAM s (a {}INT{})", "ARRAY<".repeat(10_000), ">".repeat(10_000)),
        format!("CREATE STREAM s (a INT{})", "[]".repeat(10_000)),
        format!("{}SELECT 1", "EXPLAIN ".repeat(10_000)),
        format!("{}SELECT 1{}", "(".repeat(10_000), ")".repeat(10_000)),
    ] {
        let start: String = text.chars().take(40).collect();
        assert!(parse(&text, Dialect::Millpond).is_err(), "{start}");
    }
    let nested = |n| format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n));
    assert!(parse(&nested(40), Dialect::Millpond).is_ok());
    assert!(parse(&format!("SELECT * FROM t WHERE {} true", "a = 1 OR ".repeat(400)), Dialect::Millpond).is_ok());
    assert!(parse(&format!("INSERT INTO t VALUES {} (1, 2)", "(-1, 2 + 3), ".repeat(20_000)), Dialect::Millpond).is_ok());
    let cases = "WHEN a = 1 AND b > 2 THEN c + 1 ".repeat(1_000);
    assert!(parse(&format!("SELECT CASE {cases} END FROM t"), Dialect::Millpond).is_ok());
}
