//! How to connect, and what this process is called.

use std::time::Duration;

use millpond_log::{Error, Result};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

#[derive(Clone)]
pub struct Options {
    /// `host:port`, separated by commas.
    pub bootstrap: String,
    /// One process at a time writes for a service: a new one takes over from the one before.
    pub service_id: String,
    /// How many transactions may be under way at the same time.
    pub producers: usize,
    /// How many brokers keep each topic that is made; `None`: as the broker's configuration says.
    pub replicas: Option<u16>,
    /// librdkafka's properties by name, secrets among them: they are never printed.
    pub properties: Vec<(String, String)>,
    /// How long a request to the brokers may take.
    pub timeout: Duration,
}

/// What exactly-once rests upon is not the user's to set.
const OWN: [&str; 10] = [
    "bootstrap.servers",
    "client.id",
    "group.id",
    "transactional.id",
    "enable.idempotence",
    "isolation.level",
    "enable.auto.commit",
    "enable.partition.eof",
    "auto.offset.reset",
    "allow.auto.create.topics",
];

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Options")
            .field("bootstrap", &self.bootstrap)
            .field("service_id", &self.service_id)
            .field("producers", &self.producers)
            .field("replicas", &self.replicas)
            .field("properties", &names)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl Options {
    pub fn new(bootstrap: impl Into<String>, service_id: impl Into<String>) -> Options {
        Options {
            bootstrap: bootstrap.into(),
            service_id: service_id.into(),
            producers: 4,
            replicas: None,
            properties: Vec::new(),
            timeout: Duration::from_secs(30),
        }
    }

    /// Fails where a property is one that Millpond sets itself, or unknown to librdkafka, or has a value that it does not take.
    pub fn check(&self) -> Result<()> {
        for (name, value) in &self.properties {
            if OWN.contains(&name.as_str()) {
                return Err(Error::Setting(format!("the Kafka property \"{name}\" is set by Millpond itself")));
            }
            // One at a time, so that the error can name it without its value.
            if ClientConfig::new().set(name, value).create_native_config().is_err() {
                return Err(Error::Setting(format!("the Kafka property \"{name}\" is unknown or does not take that value")));
            }
        }
        Ok(())
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.bootstrap).set("client.id", format!("millpond-{}", self.service_id));
        // A topic that is gone is known to be gone soon.
        config.set("topic.metadata.propagation.max.ms", "2000").set("log.connection.close", "false");
        config
    }

    pub(crate) fn admin(&self) -> ClientConfig {
        let mut config = self.base();
        // rdkafka hands on nothing of what an admin client logs, and keeps it.
        config.set_log_level(RDKafkaLogLevel::Emerg);
        config
    }

    pub(crate) fn coordinators(&self) -> ClientConfig {
        self.base()
    }

    /// Reads what is assigned to it, and belongs to no group.
    pub(crate) fn consumer(&self) -> ClientConfig {
        let mut config = self.uncommitted_consumer();
        config.set("isolation.level", "read_committed");
        config
    }

    /// Sees what no transaction has committed yet, too.
    pub(crate) fn uncommitted_consumer(&self) -> ClientConfig {
        let mut config = self.base();
        if self.properties.iter().all(|(name, _)| name != "socket.timeout.ms") {
            // A broker that does not answer for so long, where it is to answer after 100 ms, never will on that connection.
            config.set("socket.timeout.ms", "15000");
        }
        config
            .set("group.id", format!("millpond-{}", self.service_id))
            .set("isolation.level", "read_uncommitted")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "50")
            .set("queued.min.messages", "200000")
            .set("queued.max.messages.kbytes", "65536");
        config
    }

    pub(crate) fn producer(&self, number: usize) -> ClientConfig {
        let mut config = self.base();
        config
            .set("transactional.id", format!("{}-{number}", self.service_id))
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // A member that is gone for longer lets go of what it had begun: readers do not wait for it any more.
            .set("transaction.timeout.ms", "15000")
            .set("message.timeout.ms", "15000")
            .set("linger.ms", "5")
            .set("batch.size", "262144")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", "500000")
            .set("message.max.bytes", "67108864");
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_checked_and_never_printed() {
        let with = |name: &str, value: &str| Options {
            properties: vec![(name.to_owned(), value.to_owned())],
            ..Options::new("localhost:9092", "s")
        };
        with("sasl.password", "hush").check().unwrap();
        assert!(!format!("{:?}", with("sasl.password", "hush")).contains("hush"));
        for (name, value) in [("isolation.level", "read_uncommitted"), ("sasl.pasword", "hush"), ("socket.timeout.ms", "hush")] {
            let error = with(name, value).check().unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("hush"), "{error}");
        }
    }
}
