//! Topics and offsets: what is asked of the brokers apart from reading and writing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use hashbrown::HashMap;
use millpond_log::{Cleanup, Error, OffsetRange, Result, TopicConfig, TopicInfo, TopicPartition};
use parking_lot::{Mutex, RwLock};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::columns::{offset_of, record_at};
use crate::context::Context;
use crate::coordinators::Coordinators;
use crate::error::{code_of, told};
use crate::notifier::Notifier;
use crate::options::Options;
use crate::progress::set_offsets;

/// A topic that was made, and a transaction that was committed to one that is still the same, are seen by then.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// So many events of a client are handed on at a time.
const EVENTS_MAX: usize = 100;
/// What is only told for information is not waited for longer.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(2);
/// Nor is it told for so long after nobody has answered.
const PROGRESS_REST: Duration = Duration::from_secs(60);
/// Who wants to know how a topic is now asks again.
const NOW_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is looked whether a topic has come or gone.
const LOOK: Duration = Duration::from_millis(20);
/// Of the service's own topics: entries of columns are large records, and what a user's topic took must fit a changelog and the dead letters, too.
const OWN_MESSAGE_BYTES: &str = "67108864";

pub(crate) struct Cluster {
    options: Options,
    admin: AdminClient<Context>,
    coordinators: Coordinators,
    /// When nobody has answered who was told of progress.
    unanswered: Mutex<Option<Instant>>,
    /// Reads nothing: for metadata and offsets. A consumer, because asking must not make topics.
    consumer: BaseConsumer<Context>,
    /// The same, and its ends are those of what is not committed, too.
    uncommitted: BaseConsumer<Context>,
    partitions: RwLock<HashMap<Arc<str>, u32>>,
    /// Topics that were made from here, and when: a broker may not have heard of them yet.
    made: Mutex<HashMap<Arc<str>, Instant>>,
    /// The last records that were written from here, and when: the brokers may take a moment to let them be seen.
    written: Mutex<HashMap<TopicPartition, (u64, Instant)>>,
    notifier: Arc<Notifier>,
}

/// What a broker says of a topic.
struct Seen {
    partitions: u32,
    /// Each has a leader.
    led: bool,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Fails when the brokers do not answer within the timeout.
    pub fn connect(options: Options) -> Result<Cluster> {
        options.check()?;
        let admin = client(&options.admin())?;
        let (consumer, uncommitted) = (client(&options.consumer())?, client(&options.uncommitted_consumer())?);
        let cluster = Cluster {
            coordinators: Coordinators::new(options.clone()),
            unanswered: Mutex::default(),
            options,
            admin,
            consumer,
            uncommitted,
            partitions: RwLock::default(),
            made: Mutex::default(),
            written: Mutex::default(),
            notifier: Arc::default(),
        };
        if let Err(error) = cluster.consumer.client().fetch_metadata(None, cluster.timeout()) {
            let why = cluster.first_error().unwrap_or_else(|| error.to_string());
            return Err(Error::Storage(format!("Kafka at {} does not answer: {why}", cluster.options.bootstrap)));
        }
        Ok(cluster)
    }

    /// Hands on what librdkafka has to say.
    pub fn poll(&self) {
        // An event at a time, log lines included.
        for consumer in [&self.consumer, &self.uncommitted] {
            (0..EVENTS_MAX).for_each(|_| drop(consumer.poll(Duration::ZERO)));
        }
    }

    fn first_error(&self) -> Option<String> {
        self.poll();
        self.consumer.client().context().first_error.lock().take()
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn timeout(&self) -> Duration {
        self.options.timeout
    }

    pub fn notifier(&self) -> &Arc<Notifier> {
        &self.notifier
    }

    pub fn coordinators(&self) -> &Coordinators {
        &self.coordinators
    }

    /// A consumer of its own for a reader.
    pub fn consumer(&self) -> Result<BaseConsumer<Context>> {
        client(&self.options.consumer())
    }

    pub fn create_topic(&self, name: &str, config: &TopicConfig) -> Result<()> {
        let settings = settings_of(name, config);
        let replicas = self.options.replicas.map_or(-1, i32::from);
        let partitions = i32::try_from(config.partitions).unwrap_or(i32::MAX);
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        for (setting, value) in &settings {
            topic = topic.set(setting, value);
        }
        let made = block_on(self.admin.create_topics([&topic], &self.request())).map_err(|error| told(&error, Some(name)))?;
        let refused = made.into_iter().find_map(|made| made.err().map(|(_, code)| told(&KafkaError::AdminOp(code), Some(name))));
        // Whoever finds it there already may use it at once, too.
        if matches!(refused, None | Some(Error::TopicExists(_))) {
            self.made.lock().insert(name.into(), Instant::now());
            self.wait_until(name, |partitions| partitions.is_some())?;
        }
        refused.map_or(Ok(()), Err)
    }

    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let gone = block_on(self.admin.delete_topics(&[name], &self.request())).map_err(|error| told(&error, Some(name)))?;
        self.made.lock().remove(name);
        self.forget_topic(name);
        if let Some(Err((_, code))) = gone.into_iter().next() {
            return Err(told(&KafkaError::AdminOp(code), Some(name)));
        }
        self.wait_until(name, |partitions| partitions.is_none())
    }

    fn request(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.timeout())).operation_timeout(Some(self.timeout()))
    }

    /// Brokers hear of a topic one after the other.
    fn wait_until(&self, name: &str, is_so: impl Fn(Option<u32>) -> bool) -> Result<()> {
        let deadline = Instant::now() + self.timeout();
        loop {
            if is_so(self.ask_partitions(name)?) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::Storage(format!("Kafka: topic \"{name}\" has not come or gone within {:?}", self.timeout())));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// `None`: there is no such topic, or one that cannot be used yet.
    fn ask_partitions(&self, name: &str) -> Result<Option<u32>> {
        let usable = self.look(name, self.timeout())?.filter(|seen| seen.led && seen.partitions > 0);
        Ok(usable.map(|seen| {
            self.partitions.write().insert(name.into(), seen.partitions);
            seen.partitions
        }))
    }

    /// `None`: there is no such topic.
    fn look(&self, name: &str, timeout: Duration) -> Result<Option<Seen>> {
        let metadata = self.consumer.client().fetch_metadata(Some(name), timeout).map_err(|error| told(&error, Some(name)))?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
        match topic.error().map(Code::from) {
            // The second one: it is being made.
            None | Some(Code::LeaderNotAvailable) => {}
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => return Ok(None),
            Some(code) => return Err(told(&KafkaError::MetadataFetch(code), Some(name))),
        }
        Ok(Some(Seen {
            partitions: u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX),
            led: topic.partitions().iter().all(|partition| partition.leader() >= 0),
        }))
    }

    fn partitions(&self, name: &str) -> Result<u32> {
        if let Some(count) = self.partitions.read().get(name) {
            return Ok(*count);
        }
        loop {
            if let Some(count) = self.ask_partitions(name)? {
                return Ok(count);
            }
            if self.made.lock().get(name).is_none_or(|when| when.elapsed() >= SEEN_WITHIN) {
                return Err(Error::UnknownTopic(name.to_owned()));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Fails where there is no such partition.
    pub fn check_partition(&self, partition: &TopicPartition) -> Result<()> {
        let partitions = self.partitions(&partition.topic)?;
        if partition.partition >= partitions {
            let topic = partition.topic.to_string();
            return Err(Error::UnknownPartition { topic, partition: partition.partition, partitions });
        }
        Ok(())
    }

    /// What is known of the topic is asked for again.
    pub fn forget_topic(&self, name: &str) {
        self.partitions.write().remove(name);
        self.written.lock().retain(|partition, _| *partition.topic != *name);
    }

    /// The record at `last` was committed: from now on the partition ends behind it, though the brokers may not say so yet. They let a
    /// transaction be seen a moment after it is committed, and who has written a row wants to read it.
    pub fn wrote(&self, partition: &TopicPartition, last: u64) {
        let mut written = self.written.lock();
        let (known, when) = written.entry(partition.clone()).or_insert((last, Instant::now()));
        (*known, *when) = (last.max(*known), Instant::now());
    }

    /// All topics but Kafka's own, by name.
    pub fn topics(&self) -> Result<Vec<TopicInfo>> {
        let metadata = self.consumer.client().fetch_metadata(None, self.timeout()).map_err(|error| told(&error, None))?;
        let mut names: Vec<(&str, u32)> = metadata
            .topics()
            .iter()
            .filter(|topic| topic.error().is_none() && !topic.name().starts_with("__"))
            .map(|topic| (topic.name(), u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX)))
            .collect();
        names.sort_unstable();
        self.infos(&names)
    }

    /// Asks the brokers. A topic has its partitions also while one of them has no leader.
    pub fn partitions_now(&self, name: &str) -> Result<u32> {
        match self.look(name, self.timeout().min(NOW_TIMEOUT))? {
            Some(Seen { partitions: partitions @ 1.., .. }) => {
                self.partitions.write().insert(name.into(), partitions);
                Ok(partitions)
            }
            _ => {
                self.partitions.write().remove(name);
                self.partitions(name)
            }
        }
    }

    pub fn topic(&self, name: &str) -> Result<TopicInfo> {
        let partitions = self.partitions_now(name)?;
        self.infos(&[(name, partitions)])?.pop().ok_or_else(|| Error::UnknownTopic(name.to_owned()))
    }

    fn infos(&self, names: &[(&str, u32)]) -> Result<Vec<TopicInfo>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<ResourceSpecifier<'_>> = names.iter().map(|(name, _)| ResourceSpecifier::Topic(name)).collect();
        let configs = block_on(self.admin.describe_configs(&wanted, &self.request())).map_err(|error| told(&error, None))?;
        let mut infos = Vec::with_capacity(names.len());
        for ((name, partitions), config) in names.iter().zip(configs) {
            let config = match config {
                Ok(config) => config,
                Err(Code::UnknownTopicOrPartition | Code::UnknownTopic) => continue,
                Err(code) => return Err(told(&KafkaError::AdminOp(code), Some(name))),
            };
            let setting = |name: &str| config.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
            let number = |name: &str| setting(name).parse::<i64>().ok().filter(|number| *number >= 0);
            let policy = setting("cleanup.policy");
            let does = |what: &str| policy.split(',').any(|policy| policy == what);
            let cleanup = if does("compact") {
                Cleanup::Compact { retention_ms: number("retention.ms").filter(|_| does("delete")) }
            } else {
                let retention_bytes = number("retention.bytes").and_then(|bytes| u64::try_from(bytes).ok());
                Cleanup::Delete { retention_ms: number("retention.ms"), retention_bytes }
            };
            let config = TopicConfig { partitions: *partitions, cleanup, key_columns: Vec::new() };
            infos.push(TopicInfo { name: (*name).into(), config });
        }
        Ok(infos)
    }

    pub fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange> {
        self.check_partition(partition)?;
        let (start, end) = self.watermarks(&self.consumer, partition)?;
        let written = self.written.lock().get(partition).filter(|(_, when)| when.elapsed() < SEEN_WITHIN).map_or(0, |(last, _)| last + 1);
        let (start, end) = (u64::try_from(start).unwrap_or_default(), u64::try_from(end).unwrap_or_default().max(written));
        let offset = |record: u64| offset_of(&partition.topic, record);
        Ok(OffsetRange { start: offset(start), end: offset(end) })
    }

    /// The first offset and the end, as the consumer may see it. Waits for a leader where there is none at the moment.
    fn watermarks(&self, consumer: &BaseConsumer<Context>, partition: &TopicPartition) -> Result<(i64, i64)> {
        let number = i32::try_from(partition.partition).unwrap_or(i32::MAX);
        let deadline = Instant::now() + self.timeout();
        loop {
            let error = match consumer.client().fetch_watermarks(&partition.topic, number, self.timeout()) {
                Ok(watermarks) => return Ok(watermarks),
                Err(error) => error,
            };
            match code_of(&error) {
                // The last one: a new leader does not know yet how far its predecessor had come.
                Some(
                    Code::NotLeaderForPartition
                    | Code::LeaderNotAvailable
                    | Code::ReplicaNotAvailable
                    | Code::FencedLeaderEpoch
                    | Code::OffsetNotAvailable,
                ) => {}
                Some(Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition) => {
                    self.forget_topic(&partition.topic);
                    self.check_partition(partition)?;
                    // The client may have it from a broker that had not heard of the topic yet, and goes on believing that.
                    let asked = consumer.client().fetch_metadata(Some(&partition.topic), self.timeout());
                    asked.map_err(|error| told(&error, Some(&partition.topic)))?;
                }
                _ => return Err(told(&error, Some(&partition.topic))),
            }
            if Instant::now() >= deadline {
                return Err(told(&error, Some(&partition.topic)));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until nothing that was written to the partition before this was called waits for its transaction to end. The coordinator ends what
    /// nobody else does: of a process that is gone, or came again with fewer producers.
    pub fn settle(&self, partition: &TopicPartition) -> Result<()> {
        let (_, written) = self.watermarks(&self.uncommitted, partition)?;
        let deadline = Instant::now() + self.timeout();
        while self.watermarks(&self.consumer, partition)?.1 < written {
            if Instant::now() >= deadline {
                return Err(Error::Storage(format!(
                    "Kafka: a transaction that wrote to {partition} is not over after {:?}",
                    self.timeout()
                )));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Says in a consumer group's offsets where a query's inputs are read next.
    pub fn publish_progress(&self, query: &str, positions: &[(TopicPartition, u64)]) -> Result<()> {
        let unanswered = || Err(Error::Storage("Kafka does not say that it has set a group's offsets".to_owned()));
        if self.unanswered.lock().is_some_and(|when| when.elapsed() < PROGRESS_REST) {
            return unanswered();
        }
        let group = format!("millpond-{}-{query}", self.options.service_id);
        if set_offsets(&self.coordinators, &group, positions, self.timeout().min(PROGRESS_TIMEOUT))? {
            return Ok(());
        }
        *self.unanswered.lock() = Some(Instant::now());
        unanswered()
    }

    /// Records before the offsets go. All in one request for each broker, and the leaders do not wait for their followers: those follow anyway.
    pub fn trim(&self, before: &[(TopicPartition, u64)]) -> Result<()> {
        let mut list = TopicPartitionList::with_capacity(before.len());
        for (partition, before) in before {
            let record = record_at(&partition.topic, *before);
            let offset = Offset::Offset(i64::try_from(record).unwrap_or(i64::MAX));
            list.add_partition_offset(&partition.topic, i32::try_from(partition.partition).unwrap_or(i32::MAX), offset)
                .map_err(|error| told(&error, Some(&partition.topic)))?;
        }
        let options = self.request().operation_timeout(Some(Duration::ZERO));
        let done = block_on(self.admin.delete_records(&list, &options)).map_err(|error| told(&error, None))?;
        let outcome = |element: TopicPartitionListElem<'_>| match element.error() {
            Err(error) if code_of(&error) == Some(Code::OffsetOutOfRange) => {
                let is_of = |partition: &TopicPartition| {
                    partition.topic.as_ref() == element.topic() && u32::try_from(element.partition()) == Ok(partition.partition)
                };
                match before.iter().find(|(partition, _)| is_of(partition)) {
                    Some((partition, before)) => Err(self.offsets(partition)?.out_of_range(partition, *before)),
                    None => Err(told(&error, Some(element.topic()))),
                }
            }
            Err(error) if code_of(&error) != Some(Code::RequestTimedOut) => Err(told(&error, Some(element.topic()))),
            _ => Ok(()),
        };
        done.elements().into_iter().map(outcome).fold(Ok(()), Result::and)
    }
}

/// A client of whatever kind.
fn client<T: FromClientConfigAndContext<Context>>(config: &ClientConfig) -> Result<T> {
    T::from_config_and_context(config, Context::default()).map_err(|error| told(&error, None))
}

/// As strings, the way Kafka wants them.
fn settings_of(name: &str, config: &TopicConfig) -> Vec<(&'static str, String)> {
    // Event time may lie ahead of the brokers' clocks.
    let mut settings = vec![("message.timestamp.after.max.ms", i64::MAX.to_string())];
    match config.cleanup {
        Cleanup::Compact { retention_ms: None } => settings.push(("cleanup.policy", "compact".to_owned())),
        Cleanup::Compact { retention_ms: Some(retention_ms) } => {
            settings.push(("cleanup.policy", "compact,delete".to_owned()));
            settings.push(("retention.ms", retention_ms.to_string()));
        }
        Cleanup::Delete { retention_ms, retention_bytes } => {
            settings.push(("cleanup.policy", "delete".to_owned()));
            settings.push(("retention.ms", retention_ms.unwrap_or(-1).to_string()));
            settings.push(("retention.bytes", retention_bytes.map_or("-1".to_owned(), |bytes| bytes.to_string())));
        }
    }
    if name.starts_with("_millpond-") {
        settings.push(("max.message.bytes", OWN_MESSAGE_BYTES.to_owned()));
    }
    settings
}
