//! The commit cycle: what all dirty tasks of a worker have done becomes one transaction.
//!
//! ```text
//!   task 1: appends, writes, positions, counters ─┐
//!   task 2: …                                     ├─► Backend::commit ─► figures, processing log, whoever waits in FLUSH
//!   dead letters                                 ─┘        │
//!                                                          └ failed: all that took part are made anew, from the last commit
//! ```
//!
//! CMT-1  a task is in a commit with everything it has taken, or not at all.
//! CMT-2  after a commit that failed no task goes on from what was not committed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use millpond_log::{Append, Entry, TopicPartition, Transaction, opaque};
use millpond_state::WriteSet;
use millpond_streams::operator::{Counters, Incident};
use millpond_streams::task::TaskCommit;

use super::guarded::guarded;
use super::running::RunningTask;
use super::{Failure, Which, Worker};
use crate::processing_log::LogLine;
use crate::query::RunningQuery;
use crate::{Result, counters, figures, topics};

/// One task's part of a commit.
struct Part {
    /// Among the worker's tasks.
    task: usize,
    commit: TaskCommit,
    counters: Counters,
    incidents: Vec<Incident>,
    positions: Vec<u64>,
    stream_time_ms: Option<i64>,
}

impl Worker {
    /// Commits what is dirty.
    pub(super) fn commit(&mut self, which: Which) {
        let began_ms = self.runtime.now_ms();
        let which = if self.is_full() { Which::All } else { which };
        let parts = self.gather(which);
        (self.commit_at_ms, self.dirty_bytes) = (None, 0);
        if parts.is_empty() {
            return;
        }
        let (private, shared): (Vec<Part>, Vec<Part>) =
            parts.into_iter().partition(|part| self.tasks[part.task].query.push_queue().is_some());
        let mut void = Vec::new();
        // Each push query has a store of its own, so each of its tasks may as well have a commit of its own.
        for part in private {
            let task = &self.tasks[part.task];
            let Some(plan) = &task.query.plan else { continue };
            match plan.storage.state.commit(Transaction { appends: part.commit.appends }, part.commit.writes) {
                Ok(_) => self.settle(part.task, &part.positions, part.counters, part.incidents, part.stream_time_ms),
                Err(error) => void.push(failure(task, format!("the commit failed: {error}"))),
            }
        }
        // Comes last, since after a failure tasks are not where the parts say.
        void.extend(self.commit_shared(shared));
        self.pace.committed(began_ms, self.runtime.now_ms());
        self.fail(void);
        self.runtime.changed.raise();
    }

    /// What the dirty tasks hand over. Queries whose task fails at that take no part.
    fn gather(&mut self, which: Which) -> Vec<Part> {
        let now_ms = self.runtime.now_ms();
        let mut parts: Vec<Part> = Vec::new();
        let mut failures: Vec<Failure> = Vec::new();
        for (index, running) in self.tasks.iter_mut().enumerate() {
            if !running.is_dirty() || failures.iter().any(|failure| Arc::ptr_eq(&failure.query, &running.query)) {
                continue;
            }
            if which == Which::Due && running.is_to_wait(&self.slots, self.pace, now_ms) {
                continue;
            }
            running.set_clean();
            match guarded(|| running.task.commit(now_ms)) {
                Ok(commit) => parts.push(Part {
                    task: index,
                    commit,
                    counters: running.task.take_counters(),
                    incidents: running.task.take_incidents(),
                    positions: running.positions(),
                    stream_time_ms: running.task.stream_time().millis(),
                }),
                Err(reason) => failures.push(failure(running, reason)),
            }
        }
        if !failures.is_empty() {
            parts = self.without(parts, failures);
        }
        parts
    }

    /// Lets the failed queries go, and their parts with them; the tasks behind theirs move up.
    fn without(&mut self, parts: Vec<Part>, failures: Vec<Failure>) -> Vec<Part> {
        let failed = |task: &RunningTask| failures.iter().any(|failure| Arc::ptr_eq(&failure.query, &task.query));
        let mut kept = Vec::with_capacity(parts.len());
        for part in parts {
            if !failed(&self.tasks[part.task]) {
                let gone = self.tasks[..part.task].iter().filter(|task| failed(task)).count();
                kept.push(Part { task: part.task - gone, ..part });
            }
        }
        self.fail(failures);
        kept
    }

    /// One transaction of all parts that live in the shared store. What cannot go on.
    fn commit_shared(&mut self, mut parts: Vec<Part>) -> Vec<Failure> {
        if parts.is_empty() {
            return Vec::new();
        }
        let begun = Instant::now();
        let (mut log, mut writes) = (Transaction::default(), WriteSet::default());
        let mut written: Vec<BTreeSet<Arc<str>>> = Vec::with_capacity(parts.len());
        for part in &mut parts {
            let progress = &self.tasks[part.task].progress;
            written.push(part.commit.appends.iter().map(|append| Arc::clone(&append.target.topic)).collect());
            log.appends.append(&mut part.commit.appends);
            writes.append(std::mem::take(&mut part.commit.writes));
            let plan = self.tasks[part.task].query.plan.as_ref();
            if let Some(store) = plan.and_then(|plan| plan.counters.get(&progress.sub_topology)) {
                writes.push(counters::write(*store, progress.partition, &progress.counters_with(part.counters)));
            }
        }
        let committed = self.dead_letters(&parts).and_then(|letters| {
            log.appends.extend(letters);
            Ok(self.runtime.storage.state.commit(log, writes)?)
        });
        match committed {
            Ok(_) => {
                figures::commit(begun.elapsed(), parts.len());
                for part in parts {
                    self.settle(part.task, &part.positions, part.counters, part.incidents, part.stream_time_ms);
                }
                Vec::new()
            }
            Err(error) => {
                figures::failed_commit();
                self.after_failed_commit(&parts, &written, &error)
            }
        }
    }

    /// A topic that is not there, or does not take what is written, is the fault of those that write to it, and the others go on from the last
    /// commit. So do all where the process was not a member of its service at that moment: those that are to go on here, that is. Any other
    /// error may be over by and by: all wait.
    fn after_failed_commit(&mut self, parts: &[Part], written: &[BTreeSet<Arc<str>>], error: &crate::Error) -> Vec<Failure> {
        let (at_fault, fenced) = match error {
            crate::Error::Log(error) | crate::Error::State(millpond_state::Error::Log(error)) => {
                (error.topic(), matches!(error, millpond_log::Error::Fenced(_)))
            }
            _ => (None, false),
        };
        let mut failures: Vec<Failure> = Vec::new();
        let mut innocent: Vec<(Arc<RunningQuery>, u64)> = Vec::new();
        for (part, written) in parts.iter().zip(written) {
            let task = &self.tasks[part.task];
            if !fenced && at_fault.is_none_or(|topic| written.contains(topic)) {
                failures.push(failure(task, format!("the commit failed: {error}")));
            } else if !innocent.iter().any(|(query, _)| Arc::ptr_eq(query, &task.query)) {
                innocent.push((Arc::clone(&task.query), task.generation));
            }
        }
        // With nobody to blame, all are.
        if failures.is_empty() && !fenced {
            return parts.iter().map(|part| failure(&self.tasks[part.task], format!("the commit failed: {error}"))).collect();
        }
        innocent.retain(|(query, _)| !failures.iter().any(|failure| Arc::ptr_eq(&failure.query, query)));
        // Discarding moves tasks: failures are carried out by the caller, who knows queries only.
        for (query, generation) in innocent {
            self.discard(&query, generation);
            self.build(&query, generation);
        }
        failures
    }

    /// The raw records that `ON ERROR dead_letter` keeps, with where they came from.
    fn dead_letters(&self, parts: &[Part]) -> Result<Option<Append>> {
        let now_ms = self.runtime.now_ms();
        let mut letters = Vec::new();
        for part in parts {
            let query = self.tasks[part.task].query.id.as_str();
            for incident in &part.incidents {
                let Some((key, value)) = &incident.raw else { continue };
                let text = |text: String| Some(text.into_bytes());
                let headers = [
                    ("query", text(query.to_owned())),
                    ("node", text(incident.node.clone())),
                    ("topic", text(incident.topic.clone().unwrap_or_default())),
                    ("partition", incident.partition.map(|partition| partition.to_string().into_bytes())),
                    ("offset", incident.offset.map(|offset| offset.to_string().into_bytes())),
                    ("error", text(incident.message.clone())),
                ];
                letters.push((key.as_deref(), value.as_deref(), incident.rowtime_ms.unwrap_or(now_ms), headers));
            }
        }
        if letters.is_empty() {
            return Ok(None);
        }
        let service = &self.runtime.config.service_id;
        topics::create_dead_letters(&*self.runtime.storage.log, service)?;
        let headers: Vec<Vec<(&str, Option<&[u8]>)>> =
            letters.iter().map(|(.., headers)| headers.iter().map(|(name, value)| (*name, value.as_deref())).collect()).collect();
        let records = letters.iter().zip(&headers).map(|((key, value, timestamp_ms, _), headers)| opaque::Record {
            key: *key,
            value: *value,
            timestamp_ms: *timestamp_ms,
            headers,
        });
        let target = TopicPartition::new(topics::dead_letters(service), 0);
        Ok(Some(Append { target, entry: Entry::opaque(opaque::batch(records)) }))
    }

    /// The task's part is committed: say so.
    fn settle(&mut self, task: usize, positions: &[u64], counters: Counters, incidents: Vec<Incident>, stream_time_ms: Option<i64>) {
        let now_ms = self.runtime.now_ms();
        let running = &mut self.tasks[task];
        running.moved = false;
        running.progress.committed(positions, counters, stream_time_ms, now_ms);
        if running.query.push_queue().is_none() {
            let rows_in = if running.progress.reads_source { counters.rows_in } else { 0 };
            figures::rows(&running.query.id, &Counters { rows_in, ..counters });
        }
        if !incidents.is_empty() {
            let task = running.progress.id();
            let lines = incidents.iter().map(|incident| LogLine::of_incident(now_ms, &running.query.id, &task, incident));
            self.runtime.processing_log.write(lines);
        }
        running.trim(positions, &self.slots);
    }
}

fn failure(task: &RunningTask, reason: String) -> Failure {
    Failure { query: Arc::clone(&task.query), generation: task.generation, reason }
}
