//! Rows that need not pass the log: what a task repartitions to one that its worker runs, too, is handed to it, in the same transaction
//! (ADR 0014).
//!
//! ```text
//!              ┌──────── handed over ────────► task 1/0 ─┐
//!   task 0/0 ──┤                                         ├─► one transaction
//!              └─► repartition topic ─────────┬──────────┘
//!                                             └─► read committed ─► task 1/1, which another worker or process runs
//! ```
//!
//! HND-1  who hands over and who is handed to are in the same commit: the tasks of a query that a worker runs commit together.
//! HND-2  the rows of a task reach another one in their order: nothing is handed over before all is processed that is in the topic. As long as it is
//!        not, tasks that could hand over stand still.
//! HND-3  an announcement is not handed over past rows of another task: where a channel is idle, what that one has written may be earlier.

use std::collections::HashMap;
use std::sync::Arc;

use millpond_log::{Append, Appended, TopicPartition, is_repartition};

use super::running::RunningTask;
use super::{Failure, Worker};
use crate::query::State;

/// What a task has in the partitions of repartition topics.
#[derive(Debug)]
pub(super) struct Ways {
    /// Whether whoever ran it before has written nothing either.
    fresh: bool,
    /// Which of the worker's tasks it is: what partitions had when it came, it or others have written before.
    since: u64,
    written: HashMap<TopicPartition, Written>,
    /// Whether those that run here have processed what it has written to their topics.
    through: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// In the transaction that is under way.
    Now,
    /// Before this offset.
    Before(u64),
}

impl Ways {
    pub fn new(fresh: bool) -> Ways {
        Ways { fresh, since: 0, written: HashMap::new(), through: false }
    }

    /// Others of its query run here from now on.
    pub fn reconsider(&mut self) {
        self.through = false;
    }

    /// It is the worker's task of that number.
    pub fn begin(&mut self, since: u64) {
        self.since = since;
    }

    /// Whether a reader that has processed everything before `processed` has everything that is in the partition.
    fn are_through(&self, target: &TopicPartition, processed: u64) -> bool {
        match self.written.get(target) {
            Some(Written::Before(next_offset)) => *next_offset <= processed,
            Some(Written::Now) => false,
            None => self.fresh,
        }
    }

    fn write(&mut self, target: &TopicPartition) {
        self.through = false;
        match self.written.get_mut(target) {
            Some(written) => *written = Written::Now,
            None => drop(self.written.insert(target.clone(), Written::Now)),
        }
    }

    /// What was written is committed.
    pub fn committed(&mut self, appended: &[Appended]) {
        for appended in appended {
            if let Some(written) = self.written.get_mut(&appended.target) {
                *written = Written::Before(appended.next_offset);
            }
        }
    }
}

impl Worker {
    /// Hands on what the task has for others of this worker. What it has for the log stays with it.
    pub(super) fn hand_over(&mut self, from: usize, now_ms: i64) -> Result<(), Failure> {
        let appends = self.tasks[from].task.take_appends();
        let left = self.hand_over_appends(from, appends, now_ms)?;
        self.tasks[from].task.put_back(left);
        Ok(())
    }

    /// Whether the task stands still until those of its query that run here have caught up with what it has written.
    pub(super) fn is_held_up(&mut self, from: usize) -> bool {
        let sender = &self.tasks[from];
        if !sender.hands_over() || sender.ways.through {
            return false;
        }
        if self.awaited.iter().any(|awaited| Arc::ptr_eq(&awaited.query, &sender.query)) && sender.query.state() == State::Starting {
            return true;
        }
        let receivers = self.of_the_same(sender).filter_map(|(to, task)| Some((to, task.input_from(sender, &self.slots)?)));
        let receivers: Vec<(usize, usize)> = receivers.collect();
        let (mut through, mut held_up) = (true, false);
        for (to, input) in receivers {
            match self.written(from, to, input) {
                Some(Written::Before(next_offset)) if next_offset > self.tasks[to].processed(input) => held_up = true,
                Some(Written::Before(_)) => {}
                Some(Written::Now) => through = false,
                None => through &= self.tasks[from].ways.fresh,
            }
        }
        self.tasks[from].ways.through = through && !held_up;
        held_up
    }

    /// The tasks of a sender's query, itself included.
    fn of_the_same(&self, sender: &RunningTask) -> impl Iterator<Item = (usize, &RunningTask)> {
        self.tasks.iter().enumerate().filter(|(_, task)| task.is_of(&sender.query, sender.generation))
    }

    /// What `from` has written to the partition that an input of `to` reads, as far as it is known, or can be found out.
    fn written(&mut self, from: usize, to: usize, input: usize) -> Option<Written> {
        let target = self.tasks[to].partition(input, &self.slots).clone();
        let ways = &self.tasks[from].ways;
        if let Some(written) = ways.written.get(&target) {
            return Some(*written);
        }
        if ways.fresh {
            return None;
        }
        let since = ways.since;
        let end = self.tasks[to].end_since(input, since, self.built, &mut self.slots)?;
        let written = Written::Before(end);
        self.tasks[from].ways.written.insert(target, written);
        Some(written)
    }

    /// What is left for the log.
    pub(super) fn hand_over_appends(&mut self, from: usize, appends: Vec<Append>, now_ms: i64) -> Result<Vec<Append>, Failure> {
        if !self.tasks[from].hands_over() {
            return Ok(appends);
        }
        let mut left = Vec::new();
        for append in appends {
            if !is_repartition(&append.target.topic) {
                left.push(append);
            } else if let Some((to, input)) = self.receiver(from, &append.target) {
                let receiver = &mut self.tasks[to];
                self.runtime.add_rows(append.entry.rows());
                receiver.receive(input, append.entry, now_ms).map_err(|reason| receiver.failure(reason))?;
            } else {
                self.tasks[from].ways.write(&append.target);
                left.push(append);
            }
        }
        Ok(left)
    }

    /// Who can be handed what `from` has for the partition, and the input that it reads it with.
    fn receiver(&self, from: usize, target: &TopicPartition) -> Option<(usize, usize)> {
        let sender = &self.tasks[from];
        let (to, input) = self.of_the_same(sender).find_map(|(to, task)| Some((to, task.input_of(target, &self.slots)?)))?;
        let processed = self.tasks[to].receives(input)?;
        let has_come = |channel: usize| {
            let is_sender = |task: &RunningTask| {
                task.progress.sub_topology == sender.progress.sub_topology && task.progress.partition as usize == channel
            };
            self.of_the_same(sender).any(|(_, task)| is_sender(task) && task.ways.are_through(target, processed))
        };
        let comes_in_order = || self.tasks[to].task.idle_channels(input).all(has_come);
        (sender.ways.are_through(target, processed) && comes_in_order()).then_some((to, input))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_topic_goes_first() {
        let target = TopicPartition::new("q-repartition", 0);
        let mut ways = Ways::new(true);
        assert!(ways.are_through(&target, 0), "nobody has written anything");
        ways.write(&target);
        assert!(!ways.are_through(&target, u64::MAX), "it is not read before the commit");
        ways.committed(&[Appended { target: target.clone(), base_offset: 7, next_offset: 9 }]);
        assert_eq!([8, 9].map(|processed| ways.are_through(&target, processed)), [false, true]);
        assert!(!Ways::new(false).are_through(&target, u64::MAX), "nobody knows where what another has written ends");
    }
}
