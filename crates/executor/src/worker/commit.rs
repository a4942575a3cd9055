//! The commit cycle: what all dirty tasks of a worker have done becomes one transaction.
//!
//! ```text
//!   task 1: appends, writes, positions, counters ─┐
//!   task 2: …                                     ├─► Backend::commit ─► figures, processing log, whoever waits in FLUSH
//!   dead letters                                 ─┘        │
//!                                                          └ failed: all that took part are made anew, from the last commit
//! ```
//!
//! CMT-1  a task is in a commit with everything it has taken, or not at all; so are those it has handed something to.
//! CMT-2  after a commit that failed no task goes on from what was not committed.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use millpond_catalog::dead_letters;
use millpond_log::{Append, Entry, TopicPartition, Transaction, opaque};
use millpond_state::{StoreId, WriteSet};
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

/// What of a commit comes from one part.
struct Written {
    topics: BTreeSet<Arc<str>>,
    /// They may have changelogs.
    stores: Vec<StoreId>,
    /// There are dead letters.
    letters: bool,
}

impl Written {
    fn by(part: &Part) -> Written {
        Written {
            topics: part.commit.appends.iter().map(|append| Arc::clone(&append.target.topic)).collect(),
            stores: part.commit.writes.writes.iter().map(|writes| writes.store).collect(),
            letters: part.incidents.iter().any(|incident| incident.raw.is_some()),
        }
    }
}

impl Worker {
    /// Commits what is dirty.
    pub(super) fn commit(&mut self, which: Which) {
        let began_ms = self.runtime.now_ms();
        let which = if self.is_full() { Which::All } else { which };
        let begun = Instant::now();
        let parts = self.gather(which);
        self.runtime.add_work(begun.elapsed());
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
                Err(error) => void.push(task.failure(format!("the commit failed: {error}"))),
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
        let waiting = if which == Which::Due { self.waiting(now_ms) } else { HashSet::new() };
        let mut parts: Vec<Part> = Vec::new();
        let mut failures: Vec<Failure> = Vec::new();
        for index in 0..self.tasks.len() {
            let running = &mut self.tasks[index];
            if !running.is_dirty() || waiting.contains(&Arc::as_ptr(&running.query)) {
                continue;
            }
            if failures.iter().any(|failure| Arc::ptr_eq(&failure.query, &running.query)) {
                continue;
            }
            match self.part(index, now_ms) {
                Ok(part) => parts.push(part),
                Err(failure) => failures.push(failure),
            }
        }
        if !failures.is_empty() {
            parts = self.without(parts, failures);
        }
        parts
    }

    /// The queries that are behind, and have no task whose commit is due.
    fn waiting(&mut self, now_ms: i64) -> HashSet<*const RunningQuery> {
        let (mut waiting, mut due) = (HashSet::new(), HashSet::new());
        for running in self.tasks.iter_mut().filter(|running| running.is_dirty()) {
            let set = if running.is_to_wait(&self.slots, self.pace, now_ms) { &mut waiting } else { &mut due };
            set.insert(Arc::as_ptr(&running.query));
        }
        waiting.retain(|query| !due.contains(query));
        waiting
    }

    /// The task's, when those are served that run behind it.
    fn part(&mut self, index: usize, now_ms: i64) -> std::result::Result<Part, Failure> {
        let running = &mut self.tasks[index];
        running.set_clean();
        let mut commit = guarded(|| running.task.commit(now_ms)).map_err(|reason| running.failure(reason))?;
        commit.appends = self.hand_over_appends(index, commit.appends, now_ms)?;
        let running = &mut self.tasks[index];
        Ok(Part {
            task: index,
            commit,
            counters: running.task.take_counters(),
            incidents: running.task.take_incidents(),
            positions: running.positions(),
            stream_time_ms: running.task.stream_time().millis(),
        })
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
        let mut written: Vec<Written> = Vec::with_capacity(parts.len());
        let appends: Vec<usize> = parts.iter().map(|part| part.commit.appends.len()).collect();
        for part in &mut parts {
            let progress = &self.tasks[part.task].progress;
            written.push(Written::by(part));
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
            Ok(appended) => {
                figures::commit(begun.elapsed(), parts.len());
                let mut appended = appended.as_slice();
                for (part, count) in parts.into_iter().zip(appends) {
                    let (of_part, rest) = appended.split_at(count);
                    self.tasks[part.task].ways.committed(of_part);
                    appended = rest;
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
    fn after_failed_commit(&mut self, parts: &[Part], written: &[Written], error: &crate::Error) -> Vec<Failure> {
        let (at_fault, fenced) = match error {
            crate::Error::Log(error) | crate::Error::State(millpond_state::Error::Log(error)) => {
                (error.topic(), matches!(error, millpond_log::Error::Fenced(_)))
            }
            _ => (None, false),
        };
        let wrote = |written: &Written, topic: &str| {
            let changes =
                || written.stores.iter().any(|store| self.runtime.storage.state.changelog_topic(*store).as_deref() == Some(topic));
            let letters = || written.letters && topics::dead_letters(&self.runtime.config.service_id) == topic;
            written.topics.contains(topic) || changes() || letters()
        };
        let mut failures: Vec<Failure> = Vec::new();
        let mut innocent: Vec<(Arc<RunningQuery>, u64)> = Vec::new();
        for (part, written) in parts.iter().zip(written) {
            let task = &self.tasks[part.task];
            if !fenced && at_fault.is_none_or(|topic| wrote(written, topic)) {
                failures.push(task.failure(format!("the commit failed: {error}")));
            } else if !innocent.iter().any(|(query, _)| Arc::ptr_eq(query, &task.query)) {
                innocent.push((Arc::clone(&task.query), task.generation));
            }
        }
        // With nobody to blame, all are.
        if failures.is_empty() && !fenced {
            return parts.iter().map(|part| self.tasks[part.task].failure(format!("the commit failed: {error}"))).collect();
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
                    text(query.to_owned()),
                    text(incident.node.clone()),
                    text(incident.topic.clone().unwrap_or_default()),
                    incident.partition.map(|partition| partition.to_string().into_bytes()),
                    incident.offset.map(|offset| offset.to_string().into_bytes()),
                    text(incident.message.clone()),
                ];
                let time_ms = incident.rowtime_ms.filter(|time_ms| *time_ms >= 0).unwrap_or(now_ms);
                letters.push((key.as_deref(), value.as_deref(), time_ms, headers));
            }
        }
        if letters.is_empty() {
            return Ok(None);
        }
        let service = &self.runtime.config.service_id;
        topics::create_dead_letters(&*self.runtime.storage.log, service)?;
        let names = dead_letters::HEADERS.map(|(name, _)| name);
        let headers: Vec<Vec<(&str, Option<&[u8]>)>> =
            letters.iter().map(|(.., headers)| names.into_iter().zip(headers.each_ref().map(Option::as_deref)).collect()).collect();
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
        running.committed(positions);
    }
}
