//! How to connect, and what this process is called.

use std::time::Duration;

use millpond_log::{Error, Result};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

#[derive(Clone)]
pub struct Options {
    /// `host:port`, separated by commas.
    pub bootstrap: String,
    /// Whose topics, groups and transactions these are.
    pub service_id: String,
    /// The process among those of the service: the same when it is started again, and nobody else's at the same time.
    pub instance: String,
    /// A process that its group has heard nothing of for so long is thrown out of it.
    pub session_timeout: Duration,
    /// How many transactions may be under way at the same time.
    pub producers: usize,
    /// How many consumers the partitions of users' topics are spread over.
    pub consumers: usize,
    /// How many brokers keep each topic that is made; `None`: as the broker's configuration says.
    pub replicas: Option<u16>,
    /// librdkafka's properties by name, secrets among them: they are never printed.
    pub properties: Vec<(String, String)>,
    /// How long a request to the brokers may take.
    pub timeout: Duration,
}

/// What exactly-once rests upon is not the user's to set.
const OWN: [&str; 20] = [
    "bootstrap.servers",
    "client.id",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "partition.assignment.strategy",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "transactional.id",
    "transaction.timeout.ms",
    "message.timeout.ms",
    "acks",
    "enable.idempotence",
    "isolation.level",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "auto.offset.reset",
    "allow.auto.create.topics",
];

/// Other names of properties that are set here: rdkafka sets both, in any order.
const ALIASES: [(&str, &str); 6] = [
    ("metadata.broker.list", "bootstrap.servers"),
    ("request.required.acks", "acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("auto.commit.enable", "enable.auto.commit"),
    ("compression.codec", "compression.type"),
    ("queue.buffering.max.ms", "linger.ms"),
];

fn canonical(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name)
}

/// What Kafka takes for an instance, beside letters and digits.
const INSTANCE_SIGNS: &str = "._-";
const INSTANCE_BYTES_MAX: usize = 249;
/// Members are heard of so many times within a session: two may be missed.
const HEARTBEATS: u32 = 3;
/// And so often at least, however long the session is: it is with a heartbeat's answer that they hear of a rebalance.
const HEARTBEAT_MAX: Duration = Duration::from_secs(3);
/// The group's thread only polls, so this says no more than how long a rebalance waits for one that is stuck but goes on being heard of.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(300);

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Options")
            .field("bootstrap", &self.bootstrap)
            .field("service_id", &self.service_id)
            .field("instance", &self.instance)
            .field("session_timeout", &self.session_timeout)
            .field("producers", &self.producers)
            .field("consumers", &self.consumers)
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
            instance: "single".to_owned(),
            session_timeout: Duration::from_secs(10),
            producers: 4,
            consumers: 2,
            replicas: None,
            properties: Vec::new(),
            timeout: Duration::from_secs(30),
        }
    }

    /// Fails where a property is one that Millpond sets itself, or unknown to librdkafka, or has a value that it does not take; and where Kafka
    /// would not take the instance.
    pub fn check(&self) -> Result<()> {
        let instance = &self.instance;
        let takes = |byte: u8| byte.is_ascii_alphanumeric() || INSTANCE_SIGNS.as_bytes().contains(&byte);
        if instance.is_empty() || instance.len() > INSTANCE_BYTES_MAX || !instance.bytes().all(takes) || matches!(&**instance, "." | "..") {
            return Err(Error::Setting(format!(
                "the instance \"{instance}\" is not 1 to {INSTANCE_BYTES_MAX} letters of ASCII, digits and signs of {INSTANCE_SIGNS}"
            )));
        }
        for (name, value) in &self.properties {
            if OWN.contains(&canonical(name)) {
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
            config.set(canonical(name), value);
        }
        config.set("bootstrap.servers", &self.bootstrap).set("client.id", format!("millpond-{}-{}", self.service_id, self.instance));
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
        self.preset(
            &mut config,
            &[
                // A broker that does not answer for so long, where it is to answer after 100 ms, never will on that connection.
                ("socket.timeout.ms", "15000"),
                ("fetch.wait.max.ms", "100"),
                ("fetch.error.backoff.ms", "50"),
                ("queued.min.messages", "200000"),
                ("queued.max.messages.kbytes", "65536"),
            ],
        );
        config
            .set("group.id", format!("millpond-{}-readers", self.service_id))
            .set("isolation.level", "read_uncommitted")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false");
        config
    }

    /// The name of the service's group.
    pub(crate) fn group(&self) -> String {
        format!("millpond-{}-members", self.service_id)
    }

    /// What names of topics of the service itself begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("_millpond-{}-", self.service_id)
    }

    /// Is one of the service's group, and reads nothing.
    ///
    /// With an instance (KIP-345), a process that was killed and comes again is given its predecessor's place under another member id, and the
    /// others do not hear of it. The cooperative protocol, because whoever leads has to let go before another one does.
    pub(crate) fn member(&self) -> ClientConfig {
        let mut config = self.base();
        let ms = |duration: Duration| duration.as_millis().to_string();
        config
            .set("group.id", self.group())
            .set("group.instance.id", &self.instance)
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", ms(self.session_timeout))
            .set("heartbeat.interval.ms", ms((self.session_timeout / HEARTBEATS).min(HEARTBEAT_MAX)))
            .set("max.poll.interval.ms", ms(POLL_INTERVAL_MAX.max(self.session_timeout)))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false")
            .set("queued.min.messages", "1")
            .set("queued.max.messages.kbytes", "64");
        config
    }

    /// Of single records, which may be written twice.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.base();
        config.set("acks", "all").set("message.timeout.ms", "15000").set("linger.ms", "0");
        config
    }

    /// `name`: among those of the process.
    pub(crate) fn transactional_producer(&self, name: &str) -> ClientConfig {
        let mut config = self.base();
        self.preset(
            &mut config,
            &[
                ("linger.ms", "5"),
                ("batch.size", "262144"),
                ("compression.type", "lz4"),
                ("queue.buffering.max.messages", "500000"),
                ("message.max.bytes", "67108864"),
            ],
        );
        config
            .set("transactional.id", format!("{}-{}-{name}", self.service_id, self.instance))
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // A process that is gone for longer, or came again with fewer producers, lets go of what it had begun: whoever settles a partition
            // waits for that, and readers do not wait any longer.
            .set("transaction.timeout.ms", "15000")
            // When librdkafka 2.12 has asked in vain who coordinates the group, it asks again when a connection comes or goes, whatever the timeout of
            // the transaction's offsets says (`rd_kafka_coord_req_fsm`): so let one go.
            .set("connections.max.idle.ms", "5000")
            .set("message.timeout.ms", "15000");
        config
    }

    /// What a property that was given overrides.
    fn preset(&self, config: &mut ClientConfig, presets: &[(&str, &str)]) {
        for (name, value) in presets.iter().filter(|(name, _)| self.properties.iter().all(|(given, _)| canonical(given) != *name)) {
            config.set(*name, *value);
        }
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
        for (name, value) in [
            ("isolation.level", "read_uncommitted"),
            ("request.required.acks", "1"),
            ("sasl.pasword", "hush"),
            ("socket.timeout.ms", "hush"),
        ] {
            let error = with(name, value).check().unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn properties_override_what_is_preset() {
        let options = Options {
            properties: vec![("linger.ms".to_owned(), "20".to_owned()), ("compression.codec".to_owned(), "zstd".to_owned())],
            ..Options::new("localhost:9092", "s")
        };
        let (producer, consumer) = (options.transactional_producer("p"), options.consumer());
        assert_eq!(
            ["linger.ms", "compression.type", "compression.codec", "batch.size"].map(|name| producer.get(name)),
            [Some("20"), Some("zstd"), None, Some("262144")]
        );
        assert_eq!(consumer.get("queued.min.messages"), Some("200000"));
    }

    #[test]
    fn instances_are_what_kafka_takes() {
        let with = |instance: &str| Options { instance: instance.to_owned(), ..Options::new("localhost:9092", "s") }.check();
        for instance in ["single", "node-1.eu_west", "7", &"x".repeat(249)] {
            with(instance).unwrap();
        }
        for instance in ["", ".", "..", "a b", "node/1", "né", &"x".repeat(250)] {
            assert!(matches!(with(instance), Err(Error::Setting(_))), "{instance}");
        }
    }

    #[test]
    fn librdkafka_takes_the_member() {
        for seconds in [1, 10, 1_800] {
            let options = Options { session_timeout: Duration::from_secs(seconds), ..Options::new("localhost:9092", "s") };
            options.member().create_native_config().unwrap();
        }
    }
}
