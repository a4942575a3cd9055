//! What psql asks for its backslash commands, with the real psql.

use std::process::Command;

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
    assert!(out.contains("1\n(1 row)") && error.contains("FETCH_COUNT"), "{out}{error}");
    let (out, error) = psql(&server, &[earliest, "\\set FETCH_COUNT 1", "SELECT amount FROM s EMIT CHANGES LIMIT 1"]);
    assert!(out.contains('1') && !error.contains("ERROR"), "{out}{error}");
}
