//! Writes rows to topics with an idempotent producer, outside transactions.

use std::time::Duration;

use anyhow::Result;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// How long room in the producer's queue is waited for at a time.
const STEP: Duration = Duration::from_millis(10);

pub struct Writer(BaseProducer);

impl Writer {
    pub fn connect(bootstrap: &str) -> Result<Writer> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("enable.idempotence", "true").set("linger.ms", "5");
        Ok(Writer(config.create()?))
    }

    /// A record without a key. Waits while the producer's queue is full.
    pub fn hand_over(&self, topic: &str, partition: u32, value: &str) -> Result<()> {
        let mut record: BaseRecord<'_, (), str> = BaseRecord::to(topic).partition(i32::try_from(partition)?).payload(value);
        loop {
            match self.0.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    self.0.poll(STEP);
                    record = again;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Takes notice of what has been written.
    pub fn poll(&self) {
        self.0.poll(Duration::ZERO);
    }

    /// Waits until all that was handed over has been written.
    pub fn flush(&self, patience: Duration) -> Result<()> {
        Ok(self.0.flush(patience)?)
    }
}
