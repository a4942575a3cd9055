//! Whatever the text is, the parser answers: it never panics, and every error points into the message.

use millpond_sql::{Dialect, parse};
use proptest::prelude::*;

const VALID: &[&str] = &[
    "CREATE OR REPLACE STREAM IF NOT EXISTS s (a INT KEY, b ARRAY<STRUCT<x MAP<STRING, INT>>>, c DECIMAL(10, 2), d BYTES HEADER('k')) WITH (kafka_topic = 's', partitions = 4)",
    "CREATE TABLE t AS SELECT a, count(*) AS n FROM s WINDOW HOPPING (SIZE 1 HOUR, ADVANCE BY 5 MINUTES, GRACE PERIOD 1 DAY) WHERE x > 1 GROUP BY a HAVING n > 2 EMIT CHANGES",
    "INSERT INTO s (a, b) VALUES (1, 'x'), (-2, STRUCT(a := 1, b := MAP('k' := s->f)))",
    "INSERT INTO s WITH (query_id = 'q') SELECT * FROM a JOIN b WITHIN (1 HOUR, 2 DAYS) GRACE PERIOD 5 SECONDS ON a.x = b.x PARTITION BY a.x, b.y EMIT CHANGES",
    "COPY t (a, b) FROM STDIN WITH (FORMAT csv, HEADER true, NULL 'NA', DELIMITER ',', QUOTE '\"')",
    "COPY (SELECT * FROM t EMIT CHANGES) TO STDOUT CSV HEADER NULL AS 'NA'",
    "DELETE FROM t WHERE k = 1; DROP TABLE IF EXISTS t DELETE TOPIC; TERMINATE QUERY q; ALTER QUERY q RESET TO OFFSETS (0 = 5, 1 = 7); SHOW TIME ZONE; DESCRIBE EXTENDED t",
    "EXPLAIN (ANALYZE off, FORMAT text) SELECT a->b->c, x::int, $1 FROM t AS u (v) WHERE a IS DISTINCT FROM b UNION SELECT 1 LIMIT 3",
    "PRINT 'topic' FROM BEGINNING LIMIT 3; SET SESSION a.b TO 'x', y; SET TIME ZONE -7; UNSET 'x'; START TRANSACTION READ ONLY, ISOLATION LEVEL READ COMMITTED",
    "DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT 1; FETCH FORWARD 10 FROM c; CLOSE ALL; DEALLOCATE PREPARE p; DISCARD ALL",
    "WITH x AS (SELECT 'é', \"Q\", `b`, E'\\n', $$d$$, 1.5e3, X'ff' FROM t /* c */) SELECT sum(a) OVER (PARTITION BY b) FROM x -- end",
];

const PIECES: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    ">>",
    ">>>",
    ",",
    ";",
    ".",
    "->",
    "->*",
    ":=",
    "=>",
    "::",
    "'",
    "\"",
    "`",
    "--",
    "/*",
    "*/",
    "$1",
    "$$",
    "*",
    "=",
    "-",
    "1",
    "99999999999999999999",
    "1e9",
    "é",
    "\0",
    "\r\n",
    "SELECT",
    "FROM",
    "WINDOW",
    "TUMBLING",
    "SESSION",
    "EMIT",
    "CHANGES",
    "PARTITION BY",
    "WITHIN",
    "WITH",
    "AS",
    "STRUCT(",
    "MAP(",
    "CASE",
    "END",
    "UNION",
    "JOIN",
    "ON",
    "EXPLAIN",
    "COPY",
    "STDIN",
    "SET",
    "TO",
    "E'",
    "U&'\\",
    "X'",
    "N'",
    "LIMIT",
    "INTERVAL",
    "ARRAY",
    "KEY",
    "PRIMARY KEY",
];

fn holds(text: &str) {
    for dialect in [Dialect::Millpond, Dialect::Ksqldb] {
        match parse(text, dialect) {
            Ok(statements) => {
                for statement in statements {
                    let found: String = text.chars().skip(statement.offset as usize).take(statement.text.chars().count()).collect();
                    assert_eq!(found, statement.text);
                }
            }
            Err(error) => {
                let position = error.position.expect("a position").0 as usize;
                assert!((1..=text.chars().count() + 1).contains(&position), "{text:?}: {error:?}");
                assert!(!error.message.is_empty() && !error.message.ends_with('.'), "{error:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC{0,60}") {
        holds(&text);
    }

    #[test]
    fn any_row_of_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..25), space in prop::sample::select(vec!["", " ", "\n"])) {
        holds(&pieces.join(space));
    }

    #[test]
    fn valid_text_with_changes(
        text in prop::sample::select(VALID),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, prop::sample::select(PIECES), any::<prop::sample::Index>()), 1..4),
    ) {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, change, piece, other) in changes {
            if chars.is_empty() {
                break;
            }
            let (at, other) = (at.index(chars.len()), other.index(chars.len()));
            match change {
                0 => drop(chars.splice(at..at, format!(" {piece} ").chars())),
                1 => drop(chars.drain(at.min(other)..at.max(other))),
                2 => chars.truncate(at),
                _ => {
                    let copy: Vec<char> = chars[at.min(other)..at.max(other)].to_vec();
                    chars.splice(at..at, copy);
                }
            }
        }
        holds(&chars.into_iter().collect::<String>());
    }
}

#[test]
fn the_valid_ones_are_valid() {
    for text in VALID {
        for dialect in [Dialect::Millpond, Dialect::Ksqldb] {
            assert!(parse(text, dialect).is_ok(), "{text}: {:?}", parse(text, dialect));
        }
        holds(text);
    }
}
