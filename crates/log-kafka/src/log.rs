//! The [`Log`] that the engine sees.

use std::sync::Arc;
use std::time::Duration;

use millpond_log::{
    Append, Appended, Cleaned, Fetch, FetchLimit, Log, OffsetRange, Result, TopicConfig, TopicInfo, TopicPartition, Transaction,
};

use crate::cluster::Cluster;
use crate::columns::{offset_of, records_between};
use crate::fence::Fence;
use crate::group::{Arrivals, KafkaGroup};
use crate::options::Options;
use crate::producer::{Producer, Written};
use crate::producers::Producers;
use crate::readers::Readers;

/// Topics of a Kafka cluster. Cheap to share; all its calls may be made from any thread.
#[derive(Debug)]
pub struct KafkaLog {
    cluster: Arc<Cluster>,
    producers: Producers,
    readers: Arc<Readers>,
}

impl KafkaLog {
    /// Without a group: for tools and tests. Nothing keeps it from writing anything, beside a service's processes, too; with the instance of one
    /// of them it would end its transactions. Fails when the brokers do not answer, or a property is not one.
    pub fn connect(options: Options) -> Result<KafkaLog> {
        let cluster = Arc::new(Cluster::connect(options)?);
        let producers = Producers::make(cluster.options())?;
        Ok(KafkaLog::open(cluster, producers, None))
    }

    /// As a member of the service's group, which lets nobody else write to the service's own topics (`_millpond-<service>-…`): that is
    /// [`millpond_log::Error::Fenced`]. Waits until the group has let the process in, and fails where that takes longer than the timeout.
    ///
    /// Who was thrown out is let in again by itself, as another member; it is let write again with its [`millpond_membership::Hello`] as that one.
    pub fn join(options: Options) -> Result<(KafkaLog, Arc<KafkaGroup>)> {
        let cluster = Arc::new(Cluster::connect(options)?);
        // First: a former process of the same instance finds that another one has come before its producers are fenced (OWN-1).
        let arrivals = Arrivals::announce(&cluster)?;
        // Both wait for their coordinators.
        let (group, producers) = std::thread::scope(|scope| {
            let producers = scope.spawn(|| Producers::make(cluster.options()));
            let group = KafkaGroup::join(&cluster, arrivals);
            (group, producers.join().expect("making producers does not panic"))
        });
        let group = Arc::new(group?);
        let fence = Fence::new(Arc::clone(&group), cluster.options())?;
        Ok((KafkaLog::open(cluster, producers?, Some(fence)), group))
    }

    /// How many consumers read for it at present.
    pub fn consumers(&self) -> usize {
        self.readers.consumers()
    }

    fn open(cluster: Arc<Cluster>, producers: Vec<Producer>, fence: Option<Fence>) -> KafkaLog {
        let readers = Arc::new(Readers::new(Arc::clone(&cluster)));
        let producers = Producers::new(cluster.options().clone(), producers, fence);
        KafkaLog { cluster, producers, readers }
    }
}

impl Log for KafkaLog {
    fn create_topic(&self, name: &str, config: &TopicConfig) -> Result<()> {
        self.cluster.create_topic(name, config)
    }

    fn delete_topic(&self, name: &str) -> Result<()> {
        self.readers.forget_topic(name);
        self.cluster.delete_topic(name)
    }

    fn topics(&self) -> Result<Vec<TopicInfo>> {
        self.cluster.topics()
    }

    fn topic(&self, name: &str) -> Result<TopicInfo> {
        self.cluster.topic(name)
    }

    fn partitions(&self, topic: &str) -> Result<u32> {
        self.cluster.partitions_now(topic)
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange> {
        self.cluster.offsets(partition)
    }

    fn known_end(&self, partition: &TopicPartition) -> Result<u64> {
        let known = self.readers.known(partition);
        let end = match known.end {
            Some(end) => offset_of(&partition.topic, end),
            None => self.cluster.offsets(partition)?.end,
        };
        // Beyond the end, so that it is asked for again.
        Ok(end + u64::from(known.unheard))
    }

    fn append(&self, transaction: Transaction) -> Result<Vec<Appended>> {
        if transaction.appends.is_empty() {
            return Ok(Vec::new());
        }
        for append in &transaction.appends {
            assert!(append.entry.rows() > 0, "an empty entry for {}", append.target);
            self.cluster.check_partition(&append.target)?;
        }
        let written = self.producers.transact(&transaction.appends)?;
        let appended = |(append, written): (&Append, &Written)| {
            self.cluster.wrote(&append.target, written.last);
            let at = |record| offset_of(&append.target.topic, record);
            Appended { target: append.target.clone(), base_offset: at(written.first), next_offset: at(written.last + 1) }
        };
        let appended = transaction.appends.iter().zip(&written).map(appended).collect();
        self.cluster.notifier().notify();
        Ok(appended)
    }

    fn fetch(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Fetch> {
        self.readers.read(partition, from, limit)
    }

    fn fetch_ready(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Option<Fetch>> {
        self.cluster.check_partition(partition)?;
        let fetch = self.readers.fetch(partition, from, limit, Duration::ZERO)?;
        Ok((fetch.next_offset > from).then_some(fetch))
    }

    fn trim(&self, before: &[(TopicPartition, u64)]) -> Result<()> {
        self.cluster.trim(before)
    }

    /// The brokers clean by themselves: here what is fetched ahead in vain is let go, and the clients are listened to.
    fn clean(&self, _now_ms: i64) -> Result<Cleaned> {
        self.readers.tidy();
        self.producers.poll();
        self.cluster.poll();
        Ok(Cleaned::default())
    }

    fn records_between(&self, partition: &TopicPartition, from: u64, to: u64) -> u64 {
        records_between(&partition.topic, from, to)
    }

    /// The end of a transaction has an offset of its own, behind its records.
    fn may_lie_between(&self, from: u64, to: u64) -> bool {
        from.saturating_add(1) < to
    }

    fn publish_progress(&self, query: &str, positions: &[(TopicPartition, u64)]) -> Result<()> {
        self.cluster.publish_progress(query, positions)
    }

    fn settle(&self, partition: &TopicPartition) -> Result<()> {
        self.producers.settle()?;
        self.cluster.settle(partition)
    }

    fn subscribe(&self, notify: Box<dyn Fn() + Send + Sync>) {
        self.cluster.notifier().subscribe(notify);
    }
}
