//! What the tests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond_log_kafka::{KafkaLog, Options};
use millpond_sqltest::Kafka;

/// Another service, each time.
pub fn options(kafka: &Kafka) -> Options {
    static SERVICES: AtomicUsize = AtomicUsize::new(0);
    let service = format!("test-{}-{}", std::process::id(), SERVICES.fetch_add(1, Ordering::Relaxed));
    Options { producers: 2, ..Options::new(&kafka.bootstrap, service) }
}

/// A broker without topics, until the first is dropped.
pub fn open() -> (Kafka, Arc<KafkaLog>) {
    let kafka = Kafka::acquire().unwrap();
    let log = KafkaLog::connect(options(&kafka)).unwrap();
    (kafka, Arc::new(log))
}
