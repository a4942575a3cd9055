//! The reader's end of a push query, and the bounded queue between it and the workers.
//!
//! ```text
//!   task ─► PushQueue (rows bounded) ─► Push::recv ─► client
//!             full: the query's tasks are not scheduled, until the reader has made room
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_streams::Batch;
use millpond_streams::operator::push::Subscriber;
use parking_lot::{Condvar, Mutex};

use crate::query::RunningQuery;
use crate::runtime::Runtime;

/// A push query's tasks rest while so many rows wait for its reader.
const QUEUED_ROWS_MAX: usize = 65_536;

#[derive(Debug)]
pub enum PushEvent {
    Rows(Batch),
    /// Nothing came within the time given.
    Idle,
    /// The query stopped, for this reason.
    Failed(String),
    /// A source was dropped, or the server stops.
    Ended,
}

type OnReady = Box<dyn Fn() + Send + Sync>;

/// A running push query. Dropping it ends the query, which leaves nothing behind.
#[derive(Debug)]
pub struct Push {
    pub(crate) query: Arc<RunningQuery>,
    pub(crate) queue: Arc<PushQueue>,
    pub(crate) runtime: Arc<Runtime>,
}

impl Push {
    /// The query's id.
    pub fn id(&self) -> &str {
        &self.query.id
    }

    /// What comes next; waits at most `timeout`. After `Failed` or `Ended` nothing else comes.
    pub fn recv(&self, timeout: Duration) -> PushEvent {
        let (event, made_room) = self.queue.next(timeout);
        if made_room {
            self.runtime.wake_workers();
        }
        event
    }

    /// `hook` is called when there is something to receive (and at once, if there is already), from a worker's thread: it must be quick.
    pub fn on_ready(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.queue.set_hook(Box::new(hook));
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        self.queue.end(Ending::Ended);
        self.runtime.end_push(&self.query);
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ending {
    Ended,
    Failed(String),
}

/// Batches on their way to the reader.
#[derive(Default)]
pub(crate) struct PushQueue {
    state: Mutex<QueueState>,
    arrived: Condvar,
    on_ready: Mutex<Option<OnReady>>,
}

#[derive(Default)]
struct QueueState {
    batches: VecDeque<Batch>,
    rows: usize,
    ending: Option<Ending>,
}

impl std::fmt::Debug for PushQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.lock();
        f.debug_struct("PushQueue").field("rows", &state.rows).field("ending", &state.ending).finish()
    }
}

impl PushQueue {
    pub fn is_full(&self) -> bool {
        self.state.lock().rows >= QUEUED_ROWS_MAX
    }

    /// The first ending counts; batches that wait are received before it.
    pub fn end(&self, ending: Ending) {
        self.state.lock().ending.get_or_insert(ending);
        self.ready();
    }

    /// The next event, and whether the queue was full before and is not now.
    fn next(&self, timeout: Duration) -> (PushEvent, bool) {
        let deadline = Instant::now() + timeout;
        let mut state = self.state.lock();
        loop {
            if let Some(batch) = state.batches.pop_front() {
                let before = state.rows;
                state.rows -= batch.num_rows();
                let made_room = before >= QUEUED_ROWS_MAX && state.rows < QUEUED_ROWS_MAX;
                return (PushEvent::Rows(batch), made_room);
            }
            match &state.ending {
                Some(Ending::Ended) => return (PushEvent::Ended, false),
                Some(Ending::Failed(reason)) => return (PushEvent::Failed(reason.clone()), false),
                None => {}
            }
            if self.arrived.wait_until(&mut state, deadline).timed_out() && state.batches.is_empty() && state.ending.is_none() {
                return (PushEvent::Idle, false);
            }
        }
    }

    fn set_hook(&self, hook: OnReady) {
        let mut on_ready = self.on_ready.lock();
        let something = {
            let state = self.state.lock();
            !state.batches.is_empty() || state.ending.is_some()
        };
        if something {
            hook();
        }
        *on_ready = Some(hook);
    }

    fn ready(&self) {
        self.arrived.notify_all();
        if let Some(hook) = &*self.on_ready.lock() {
            hook();
        }
    }
}

impl Subscriber for PushQueue {
    fn deliver(&self, batch: Batch) {
        {
            let mut state = self.state.lock();
            if state.ending.is_some() {
                return;
            }
            state.rows += batch.num_rows();
            state.batches.push_back(batch);
        }
        self.ready();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::array::{Int64Array, RecordBatch, RecordBatchOptions};
    use arrow::datatypes::Schema;

    use super::*;

    fn batch(rows: usize) -> Batch {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let times = Int64Array::from(vec![0; rows]);
        Batch {
            rows: RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap(),
            timestamps: times.clone(),
            stream_times: times,
            changes: None,
            tombstones: None,
        }
    }

    #[test]
    fn rows_come_before_the_end_and_nothing_after_it() {
        let queue = PushQueue::default();
        queue.deliver(batch(2));
        queue.end(Ending::Failed("no more".into()));
        queue.end(Ending::Ended);
        queue.deliver(batch(3));
        assert!(matches!(queue.next(Duration::ZERO), (PushEvent::Rows(rows), false) if rows.num_rows() == 2));
        assert!(matches!(queue.next(Duration::ZERO), (PushEvent::Failed(reason), false) if reason == "no more"));
    }

    #[test]
    fn an_empty_queue_is_idle_and_a_full_one_says_when_it_has_room() {
        let queue = PushQueue::default();
        assert!(matches!(queue.next(Duration::ZERO), (PushEvent::Idle, false)));
        queue.deliver(batch(1));
        queue.deliver(batch(QUEUED_ROWS_MAX));
        assert!(queue.is_full());
        assert!(!queue.next(Duration::ZERO).1, "still full");
        assert!(queue.next(Duration::ZERO).1);
    }

    #[test]
    fn the_hook_hears_of_what_was_there_and_of_what_comes() {
        let queue = PushQueue::default();
        queue.deliver(batch(1));
        let heard = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&heard);
        queue.set_hook(Box::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        }));
        queue.deliver(batch(1));
        assert_eq!(heard.load(Ordering::SeqCst), 2);
    }
}
