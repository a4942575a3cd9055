//! The server over a broker that wants TLS, a password (SCRAM) and rights: what it may not do says so and stops nothing else, and nobody is told the
//! password.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millpond_log::{Log, TopicConfig};
use millpond_log_kafka::{KafkaLog, Options};
use millpond_sqltest::kafka::{directory, script, start};
use millpond_sqltest::{Server, connect, repository};
use tokio_postgres::{Client, SimpleQueryMessage};

/// As `scripts/kafka` gives it to the user `millpond`.
const PASSWORD: &str = "millpond-secret";
/// A query that may not write has failed by then, and goes on again when it may: retries may be a minute apart.
const WITHIN: Duration = Duration::from_secs(120);

/// A cluster of this test alone. Deleted when dropped.
struct Secure {
    directory: PathBuf,
}

impl Secure {
    fn start() -> Result<Secure> {
        let secure = Secure { directory: directory("kafka-secure-server")? };
        // What a test that was killed has left.
        secure.script("reset", &[])?;
        start(&secure.directory, &["--secure"])?;
        Ok(secure)
    }

    fn script(&self, command: &str, arguments: &[&str]) -> Result<String> {
        let mut script = Command::new(script());
        let output = script.arg(command).arg("--dir").arg(&self.directory).args(arguments).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "scripts/kafka {command} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// `--add` or `--remove`, and what.
    fn rights(&self, change: &[&str]) -> Result<()> {
        let principal = ["acls", "--allow-principal", "User:millpond", "--force"];
        self.script("tool", &[principal.as_slice(), change].concat()).map(drop)
    }

    /// Of a server that comes with the password.
    fn arguments(&self) -> Result<Vec<String>> {
        let properties = [
            "security.protocol=SASL_SSL".to_owned(),
            format!("ssl.ca.location={}", self.directory.join("ca.pem").display()),
            "sasl.mechanism=SCRAM-SHA-256".to_owned(),
            "sasl.username=millpond".to_owned(),
            format!("sasl.password={PASSWORD}"),
        ];
        let mut arguments =
            vec!["--kafka".to_owned(), self.script("bootstrap", &["--secure"])?, "--service-id".to_owned(), "test".to_owned()];
        arguments.extend(properties.into_iter().flat_map(|property| ["--kafka-property".to_owned(), property]));
        Ok(arguments)
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        // What cannot be deleted now is deleted before the next test.
        let _ = self.script("reset", &[]);
    }
}

#[test]
fn a_refused_topic_stops_its_query_only() -> Result<()> {
    let secure = Secure::start()?;
    let admin = KafkaLog::connect(Options::new(secure.script("bootstrap", &[])?, "admin"))?;
    for topic in ["orders", "kept", "refused", "hidden"] {
        admin.create_topic(topic, &TopicConfig::keep(1))?;
    }
    secure.rights(&["--add", "--operation", "All", "--topic", "orders", "--topic", "kept", "--topic", "refused"])?;
    let own = ["--topic", "_millpond-test-", "--transactional-id", "test-", "--group", "millpond-test-"];
    secure.rights(&[["--add", "--operation", "All", "--resource-pattern-type", "prefixed"].as_slice(), &own].concat())?;
    let server = Server::start(&secure.arguments()?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(refuse(&secure, &server)).with_context(|| server.log_tail())
}

async fn refuse(secure: &Secure, server: &Server) -> Result<()> {
    let client = connect(&server.addresses().pg).await?;
    client.batch_execute("CREATE STREAM orders (id BIGINT) WITH (kafka_topic = 'orders', value_format = 'json')").await?;
    let mut told = Vec::new();

    let hidden = client.batch_execute("CREATE STREAM hidden AS SELECT id FROM orders").await;
    let hidden = hidden.err().context("a topic without rights was taken")?;
    let message = hidden.as_db_error().context("no error of the server")?.message().to_owned();
    ensure!(message.contains("permission denied") && message.contains("hidden"), "{message}");
    told.push(message);

    client.batch_execute("CREATE STREAM kept AS SELECT id FROM orders; CREATE STREAM refused AS SELECT id FROM orders").await?;
    client.batch_execute("INSERT INTO orders VALUES (1); FLUSH").await?;
    secure.rights(&["--remove", "--operation", "All", "--topic", "refused"])?;
    client.batch_execute("INSERT INTO orders VALUES (2)").await?;
    let reason = wait(&client, "SELECT reason FROM millpond.queries WHERE id = 'csas_refused' AND state = 'failed'").await?;
    ensure!(reason.contains("permission denied") && reason.contains("refused"), "{reason}");
    told.push(reason);

    client.batch_execute("INSERT INTO orders VALUES (3)").await?;
    wait(&client, "SELECT 'all' FROM kept HAVING count(*) = 3 AND sum(id) = 6").await?;
    let state: String = client.query_one("SELECT state FROM millpond.queries WHERE id = 'csas_kept'", &[]).await?.get(0);
    ensure!(state == "running", "the query whose topics are allowed is {state}");
    told.extend(everything(&client).await?);

    secure.rights(&["--add", "--operation", "All", "--topic", "refused"])?;
    wait(&client, "SELECT 'all' FROM refused HAVING count(*) = 3 AND sum(id) = 6").await?;
    told.push(server.log()?);
    let betrayed = told.iter().find(|text| text.contains(PASSWORD));
    ensure!(betrayed.is_none(), "the password is told: {betrayed:?}");
    Ok(())
}

/// The value of the first row, once there is one.
async fn wait(client: &Client, sql: &str) -> Result<String> {
    let begun = Instant::now();
    loop {
        if let Some(row) = client.query(sql, &[]).await.with_context(|| sql.to_owned())?.first() {
            return Ok(row.get(0));
        }
        ensure!(begun.elapsed() < WITHIN, "not within {WITHIN:?}: {sql}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What SHOW says, and every row of every system table.
async fn everything(client: &Client) -> Result<Vec<String>> {
    let mut statements: Vec<String> =
        ["ALL", "PROPERTIES", "QUERIES", "TOPICS", "STREAMS"].iter().map(|what| format!("SHOW {what}")).collect();
    let page = std::fs::read_to_string(repository().join("docs/sql/system-tables.md"))?;
    let tables: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    ensure!(tables.contains(&"millpond.settings"), "system tables: {tables:?}");
    statements.extend(tables.iter().map(|table| format!("SELECT * FROM {table}")));
    statements.push("EXPLAIN csas_refused".to_owned());
    let mut cells = Vec::new();
    for sql in statements {
        for message in client.simple_query(&sql).await.with_context(|| sql.clone())? {
            if let SimpleQueryMessage::Row(row) = message {
                cells.extend((0..row.len()).filter_map(|column| row.get(column).map(str::to_owned)));
            }
        }
    }
    Ok(cells)
}
