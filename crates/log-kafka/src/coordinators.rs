//! What is asked of the coordinators of consumer groups, for which rdkafka has no safe call.
//!
//! librdkafka 2.12 uses memory after it has freed it, which mostly ends the process with an assertion in `rd_kafka_enq_once_del_source_return`, when
//! a request to a coordinator runs into its own timeout before there was a connection to the coordinator, and one comes about afterwards
//! (`rd_kafka_admin_coord_request`). Therefore:
//!
//! CRD-1  a request has the longest timeout there is, and never runs into it: who has waited long enough for an answer throws the client away, and
//!        what is under way with it.
//!
//! Sound, because every object made here is destroyed here, and an answer is destroyed after it was read.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;

use millpond_log::{Error, Result};
use parking_lot::Mutex;
use rdkafka::bindings as rd;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::types::RDKafka;

use crate::context::Context;
use crate::error::told;
use crate::options::Options;

/// The longest that librdkafka takes.
const REQUEST_TIMEOUT_MS: i32 = 3_600_000;

/// A client of librdkafka is a producer or a consumer; this one produces nothing.
type Client = BaseProducer<Context>;

pub(crate) struct Coordinators {
    options: Options,
    /// Made when it is needed.
    client: Mutex<Option<Arc<Client>>>,
}

impl Coordinators {
    pub fn new(options: Options) -> Coordinators {
        Coordinators { options, client: Mutex::default() }
    }

    /// Asks what `send` sends on its way, which must not keep what it is given. `None`: there was no answer within `timeout`; what `read` makes of
    /// one must not point into it.
    pub fn ask<T>(
        &self,
        operation: rd::rd_kafka_admin_op_t,
        timeout: Duration,
        send: impl FnOnce(*mut RDKafka, *const rd::rd_kafka_AdminOptions_t, *mut rd::rd_kafka_queue_t),
        read: impl FnOnce(*mut rd::rd_kafka_event_t) -> T,
    ) -> Result<Option<T>> {
        let client = self.client()?;
        client.poll(Duration::ZERO);
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).clamp(1, REQUEST_TIMEOUT_MS / 2);
        let native = client.client().native_ptr();
        // SAFETY: the client outlives the request, or takes it along. Options, queue and answer are ours.
        let event = unsafe {
            let queue = rd::rd_kafka_queue_new(native);
            let options = rd::rd_kafka_AdminOptions_new(native, operation);
            rd::rd_kafka_AdminOptions_set_request_timeout(options, REQUEST_TIMEOUT_MS, null_mut(), 0);
            send(native, options, queue);
            rd::rd_kafka_AdminOptions_destroy(options);
            let event = rd::rd_kafka_queue_poll(queue, timeout_ms);
            rd::rd_kafka_queue_destroy(queue);
            event
        };
        if event.is_null() {
            self.forget(&client);
            return Ok(None);
        }
        let answer = read(event);
        // SAFETY: it is ours, and nothing points to it any more.
        unsafe { rd::rd_kafka_event_destroy(event) };
        Ok(Some(answer))
    }

    fn client(&self) -> Result<Arc<Client>> {
        let mut client = self.client.lock();
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        let made = Client::from_config_and_context(&self.options.coordinators(), Context::default()).map_err(|error| told(&error, None))?;
        Ok(Arc::clone(client.insert(Arc::new(made))))
    }

    /// It goes when the last one who asks with it has been answered, or has not.
    fn forget(&self, used: &Arc<Client>) {
        self.client.lock().take_if(|client| Arc::ptr_eq(client, used));
    }
}

/// A group's name as librdkafka takes it.
pub(crate) fn group_name(name: &str) -> Result<CString> {
    CString::new(name).map_err(|_| Error::Setting(format!("\"{name}\" is no name for a consumer group")))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_is_not_answered_asks_with_another_client() {
        // It takes connections, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let coordinators = Coordinators::new(Options::new(silent.local_addr().unwrap().to_string(), "s"));
        let ask = || {
            let name = group_name("g").unwrap();
            let mut names = [name.as_ptr()];
            let operation = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
            let send = |client, options, queue| {
                // SAFETY: the name lives until the request has copied it.
                unsafe { rd::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), names.len(), options, queue) }
            };
            coordinators.ask(operation, Duration::from_millis(200), send, |_| ())
        };
        let client = || Arc::as_ptr(&coordinators.client().unwrap());
        let first = coordinators.client().unwrap();
        assert_eq!(ask().unwrap(), None);
        assert_ne!(client(), Arc::as_ptr(&first));
        drop(first);
        assert_eq!(ask().unwrap(), None);
        assert!(group_name("a\0b").is_err());
    }
}
