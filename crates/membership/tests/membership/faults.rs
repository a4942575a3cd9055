//! A log that fails, and records that nobody can read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond_log::{
    Append, Appended, Cleaned, Entry, Error, Fetch, FetchLimit, Log, OffsetRange, Result, TopicConfig, TopicInfo, TopicPartition,
    Transaction, opaque,
};
use millpond_membership::{Assignment, Holding, topic};

use parking_lot::Mutex;

use crate::rig::Service;

/// Every second append fails: in turns it is there and is not. What is there comes late.
struct FailingLog {
    log: Arc<dyn Log>,
    appends: AtomicUsize,
    fetches: AtomicUsize,
    subscribers: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl FailingLog {
    fn over(log: &Arc<dyn Log>) -> Arc<FailingLog> {
        let (appends, fetches) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(FailingLog { log: Arc::clone(log), appends, fetches, subscribers: Mutex::default() })
    }
}

impl std::fmt::Debug for FailingLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FailingLog").finish_non_exhaustive()
    }
}

impl Log for FailingLog {
    fn append(&self, transaction: Transaction) -> Result<Vec<Appended>> {
        match self.appends.fetch_add(1, Ordering::SeqCst) % 4 {
            0 => self.log.append(transaction).and_then(|_| Err(Error::Unresolved("it is there".to_owned()))),
            2 => Err(Error::Storage("it is not there".to_owned())),
            _ => self.log.append(transaction),
        }
    }

    fn create_topic(&self, name: &str, config: &TopicConfig) -> Result<()> {
        self.log.create_topic(name, config)
    }

    fn delete_topic(&self, name: &str) -> Result<()> {
        self.log.delete_topic(name)
    }

    fn topics(&self) -> Result<Vec<TopicInfo>> {
        self.log.topics()
    }

    fn topic(&self, name: &str) -> Result<TopicInfo> {
        self.log.topic(name)
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange> {
        self.log.offsets(partition)
    }

    fn fetch(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Fetch> {
        self.log.fetch(partition, from, limit)
    }

    fn fetch_ready(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Option<Fetch>> {
        let late = self.fetches.fetch_add(1, Ordering::SeqCst) % 4 != 3;
        if late && self.log.offsets(partition)?.end > from {
            self.subscribers.lock().iter().for_each(|notify| notify());
            return Ok(None);
        }
        self.log.fetch_ready(partition, from, limit)
    }

    fn trim(&self, before: &[(TopicPartition, u64)]) -> Result<()> {
        self.log.trim(before)
    }

    fn clean(&self, now_ms: i64) -> Result<Cleaned> {
        self.log.clean(now_ms)
    }

    fn subscribe(&self, notify: Box<dyn Fn() + Send + Sync>) {
        let notify = Arc::new(notify);
        let also = Arc::clone(&notify);
        self.subscribers.lock().push(Box::new(move || notify()));
        self.log.subscribe(Box::new(move || also()));
    }
}

#[test]
fn what_is_not_written_or_perhaps_is_tried_again() {
    let service = Service::new(4);
    let a = service.start_over("a", FailingLog::over(&service.log));
    a.host.wait_running(|running| running.len() == 4);
    let b = service.start_over("b", FailingLog::over(&service.log));
    for process in [&a, &b] {
        process.host.wait_running(|running| running.len() == 2);
    }
    b.coordinator.shutdown();
    service.group.leave("b");
    a.host.wait_running(|running| running.len() == 4);
}

fn write_assignment(log: &dyn Log, value: &[u8]) {
    let record = opaque::Record { key: Some(b"assignment"), value: Some(value), timestamp_ms: 0, headers: &[] };
    let append = Append { target: TopicPartition::new(topic("s"), 0), entry: Entry::opaque(opaque::batch([record])) };
    log.append(Transaction { appends: vec![append] }).unwrap();
}

#[test]
fn nothing_follows_from_an_assignment_that_cannot_be_read() {
    let service = Service::new(4);
    service.log.create_topic(&topic("s"), &TopicConfig::compact(1, Vec::new())).unwrap();
    let of = |epoch| serde_json::to_vec(&Assignment { epoch, ..Assignment::default() }).unwrap();
    write_assignment(&*service.log, &of(3));
    write_assignment(&*service.log, br#"{"epoch":4,"of another version":true}"#);
    let a = service.start("a");
    a.wait(|seen| seen.epoch == 3);
    a.coordinator.replan();
    // It goes on from the next one.
    write_assignment(&*service.log, &of(7));
    a.host.wait_running(|running| running.len() == 4);
    assert_eq!(service.epochs(), vec![3, 7, 8]);
}

#[test]
fn all_starts_over_when_the_topic_is_another_one() {
    let service = Service::new(4);
    let processes = service.start_all(&["a", "b"]);
    service.log.delete_topic(&topic("s")).unwrap();
    processes.iter().for_each(|process| process.coordinator.replan());
    for process in &processes {
        process.host.wait(|told| told.contains(&Holding::Abandon { replaced: None }));
        process.host.wait_running(|running| running.len() == 2);
    }
}
