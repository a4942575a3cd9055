//! One producer, transactional for all but the arrival of its process: a transaction is there as a whole, or not at all.
//!
//! ```text
//!   begin ─► send ─► drain ─► fence ─► commit ─────────────► done
//!                │       │        │       └ Retriable: again, until the timeout; then nobody knows: Unresolved, and the producer goes
//!                └───────┴────────┴ Abortable: abort ─► the producer goes on, unless a record has failed
//!            any ─ Fenced, Fatal ─► the producer goes
//! ```
//! One that goes leaves its transactional id to the next, whose first act is to end what the other had begun.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_log::opaque::Columns;
use millpond_log::{Append, Entry, Error, Payload, Result};
use parking_lot::{Condvar, Mutex};
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};

use crate::columns::encode;
use crate::connected::wait_until_connected;
use crate::context::{Context, Deliveries};
use crate::error::{Class, code_of, told};
use crate::events::EventQueue;
use crate::fence::Fence;
use crate::group::Standing;
use crate::notifier::Notifier;
use crate::options::Options;
use crate::send::Sender;

/// Who waits for delivery reports looks so often whether it has waited long enough.
const REPORTED_WITHIN: Duration = Duration::from_millis(100);
/// What is waited for a connection, where that only saves time.
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(20);

pub(crate) struct Producer {
    /// Among those of the process: part of its transactional id.
    pub name: String,
    // Before the producer, whose queue it is.
    reports: EventQueue,
    reported: Arc<Bell>,
    producer: BaseProducer<Context>,
    timeout: Duration,
}

/// Rings when there is a delivery report, or another event of the client.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

/// Where an append's records are: offsets of the first and the last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    pub first: u64,
    pub last: u64,
}

/// How a transaction ended.
pub(crate) struct Outcome {
    pub result: Result<Vec<Written>>,
    pub then: Then,
}

/// What becomes of its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    GoesOn,
    Goes,
    /// It goes, because another one has come under its transactional id, or the coordinator has ended a transaction that took too long.
    Fenced,
}

enum Failure {
    /// Of librdkafka: its class says what follows.
    Kafka(KafkaError, Option<String>),
    /// Of ours: nothing was sent that must stay.
    Refused(Error),
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock() = true;
        self.heard.notify_one();
    }

    /// Comes back when it rings, has rung since the last time, or the timeout is over.
    fn wait(&self, timeout: Duration) {
        let mut rung = self.rung.lock();
        if !*rung {
            self.heard.wait_for(&mut rung, timeout);
        }
        *rung = false;
    }
}

impl Producer {
    pub fn new(options: &Options, name: String) -> Result<Producer> {
        let producer = Producer::open(options, &options.transactional_producer(&name), name)?;
        wait_until_connected(producer.producer.client(), options.timeout.min(CONNECTED_WITHIN));
        producer.until_done(|timeout| producer.producer.init_transactions(timeout)).map_err(|error| told(&error, None))?;
        Ok(producer)
    }

    fn open(options: &Options, config: &ClientConfig, name: String) -> Result<Producer> {
        let producer = BaseProducer::from_config_and_context(config, Context::default()).map_err(|error| told(&error, None))?;
        let (reported, notifier) = (Arc::new(Bell::default()), Arc::new(Notifier::default()));
        let bell = Arc::clone(&reported);
        notifier.subscribe(Box::new(move || bell.ring()));
        let reports = EventQueue::of_client(producer.client(), &notifier)
            .ok_or_else(|| Error::Storage("Kafka: no queue for a producer's reports".to_owned()))?;
        Ok(Producer { name, reports, reported, producer, timeout: options.timeout })
    }

    /// Writes without a transaction, with a producer that is there for this only. It has no id that it would have to ask for, which takes a second,
    /// so what is written may be there twice.
    pub fn write_alone(options: &Options, append: &Append) -> Result<Written> {
        let producer = Producer::open(options, &options.producer(), String::new())?;
        let append = std::slice::from_ref(append);
        producer.send_all(append).map_err(|failure| match failure {
            Failure::Kafka(error, topic) => told(&error, topic.as_deref()),
            Failure::Refused(error) => error,
        })?;
        Ok(producer.written(append)[0])
    }

    pub fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    pub fn transact(&self, appends: &[Append], fence: Option<&Fence>) -> Outcome {
        let standing = fence.and_then(|fence| Some((fence, fence.standing(appends)?)));
        // Who knows that it is out need not send anything.
        if let Some(Err(error)) = standing.as_ref().map(|(fence, standing)| fence.pass(standing)) {
            return Outcome { result: Err(error), then: Then::GoesOn };
        }
        // The order is what `fence` says: all records are in their partitions when the group's offset is sent.
        let written = self.write(appends).and_then(|()| standing.map_or(Ok(()), |(fence, standing)| self.pass(fence, &standing)));
        let failure = match written {
            Ok(()) => match self.until_done(|timeout| self.producer.commit_transaction(timeout)) {
                Ok(()) => return Outcome { result: Ok(self.written(appends)), then: Then::GoesOn },
                // The timeout is over and the commit may still happen.
                Err(error) if Class::of(&error) == Class::Retriable => {
                    return Outcome { result: Err(Error::Unresolved(error.to_string())), then: Then::Goes };
                }
                Err(error) => Failure::Kafka(error, None),
            },
            Err(failure) => failure,
        };
        self.give_up(failure)
    }

    fn give_up(&self, failure: Failure) -> Outcome {
        // What replaced a producer is known to its client only; its records are just purged.
        let fatal = self.producer.client().fatal_error().map(|(code, _)| KafkaError::Global(code));
        let record_failed = self.deliveries().have_failed();
        let (error, class) = match failure {
            Failure::Kafka(error, topic) if fatal.is_some() => {
                let error = fatal.unwrap_or(error);
                (told(&error, topic.as_deref()), if Class::of(&error) == Class::Fenced { Class::Fenced } else { Class::Fatal })
            }
            Failure::Kafka(error, topic) => (told(&error, topic.as_deref()), Class::of(&error)),
            Failure::Refused(error) => (error, Class::Abortable),
        };
        // Where a record has failed, librdkafka purges in the background, and may take the next transaction's records for this one's.
        let then = match class {
            Class::Fenced => Then::Fenced,
            Class::Abortable | Class::Retriable if self.abort() && !record_failed => Then::GoesOn,
            _ => Then::Goes,
        };
        Outcome { result: Err(error), then }
    }

    /// Has the broker look whether the transaction is one of a member.
    fn pass(&self, fence: &Fence, standing: &Standing) -> std::result::Result<(), Failure> {
        let metadata = fence.pass(standing).map_err(Failure::Refused)?;
        self.until_done(|timeout| self.producer.send_offsets_to_transaction(&fence.offset, &metadata, timeout))
            .map_err(|error| Failure::Kafka(error, None))
    }

    fn write(&self, appends: &[Append]) -> std::result::Result<(), Failure> {
        self.until_done(|_| self.producer.begin_transaction()).map_err(|error| Failure::Kafka(error, None))?;
        self.send_all(appends)
    }

    /// Comes back when the brokers have everything.
    fn send_all(&self, appends: &[Append]) -> std::result::Result<(), Failure> {
        *self.deliveries() = Deliveries::default();
        for (number, append) in appends.iter().enumerate() {
            self.send(number, append).map_err(Failure::Refused)?;
            self.producer.poll(Duration::ZERO);
        }
        self.drain()
    }

    fn send(&self, number: usize, append: &Append) -> Result<()> {
        let target = &append.target;
        let sender = Sender::new(&self.producer, &target.topic, target.partition, number, self.timeout)?;
        if millpond_log::is_repartition(&target.topic) {
            let timestamp_ms = append.entry.payload.max_timestamp_ms().unwrap_or_default().max(0);
            return sender.values(&encode(&append.entry)?, timestamp_ms);
        }
        let Entry { payload: Payload::Opaque(rows), .. } = &append.entry else {
            return Err(Error::Setting(format!("topic \"{}\" takes records of bytes only", target.topic)));
        };
        let rows = Columns::of(rows)?;
        if let Some(early) = rows.timestamps.values().iter().find(|timestamp_ms| **timestamp_ms < 0) {
            let reason = format!("Kafka has no timestamp before 1970, {early} ms for one");
            return Err(Error::Unfit { topic: target.topic.to_string(), reason });
        }
        sender.rows(&rows)
    }

    /// Waits until the brokers have everything. Librdkafka's own drain, and rdkafka's `poll`, wait for as long as they were told to, whatever
    /// happens meanwhile, and `poll` does so in circles when that is less than a millisecond.
    fn drain(&self) -> std::result::Result<(), Failure> {
        let deadline = Instant::now() + self.timeout;
        while self.producer.in_flight_count() > 0 && !self.deliveries().have_failed() {
            if Instant::now() >= deadline {
                return Err(Failure::Refused(Error::Storage(format!("Kafka has not taken everything within {:?}", self.timeout))));
            }
            if self.reports.is_empty() {
                self.reported.wait(REPORTED_WITHIN);
            }
            self.producer.poll(Duration::ZERO);
        }
        if let Some((topic, error)) = self.deliveries().failed.clone() {
            return Err(Failure::Kafka(error, Some(topic)));
        }
        if self.deliveries().purged { Err(self.why_purged()) } else { Ok(()) }
    }

    /// Why librdkafka has thrown away records before the brokers had them: it says so to who wants to commit the transaction all the same.
    fn why_purged(&self) -> Failure {
        let Err(error) = self.until_done(|timeout| self.producer.commit_transaction(timeout)) else {
            return Failure::Refused(Error::Unresolved("Kafka: records were thrown away, and the transaction was committed".to_owned()));
        };
        self.producer.poll(Duration::ZERO);
        let deliveries = self.deliveries();
        match (&deliveries.failed, &deliveries.refused) {
            (Some((topic, error)), _) => Failure::Kafka(error.clone(), Some(topic.clone())),
            (None, Some(topic)) if code_of(&error) == Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                Failure::Kafka(error, Some(topic.clone()))
            }
            (None, _) => Failure::Kafka(error, None),
        }
    }

    fn deliveries(&self) -> parking_lot::MutexGuard<'_, Deliveries> {
        self.producer.context().deliveries.lock()
    }

    fn written(&self, appends: &[Append]) -> Vec<Written> {
        let mut written: Vec<Written> = appends.iter().map(|_| Written::default()).collect();
        for (mark, offset) in std::mem::take(&mut self.deliveries().offsets) {
            let of = &mut written[mark.append];
            if mark.first {
                of.first = offset;
            }
            if mark.last {
                of.last = offset;
            }
        }
        written
    }

    fn abort(&self) -> bool {
        // It waits for reports of what it throws away, and nobody takes them meanwhile: so in steps.
        let step = |timeout: Duration| {
            let aborted = self.producer.abort_transaction(timeout.min(REPORTED_WITHIN));
            self.producer.poll(Duration::ZERO);
            aborted
        };
        match self.until_done(step) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(target: "kafka", %error, "a transaction could not be aborted");
                false
            }
        }
    }

    /// Calls until the error is another than that it should be called again, or the timeout is over.
    fn until_done(&self, call: impl Fn(Duration) -> std::result::Result<(), KafkaError>) -> std::result::Result<(), KafkaError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(RETRY);
            match call(left) {
                Err(error) if Class::of(&error) == Class::Retriable && Instant::now() < deadline => std::thread::sleep(RETRY),
                done => return done,
            }
        }
    }
}
