//! One session of a test: statements go over the simple protocol, so that every value comes back as Postgres prints it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{SinkExt, TryStreamExt};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::{Error, Server, Variant};

/// A session that outlives its server: when that was started again, it connects anew and repeats its SETs.
pub struct Connection {
    server: Arc<Mutex<Server>>,
    variant: Variant,
    client: Option<Client>,
    generation: u64,
    /// The SET and RESET statements so far.
    settings: Vec<String>,
}

impl Connection {
    pub fn new(server: Arc<Mutex<Server>>, variant: Variant) -> Self {
        Connection { server, variant, client: None, generation: 0, settings: Vec::new() }
    }

    async fn client(&mut self) -> Result<&Client, Error> {
        let (address, generation) = {
            let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
            (server.addresses().pg.clone(), server.generation())
        };
        if self.client.is_none() || self.generation != generation {
            let client = connect(&address).await?;
            for statement in &self.settings {
                client.simple_query(statement).await?;
            }
            self.client = Some(client);
            self.generation = generation;
        }
        self.client.as_ref().ok_or_else(|| Error::Broken("not connected".to_string()))
    }

    async fn query(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let messages = self.client().await?.simple_query(sql).await?;
        Ok(output(messages))
    }

    /// The statement is the first line, its data the others.
    async fn copy_in(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let (statement, data) = sql.split_once('\n').unwrap_or((sql, ""));
        let mut data = data.to_string();
        if !data.is_empty() {
            data.push('\n');
        }
        Ok(DBOutput::StatementComplete(copy_in(self.client().await?, statement.trim_end_matches(';'), data).await?))
    }

    async fn copy_out(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let stream = self.client().await?.copy_out(sql.trim().trim_end_matches(';')).await?;
        let chunks: Vec<Bytes> = stream.try_collect().await?;
        let text = String::from_utf8_lossy(&chunks.concat()).into_owned();
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Text], rows: text.lines().map(|line| vec![line.to_string()]).collect() })
    }

    fn crash_and_restart(&mut self) -> Result<(), Error> {
        self.client = None;
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.crash_and_restart().map_err(|error| Error::Broken(format!("{error:#}")))
    }
}

#[async_trait]
impl AsyncDB for Connection {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let words: Vec<String> = sql.split_whitespace().take(2).map(str::to_ascii_lowercase).collect();
        let first = words.first().map_or("", |word| word.trim_end_matches(';'));
        let upper = sql.to_ascii_uppercase();
        match first {
            "copy" if upper.contains("FROM STDIN") => self.copy_in(sql).await,
            "copy" if upper.contains("TO STDOUT") => self.copy_out(sql).await,
            "flush" => {
                let output = self.query(sql).await?;
                if self.variant.restart {
                    self.crash_and_restart()?;
                }
                Ok(output)
            }
            "set" | "reset" => {
                let output = self.query(sql).await?;
                self.settings.push(sql.to_string());
                Ok(output)
            }
            _ => self.query(sql).await,
        }
    }

    async fn shutdown(&mut self) {
        self.client = None;
    }

    fn engine_name(&self) -> &str {
        "millpond"
    }

    fn error_sql_state(error: &Error) -> Option<String> {
        error.state()
    }
}

/// Runs `statement`, a COPY FROM STDIN, over `data`; returns how many rows that were.
pub async fn copy_in(client: &Client, statement: &str, data: String) -> Result<u64, Error> {
    let mut sink = Box::pin(client.copy_in::<_, Bytes>(statement).await?);
    sink.send(Bytes::from(data)).await?;
    Ok(sink.as_mut().finish().await?)
}

/// A session at `host:port`, as the tests' user.
pub async fn connect(address: &str) -> Result<Client, Error> {
    let (host, port) = address.rsplit_once(':').ok_or_else(|| Error::Broken(format!("no port in {address}")))?;
    let port = port.parse().map_err(|_| Error::Broken(format!("no port in {address}")))?;
    let (client, connection) = tokio_postgres::Config::new()
        .host(host)
        .port(port)
        .user("millpond")
        .dbname("millpond")
        .application_name("sqltest")
        .connect(NoTls)
        .await?;
    // It ends when the client is dropped or the server goes away; the client's next call says which.
    tokio::spawn(connection);
    Ok(client)
}

/// The rows, or how many rows the last statement touched. NULL prints as `NULL`, empty text as `(empty)`.
fn output(messages: Vec<SimpleQueryMessage>) -> DBOutput<DefaultColumnType> {
    let mut types = None;
    let mut rows = Vec::new();
    let mut count = 0;
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => types = Some(vec![DefaultColumnType::Any; columns.len()]),
            SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|column| cell(row.get(column))).collect()),
            SimpleQueryMessage::CommandComplete(touched) => count = touched,
            _ => {}
        }
    }
    match types {
        Some(types) => DBOutput::Rows { types, rows },
        None => DBOutput::StatementComplete(count),
    }
}

fn cell(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_string(),
        Some("") => "(empty)".to_string(),
        Some(text) => text.to_string(),
    }
}
