//! A queue of librdkafka's, and who is told when there is something in it. What makes it sound:
//! - a queue is held by reference count and given back when dropped, before its client is: those who hold one declare their fields so;
//! - the callback's pointer is to a [`Notifier`] that the queue keeps alive, and the callback is taken off before it goes.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use rdkafka::ClientContext;
use rdkafka::bindings as rd;
use rdkafka::client::Client;

use crate::notifier::Notifier;

pub(crate) struct EventQueue {
    queue: NonNull<rd::rd_kafka_queue_t>,
    _notifier: Arc<Notifier>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for EventQueue {}

impl std::fmt::Debug for EventQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventQueue").finish_non_exhaustive()
    }
}

impl EventQueue {
    /// What a client has to say as a whole: a producer's delivery reports, for one. `None`: librdkafka has no memory.
    pub fn of_client<C: ClientContext>(client: &Client<C>, notifier: &Arc<Notifier>) -> Option<EventQueue> {
        // SAFETY: the client outlives the call; a queue that comes back is ours.
        unsafe { EventQueue::adopt(rd::rd_kafka_queue_get_main(client.native_ptr()), notifier) }
    }

    /// # Safety
    /// `queue` must be null, or a reference that nobody else gives back.
    pub unsafe fn adopt(queue: *mut rd::rd_kafka_queue_t, notifier: &Arc<Notifier>) -> Option<EventQueue> {
        let queue = NonNull::new(queue)?;
        let opaque = Arc::as_ptr(notifier).cast::<c_void>().cast_mut();
        // SAFETY: the queue is ours; the notifier lives as long as the callback is set.
        unsafe { rd::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(not_empty), opaque) };
        Some(EventQueue { queue, _notifier: Arc::clone(notifier) })
    }

    pub fn as_ptr(&self) -> *mut rd::rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    /// How many events wait; a message is one.
    pub fn len(&self) -> usize {
        // SAFETY: the queue is ours.
        unsafe { rd::rd_kafka_queue_length(self.queue.as_ptr()) }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for EventQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is ours; no callback comes after it is taken off.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, null_mut());
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

unsafe extern "C" fn not_empty(_client: *mut rd::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the pointer is that of `EventQueue::adopt`, whose notifier is alive as long as the callback is set.
    let notifier = unsafe { &*opaque.cast::<Notifier>() };
    notifier.notify();
}
