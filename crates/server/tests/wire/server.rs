//! Starts the binary on a data directory and free ports, and connects to it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

pub struct Server {
    process: Child,
    pub pg: String,
    pub http: String,
    pub directory: TempDir,
}

impl Server {
    pub fn start() -> Server {
        Server::start_in(tempfile::tempdir().unwrap())
    }

    pub fn start_in(directory: TempDir) -> Server {
        let ready = directory.path().join("ready.json");
        let mut process = command(directory.path()).arg("--ready-file").arg(&ready).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut lines = String::new();
        while !lines.lines().last().is_some_and(|line| line.contains("serving")) {
            assert_ne!(log.read_line(&mut lines).unwrap(), 0, "the server ended: {lines}");
        }
        // Somebody must go on reading, or the server will wait for it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let addresses: Value = serde_json::from_str(&std::fs::read_to_string(&ready).unwrap()).unwrap();
        let address = |name: &str| addresses[name].as_str().unwrap().to_string();
        Server { process, pg: address("pg"), http: address("http"), directory }
    }

    pub fn port(&self) -> u16 {
        self.pg.rsplit(':').next().unwrap().parse().unwrap()
    }

    pub async fn connect(&self) -> Client {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port()).user("test").dbname("millpond");
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// SIGTERM, and the exit code.
    pub fn stop(mut self) -> (Option<i32>, TempDir) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
        let code = self.process.wait().unwrap().code();
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        (code, directory)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
    command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--workers", "2", "--memory", "64MiB", "--commit-interval", "20ms"]);
    command.arg("--data-dir").arg(directory.join("data"));
    command
}

/// Rows of a query in text format; NULL is `∅`.
pub async fn rows(client: &Client, sql: &str) -> Vec<Vec<String>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|column| row.get(column).unwrap_or("∅").to_string()).collect()),
            _ => None,
        })
        .collect()
}

/// SQLSTATE, message, hint.
pub fn told(error: &tokio_postgres::Error) -> (String, String, String) {
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?} is not the server's"));
    (error.code().code().to_string(), error.message().to_string(), error.hint().unwrap_or_default().to_string())
}

pub async fn fails(client: &Client, sql: &str) -> (String, String, String) {
    told(&client.simple_query(sql).await.expect_err(sql))
}
