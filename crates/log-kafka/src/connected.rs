//! Waiting for a client's connection. What makes the call sound: the client outlives it, and what it gives is given back.
#![allow(unsafe_code)]

use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::bindings as rd;
use rdkafka::client::Client;

/// How often it is asked.
const LOOK: Duration = Duration::from_millis(1);

/// Waits until a broker of the cluster answers, or until the time is over. The bootstrap addresses are not enough: librdkafka leaves them as soon
/// as they have told it of the brokers, and whatever it wants to do while none is connected, it does half a second later.
pub(crate) fn wait_until_connected<C: ClientContext>(client: &Client<C>, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    while Instant::now() < deadline && !is_answered(client, deadline.saturating_duration_since(Instant::now())) {
        std::thread::sleep(LOOK);
    }
}

/// Whether who answers is known as a broker. Asks for no topic: that may make it.
fn is_answered<C: ClientContext>(client: &Client<C>, timeout: Duration) -> bool {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let mut brokers: *const rd::rd_kafka_metadata = null();
    // SAFETY: the client outlives the call; what comes back is ours, read while it is there, and given back.
    unsafe {
        rd::rd_kafka_metadata(client.native_ptr(), 0, null_mut(), &raw mut brokers, timeout_ms);
        // Null where nobody has answered. A bootstrap address is no broker, and has no number.
        let Some(answer) = brokers.as_ref() else { return false };
        let known = answer.orig_broker_id >= 0;
        rd::rd_kafka_metadata_destroy(brokers);
        known
    }
}
