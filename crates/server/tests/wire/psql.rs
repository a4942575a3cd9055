//! What psql asks for its backslash commands, with the real psql.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::server::Server;

fn psql(server: &Server, commands: &[&str]) -> (String, String) {
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-A", "-h", "127.0.0.1", "-U", "test", "-d", "millpond", "-p", &server.port().to_string()]);
    for command in commands {
        psql.args(["-c", command]);
    }
    let output = psql.output().expect("psql is installed");
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn backslash_commands_show_what_was_declared() {
    let server = Server::start();
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE STREAM flights (id INT KEY, origin VARCHAR, delay DOUBLE, at TIMESTAMP) WITH (kafka_topic = 'flights', partitions = 1); \
             CREATE TABLE delays AS SELECT origin, count(*) AS n FROM flights WINDOW TUMBLING (SIZE 1 DAY) GROUP BY origin EMIT CHANGES",
        )
        .await
        .unwrap();
    let (out, error) = psql(&server, &["\\d"]);
    assert!(out.contains("flights") && out.contains("delays"), "{out}{error}");
    let (out, error) = psql(&server, &["\\dt"]);
    assert!(out.contains("flights"), "{out}{error}");
    let (out, error) = psql(&server, &["\\d flights"]);
    assert!(out.contains("origin|text") && out.contains("at|timestamp") && !out.contains("rowtime"), "{out}{error}");
    let (out, error) = psql(&server, &["\\d delays"]);
    assert!(out.contains("windowstart") && out.contains("windowend"), "{out}{error}");
    let (out, error) = psql(&server, &["\\d millpond.dead_letters"]);
    assert!(out.contains("error|text") && out.contains("offset|bigint") && out.contains("key|bytea"), "{out}{error}");
    let (out, error) = psql(&server, &["\\d", "\\dt"]);
    assert!(!out.contains("dead_letters"), "what is not in public is named with its schema: {out}{error}");
    let (out, error) = psql(&server, &["\\l"]);
    assert!(out.contains("millpond"), "{out}{error}");
    let (out, error) = psql(&server, &["\\df lcase"]);
    assert!(out.contains("public|lcase|") && out.contains("|func"), "{out}{error}");
    let (out, error) = psql(&server, &["\\df"]);
    assert!(out.contains("topk") && !out.contains("pg_sleep"), "{out}{error}");
    for command in ["\\dn", "\\di", "\\dv", "\\conninfo"] {
        let (_, error) = psql(&server, &[command]);
        assert!(!error.contains("ERROR"), "{command}: {error}");
    }
    let (out, error) = psql(&server, &["SELECT version()", "SELECT current_database()"]);
    assert!(out.contains("Millpond") && out.contains("millpond"), "{out}{error}");
}

/// A server with a stream `flights`.
async fn with_flights() -> Server {
    let server = Server::start();
    let client = server.connect().await;
    client
        .batch_execute("CREATE STREAM flights (id INT KEY, origin VARCHAR) WITH (kafka_topic = 'flights', partitions = 1)")
        .await
        .unwrap();
    server
}

#[tokio::test]
async fn backslash_commands_about_what_there_is_little_of() {
    let server = with_flights().await;
    for (command, shown) in [
        ("\\d+", "public|flights|table|"),
        ("\\dt+", "public|flights|table|"),
        ("\\d+ flights", "origin|text|"),
        ("\\dp", "public|flights|table|||"),
        ("\\z flights", "public|flights|table|||"),
        ("\\du", "postgres|Superuser"),
        ("\\du+", "postgres|Superuser"),
        ("\\dn+", "public|postgres||"),
        ("\\l+", "millpond|postgres|UTF-8|"),
        ("\\df lcase", "public|lcase|"),
        ("\\df+ lcase", "public|lcase|"),
        ("\\sf lcase", "CREATE OR REPLACE FUNCTION public.lcase(str)"),
        ("\\dT", "(0 rows)"),
        ("\\dT+", "(0 rows)"),
        ("\\dD", "(0 rows)"),
        ("\\ddp", "(0 rows)"),
        ("\\dd", "(0 rows)"),
        ("\\do", "(0 rows)"),
        ("\\dc", "(0 rows)"),
        ("\\dy", "(0 rows)"),
        ("\\db+", "pg_default|postgres|"),
    ] {
        let (out, error) = psql(&server, &[command]);
        assert!(out.contains(shown) && error.is_empty(), "{command}: {out}{error}");
    }
    for command in ["\\di", "\\di+", "\\dv", "\\dv+", "\\dm", "\\ds", "\\drds"] {
        let (out, error) = psql(&server, &[command]);
        let none = out.contains("(0 rows)") || error.starts_with("Did not find any");
        assert!(none && !error.contains("ERROR"), "{command}: {out}{error}");
    }
    for (command, told) in
        [("\\sf sum", "\"sum\" is an aggregate function"), ("\\sf nosuch", "does not exist"), ("\\sv flights", "is not a view")]
    {
        let (_, error) = psql(&server, &[command]);
        assert!(error.contains(told), "{command}: {error}");
    }
}

/// What psql has written to its terminal once it has completed `typed`; `script` (util-linux) makes the terminal.
fn completed(server: &Server, typed: &str, expected: &str) -> String {
    let command = format!("psql -X -h 127.0.0.1 -U test -d millpond -p {}", server.port());
    let mut script = Command::new("script")
        .args(["-q", "-e", "-c", &command, "/dev/null"])
        .env("TERM", "dumb")
        .env("PAGER", "cat")
        .env("HISTFILE", "/dev/null")
        .env("INPUTRC", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is installed");
    let mut terminal = script.stdin.take().unwrap();
    let mut output = script.stdout.take().unwrap();
    let mut seen = String::new();
    let mut until = |wanted: &str| {
        let mut bytes = [0; 1024];
        while !seen.contains(wanted) {
            match output.read(&mut bytes).unwrap() {
                0 => break,
                count => seen.push_str(&String::from_utf8_lossy(&bytes[..count])),
            }
        }
    };
    until("millpond=# ");
    write!(terminal, "{typed}\t").unwrap();
    // A completion that does not come is told from the rest of the line.
    until(expected);
    writeln!(terminal, "\x15\\q").unwrap();
    drop(terminal);
    until("\0");
    script.wait().unwrap();
    seen
}

#[tokio::test]
async fn names_are_completed() {
    let server = with_flights().await;
    for (typed, expected) in
        [("SELECT * FROM fli", "SELECT * FROM flights "), ("INSERT INTO fli", "INSERT INTO flights "), ("\\d fli", "\\d flights ")]
    {
        let seen = completed(&server, typed, expected);
        assert!(seen.contains(expected), "{typed}: {seen}");
    }
}

#[tokio::test]
async fn errors_have_a_caret_and_pushes_a_notice() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("CREATE STREAM s (amount INT) WITH (kafka_topic = 's', partitions = 1); INSERT INTO s VALUES (1)").await.unwrap();
    let (_, error) = psql(&server, &["SELECT amont FROM s"]);
    assert!(
        error.contains("LINE 1: SELECT amont FROM s") && error.contains("^") && error.contains("HINT:  Perhaps you meant \"amount\"."),
        "{error}"
    );
    let earliest = "SET auto.offset.reset = 'earliest'";
    let (out, error) = psql(&server, &[earliest, "SELECT amount FROM s EMIT CHANGES LIMIT 1"]);
    assert!(out.contains("1\n(1 row)") && error.is_empty(), "{out}{error}");
    let (out, error) = psql(&server, &[earliest, "\\set FETCH_COUNT 1", "SELECT amount FROM s EMIT CHANGES LIMIT 1"]);
    assert!(out.contains('1') && !error.contains("ERROR"), "{out}{error}");
    let (out, error) = psql(&server, &["PRINT s FROM BEGINNING LIMIT 1"]);
    assert!(out.contains("(1 row)") && error.is_empty(), "{out}{error}");
    let timeout = "SET statement_timeout = '500ms'";
    let (_, error) = psql(&server, &[timeout, "SELECT amount FROM s EMIT CHANGES"]);
    assert!(error.contains("until the query is cancelled") && error.contains("FETCH_COUNT"), "{error}");
    let (_, error) = psql(&server, &[timeout, "PRINT s FROM BEGINNING"]);
    assert!(error.contains("until PRINT is cancelled") && error.contains("LIMIT n"), "{error}");
}
