//! A task on its worker: where it reads on, and what one turn of it does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millpond_log::{Entry, OffsetRange, TopicPartition};
use millpond_streams::task::Input;
use millpond_streams::topology::{Node, OnDataLoss, OperatorSpec};
use millpond_streams::{SubTopology, Task};

use super::cursor::{Cursor, Next};
use super::guarded::guarded;
use super::handover::Ways;
use super::pace::Pace;
use super::slots::{SlotId, Slots};
use super::upstream::{Upstream, stage, stages};
use super::{Failure, earlier};
use crate::builders::{self, Made};
use crate::processing_log::{LineKind, LogLine};
use crate::progress::{InputProgress, TaskProgress};
use crate::query::{Plan, Purpose, RunningQuery};
use crate::runtime::Runtime;

/// After so many rows it is another task's turn.
pub(super) const TURN_ROWS: usize = 65_536;
/// A task with more rows than this before it is behind: what its query gives is old, however often it commits.
const BEHIND_ROWS: u64 = TURN_ROWS as u64;

pub(crate) struct RunningTask {
    pub query: Arc<RunningQuery>,
    pub generation: u64,
    pub progress: Arc<TaskProgress>,
    pub task: Task,
    cursors: Vec<Cursor>,
    /// How many commits a row of its query passes at most.
    stages: i64,
    /// How many it has passed behind this task, if each stage commits for itself: tasks are handed rows by those of lower ones.
    pub stage: usize,
    /// The repartition topics that it writes to.
    repartitions: Vec<Arc<str>>,
    pub ways: Ways,
    /// Where it begins must be committed even when nothing comes.
    pub moved: bool,
    /// Since when there is something to commit.
    dirty_since_ms: Option<i64>,
    /// Of the entries taken since the last commit, about.
    pub dirty_bytes: usize,
    /// Whether the query counts it among those that are behind.
    behind: bool,
    /// As long as it is not behind: a second after rows have come to it.
    pub live_until_ms: i64,
}

/// What a turn came to.
pub(crate) struct Turn {
    /// False: there was nothing to do.
    pub progressed: bool,
    pub rows: usize,
}

/// A task's inputs, and why it must not run all the same, if so.
type Opened = (Vec<InputProgress>, Option<String>);

impl RunningTask {
    /// Stands where the last commit of the task left it. Takes slots, which [`RunningTask::release`] gives back.
    pub fn new(
        runtime: &Runtime,
        query: &Arc<RunningQuery>,
        generation: u64,
        progress: &Arc<TaskProgress>,
        made: Made,
        slots: &mut Slots,
    ) -> Result<RunningTask, String> {
        let (plan, sub) = builders::plan(query, progress)?;
        let Made { task, counters } = made;
        let (query, progress) = (Arc::clone(query), Arc::clone(progress));
        let fresh = task.inputs().iter().all(|input| input.next_offset.is_none());
        let mut running = RunningTask {
            query,
            generation,
            progress,
            task,
            cursors: Vec::new(),
            stages: i64::try_from(stages(&plan.topology)).unwrap_or(1),
            stage: stage(sub, &plan.topology),
            repartitions: sub.nodes.iter().filter_map(repartition_topic).collect(),
            ways: Ways::new(fresh),
            moved: false,
            dirty_since_ms: None,
            dirty_bytes: 0,
            behind: false,
            live_until_ms: i64::MIN,
        };
        let refused = match running.open(runtime, plan, sub, slots) {
            Ok((inputs, refused)) => {
                runtime.holdings.change(|_| running.progress.built(inputs, counters));
                refused
            }
            Err(reason) => Some(reason),
        };
        if let Some(reason) = refused {
            running.release(slots);
            return Err(reason);
        }
        Ok(running)
    }

    /// What it has committed can be read also where it must not run.
    fn open(&mut self, runtime: &Runtime, plan: &Plan, sub: &SubTopology, slots: &mut Slots) -> Result<Opened, String> {
        let now_ms = runtime.now_ms();
        let mut refused = self.query.misfit(&*runtime.storage.log, self.generation);
        let mut inputs = Vec::new();
        for (index, input) in self.task.inputs().into_iter().enumerate() {
            let repartition = is_repartition(sub, &input);
            let log = if repartition { &plan.storage.log } else { &runtime.storage.log };
            let partition = TopicPartition { topic: Arc::clone(&input.topic), partition: input.partition };
            let range = log.offsets(&partition).map_err(|error| error.to_string())?;
            let next = match input.next_offset {
                Some(next) => next,
                None => {
                    let chosen = plan.start_at.get(&partition);
                    self.moved |= chosen.is_some();
                    let next = chosen.copied().unwrap_or(range.start).clamp(range.start, range.end);
                    self.task.seek(index, next);
                    next
                }
            };
            if next > range.end {
                return Err(format!("{partition} ends at {}, before {next}, where it was read to: it is another topic now", range.end));
            }
            let slot = slots.acquire(log, &partition, sub.reads_headers(&partition.topic)).map_err(|error| error.to_string())?;
            self.cursors.push(Cursor {
                slot,
                repartition,
                on_data_loss: input.on_data_loss,
                next,
                listens: false,
                buffered: VecDeque::new(),
                rows_per_record: 1.0,
                idle_timeout_ms: input.idle_timeout_ms.filter(|_| !repartition),
                quiet_since_ms: now_ms,
                idle: false,
                stalled_since_ms: None,
                upstream: if repartition { Upstream::of(&partition.topic, &plan.topology, &self.query.tasks) } else { Upstream::default() },
                asked: None,
                waits: false,
                committed: range.start,
                trimmed: range.start,
                end_seen: (0, 0),
            });
            if next < range.start {
                refused = refused.or(self.lose(runtime, index, range, slots).err());
            }
            let first = if plan.start_at.contains_key(&partition) { next } else { range.start };
            let log = Arc::clone(log);
            inputs.push(InputProgress {
                partition,
                log,
                repartition,
                first,
                goal: range.end.max(first),
                committed: self.cursors[index].next,
            });
        }
        Ok((inputs, refused))
    }

    pub fn release(&mut self, slots: &mut Slots) {
        self.set_behind(false);
        for cursor in self.cursors.drain(..) {
            slots.release(cursor.slot);
        }
    }

    /// Whether there may be something to do. A push query whose reader is slow has to wait for it.
    pub fn is_runnable(&self, slots: &Slots) -> bool {
        let more = |(input, cursor): (usize, &Cursor)| self.task.wants(input) && (!cursor.buffered.is_empty() || cursor.may_fetch(slots));
        (self.task.waiting() || self.cursors.iter().enumerate().any(more)) && !self.query.push_queue().is_some_and(|queue| queue.is_full())
    }

    /// Takes about `rows_max` rows, of all inputs as their times want.
    pub fn turn(&mut self, runtime: &Runtime, slots: &mut Slots, rows_max: usize, now_ms: i64) -> Result<Turn, String> {
        let mut progressed = false;
        let mut rows = 0;
        while rows < rows_max {
            let mut brought = false;
            for input in 0..self.cursors.len() {
                if !self.task.wants(input) {
                    continue;
                }
                match self.next(runtime, input, slots, rows_max, now_ms)? {
                    Next::Entry(fetched) => {
                        rows += fetched.entry.rows();
                        self.dirty_bytes += fetched.entry.bytes();
                        let cursor = &mut self.cursors[input];
                        (cursor.quiet_since_ms, cursor.idle) = (now_ms, false);
                        // What is on its way to the others by now may be earlier than this.
                        let others = self.cursors.iter_mut().enumerate().filter(|(other, _)| *other != input);
                        others.for_each(|(_, cursor)| cursor.begin_again());
                        guarded(|| self.task.process(input, &fetched, now_ms))?;
                        brought = true;
                    }
                    Next::End { asked } if self.task.waiting() => {
                        let dirty = self.task.dirty();
                        // More has come meanwhile, which may be later than what is on its way by now: that is the next question.
                        let before_more = asked.filter(|asked| *asked < self.cursors[input].next);
                        match before_more {
                            Some(asked) => guarded(|| self.task.release(input, asked, now_ms))?,
                            None => guarded(|| self.task.set_end(input, now_ms))?,
                        }
                        progressed |= before_more.is_some() || !self.task.waiting() || self.task.dirty() != dirty;
                    }
                    Next::End { .. } | Next::Later => {}
                }
            }
            progressed |= brought;
            if !brought {
                break;
            }
        }
        Ok(Turn { progressed, rows })
    }

    fn next(&mut self, runtime: &Runtime, input: usize, slots: &mut Slots, rows_max: usize, now_ms: i64) -> Result<Next, String> {
        let mut seen = 0;
        loop {
            let waiting = self.task.waiting();
            let cursor = &mut self.cursors[input];
            if let Some(fetched) = cursor.buffered.pop_front() {
                return Ok(Next::Entry(fetched));
            }
            // Rows of another input wait to hear that there is nothing earlier here: what was seen of the end may be older than they are, and
            // what is earlier may be on its way.
            if waiting && !cursor.may_fetch(slots) {
                cursor.asked.get_or_insert(cursor.next);
                cursor.waits = !cursor.upstream.is_through(runtime, &self.query).map_err(|error| error.to_string())?;
                if cursor.waits {
                    return Ok(Next::Later);
                }
                slots.refresh(cursor.slot).map_err(|error| error.to_string())?;
                seen = slots.end(cursor.slot);
            }
            if !cursor.may_fetch(slots) {
                let asked = cursor.asked;
                cursor.begin_again();
                cursor.stalled_since_ms = None;
                return Ok(Next::End { asked });
            }
            (cursor.waits, cursor.listens) = (false, true);
            match slots.fetch(cursor.slot, cursor.next, rows_max) {
                Ok(Some(fetch)) => {
                    let passed = fetch.entries.is_empty() && fetch.next_offset > cursor.next;
                    let rows: usize = fetch.entries.iter().map(|fetched| fetched.entry.rows()).sum();
                    if rows > 0 {
                        let records = slots.records_between(cursor.slot, cursor.next, fetch.next_offset);
                        cursor.rows_per_record = rows as f64 / records.max(1) as f64;
                    }
                    (cursor.next, cursor.stalled_since_ms) = (fetch.next_offset, None);
                    cursor.buffered.extend(fetch.entries.iter().cloned());
                    if passed {
                        self.pass(runtime, input, fetch.next_offset);
                    } else if cursor.buffered.is_empty() {
                        return Ok(Next::End { asked: None });
                    }
                }
                Ok(None) => {
                    slots.reconsider(cursor.slot);
                    // Whoever fetches may not have heard yet of the end that was asked for.
                    if cursor.next < slots.end(cursor.slot).max(seen) {
                        return cursor.stalled(slots, waiting, now_ms);
                    }
                    // It was beyond what there is.
                    cursor.stalled_since_ms = None;
                }
                Err(millpond_log::Error::OffsetOutOfRange { start, end, offset, .. }) if offset < start => {
                    self.lose(runtime, input, OffsetRange { start, end }, slots)?;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// The log has come further without a record to see, in a transaction's end for one. That alone is not worth a commit.
    fn pass(&mut self, runtime: &Runtime, input: usize, next: u64) {
        self.task.pass(input, next);
        if !self.is_dirty() {
            self.progress.passed(&self.positions());
            runtime.changed.raise();
        }
    }

    /// Retention was faster than the query: what is gone is gone.
    fn lose(&mut self, runtime: &Runtime, input: usize, range: OffsetRange, slots: &Slots) -> Result<(), String> {
        let cursor = &mut self.cursors[input];
        let partition = slots.partition(cursor.slot);
        let (next, start) = (cursor.next, range.start);
        let goes_on = match cursor.on_data_loss {
            OnDataLoss::Earliest => range.start,
            OnDataLoss::Latest => range.end,
            OnDataLoss::Stop => {
                let way_out = match &self.query.purpose {
                    Purpose::Persistent => format!(": ALTER QUERY {} RESET begins anew with what is there", self.query.id),
                    Purpose::Materialize(table) => format!(": drop table {table} and create it again, to begin anew with what is there"),
                    Purpose::Push(_) => String::new(),
                };
                return Err(format!(
                    "records {next}..{start} of {partition} were deleted before they were read (on_data_loss = 'stop'){way_out}"
                ));
            }
        };
        let to = if goes_on > start { format!("; by on_data_loss it goes on at {goes_on}") } else { String::new() };
        runtime.processing_log.write([LogLine {
            task: self.progress.id(),
            topic: Some(partition.topic.to_string()),
            partition: Some(partition.partition),
            offset: Some(next),
            ..LogLine::of_query(
                runtime.now_ms(),
                &self.query.id,
                LineKind::Skipped,
                format!("records {next}..{start} were deleted before they were read{to}"),
            )
        }]);
        cursor.next = goes_on;
        cursor.buffered.clear();
        self.task.lose(input, goes_on, slots.records_between(self.cursors[input].slot, next, goes_on));
        self.moved = true;
        Ok(())
    }

    /// Tells the task of inputs that have been silent for their timeout. When the next one will be, or a stalled one is to be looked at.
    pub fn judge_idle(&mut self, slots: &Slots, now_ms: i64) -> Option<i64> {
        let mut next_ms = None;
        for (input, cursor) in self.cursors.iter_mut().enumerate() {
            next_ms = earlier(next_ms, cursor.look_again_ms(now_ms));
            let Some(timeout_ms) = cursor.idle_timeout_ms else { continue };
            if cursor.idle {
                continue;
            }
            if !cursor.buffered.is_empty() || cursor.next < slots.end(cursor.slot) || !self.task.wants(input) {
                cursor.quiet_since_ms = now_ms;
                continue;
            }
            let at_ms = cursor.quiet_since_ms.saturating_add(timeout_ms);
            if at_ms <= now_ms {
                cursor.idle = true;
                self.task.set_idle(input, true);
            } else {
                next_ms = earlier(next_ms, Some(at_ms));
            }
        }
        next_ms
    }

    pub fn is_of(&self, query: &Arc<RunningQuery>, generation: u64) -> bool {
        self.generation == generation && Arc::ptr_eq(&self.query, query)
    }

    pub fn failure(&self, reason: String) -> Failure {
        Failure { query: Arc::clone(&self.query), generation: self.generation, reason }
    }

    /// Whether it may have something for other tasks. Those of a push query commit one by one.
    pub fn hands_over(&self) -> bool {
        !self.repartitions.is_empty() && self.query.push_queue().is_none()
    }

    /// The input that reads the partition.
    pub fn input_of(&self, partition: &TopicPartition, slots: &Slots) -> Option<usize> {
        self.cursors.iter().position(|cursor| slots.partition(cursor.slot) == partition)
    }

    /// Its input, if there is one only and `sender` can hand it something, sooner or later.
    pub fn input_from(&self, sender: &RunningTask, slots: &Slots) -> Option<usize> {
        let reads = |cursor: &Cursor| sender.repartitions.contains(&slots.partition(cursor.slot).topic);
        self.cursors.iter().position(reads).filter(|_| self.cursors.len() == 1)
    }

    pub fn partition<'a>(&self, input: usize, slots: &'a Slots) -> &'a TopicPartition {
        slots.partition(self.cursors[input].slot)
    }

    /// Up to where the input has processed its topic.
    pub fn processed(&self, input: usize) -> u64 {
        let cursor = &self.cursors[input];
        cursor.buffered.front().map_or(cursor.next, |fetched| fetched.base_offset)
    }

    /// The same, if it can be handed something.
    pub fn receives(&self, input: usize) -> Option<u64> {
        self.task.receives(input).then(|| self.processed(input))
    }

    /// Where the partition ends that the input reads, as was seen when the worker had built its task `since`, or later. It has built `built` by now.
    pub fn end_since(&mut self, input: usize, since: u64, built: u64, slots: &mut Slots) -> Option<u64> {
        let cursor = &mut self.cursors[input];
        if cursor.end_seen.0 < since {
            slots.refresh(cursor.slot).ok()?;
            cursor.end_seen = (built, slots.end(cursor.slot));
        }
        Some(cursor.end_seen.1)
    }

    pub fn receive(&mut self, input: usize, entry: Entry, now_ms: i64) -> Result<(), String> {
        self.dirty_bytes += entry.bytes();
        guarded(|| self.task.receive(input, Arc::new(entry), now_ms))
    }

    pub fn is_dirty(&self) -> bool {
        self.task.dirty() || self.moved
    }

    /// When what it has done is to be committed; `None`: there is nothing.
    pub fn due_ms(&mut self, slots: &Slots, pace: Pace, now_ms: i64) -> Option<i64> {
        if !self.is_dirty() {
            return None;
        }
        let since_ms = *self.dirty_since_ms.get_or_insert(now_ms);
        Some(if self.is_behind(slots) { pace.due_behind_ms(since_ms) } else { pace.due_ms(since_ms, self.stages) })
    }

    /// Whether its commit would come too early. Otherwise it may as well take part in one of others.
    pub fn is_to_wait(&mut self, slots: &Slots, pace: Pace, now_ms: i64) -> bool {
        self.is_behind(slots) && self.due_ms(slots, pace, now_ms).is_some_and(|due_ms| due_ms > now_ms)
    }

    /// Whether some task of its query has much before it. A push query never is behind: somebody waits for its first rows.
    fn is_behind(&mut self, slots: &Slots) -> bool {
        if self.query.push_queue().is_some() {
            return false;
        }
        let ahead = |cursor: &Cursor| {
            let buffered: usize = cursor.buffered.iter().map(|fetched| fetched.entry.rows()).sum();
            let records = slots.records_between(cursor.slot, cursor.next, slots.end(cursor.slot));
            (records as f64 * cursor.rows_per_record) as u64 + buffered as u64
        };
        self.set_behind(self.cursors.iter().map(ahead).sum::<u64>() > BEHIND_ROWS);
        self.is_known_behind()
    }

    /// The same, by what was last found.
    pub fn is_known_behind(&self) -> bool {
        self.query.behind.load(Ordering::Relaxed) > 0
    }

    fn set_behind(&mut self, behind: bool) {
        if std::mem::replace(&mut self.behind, behind) != behind {
            let step = if behind { 1 } else { usize::MAX };
            self.query.behind.fetch_add(step, Ordering::Relaxed);
        }
    }

    /// Everything it has done is committed, or in a commit.
    pub fn set_clean(&mut self) {
        (self.dirty_since_ms, self.dirty_bytes) = (None, 0);
    }

    /// Of its inputs, in their order: the first offsets that are not taken.
    pub fn positions(&self) -> Vec<u64> {
        self.task.inputs().into_iter().map(|input| input.position.unwrap_or_default()).collect()
    }

    /// The inputs are committed so far.
    pub fn committed(&mut self, positions: &[u64]) {
        for (cursor, position) in self.cursors.iter_mut().zip(positions) {
            cursor.committed = *position;
        }
    }

    /// Whether there is something in the log that this task alone reads and has committed.
    pub fn is_untrimmed(&self) -> bool {
        self.cursors.iter().any(Cursor::is_untrimmed)
    }

    /// Up to where its inputs can be trimmed, as far as they are not.
    pub fn trim(&mut self) -> impl Iterator<Item = (SlotId, u64)> {
        self.cursors.iter_mut().filter(|cursor| cursor.is_untrimmed()).map(|cursor| {
            cursor.trimmed = cursor.committed;
            (cursor.slot, cursor.committed)
        })
    }
}

fn repartition_topic(node: &Node) -> Option<Arc<str>> {
    match &node.operator {
        OperatorSpec::RepartitionSink(spec) => Some(Arc::clone(&spec.topic)),
        _ => None,
    }
}

fn is_repartition(sub: &SubTopology, input: &Input) -> bool {
    sub.nodes.iter().any(|node| node.id == input.node && matches!(node.operator, OperatorSpec::RepartitionSource { .. }))
}
