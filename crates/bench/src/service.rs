//! A service of a benchmark's own over Kafka: its server, what that says of itself, and its topics until the benchmark is over.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millpond_log::{Log, TopicPartition};
use millpond_log_kafka::KafkaLog;
use millpond_sqltest::Server;
use tokio_postgres::Client;

/// What has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(1_800);

pub struct Service {
    pub log: KafkaLog,
    id: String,
    bootstrap: String,
}

impl Service {
    /// `bench-<benchmark>-<process>`.
    pub fn connect(bootstrap: &str, benchmark: &str) -> Result<Service> {
        let id = format!("bench-{benchmark}-{}", std::process::id());
        let log = KafkaLog::connect(millpond_log_kafka::Options::new(bootstrap, format!("{id}-bench")))?;
        Ok(Service { log, id, bootstrap: bootstrap.to_owned() })
    }

    /// A server over an empty directory. Unless told, it has as many workers as it needs.
    pub fn start(&self, workers: Option<usize>, arguments: &[&str]) -> Result<Server> {
        let own = ["--kafka", &self.bootstrap, "--service-id", &self.id].map(str::to_owned);
        let workers = workers.into_iter().flat_map(|workers| ["--workers".to_owned(), workers.to_string()]);
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        Server::start(&own.into_iter().chain(workers).chain(arguments).collect::<Vec<_>>())
    }

    /// What a topic is called in Kafka that statements name.
    pub fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.id)
    }

    /// The topics that the server has made for itself.
    fn internal(&self) -> String {
        format!("_millpond-{}-", self.id)
    }

    /// The offsets of all its changelogs: records, those that compaction has taken, and the markers that end transactions.
    pub fn changelog_records(&self) -> Result<u64> {
        let internal = self.internal();
        let topics = self.log.topics()?;
        let changelogs = topics.iter().filter(|topic| topic.name.starts_with(&internal) && topic.name.ends_with("-changelog"));
        changelogs.map(|topic| records_in(&self.log, &topic.name)).sum()
    }

    /// Once no server of it runs any more.
    pub fn remove_topics(&self) -> Result<()> {
        let prefixes = [self.internal(), self.topic("")];
        let topics = self.log.topics()?;
        let mut own = topics.iter().filter(|topic| prefixes.iter().any(|prefix| topic.name.starts_with(prefix)));
        own.try_for_each(|topic| Ok(self.log.remove_topic(&topic.name)?))
    }
}

/// How many offsets a topic has.
pub fn records_in(log: &KafkaLog, topic: &str) -> Result<u64> {
    let mut records = 0;
    for partition in 0..log.topic(topic)?.config.partitions {
        let range = log.offsets(&TopicPartition::new(topic, partition))?;
        records += range.end - range.start;
    }
    Ok(records)
}

/// The only value of the only row; 0 for NULL.
pub async fn figure(client: &Client, query: &str) -> Result<u64> {
    let row = client.query_one(query, &[]).await.with_context(|| query.to_owned())?;
    let figure: Option<i64> = row.try_get(0)?;
    Ok(figure.map_or(0, i64::cast_unsigned))
}

/// Looks every `look` until the figure is at least `wanted`. That there is no row yet, or an error instead, is waited out, too.
pub async fn reaches(client: &Client, query: &str, wanted: u64, look: Duration) -> Result<()> {
    let begun = Instant::now();
    loop {
        let found = figure(client, query).await;
        if found.as_ref().is_ok_and(|found| *found >= wanted) {
            return Ok(());
        }
        ensure!(!client.is_closed(), "the server is gone, and {query} was {found:?}, not {wanted}");
        ensure!(begun.elapsed() < PATIENCE, "{query} is {found:?}, not {wanted}, after {PATIENCE:?}");
        tokio::time::sleep(look).await;
    }
}
