//! What no well-behaved driver sends: messages byte by byte.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::server::Server;

/// The type and the body of each message.
type Messages = Vec<(u8, Vec<u8>)>;

struct Raw(TcpStream);

impl Raw {
    fn connect(server: &Server) -> Raw {
        let mut raw = Raw(TcpStream::connect(("127.0.0.1", server.port())).unwrap());
        let mut startup = 196_608i32.to_be_bytes().to_vec();
        startup.extend(b"user\0test\0database\0millpond\0\0");
        raw.0.write_all(&(startup.len() as i32 + 4).to_be_bytes()).unwrap();
        raw.0.write_all(&startup).unwrap();
        raw.until_ready();
        raw
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        let mut message = vec![kind];
        message.extend((body.len() as i32 + 4).to_be_bytes());
        message.extend(body);
        self.0.write_all(&message).unwrap();
    }

    /// A statement of its own, with what its answer is made of.
    fn query(&mut self, sql: &str) -> Messages {
        self.send(b'Q', format!("{sql}\0").as_bytes());
        self.until_ready()
    }

    /// Up to ReadyForQuery, or the end.
    fn until_ready(&mut self) -> Messages {
        let mut messages = Messages::new();
        loop {
            let message = self.message();
            if message.0 == 0 {
                return messages;
            }
            messages.push(message);
            if matches!(messages.last(), Some((b'Z', _))) {
                return messages;
            }
        }
    }

    /// The type 0 is the end.
    fn message(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 5];
        if self.0.read_exact(&mut head).is_err() {
            return (0, Vec::new());
        }
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head[0], body)
    }

    fn sync(&mut self) -> Messages {
        self.send(b'S', b"");
        self.until_ready()
    }
}

fn kinds(messages: &Messages) -> String {
    messages.iter().map(|(kind, _)| char::from(*kind)).collect()
}

fn of(messages: &Messages, kind: u8) -> String {
    messages.iter().filter(|(found, _)| *found == kind).map(|(_, body)| String::from_utf8_lossy(body).replace('\0', "|")).collect()
}

#[test]
fn lengths_that_do_not_fit_together_are_a_protocol_violation() {
    let server = Server::start();
    let mut raw = Raw::connect(&server);
    // No portal, no statement, no formats; one parameter of a million bytes that do not come.
    raw.send(b'B', &[0, 0, 0, 0, 0, 1, 0, 15, 66, 64]);
    let answer = raw.until_ready();
    assert!(of(&answer, b'E').contains("C08P01|"), "{answer:?}");
    assert!(of(&answer, b'E').contains("FATAL"), "{answer:?}");
    assert_eq!(kinds(&Raw::connect(&server).query("SHOW dialect")), "TDCZ");
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let server = Server::start();
    let mut raw = Raw::connect(&server);
    raw.send(b'Q', b"SELECT '\xc3\xa9\xff'\0");
    let answer = raw.until_ready();
    assert_eq!(kinds(&answer), "EZ");
    assert!(of(&answer, b'E').contains("C22021|"), "{answer:?}");
    assert!(of(&answer, b'E').contains("P10|"), "{answer:?}");
    raw.send(b'P', b"\0SELECT '\xff'\0\0\0");
    assert!(of(&raw.sync(), b'E').contains("C22021|"));
    assert_eq!(kinds(&raw.query("SELECT 'é'")), "TDCZ");
}

#[test]
fn a_bind_that_does_not_fit_fails_the_transaction() {
    let server = Server::start();
    let mut raw = Raw::connect(&server);
    raw.query("BEGIN");
    raw.send(b'P', b"one\0SELECT 1 AS n\0\0\0");
    // A parameter more than the statement has.
    raw.send(b'B', b"\0one\0\0\0\0\x01\0\0\0\x011\0\0");
    let answer = raw.sync();
    assert_eq!(kinds(&answer), "1EZ");
    assert!(of(&answer, b'E').contains("C08P01|"), "{answer:?}");
    assert_eq!(of(&answer, b'Z'), "E");
    assert!(of(&raw.query("SELECT 1"), b'E').contains("C25P02|"));
    assert_eq!(of(&raw.query("ROLLBACK"), b'Z'), "I");
}

#[test]
fn names_of_statements_are_taken_once() {
    let server = Server::start();
    let mut raw = Raw::connect(&server);
    let parse = b"one\0SELECT 1 AS n\0\0\0";
    raw.send(b'P', parse);
    assert_eq!(kinds(&raw.sync()), "1Z");
    raw.send(b'P', parse);
    assert!(of(&raw.sync(), b'E').contains("C42P05|"));
    raw.query("DEALLOCATE one");
    raw.send(b'P', parse);
    assert_eq!(kinds(&raw.sync()), "1Z");
    raw.send(b'C', b"Sone\0");
    raw.send(b'P', parse);
    assert_eq!(kinds(&raw.sync()), "31Z");
}

#[test]
fn a_portal_that_has_ended_has_no_more_rows() {
    let server = Server::start();
    let mut raw = Raw::connect(&server);
    raw.send(b'P', b"\0SELECT 1 AS n\0\0\0");
    raw.send(b'B', b"\0\0\0\0\0\0\0\0");
    raw.send(b'E', b"\0\0\0\0\0");
    raw.send(b'E', b"\0\0\0\0\0");
    let answer = raw.sync();
    assert_eq!(kinds(&answer), "12DCCZ");
    assert_eq!(of(&answer, b'C'), "SELECT 1|SELECT 0|");
}

/// Parse, Bind, Execute of a statement without parameters.
fn execute(raw: &mut Raw, sql: &str) {
    raw.send(b'P', format!("\0{sql}\0\0\0").as_bytes());
    raw.send(b'B', b"\0\0\0\0\0\0\0\0");
    raw.send(b'E', b"\0\0\0\0\0");
}

#[test]
fn a_pipeline_is_one_transaction() {
    let server = Server::start();
    let mut raw = Raw::connect(&server);
    raw.query("CREATE STREAM s (v INT) WITH (kafka_topic = 's', partitions = 1)");
    let mut other = Raw::connect(&server);
    let mut count = || of(&other.query("SELECT count(*) AS n FROM s"), b'D').chars().last().unwrap();
    // An error takes back what was written before it, and what comes behind is skipped.
    for sql in ["INSERT INTO s VALUES (1)", "INSERT INTO s VALUES ('x')", "INSERT INTO s VALUES (2)"] {
        execute(&mut raw, sql);
    }
    assert_eq!(kinds(&raw.sync()), "12C12EZ");
    assert_eq!(count(), '0');
    for sql in ["INSERT INTO s VALUES (1)", "INSERT INTO s VALUES (2), (3)"] {
        execute(&mut raw, sql);
    }
    // Flush: the answers come, the rows wait for the Sync.
    raw.send(b'H', b"");
    let answered: String = (0..6).map(|_| char::from(raw.message().0)).collect();
    assert_eq!(answered, "12C12C");
    assert_eq!(count(), '0');
    assert_eq!(kinds(&raw.sync()), "Z");
    assert_eq!(count(), '3');
    // A query sees what was written before it.
    execute(&mut raw, "INSERT INTO s VALUES (4)");
    execute(&mut raw, "SELECT count(*) AS n FROM s");
    assert!(of(&raw.sync(), b'D').ends_with('4'));
    // Whoever goes away before the Sync has written nothing, a simple query commits.
    execute(&mut raw, "INSERT INTO s VALUES (5)");
    raw.query("SELECT 1");
    execute(&mut raw, "INSERT INTO s VALUES (6)");
    raw.send(b'X', b"");
    raw.until_ready();
    assert_eq!(count(), '5');
}

#[test]
fn a_transaction_block_goes_on_over_pipelines() {
    let server = Server::start();
    let mut raw = Raw::connect(&server);
    raw.query("CREATE STREAM s (v INT) WITH (kafka_topic = 's', partitions = 1)");
    for sql in ["BEGIN", "INSERT INTO s VALUES (1)"] {
        execute(&mut raw, sql);
    }
    assert_eq!(of(&raw.sync(), b'Z'), "T");
    assert!(of(&Raw::connect(&server).query("SELECT count(*) AS n FROM s"), b'D').ends_with('0'));
    for sql in ["COMMIT", "INSERT INTO s VALUES (2)"] {
        execute(&mut raw, sql);
    }
    assert_eq!(of(&raw.sync(), b'Z'), "I");
    assert!(of(&raw.query("SELECT count(*) AS n FROM s"), b'D').ends_with('2'));
}

#[test]
fn a_cursor_is_described_as_a_portal() {
    let server = Server::start();
    let mut raw = Raw::connect(&server);
    raw.query("BEGIN; DECLARE c CURSOR FOR SELECT 1 AS n");
    raw.send(b'D', b"Pc\0");
    let answer = raw.sync();
    assert_eq!(kinds(&answer), "TZ");
    assert!(of(&answer, b'T').contains("n|"), "{answer:?}");
    raw.send(b'D', b"Pnosuch\0");
    assert!(of(&raw.sync(), b'E').contains("C34000|"));
}

#[test]
fn a_query_that_writes_has_a_tag_of_its_own() {
    let server = Server::start();
    let mut raw = Raw::connect(&server);
    for stream in ["a", "b"] {
        raw.query(&format!("CREATE STREAM {stream} (v INT) WITH (kafka_topic = '{stream}', partitions = 1)"));
    }
    assert_eq!(of(&raw.query("INSERT INTO b SELECT v FROM a"), b'C'), "CREATE QUERY|");
}

#[test]
fn what_comes_of_a_copy_that_was_refused_is_passed_over() {
    let server = Server::start();
    let mut raw = Raw::connect(&server);
    assert_eq!(of(&raw.query("COPY no_such_table FROM STDIN"), b'E').matches("42P01").count(), 1);
    for (kind, body) in [(b'd', &b"1\n"[..]), (b'c', b""), (b'f', b"\0")] {
        raw.send(kind, body);
    }
    assert_eq!(kinds(&raw.query("SELECT 1")), "TDCZ");
}
