//! Which tasks are a worker's, by how many workers run them (`gathering`).
//!
//! ```text
//!   worker 0:  Place 2 ── lets go of 1, 3 ─┐                ┌─ Placed ── builds nothing
//!   worker 1:  Place 2 ────────────────────┴─ the last one ─┴─ Placed ── builds 1, 3
//! ```
//!
//! PLC-1  no task is run by two workers: what moves is built when nobody runs it any more.

use crate::progress::TaskProgress;
use crate::query::RunningQuery;

pub(super) struct Placement {
    /// Numbers of workers: the one that all have settled for, and those that were begun since.
    workers: Vec<usize>,
    /// Of the one that was begun last.
    number: u64,
}

impl Placement {
    pub fn of(workers: usize) -> Placement {
        Placement { workers: vec![workers], number: 0 }
    }

    pub fn is_settled(&self) -> bool {
        self.workers.len() == 1
    }

    /// Whether the task is `worker`'s, before and after.
    pub fn gives(&self, query: &RunningQuery, task: &TaskProgress, worker: usize) -> bool {
        self.workers.iter().all(|workers| query.worker_of(task, *workers) == worker)
    }

    pub fn begin(&mut self, workers: usize, number: u64) {
        self.workers.push(workers);
        self.number = number;
    }

    /// All have begun the placement of that number. False: there has been another one since.
    pub fn settle(&mut self, number: u64) -> bool {
        let last = number == self.number;
        if last {
            self.workers.drain(..self.workers.len() - 1);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_settled_with_the_last_that_was_begun() {
        let mut placement = Placement::of(1);
        placement.begin(2, 1);
        placement.begin(1, 2);
        assert!(!placement.settle(1) && !placement.is_settled());
        assert!(placement.settle(2) && placement.is_settled());
        assert_eq!(placement.workers, [1]);
    }
}
