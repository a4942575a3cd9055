//! How the server is told what to do: flags, `MILLPOND_…` in the environment, a TOML file; in this order of precedence.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Deserialize;

const DATA_DIR: &str = "./millpond-data";
const LISTEN: &str = "127.0.0.1:6455";
const HTTP: &str = "127.0.0.1:6456";
const SERVICE_ID: &str = "default";
const COMMIT_INTERVAL: &str = "100ms";

/// A SQL server for streams: connect with psql, declare streams and tables, start queries, read their results.
#[derive(Debug, Default, Parser)]
#[command(name = "millpond", version)]
pub struct Arguments {
    /// Where topics, state and the catalog are kept [default: ./millpond-data]
    #[arg(long, env = "MILLPOND_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where to listen for the Postgres protocol [default: 127.0.0.1:6455]
    #[arg(long, env = "MILLPOND_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where to serve /metrics, /health/live and /health/ready [default: 127.0.0.1:6456]
    #[arg(long, env = "MILLPOND_HTTP", value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Kafka's bootstrap servers: topics are Kafka's then, and not in the data directory
    #[arg(long, env = "MILLPOND_KAFKA", value_name = "HOST:PORT,…")]
    kafka: Option<String>,
    /// A property of librdkafka, may be given again: NAME=VALUE; the value is in a file with NAME=@FILE, in a variable of the environment with
    /// NAME=$VARIABLE, and begins with a dollar sign with NAME=$$VALUE
    #[arg(long, value_name = "NAME=VALUE")]
    kafka_property: Vec<String>,
    /// A file of such properties, a line for each
    #[arg(long, env = "MILLPOND_KAFKA_PROPERTIES", value_name = "FILE")]
    kafka_properties: Option<PathBuf>,
    /// How many brokers keep each topic that is made [default: as the brokers say]
    #[arg(long, env = "MILLPOND_KAFKA_REPLICAS", value_name = "N")]
    kafka_replicas: Option<u16>,
    /// Names this process among those of the service; the same when it is started again [default: made once, kept in the data directory]
    #[arg(long, env = "MILLPOND_INSTANCE", value_name = "NAME")]
    instance: Option<String>,
    /// Where the service's other processes reach its Postgres side [default: where it listens, by the address that Kafka sees]
    #[arg(long, env = "MILLPOND_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// After how long without a sign of life the service's other processes take its tasks over: with ms or s [default: 10s]
    #[arg(long, env = "MILLPOND_SESSION_TIMEOUT", value_name = "DURATION")]
    session_timeout: Option<String>,
    /// Names internal topics: processes that share the work have the same one [default: default]
    #[arg(long, env = "MILLPOND_SERVICE_ID", value_name = "ID")]
    service_id: Option<String>,
    /// Threads that run queries, always as many [default: one, or one for each core where that was faster on trial]
    #[arg(long, env = "MILLPOND_WORKERS", value_name = "N")]
    workers: Option<usize>,
    /// What caches and write buffers may take: bytes, or with KiB, MiB, GiB [default: a quarter of the machine's, at most 4GiB]
    #[arg(long, env = "MILLPOND_MEMORY", value_name = "SIZE")]
    memory: Option<String>,
    /// How often results are committed: with ms or s [default: 100ms]
    #[arg(long, env = "MILLPOND_COMMIT_INTERVAL", value_name = "DURATION")]
    commit_interval: Option<String>,
    /// How log lines are written [default: text]
    #[arg(long, env = "MILLPOND_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// A TOML file with the same keys, without the dashes in front
    #[arg(long, env = "MILLPOND_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file to write the addresses to, as JSON, once the server can be used
    #[arg(long, env = "MILLPOND_READY_FILE", value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The keys of `--config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    data_dir: Option<PathBuf>,
    listen: Option<SocketAddr>,
    http: Option<SocketAddr>,
    kafka: Option<String>,
    kafka_properties: Option<PathBuf>,
    kafka_replicas: Option<u16>,
    instance: Option<String>,
    advertise: Option<String>,
    session_timeout: Option<String>,
    service_id: Option<String>,
    workers: Option<usize>,
    memory: Option<String>,
    commit_interval: Option<String>,
    log_format: Option<LogFormat>,
    ready_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    pub http: SocketAddr,
    /// `None`: embedded mode.
    pub kafka: Option<Kafka>,
    pub service_id: String,
    pub workers: usize,
    /// Whether one of them runs everything unless more are faster.
    pub gather: bool,
    pub memory_bytes: usize,
    pub commit_interval: Duration,
    pub log_format: LogFormat,
    pub ready_file: Option<PathBuf>,
}

/// How to connect to Kafka.
#[derive(Clone, PartialEq, Eq)]
pub struct Kafka {
    pub bootstrap: String,
    pub replicas: Option<u16>,
    /// May hold secrets.
    pub properties: Vec<(String, String)>,
    /// Letters, digits, '-', '_' and '.'.
    pub instance: Option<String>,
    pub advertise: Option<String>,
    /// Kafka's own limits are 6 s to 30 min.
    pub session_timeout: Option<Duration>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka").field("bootstrap", &self.bootstrap).field("replicas", &self.replicas).finish_non_exhaustive()
    }
}

/// Exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum Usage {
    #[error("cannot read {}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error("{} is not as it should be: {error}", path.display())]
    Toml { path: PathBuf, error: toml::de::Error },
    #[error("--{0} is of no use without --kafka")]
    WithoutKafka(&'static str),
    #[error("{place} is not NAME=VALUE")]
    Property { place: String },
    #[error("{place}: there is no variable \"{variable}\" in the environment")]
    Variable { place: String, variable: String },
    #[error("--{option} cannot be \"{value}\": {expected}")]
    Value { option: &'static str, value: String, expected: &'static str },
}

impl Arguments {
    pub fn resolve(self) -> Result<Config, Usage> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        let properties_file = self.kafka_properties.or(file.kafka_properties);
        let replicas = self.kafka_replicas.or(file.kafka_replicas);
        let (instance, advertise) = (self.instance.or(file.instance), self.advertise.or(file.advertise));
        let session_timeout = self.session_timeout.or(file.session_timeout);
        let kafka = match self.kafka.or(file.kafka) {
            Some(bootstrap) => {
                let properties = kafka_properties(properties_file.as_deref(), &self.kafka_property)?;
                let instance = instance.map(|instance| name("instance", instance)).transpose()?;
                Some(Kafka {
                    bootstrap,
                    replicas,
                    properties,
                    instance,
                    advertise: advertise.map(address).transpose()?,
                    session_timeout: session_timeout.map(session).transpose()?,
                })
            }
            None if properties_file.is_some() => return Err(Usage::WithoutKafka("kafka-properties")),
            None if !self.kafka_property.is_empty() => return Err(Usage::WithoutKafka("kafka-property")),
            None if replicas.is_some() => return Err(Usage::WithoutKafka("kafka-replicas")),
            None if instance.is_some() => return Err(Usage::WithoutKafka("instance")),
            None if advertise.is_some() => return Err(Usage::WithoutKafka("advertise")),
            None if session_timeout.is_some() => return Err(Usage::WithoutKafka("session-timeout")),
            None => None,
        };
        let service_id = name("service-id", self.service_id.or(file.service_id).unwrap_or_else(|| SERVICE_ID.to_string()))?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let asked = self.workers.or(file.workers);
        let (workers, gather) = (asked.unwrap_or(cores), asked.is_none());
        if workers == 0 || workers > 1_024 {
            return Err(Usage::Value { option: "workers", value: workers.to_string(), expected: "a number from 1 to 1024" });
        }
        let commit_interval = self.commit_interval.or(file.commit_interval).unwrap_or_else(|| COMMIT_INTERVAL.to_string());
        let memory_bytes = match self.memory.or(file.memory) {
            Some(text) => bytes(&text).ok_or(Usage::Value {
                option: "memory",
                value: text,
                expected: "a size of at least 32MiB, like 512MiB or 2GiB",
            })?,
            None => default_memory_bytes(),
        };
        Ok(Config {
            data_dir: self.data_dir.or(file.data_dir).unwrap_or_else(|| DATA_DIR.into()),
            listen: self.listen.or(file.listen).unwrap_or_else(|| LISTEN.parse().expect("the default is an address")),
            http: self.http.or(file.http).unwrap_or_else(|| HTTP.parse().expect("the default is an address")),
            kafka,
            service_id,
            workers,
            gather,
            memory_bytes,
            commit_interval: duration(&commit_interval).ok_or(Usage::Value {
                option: "commit-interval",
                value: commit_interval,
                expected: "a duration from 1ms to 1h, like 100ms or 2s",
            })?,
            log_format: self.log_format.or(file.log_format).unwrap_or_default(),
            ready_file: self.ready_file.or(file.ready_file),
        })
    }
}

/// What may be part of a topic's name.
fn name(option: &'static str, value: String) -> Result<String, Usage> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if value.is_empty() || !value.chars().all(plain) {
        return Err(Usage::Value { option, value, expected: "letters, digits, '-', '_' and '.' only" });
    }
    Ok(value)
}

fn address(value: String) -> Result<String, Usage> {
    match value.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(value),
        _ => Err(Usage::Value { option: "advertise", value, expected: "HOST:PORT" }),
    }
}

/// Brokers may be told to allow other sessions than they do by themselves.
fn session(value: String) -> Result<Duration, Usage> {
    match duration(&value) {
        Some(timeout) if (Duration::from_secs(1)..=Duration::from_secs(1_800)).contains(&timeout) => Ok(timeout),
        _ => Err(Usage::Value { option: "session-timeout", value, expected: "a duration from 1s to 30min, like 6s or 30s" }),
    }
}

fn read(path: &Path) -> Result<File, Usage> {
    let text = std::fs::read_to_string(path).map_err(|error| Usage::File { path: path.to_path_buf(), error })?;
    toml::from_str(&text).map_err(|error| Usage::Toml { path: path.to_path_buf(), error })
}

/// Those of the file, then those of the flags.
fn kafka_properties(file: Option<&Path>, flags: &[String]) -> Result<Vec<(String, String)>, Usage> {
    let mut properties = Vec::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|error| Usage::File { path: path.to_path_buf(), error })?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                properties.push(kafka_property(line, || format!("line {} of {}", number + 1, path.display()))?);
            }
        }
    }
    for (number, flag) in flags.iter().enumerate() {
        properties.push(kafka_property(flag, || format!("--kafka-property number {}", number + 1))?);
    }
    Ok(properties)
}

/// `place` instead of the text in errors: it may be a secret.
fn kafka_property(text: &str, place: impl Fn() -> String) -> Result<(String, String), Usage> {
    let (name, value) = text.split_once('=').ok_or_else(|| Usage::Property { place: place() })?;
    let value = value.trim();
    let value = if let Some(path) = value.strip_prefix('@') {
        let read = std::fs::read_to_string(path).map_err(|error| Usage::File { path: path.into(), error })?;
        read.trim_end_matches(['\r', '\n']).to_owned()
    } else if let Some(value) = value.strip_prefix("$$") {
        format!("${value}")
    } else if let Some(variable) = value.strip_prefix('$') {
        std::env::var(variable).map_err(|_| Usage::Variable { place: place(), variable: variable.to_owned() })?
    } else {
        value.to_owned()
    };
    Ok((name.trim().to_owned(), value))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

fn bytes(text: &str) -> Option<usize> {
    let (number, unit) = split(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    let bytes = usize::try_from(number.checked_mul(factor)?).ok()?;
    (bytes >= 32 << 20).then_some(bytes)
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "" | "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "min" | "m" => number.checked_mul(60_000)?,
        _ => return None,
    };
    (1..=3_600_000).contains(&millis).then(|| Duration::from_millis(millis))
}

/// A quarter of the machine's memory, within 256 MiB and 4 GiB.
fn default_memory_bytes() -> usize {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total =
        meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).and_then(|rest| split(rest)).map_or(0, |(kib, _)| kib << 10);
    usize::try_from(total / 4).unwrap_or(usize::MAX).clamp(256 << 20, 4 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_given_gives_the_defaults() {
        let config = Arguments::default().resolve().unwrap();
        assert_eq!(config.listen.to_string(), LISTEN);
        assert_eq!(config.http.to_string(), HTTP);
        assert_eq!(config.data_dir, PathBuf::from(DATA_DIR));
        assert_eq!(config.commit_interval, Duration::from_millis(100));
    }

    #[test]
    fn flags_win_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("millpond.toml");
        std::fs::write(&path, "workers = 3\nmemory = \"64MiB\"\ncommit-interval = \"2s\"\nlog-format = \"json\"\n").unwrap();
        let arguments = Arguments { config: Some(path.clone()), workers: Some(7), ..Arguments::default() };
        let config = arguments.resolve().unwrap();
        assert_eq!((config.workers, config.memory_bytes, config.log_format), (7, 64 << 20, LogFormat::Json));
        std::fs::write(&path, "wrokers = 3\n").unwrap();
        let error = Arguments { config: Some(path), ..Arguments::default() }.resolve().unwrap_err();
        assert!(error.to_string().contains("wrokers"), "{error}");
    }

    #[test]
    fn kafka_properties_come_from_files_the_environment_and_flags_and_are_not_printed() {
        let directory = tempfile::tempdir().unwrap();
        let (secret, file) = (directory.path().join("secret"), directory.path().join("kafka.properties"));
        std::fs::write(&secret, "hush\n").unwrap();
        std::fs::write(&file, format!("# a comment\n\nsasl.username = mill\nsasl.password=@{}\n", secret.display())).unwrap();
        let arguments = Arguments {
            kafka: Some("localhost:9092".into()),
            kafka_properties: Some(file),
            kafka_property: vec!["client.rack=a=b".into(), "sasl.mechanism=$$x".into(), "ssl.key.password=$CARGO_PKG_NAME".into()],
            kafka_replicas: Some(3),
            ..Arguments::default()
        };
        let kafka = arguments.resolve().unwrap().kafka.unwrap();
        let properties: Vec<(&str, &str)> = kafka.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let flags = [("client.rack", "a=b"), ("sasl.mechanism", "$x"), ("ssl.key.password", std::env!("CARGO_PKG_NAME"))];
        assert_eq!(properties[..2], [("sasl.username", "mill"), ("sasl.password", "hush")]);
        assert_eq!(properties[2..], flags);
        assert!(!format!("{kafka:?}").contains("hush"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let wrong = |arguments: Arguments| arguments.resolve().unwrap_err().to_string();
        assert!(wrong(Arguments { kafka_replicas: Some(3), ..Arguments::default() }).contains("without --kafka"));
        let kafka = |property: &str| Arguments {
            kafka: Some("localhost:9092".into()),
            kafka_property: vec!["client.rack=a".into(), property.into()],
            ..Arguments::default()
        };
        assert_eq!(wrong(kafka("secret")), "--kafka-property number 2 is not NAME=VALUE");
        assert!(wrong(kafka("sasl.password=@/nowhere/at/all")).contains("/nowhere/at/all"));
        let message = "--kafka-property number 2: there is no variable \"MILLPOND_NO_SUCH\" in the environment";
        assert_eq!(wrong(kafka("sasl.password=$MILLPOND_NO_SUCH")), message);
        assert!(wrong(Arguments { memory: Some("much".into()), ..Arguments::default() }).contains("--memory"));
        assert!(wrong(Arguments { commit_interval: Some("0ms".into()), ..Arguments::default() }).contains("--commit-interval"));
        assert!(wrong(Arguments { workers: Some(0), ..Arguments::default() }).contains("--workers"));
        assert!(wrong(Arguments { instance: Some("a".into()), ..Arguments::default() }).contains("without --kafka"));
        for advertise in ["host", "host:", ":6455", "host:0", "host:x"] {
            let kafka = Arguments { kafka: Some("localhost:9092".into()), advertise: Some(advertise.into()), ..Arguments::default() };
            assert!(wrong(kafka).contains("--advertise"), "{advertise}");
        }
        assert!(wrong(Arguments { session_timeout: Some("6s".into()), ..Arguments::default() }).contains("without --kafka"));
        for session_timeout in ["", "500ms", "31min", "soon"] {
            let kafka = Some("localhost:9092".into());
            let arguments = Arguments { kafka, session_timeout: Some(session_timeout.into()), ..Arguments::default() };
            assert!(wrong(arguments).contains("--session-timeout"), "{session_timeout}");
        }
        assert!(wrong(Arguments { service_id: Some("a b".into()), ..Arguments::default() }).contains("--service-id"));
    }
}
