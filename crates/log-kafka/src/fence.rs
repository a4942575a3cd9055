//! What the service's own topics take: transactions of members of its group (GRP-1), and the assignment from the one that leads (GRP-2). As whom a
//! transaction is let through, its records say: see [`millpond_membership`] for those of the members' topic.
//!
//! ```text
//!   begin ─► send ─► drain ─► pass ─► the group's offset ─► commit
//!                       │       │            └ the broker compares the metadata with the group; what it refuses is aborted
//!                       │       └ a member, and the leader?
//!                       └ all records are in their partitions
//! ```
//! The fence is one offset that the transaction sends for the group, with the group's metadata: the broker takes it from a member of the present
//! generation only. It means nothing else, and nobody reads it.
//!
//! **A rebalance of others does not hold a member up** (Kafka 4.2, `ClassicGroup.validateOffsetCommit`): while the group waits for its members to
//! join again it takes offsets of the generation before, and from then on, while it waits for the leader's word, too, those of the new one; only
//! commits outside of transactions are told `REBALANCE_IN_PROGRESS` there. So a transaction is refused (`ILLEGAL_GENERATION`) only between the
//! broker's next generation and this client's hearing of it, and succeeds when repeated. `tests/kafka/rebalance.rs` holds a group in both states.
//!
//! **What a former member had begun is there, or never will be, for whoever takes over and settles first** ([`millpond_log::Log::settle`]): its
//! records were all in their partitions before its offset was sent, and that was taken while it was a member, so before another one was given
//! anything of its; settling waits for the end of such a transaction. What it sends later is refused, and aborted.

use std::sync::Arc;

use millpond_log::opaque::Columns;
use millpond_log::{Append, Payload, Result};
use millpond_membership::{ASSIGNMENT, Hello, MEMBER};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::told;
use crate::group::{KafkaGroup, Standing};
use crate::options::Options;

pub(crate) struct Fence {
    group: Arc<KafkaGroup>,
    own: Own,
    /// The one offset.
    pub offset: TopicPartitionList,
}

/// What is the service's own, and this process's in it.
struct Own {
    /// Of names of topics.
    prefix: String,
    members: String,
    /// The key of its hello.
    hello: String,
}

impl Fence {
    pub fn new(group: Arc<KafkaGroup>, options: &Options) -> Result<Fence> {
        let own = Own::new(options);
        let mut offset = TopicPartitionList::with_capacity(1);
        offset.add_partition_offset(&own.members, 0, Offset::Offset(0)).map_err(|error| told(&error, Some(&own.members)))?;
        Ok(Fence { group, own, offset })
    }

    pub fn group(&self) -> &KafkaGroup {
        &self.group
    }

    /// As whom the transaction has to be let through; `None`: everybody may write that.
    pub fn standing(&self, appends: &[Append]) -> Option<Standing> {
        self.own.standing(appends)
    }

    /// Fails with [`millpond_log::Error::Fenced`] where the process is not what it has to be, as far as it knows.
    pub fn pass(&self, standing: &Standing) -> Result<ConsumerGroupMetadata> {
        self.group.pass(standing)
    }
}

impl Own {
    fn new(options: &Options) -> Own {
        let members = millpond_membership::topic(&options.service_id);
        Own { prefix: options.prefix(), members, hello: format!("{MEMBER}{}", options.instance) }
    }

    fn standing(&self, appends: &[Append]) -> Option<Standing> {
        if !appends.iter().any(|append| append.target.topic.starts_with(&self.prefix)) {
            return None;
        }
        let of_members: Vec<Columns<'_>> = appends.iter().filter_map(|append| self.of_members(append)).collect();
        if of_members.iter().any(|rows| (0..rows.timestamps.len()).any(|row| rows.key(row) == Some(ASSIGNMENT.as_bytes()))) {
            return Some(Standing::Leader);
        }
        // Alone: what comes with it would be let through as written by a member that has dropped what the former one ran.
        let hello = match (appends, &*of_members) {
            ([_], [rows]) if rows.timestamps.len() == 1 && rows.key(0) == Some(self.hello.as_bytes()) => rows.value(0),
            _ => None,
        };
        let hello = hello.and_then(|value| serde_json::from_slice::<Hello>(value).ok());
        Some(hello.map_or(Standing::Member, |hello| Standing::Hello(hello.member)))
    }

    fn of_members<'a>(&self, append: &'a Append) -> Option<Columns<'a>> {
        match &append.entry.payload {
            Payload::Opaque(rows) if *append.target.topic == *self.members => Columns::of(rows).ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use millpond_log::opaque::{Record, batch};
    use millpond_log::{Entry, TopicPartition};

    use super::*;

    fn append(topic: &str, records: &[(&str, &str)]) -> Append {
        let records = records.iter().map(|(key, value)| Record {
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            timestamp_ms: 1,
            headers: &[],
        });
        Append { target: TopicPartition::new(topic, 0), entry: Entry::opaque(batch(records)) }
    }

    #[test]
    fn records_say_who_may_write_them() {
        let own = Own::new(&Options { instance: "a".into(), ..Options::new("localhost:9092", "s") });
        let hello = serde_json::to_string(&Hello { member: "a-1".into(), address: String::new(), acked: 0, gone: false }).unwrap();
        let (members, offsets) = ("_millpond-s-members", "_millpond-s-offsets");
        let (user, of_another) = (append("orders", &[("assignment", "")]), append("_millpond-other-offsets", &[("k", "")]));
        assert_eq!(own.standing(&[user.clone(), of_another]), None);
        assert_eq!(own.standing(&[user.clone(), append(offsets, &[("assignment", "")])]), Some(Standing::Member));
        assert_eq!(own.standing(&[user, append(members, &[("k", ""), ("assignment", "{}")])]), Some(Standing::Leader));

        assert_eq!(own.standing(&[append(members, &[("member/a", &hello)])]), Some(Standing::Hello("a-1".into())));
        for no_hello in [
            vec![append(members, &[("member/b", &hello)])],
            vec![append(members, &[("member/a", "{}")])],
            vec![append(offsets, &[("member/a", &hello)])],
            vec![append(members, &[("member/a", &hello), ("k", "")])],
            vec![append(members, &[("member/a", &hello)]), append(offsets, &[("k", "")])],
        ] {
            assert_eq!(own.standing(&no_hello), Some(Standing::Member));
        }
    }
}
