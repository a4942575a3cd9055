//! What librdkafka has to say goes to the log of the process.

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;

use crate::send::Mark;

/// Of a client; a producer's collects what became of its records.
#[derive(Debug, Default)]
pub(crate) struct Context {
    pub deliveries: Mutex<Deliveries>,
    /// What the client as a whole first complained of: what follows is mostly that no broker is left.
    pub first_error: Mutex<Option<String>>,
}

/// Since the transaction began.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    /// The first record that failed: the topic, and why.
    pub failed: Option<(String, KafkaError)>,
    /// Offsets of the first and last records of the appends.
    pub offsets: Vec<(Mark, u64)>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel as Level;
        match level {
            Level::Emerg | Level::Alert | Level::Critical | Level::Error => tracing::error!(target: "kafka", facility, "{message}"),
            Level::Warning => tracing::warn!(target: "kafka", facility, "{message}"),
            Level::Notice | Level::Info => tracing::info!(target: "kafka", facility, "{message}"),
            Level::Debug => tracing::debug!(target: "kafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Each client says so again and again; what it met at a broker it has said before.
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => tracing::debug!(target: "kafka", %error, "{reason}"),
            _ => tracing::warn!(target: "kafka", %error, "{reason}"),
        }
        self.first_error.lock().get_or_insert_with(|| reason.to_owned());
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, delivered: &DeliveryResult<'_>, mark: usize) {
        match delivered {
            Ok(message) => {
                if let Some(mark) = Mark::read(mark) {
                    self.deliveries.lock().offsets.push((mark, u64::try_from(message.offset()).unwrap_or_default()));
                }
            }
            Err((error, message)) => {
                self.deliveries.lock().failed.get_or_insert_with(|| (message.topic().to_owned(), error.clone()));
            }
        }
    }
}
