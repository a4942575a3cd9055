//! How a worker is told things, and how it sleeps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::builders::Made;
use crate::query::RunningQuery;
use crate::signal::Latch;

/// What a worker can be asked to do. Requests are carried out in the order they were sent, between two batches.
#[derive(Debug)]
pub(crate) enum Request {
    /// Build and run this worker's tasks of the query, unless it has moved on from `generation`.
    Start { query: Arc<RunningQuery>, generation: u64 },
    /// Throw the query's tasks of this generation and older ones away; with `commit`, what they have done is committed first.
    Stop { query: Arc<RunningQuery>, generation: u64, commit: bool, done: Option<Arc<Latch>> },
    /// Throw away the tasks that are not this process's any more; with `commit`, what they have done is committed first.
    Release { commit: bool, done: Arc<Latch> },
    /// So many workers are to run the tasks: commit what those have done that another one is to run, and throw them away.
    Place { workers: usize, number: u64, done: Arc<Latch> },
    /// Nobody runs another one's task any more since the placement of that number: build the own ones, unless there has been another since.
    Placed { number: u64 },
    /// Build the tasks that have become this process's.
    Adopt,
    /// Run the task that was ordered by that number; or, since it could not be made, stop its query.
    Made { number: u64, made: Result<Box<Made>, String> },
    /// Commit everything and end the thread.
    Shutdown,
}

/// Bounded by what there is: a request is made for a statement, a task or a failure, not for a row.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    inbox: Mutex<Inbox>,
    woken: Condvar,
    /// Whether there are requests, to be asked between two batches without the lock.
    waiting: AtomicBool,
}

#[derive(Debug, Default)]
struct Inbox {
    requests: VecDeque<Request>,
    wake: bool,
}

impl Mailbox {
    pub fn send(&self, request: Request) {
        let mut inbox = self.inbox.lock();
        inbox.requests.push_back(request);
        self.waiting.store(true, Ordering::Release);
        self.woken.notify_one();
    }

    /// Something may have changed (records came, the clock moved): look again.
    pub fn wake(&self) {
        self.inbox.lock().wake = true;
        self.woken.notify_one();
    }

    pub fn has_requests(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    pub fn take(&self) -> VecDeque<Request> {
        let mut inbox = self.inbox.lock();
        self.waiting.store(false, Ordering::Release);
        std::mem::take(&mut inbox.requests)
    }

    /// Whether it was woken since it was last asked.
    pub fn take_wake(&self) -> bool {
        std::mem::take(&mut self.inbox.lock().wake)
    }

    /// Sleeps until there is a request, a wake-up, or `timeout` is over.
    pub fn sleep(&self, timeout: Option<Duration>) {
        let mut inbox = self.inbox.lock();
        if inbox.wake || !inbox.requests.is_empty() {
            return;
        }
        match timeout {
            Some(timeout) => {
                self.woken.wait_for(&mut inbox, timeout);
            }
            None => self.woken.wait(&mut inbox),
        }
    }
}
