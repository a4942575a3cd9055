//! The binary of this build on free ports, and what tests ask of its connections.

use std::path::Path;
use std::process::Command;

use millpond_sqltest::Addresses;
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

const BINARY: &str = env!("CARGO_BIN_EXE_millpond");
const ARGUMENTS: &[&str] = &["--workers", "2", "--memory", "64MiB", "--commit-interval", "20ms"];

pub struct Server {
    running: millpond_sqltest::Server,
    pub pg: String,
    pub http: String,
}

impl Server {
    pub fn start() -> Server {
        Server::start_in(tempfile::tempdir().unwrap())
    }

    pub fn start_in(directory: TempDir) -> Server {
        let arguments: Vec<String> = ARGUMENTS.iter().map(ToString::to_string).collect();
        let running = millpond_sqltest::Server::start_in(directory, Path::new(BINARY), &arguments).unwrap();
        let Addresses { pg, http } = running.addresses().clone();
        Server { running, pg, http }
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
    pub fn stop(self) -> (Option<i32>, TempDir) {
        self.running.stop().unwrap()
    }
}

/// A process that is not waited for until it serves.
pub fn command(directory: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]).args(ARGUMENTS);
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
