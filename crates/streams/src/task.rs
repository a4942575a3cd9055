//! A task runs one partition of a sub-topology (`query/sub-topology/partition`).
//!
//! ```text
//!            process                                     commit
//!  fetched ─► decoded ─► waiting ─► node ─► node ─► …   ─► advance, flush ─► appends, writes, positions
//!                          │
//!                          └ only in tasks of several inputs: until it is the row's turn (`input`, `time::next_input`)
//! ```
//!
//! TSK-1  what a commit hands over belongs together: the rows taken, what they gave, and the positions behind them.
//! TSK-2  a task that failed, or whose commit failed, is thrown away; one built anew goes on from the last commit.
//! TSK-3  a record that is to stop the task does so when everything before it is committed, and nothing behind it is taken.

mod build;
mod input;
mod lane;
mod position;

use std::sync::Arc;

use millpond_log::{Append, Entry, Fetched};
use millpond_state::{Backend, WriteSet};

use self::input::Queue;
use self::position::Positions;
use crate::operator::push::Subscriber;
use crate::operator::record::Decodings;
use crate::operator::source::{Content, Source};
use crate::operator::{Context, Counters, Incident, Operator};
use crate::time::{Clock, Head, StreamTime, Turn, next_input};
use crate::{Error, Result};

pub use self::input::{Input, WAITING_BYTES_MAX};
pub use self::position::{committed_position, positions_store};

/// So many incidents wait to be taken; beyond, those are dropped that carry no raw record.
pub const INCIDENTS_MAX: usize = 10_000;

/// What a task is built over.
#[derive(Clone)]
pub struct Stores {
    pub backend: Arc<dyn Backend>,
    /// For topologies that end in [`crate::topology::OperatorSpec::Push`].
    pub subscriber: Option<Arc<dyn Subscriber>>,
    /// Shared by the tasks that run in turns.
    pub decodings: Decodings,
}

impl Stores {
    pub fn new(backend: Arc<dyn Backend>) -> Stores {
        Stores { backend, subscriber: None, decodings: Decodings::default() }
    }
}

pub struct Task {
    id: String,
    partition: u32,
    /// Of the nodes; shared with the contexts they run in.
    nodes: Arc<[String]>,
    steps: Vec<Step>,
    /// For each node those that read it, and at which port.
    readers: Vec<Vec<(usize, usize)>>,
    inputs: Vec<Queue>,
    /// Whether only tables are read: they then make the stream time.
    tables_only: bool,
    positions: Positions,
    clock: Clock,
    appends: Vec<Append>,
    incidents: Vec<Incident>,
    counters: Counters,
    dirty: bool,
    /// What stops the task, and the input that it met it in.
    fault: Option<(usize, Error)>,
}

enum Step {
    Source(Box<dyn Source>),
    Operator(Box<dyn Operator>),
}

/// What is to be committed together.
#[derive(Debug, Default)]
pub struct TaskCommit {
    /// In the order in which they must be appended.
    pub appends: Vec<Append>,
    /// State and positions.
    pub writes: WriteSet,
}

impl Task {
    /// `query/sub-topology/partition`.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// What it reads, in the order of the indexes that other methods take, and where each is to be read on.
    pub fn inputs(&self) -> Vec<Input> {
        self.inputs.iter().map(Queue::input).collect()
    }

    /// Begins `input` at an offset of the caller's choice; for tasks that have not read it yet.
    pub fn seek(&mut self, input: usize, offset: u64) {
        self.inputs[input].seek(offset);
    }

    /// Goes on at `offset`: what was before it, so many records, is gone.
    pub fn lose(&mut self, input: usize, offset: u64, records: u64) {
        self.inputs[input].seek(offset);
        self.counters.lost += records;
    }

    /// Whether the next entry of `input` is of use now. Not when rows of it wait for rows of another input only, nor when the task is to
    /// stop and has something to commit before.
    pub fn wants(&self, input: usize) -> bool {
        if self.is_at_fault() {
            return !self.dirty;
        }
        self.inputs.len() == 1 || self.inputs[input].wants()
    }

    /// Takes what was fetched from `input`: runs the rows whose turn it is. In a task of several inputs rows wait while another input, or
    /// another channel of this one, may still have earlier ones: call this, or [`Task::set_end`], for each input that it [`Task::wants`],
    /// until a round brings nothing.
    pub fn process(&mut self, input: usize, fetched: &Fetched, now_ms: i64) -> Result<()> {
        if self.is_at_fault() {
            return self.stop();
        }
        let queue = &mut self.inputs[input];
        let Some(fetched) = queue.untaken(fetched) else {
            queue.pass(fetched.next_offset);
            return Ok(());
        };
        let node = queue.node;
        let mut arrival = self.source(node).decode(&fetched)?;
        if let Some(error) = arrival.fault.take() {
            self.fault = Some((input, error));
        }
        self.inputs[input].push(arrival, &fetched);
        // What was known of the other inputs' ends is older than this entry.
        let others = self.inputs.iter_mut().enumerate().filter(|(other, _)| *other != input);
        others.for_each(|(_, queue)| queue.forget_end());
        self.run(now_ms)
    }

    /// Whether [`Task::receive`] may be called: not where rows may have to wait for others.
    pub fn receives(&self, input: usize) -> bool {
        self.inputs.len() == 1 && self.inputs[input].receives().is_some()
    }

    /// The channels of `input` that are not waited for at present.
    pub fn idle_channels(&self, input: usize) -> impl Iterator<Item = usize> {
        self.inputs[input].channels.iter().enumerate().filter(|(_, channel)| channel.idle).map(|(channel, _)| channel)
    }

    /// Takes an entry of a repartition topic that is not in the topic: it is committed with what it is made of, or not at all.
    pub fn receive(&mut self, input: usize, entry: Arc<Entry>, now_ms: i64) -> Result<()> {
        let offset = self.inputs[input].receives().unwrap_or_default();
        self.process(input, &Fetched { base_offset: offset, offsets: None, next_offset: offset, entry }, now_ms)
    }

    /// A fetch of `input` brought nothing: it has no more for now, and others need not wait for it.
    pub fn set_end(&mut self, input: usize, now_ms: i64) -> Result<()> {
        if self.is_at_fault() {
            return self.stop();
        }
        self.inputs[input].set_end();
        self.run(now_ms)
    }

    /// What was on its way to `input` when it was to be read on from `offset` has come, and was processed: rows from before `offset` need
    /// not wait for other channels of the input. Less than [`Task::set_end`], which is never said while rows keep coming.
    pub fn release(&mut self, input: usize, offset: u64, now_ms: i64) -> Result<()> {
        if self.is_at_fault() {
            return self.stop();
        }
        self.inputs[input].release(offset);
        self.run(now_ms)
    }

    /// What a fetch of `input` brought goes up to `offset`, with offsets behind its last row that no reader sees a row at.
    pub fn pass(&mut self, input: usize, offset: u64) {
        // What stops it stays before it.
        if !self.is_at_fault() {
            self.inputs[input].pass(offset);
        }
    }

    /// `input` is caught up and has been silent for its `idle_timeout`, or is not any more. Rows wake it, too.
    pub fn set_idle(&mut self, input: usize, idle: bool) {
        let queue = &mut self.inputs[input];
        // Behind a repartition the channels' tasks announce their idleness themselves.
        if !queue.repartition && queue.channels.get(0).is_some_and(|channel| channel.idle != idle) {
            queue.channels.set_idle(0, idle);
            self.dirty = true;
        }
    }

    /// How far the task has come with the rows it has taken: those of streams, or of tables where only tables are read.
    pub fn stream_time(&self) -> StreamTime {
        let counted = self.inputs.iter().filter(|queue| self.tables_only || !queue.table);
        StreamTime::of(counted.flat_map(|queue| queue.channels.iter()))
    }

    /// Whether there is something to be committed.
    pub fn dirty(&self) -> bool {
        self.dirty
    }

    /// Whether fetched rows wait for other rows, or the task only waits to be asked before it stops.
    pub fn waiting(&self) -> bool {
        self.inputs.iter().any(|queue| !queue.is_empty()) || self.is_at_fault() && !self.dirty
    }

    /// Forwards what was held back, tells the operators how far stream time has come, and hands over what is to be committed.
    pub fn commit(&mut self, now_ms: i64) -> Result<TaskCommit> {
        let nodes = self.nodes.clone();
        let mut context = self.context(&nodes, now_ms);
        let tick = self.clock.tick(context.stream_time);
        for node in 0..self.steps.len() {
            if let (Step::Operator(operator), Some(stream_time_ms)) = (&mut self.steps[node], tick) {
                context.node = &nodes[node];
                operator.advance(stream_time_ms, &mut context)?;
                self.deliver(node, &nodes, &mut context)?;
            }
            if let Step::Operator(operator) = &mut self.steps[node] {
                context.node = &nodes[node];
                operator.flush(&mut context)?;
                self.deliver(node, &nodes, &mut context)?;
            }
        }
        let stream_time = context.stream_time;
        self.leave(context);

        let mut writes = WriteSet::default();
        for step in &mut self.steps {
            match step {
                Step::Source(source) => source.write(&mut writes)?,
                Step::Operator(operator) => operator.write(&mut writes)?,
            }
        }
        let mut positions = self.positions.writes();
        for queue in &self.inputs {
            self.positions.write_input(&nodes[queue.node], queue, &mut positions);
        }
        self.positions.write_clock(self.clock, stream_time, &mut positions);
        writes.push(positions);
        self.dirty = false;
        Ok(TaskCommit { appends: std::mem::take(&mut self.appends), writes })
    }

    /// What there is to append so far. What is not put back is not part of the commit.
    pub fn take_appends(&mut self) -> Vec<Append> {
        std::mem::take(&mut self.appends)
    }

    pub fn put_back(&mut self, appends: Vec<Append>) {
        self.appends = appends;
    }

    /// What there is to say in the processing log since this was last asked.
    pub fn take_incidents(&mut self) -> Vec<Incident> {
        std::mem::take(&mut self.incidents)
    }

    /// Rows since this was last asked.
    pub fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// Whether all rows before the record that stops the task are taken.
    fn is_at_fault(&self) -> bool {
        self.fault.as_ref().is_some_and(|(input, _)| self.inputs[*input].is_empty())
    }

    /// Fails, unless there is something to be committed first.
    fn stop(&mut self) -> Result<()> {
        match self.fault.take_if(|_| !self.dirty) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Runs rows as long as it is some row's turn.
    fn run(&mut self, now_ms: i64) -> Result<()> {
        let nodes = self.nodes.clone();
        while let Some(turn) = self.turn() {
            let mut context = self.context(&nodes, now_ms);
            let queue = &mut self.inputs[turn.input];
            let node = queue.node;
            context.node = &nodes[node];
            let taken = queue.take(turn.until_ms)?;
            self.dirty = true;
            context.incidents.extend(taken.incidents);
            context.counters += taken.counters;
            if let Content::Records(records) = taken.content {
                self.source(node).process(records, &mut context)?;
                self.deliver(node, &nodes, &mut context)?;
            }
            self.leave(context);
        }
        Ok(())
    }

    /// Entries that hold no rows have no time: they are always next.
    fn turn(&self) -> Option<Turn> {
        if let Some(input) = self.inputs.iter().position(Queue::timeless) {
            return Some(Turn { input, until_ms: None });
        }
        if let [only] = self.inputs.as_slice() {
            return (!only.is_empty()).then_some(Turn { input: 0, until_ms: None });
        }
        let heads: Vec<Head> = self.inputs.iter().map(Queue::head).collect();
        next_input(&heads)
    }

    /// Hands what `node` forwarded to the nodes behind it, and what those forward on.
    fn deliver<'a>(&mut self, node: usize, nodes: &'a [String], context: &mut Context<'a>) -> Result<()> {
        let mut work = vec![(node, std::mem::take(&mut context.forwarded))];
        while let Some((node, batches)) = work.pop() {
            for (reader, port) in &self.readers[node] {
                let Step::Operator(operator) = &mut self.steps[*reader] else {
                    return Err(Error::Topology(format!("source {} has an input", nodes[*reader])));
                };
                context.node = &nodes[*reader];
                for batch in &batches {
                    operator.process(*port, batch.clone(), context)?;
                }
                if !context.forwarded.is_empty() {
                    work.push((*reader, std::mem::take(&mut context.forwarded)));
                }
            }
        }
        Ok(())
    }

    fn context<'a>(&mut self, nodes: &'a [String], now_ms: i64) -> Context<'a> {
        Context {
            partition: self.partition,
            stream_time: self.stream_time(),
            now_ms,
            appends: std::mem::take(&mut self.appends),
            node: nodes.first().map_or("", String::as_str),
            ..Context::default()
        }
    }

    fn leave(&mut self, context: Context<'_>) {
        self.appends = context.appends;
        self.counters += context.counters;
        let room = INCIDENTS_MAX.saturating_sub(self.incidents.len());
        let (raw, plain): (Vec<_>, Vec<_>) = context.incidents.into_iter().partition(|incident| incident.raw.is_some());
        self.incidents.extend(raw);
        self.incidents.extend(plain.into_iter().take(room));
    }

    fn source(&mut self, node: usize) -> &mut dyn Source {
        match &mut self.steps[node] {
            Step::Source(source) => source.as_mut(),
            Step::Operator(_) => unreachable!("an input's node is a source: the task was built so"),
        }
    }
}
