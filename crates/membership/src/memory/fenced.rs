//! A log that refuses what a process outside the group writes.

use std::sync::Arc;

use millpond_log::{
    Append, Appended, Cleaned, Error, Fetch, FetchLimit, Log, OffsetRange, Payload, Result, TopicConfig, TopicInfo, TopicPartition,
    Transaction, opaque,
};

use super::MemoryMember;
use crate::Hello;
use crate::records::{ASSIGNMENT, MEMBER};

/// Refuses transactions that write to topics of Millpond's own while its process is not in the group (GRP-1), and assignments while it does
/// not lead (GRP-2). Who was let in again is let write again with its [`Hello`] under its new id: what a thread of it had begun before is
/// refused. While the process is frozen, nothing is taken and nothing comes.
#[derive(Debug)]
pub struct FencedLog {
    log: Arc<dyn Log>,
    member: Arc<MemoryMember>,
}

impl FencedLog {
    pub(super) fn new(log: Arc<dyn Log>, member: Arc<MemoryMember>) -> FencedLog {
        FencedLog { log, member }
    }

    fn is_frozen(&self) -> bool {
        self.member.group.state.read_recursive().of(self.member.token).frozen.is_some()
    }
}

impl Log for FencedLog {
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

    fn append(&self, transaction: Transaction) -> Result<Vec<Appended>> {
        // Held until it is appended: nobody is thrown out meanwhile.
        let state = self.member.group.state.read_recursive();
        if state.of(self.member.token).frozen.is_some() {
            return Err(Error::Storage("the process is frozen".to_owned()));
        }
        let membership = state.membership(self.member.token);
        let mut goes_on_as = state.of(self.member.token).goes_on_as.lock();
        if let Some(hello) = transaction.appends.iter().find_map(hello_of) {
            if Some(&hello.member) != membership.member.as_ref() {
                return Err(Error::Fenced(format!("the process is not {} any more", hello.member)));
            }
            *goes_on_as = Some(hello.member);
        }
        let own = transaction.appends.iter().any(|append| append.target.topic.starts_with("_millpond-"));
        if own && (membership.member.is_none() || *goes_on_as != membership.member) {
            return Err(Error::Fenced("the process is not in the group, or has not said hello".to_owned()));
        }
        drop(goes_on_as);
        if !membership.leads && transaction.appends.iter().any(is_assignment) {
            return Err(Error::Fenced("another member leads".to_owned()));
        }
        self.log.append(transaction)
    }

    fn fetch(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Fetch> {
        if self.is_frozen() {
            return Err(Error::Storage("the process is frozen".to_owned()));
        }
        self.log.fetch(partition, from, limit)
    }

    fn fetch_ready(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Option<Fetch>> {
        if self.is_frozen() { Ok(None) } else { self.log.fetch_ready(partition, from, limit) }
    }

    fn trim(&self, before: &[(TopicPartition, u64)]) -> Result<()> {
        self.log.trim(before)
    }

    fn clean(&self, now_ms: i64) -> Result<Cleaned> {
        self.log.clean(now_ms)
    }

    fn settle(&self, partition: &TopicPartition) -> Result<()> {
        self.log.settle(partition)
    }

    fn subscribe(&self, notify: Box<dyn Fn() + Send + Sync>) {
        self.log.subscribe(notify);
    }
}

fn is_assignment(append: &Append) -> bool {
    keys_and_values(append).iter().any(|(key, _)| *key == ASSIGNMENT.as_bytes())
}

fn hello_of(append: &Append) -> Option<Hello> {
    keys_and_values(append)
        .into_iter()
        .filter(|(key, _)| key.starts_with(MEMBER.as_bytes()))
        .find_map(|(_, value)| serde_json::from_slice(value).ok())
}

/// Of records of a members' topic.
fn keys_and_values(append: &Append) -> Vec<(&[u8], &[u8])> {
    let Payload::Opaque(batch) = &append.entry.payload else { return Vec::new() };
    let Ok(columns) = opaque::Columns::of(batch) else { return Vec::new() };
    let rows = (0..batch.num_rows()).filter(|_| append.target.topic.ends_with("-members"));
    rows.map(|row| (columns.key(row).unwrap_or_default(), columns.value(row).unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use millpond_log::{Entry, MemoryLog};

    use super::*;
    use crate::memory::MemoryGroup;
    use crate::{Group, Membership};

    fn write(log: &FencedLog, topic: &str, key: &str) -> Result<Vec<Appended>> {
        let record = opaque::Record { key: Some(key.as_bytes()), value: None, timestamp_ms: 0, headers: &[] };
        let append = Append { target: TopicPartition::new(topic, 0), entry: Entry::opaque(opaque::batch([record])) };
        log.append(Transaction { appends: vec![append] })
    }

    #[test]
    fn who_is_out_and_who_does_not_lead_is_refused() {
        let (group, log): (_, Arc<dyn Log>) = (MemoryGroup::new(), Arc::new(MemoryLog::new()));
        for topic in ["t", "_millpond-s-members"] {
            log.create_topic(topic, &TopicConfig::compact(1, Vec::new())).unwrap();
        }
        let (a, b) = (group.join("a"), group.join("b"));
        let (log_a, log_b) = (a.fence(Arc::clone(&log)), b.fence(log));
        write(&log_a, "_millpond-s-members", "assignment").unwrap();
        assert!(matches!(write(&log_b, "_millpond-s-members", "assignment"), Err(Error::Fenced(_))));
        write(&log_b, "_millpond-s-members", "member/b").unwrap();
        group.freeze("a");
        group.kick("a");
        assert!(a.membership().leads && b.membership().leads);
        assert!(matches!(write(&log_a, "_millpond-s-members", "member/a"), Err(Error::Storage(_))));
        group.thaw("a");
        assert_eq!(a.membership(), Membership::default());
        assert!(matches!(write(&log_a, "_millpond-s-members", "member/a"), Err(Error::Fenced(_))));
        write(&log_a, "t", "x").unwrap();
        write(&log_b, "_millpond-s-members", "assignment").unwrap();
        group.readmit("a");
        assert_eq!(a.membership(), Membership { member: Some("a-3".to_owned()), leads: false, replaced: None });
        assert!(matches!(write(&log_a, "_millpond-s-changelog", "x"), Err(Error::Fenced(_))));
        let hello = |member: &str| Hello { member: member.to_owned(), address: String::new(), acked: 0, gone: false };
        let records = crate::records::Records::open(Arc::new(log_a), "s").unwrap();
        records.write_hello("a", &hello("a-1")).unwrap_err();
        records.write_hello("a", &hello("a-3")).unwrap();
        records.write_hello("a", &hello("a-1")).unwrap_err();
        records.write_hello("a", &hello("a-3")).unwrap();
    }

    #[test]
    fn a_process_is_replaced_by_the_next_of_its_instance() {
        let group = MemoryGroup::new();
        let (first, second) = (group.join("a"), group.join("a"));
        assert!(first.membership().replaced.is_some() && first.membership().member.is_none());
        assert_eq!(second.membership(), Membership { member: Some("a-2".to_owned()), leads: true, replaced: None });
        assert_eq!(group.members().len(), 1);
    }
}
