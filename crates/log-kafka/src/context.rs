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
    /// There are records that were thrown away because the transaction had failed before.
    pub purged: bool,
    /// The first topic that the coordinator did not let into the transaction.
    pub refused: Option<String>,
    /// Offsets of the first and last records of the appends.
    pub offsets: Vec<(Mark, u64)>,
}

impl Deliveries {
    pub fn have_failed(&self) -> bool {
        self.failed.is_some() || self.purged
    }
}

/// The topic of the partition that a transaction may not write to: librdkafka names it nowhere but in its log.
fn refused_topic<'a>(facility: &str, message: &'a str) -> Option<&'a str> {
    let (_, partition) = message.split_once("Failed to add partition \"").filter(|_| facility == "ADDPARTS")?;
    let (topic, reason) = partition.split_once('"')?;
    reason.contains("Topic authorization failed").then_some(topic)
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel as Level;
        if let Some(topic) = refused_topic(facility, message) {
            self.deliveries.lock().refused.get_or_insert_with(|| topic.to_owned());
        }
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
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue), _)) => self.deliveries.lock().purged = true,
            Err((error, message)) => {
                self.deliveries.lock().failed.get_or_insert_with(|| (message.topic().to_owned(), error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::refused_topic;

    #[test]
    fn a_refused_topic_is_found_in_the_log() {
        let message =
            |reason| format!("[thrd:main]: TxnCoordinator/1: Failed to add partition \"a.b\" [0] to transaction: Broker: {reason}");
        assert_eq!(refused_topic("ADDPARTS", &message("Topic authorization failed")), Some("a.b"));
        assert_eq!(refused_topic("ADDPARTS", &message("Operation not attempted")), None, "what is not at fault");
        assert_eq!(refused_topic("FAIL", &message("Topic authorization failed")), None);
    }
}
