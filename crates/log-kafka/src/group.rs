//! The processes of a service, as members of a consumer group: who is alive, who leads, and what is let through the fence.
//!
//! ```text
//!   kafka-group, a thread ──► polls the group's consumer ──► seat: under which id, whether it leads, whether it was replaced
//!                                                              │ changes
//!   a transaction of a member ──► pass: the metadata to send ◄─┤          └──► subscribers
//! ```
//! The group is subscribed to one topic of one partition, of which its consumer reads nothing: whoever is assigned the partition leads.
//!
//! A process that stops, in whatever way, does not leave: started again under its instance it has its place back at once, and if it does not
//! come within the session's timeout, it is thrown out. One that was thrown out alive is let in again by librdkafka, by itself and at any moment,
//! under another id. What a thread of it had begun before must not be written as that of the new member, since it is another process's by then.
//! So a process *goes on* as one id, and as the next one only when it has said hello under that: before, it drops everything (MBR-4).
//!
//! Whose place Kafka has given away, librdkafka does not let in again. Unless another process has come under the instance ([`arrival`]), it joins
//! with a new consumer.

mod arrival;
mod context;
mod identity;
mod listing;
mod seat;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millpond_log::{Error, Result};
use millpond_membership::{Group, Member, Membership};
use parking_lot::RwLock;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::cluster::Cluster;
use crate::error::told;
pub(crate) use arrival::Arrivals;
use context::GroupContext;
use identity::identity;
use seat::Seat;

/// What librdkafka does not tell of is looked for so often: that it was thrown out, where it does not lead.
const LOOK: Duration = Duration::from_millis(50);
/// When nobody has to be waited for, the group has let a process in by then.
const LET_IN_WITHIN: Duration = Duration::from_secs(10);
/// Who asks for the members asks again, and has other things to do.
const LISTING_TIMEOUT: Duration = Duration::from_secs(5);
/// A pass is taken again where the group changed in the same moment.
const PASS_TRIES: usize = 5;
/// What a pass is refused with by whoever is between two ids.
const OUT: &str = "the group of the service has thrown this process out, or has not let it in yet";

/// This process in the group of its service. Lives until it and the log that it came with are dropped; that does not leave the group.
pub struct KafkaGroup {
    cluster: Arc<Cluster>,
    member: Arc<Polled>,
    thread: Option<JoinHandle<()>>,
}

type Consumer = BaseConsumer<GroupContext>;

struct Polled {
    cluster: Arc<Cluster>,
    arrivals: Arrivals,
    seat: Arc<Seat>,
    /// Another one takes its place on the group's thread; `None`: the process was replaced.
    consumer: RwLock<Option<Consumer>>,
    stop: AtomicBool,
}

/// As whom a transaction is to be let through.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Member,
    Leader,
    /// As the member of this id, as which the process goes on from then on.
    Hello(String),
}

impl KafkaGroup {
    /// Comes back when the group has let the process in, and has said who leads.
    pub(crate) fn join(cluster: &Arc<Cluster>, arrivals: Arrivals) -> Result<KafkaGroup> {
        let seat = Arc::default();
        let consumer = RwLock::new(Some(consumer(cluster, &seat)?));
        let member = Arc::new(Polled { cluster: Arc::clone(cluster), arrivals, seat, consumer, stop: AtomicBool::new(false) });
        let polled = Arc::clone(&member);
        let thread = std::thread::Builder::new().name("kafka-group".into()).spawn(move || polled.run());
        let thread = thread.map_err(|error| Error::Storage(format!("no thread for the group: {error}")))?;
        let group = KafkaGroup { cluster: Arc::clone(cluster), member, thread: Some(thread) };
        // The group may have to wait for the session of one that has died.
        let patience = cluster.timeout().max(cluster.options().session_timeout + LET_IN_WITHIN);
        group.seat().wait_let_in(Instant::now() + patience)?;
        Ok(group)
    }

    /// The group's metadata, for a transaction of the member as which the process goes on.
    ///
    /// What the broker then compares is in the metadata, so that is taken first, and what must hold is looked at afterwards:
    /// - That the process goes on as the id of the metadata is known here only. Whether that id is still a member, the broker knows.
    /// - Whether this member leads is known here only. That it does not lead any more is written down before librdkafka is told to let the
    ///   partition go ([`GroupContext`]), and only then it joins the generation that gives it to another one; so metadata that was taken before
    ///   it was seen to lead is of a generation in which no other member does, and the broker refuses it in the next.
    pub(crate) fn pass(&self, standing: &Standing) -> Result<ConsumerGroupMetadata> {
        let refused = |reason: &str| Err(Error::Fenced(reason.to_owned()));
        let consumer = self.member.consumer.read();
        let Some(consumer) = &*consumer else { return Err(Error::Fenced(self.replaced().unwrap_or_else(|| OUT.to_owned()))) };
        for _ in 0..PASS_TRIES {
            let Some(before) = identity(consumer) else { return refused(OUT) };
            let metadata = consumer.group_metadata();
            // An id is never had a second time, and within one the generations grow: what is the same before and after was so between.
            let (Some(metadata), Some(after)) = (metadata, identity(consumer)) else { return refused(OUT) };
            if before == after {
                self.seat().pass(&after.member, standing)?;
                return Ok(metadata);
            }
        }
        refused("the group of the service is changing")
    }

    /// Fails where another process has come under this one's instance; asks the brokers. Who has come has said so before it did anything else.
    pub(crate) fn verify(&self) -> Result<()> {
        if self.replaced().is_none() {
            self.member.check()?;
        }
        self.replaced().map_or(Ok(()), |reason| Err(Error::Fenced(reason)))
    }

    pub(crate) fn replaced(&self) -> Option<String> {
        self.seat().membership().replaced
    }

    fn seat(&self) -> &Seat {
        &self.member.seat
    }
}

impl Group for KafkaGroup {
    fn membership(&self) -> Membership {
        self.seat().membership()
    }

    fn members(&self) -> Result<Vec<Member>> {
        listing::members(self.cluster.coordinators(), &self.cluster.options().group(), self.cluster.timeout().min(LISTING_TIMEOUT))
    }

    fn subscribe(&self, notify: Box<dyn Fn() + Send + Sync>) {
        self.seat().subscribe(notify);
    }
}

/// Begins to join. The seat hears of it when it is polled.
fn consumer(cluster: &Cluster, seat: &Arc<Seat>) -> Result<Consumer> {
    let topic = millpond_membership::topic(&cluster.options().service_id);
    let context = GroupContext::new(Arc::clone(seat));
    let consumer = Consumer::from_config_and_context(&cluster.options().member(), context).map_err(|error| told(&error, None))?;
    consumer.subscribe(&[&topic]).map_err(|error| told(&error, Some(&topic)))?;
    Ok(consumer)
}

impl Polled {
    fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) && self.seat.membership().replaced.is_none() {
            if let Err(error) = self.step() {
                tracing::warn!(target: "kafka", %error, "the group of the service");
                self.seat.fail(error);
                std::thread::sleep(LOOK);
            }
        }
        // Others are not to take a process that was replaced for alive.
        let consumer = self.consumer.write().take();
        drop(consumer);
    }

    fn step(&self) -> Result<()> {
        let guard = self.consumer.read();
        let Some(consumer) = &*guard else { return Ok(()) };
        if let Some(Err(error)) = consumer.poll(LOOK) {
            match error.rdkafka_error_code() {
                // librdkafka goes on by itself when the brokers are back, and each client says so.
                Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::OperationTimedOut) => {
                    tracing::debug!(target: "kafka", %error, "the group of the service");
                }
                _ => tracing::warn!(target: "kafka", %error, "the group of the service"),
            }
            self.seat.fail(told(&error, None));
        }
        match consumer.client().fatal_error() {
            // The broker has given the instance's place away; librdkafka tries no more.
            Some((Code::FencedInstanceId, _)) => {
                drop(guard);
                self.come_again()
            }
            _ => {
                self.seat.see(identity(consumer).map(|identity| identity.member));
                Ok(())
            }
        }
    }

    /// Unless another process has come under the instance.
    fn come_again(&self) -> Result<()> {
        self.seat.out();
        match self.check() {
            Err(Error::Fenced(_)) => return Ok(()),
            checked => checked?,
        }
        tracing::warn!(target: "kafka", "the group of the service has given this process's place away, though no other one has come: joining again");
        let next = consumer(&self.cluster, &self.seat)?;
        let former = self.consumer.write().replace(next);
        // It is gone, and has said so to the seat, before the next one is polled.
        drop(former);
        Ok(())
    }

    /// Notes that it is replaced.
    fn check(&self) -> Result<()> {
        self.arrivals.check().inspect_err(|error| {
            if let Error::Fenced(reason) = error {
                self.seat.replace(reason.clone());
            }
        })
    }
}

impl Drop for KafkaGroup {
    fn drop(&mut self) {
        self.member.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(target: "kafka", "the thread of the group has panicked");
        }
    }
}

impl std::fmt::Debug for KafkaGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaGroup").field("membership", &self.membership()).finish_non_exhaustive()
    }
}
