//! A synchronous driver of topologies over stores in memory, like Kafka's `TopologyTestDriver`: for the tests of operators and plans.
//!
//! ```text
//!  write(topic, partition, rows) ─► run() ─► read(topic), table(store), pushed()
//! ```
//!
//! How entries are cut and where commits fall are parameters ([`Pace`]), since no result may depend on them.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millpond_log::{Cleanup, Entry, FetchLimit, Fetched, Log, Payload, TopicConfig, TopicPartition, Transaction};
use millpond_state::{Backend, MemoryBackend};

use crate::operator::push::Subscriber;
use crate::operator::table_rows::TableRows;
use crate::operator::{Counters, Incident};
use crate::task::Stores;
use crate::topology::{Node, OperatorSpec};
use crate::{Batch, Error, Result, SubTopology, Task, Topology};

/// How a run is cut.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Entries are fed in pieces of so many rows.
    pub rows_max: usize,
    /// A task commits after so many pieces.
    pub commit_every: usize,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { rows_max: usize::MAX, commit_every: 1 }
    }
}

pub struct Driver {
    topology: Topology,
    log: Arc<dyn Log>,
    backend: Arc<dyn Backend>,
    tasks: Vec<Running>,
    pushed: Arc<Pushed>,
    pace: Pace,
    incidents: Vec<Incident>,
    counters: Counters,
    now_ms: i64,
}

struct Running {
    sub_topology: usize,
    task: Task,
    /// Pieces taken since its last commit.
    pieces: usize,
}

#[derive(Debug, Default)]
struct Pushed(Mutex<Vec<Batch>>);

impl Subscriber for Pushed {
    fn deliver(&self, batch: Batch) {
        self.0.lock().expect("no test panics while it holds this").push(batch);
    }
}

impl Driver {
    /// `topics` are those that are not the topology's own, with their partitions; those of its repartitions and sinks are made.
    pub fn new(topology: Topology, topics: &[(&str, u32)]) -> Result<Driver> {
        let backend = MemoryBackend::new();
        let log = backend.log();
        let nodes = topology.sub_topologies.iter().flat_map(|sub_topology| &sub_topology.nodes);
        let own = nodes.filter_map(|node| match &node.operator {
            OperatorSpec::RepartitionSink(spec) => Some((spec.topic.clone(), spec.partitions)),
            OperatorSpec::Sink(spec) => Some((spec.topic.clone(), spec.partitions)),
            _ => None,
        });
        for (topic, partitions) in topics.iter().map(|(topic, partitions)| (Arc::from(*topic), *partitions)).chain(own) {
            let cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: None };
            log.ensure_topic(&topic, &TopicConfig { partitions, cleanup, key_columns: Vec::new() })?;
        }
        let mut driver = Driver {
            topology,
            log,
            backend: Arc::new(backend),
            tasks: Vec::new(),
            pushed: Arc::default(),
            pace: Pace::default(),
            incidents: Vec::new(),
            counters: Counters::default(),
            now_ms: 0,
        };
        driver.restart()?;
        Ok(driver)
    }

    pub fn with_pace(self, pace: Pace) -> Driver {
        Driver { pace, ..self }
    }

    /// Throws all tasks away, with what they have not committed, and builds them anew.
    pub fn restart(&mut self) -> Result<()> {
        let stores = Stores { subscriber: Some(self.pushed.clone()), ..Stores::new(self.backend.clone()) };
        self.tasks.clear();
        for (index, sub_topology) in self.topology.sub_topologies.iter().enumerate() {
            for partition in 0..sub_topology.partitions {
                let task = Task::build(&self.topology.query, sub_topology, partition, &stores)?;
                self.tasks.push(Running { sub_topology: index, task, pieces: 0 });
            }
        }
        Ok(())
    }

    pub fn write(&mut self, topic: &str, partition: u32, entry: Entry) -> Result<()> {
        let target = TopicPartition { topic: topic.into(), partition };
        self.log.append(Transaction { appends: vec![millpond_log::Append { target, entry }] })?;
        Ok(())
    }

    /// Columns as [`rows`] reads them; the topic needs `$timestamp` among them.
    pub fn write_rows(&mut self, topic: &str, partition: u32, text: &str) -> Result<()> {
        self.write(topic, partition, Entry::columns(rows(text)?))
    }

    /// Runs all tasks until nothing moves and everything is committed.
    pub fn run(&mut self) -> Result<()> {
        loop {
            let mut moved = false;
            for task in 0..self.tasks.len() {
                moved |= self.step(task)?;
            }
            if !moved {
                for task in 0..self.tasks.len() {
                    moved |= self.commit(task)?;
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }

    /// All sources are caught up and have been silent for long: runs until nothing moves, windows that wait for time are closed.
    pub fn idle(&mut self) -> Result<()> {
        self.run()?;
        for running in &mut self.tasks {
            for input in 0..running.task.inputs().len() {
                running.task.set_idle(input, true);
            }
        }
        self.run()
    }

    /// One fetch of each input of a task; whether there was anything.
    pub fn step(&mut self, task: usize) -> Result<bool> {
        let mut moved = false;
        for input in 0..self.tasks[task].task.inputs().len() {
            let running = &mut self.tasks[task];
            if !running.task.wants(input) {
                continue;
            }
            let description = running.task.inputs().swap_remove(input);
            let source = TopicPartition { topic: description.topic, partition: description.partition };
            let from = match description.next_offset {
                Some(offset) => offset,
                None => self.log.offsets(&source)?.start,
            };
            let limit = FetchLimit::of(self.pace.rows_max, usize::MAX);
            let fetched = self.log.fetch(&source, from, limit)?.entries;
            if fetched.is_empty() && self.is_through(&source.topic)? {
                self.tasks[task].task.set_end(input, self.now_ms)?;
            }
            let rows_max = self.pace.rows_max;
            for piece in fetched.iter().flat_map(|fetched| pieces(fetched, rows_max)) {
                moved = true;
                let running = &mut self.tasks[task];
                running.task.process(input, &piece, self.now_ms)?;
                running.pieces += 1;
                if running.pieces >= self.pace.commit_every {
                    self.commit(task)?;
                }
            }
        }
        Ok(moved)
    }

    /// Whether a topic has all the rows that are on their way to it through repartitions: there are none to any other.
    fn is_through(&self, topic: &str) -> Result<bool> {
        let writes = |node: &Node| matches!(&node.operator, OperatorSpec::RepartitionSink(spec) if &*spec.topic == topic);
        let writes = |running: &&Running| self.topology.sub_topologies[running.sub_topology].nodes.iter().any(writes);
        for Running { task, .. } in self.tasks.iter().filter(writes) {
            for input in task.inputs() {
                let end = self.log.offsets(&TopicPartition { topic: input.topic.clone(), partition: input.partition })?.end;
                if task.dirty() || input.position.unwrap_or(0) < end || !self.is_through(&input.topic)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether there was anything to commit.
    pub fn commit(&mut self, task: usize) -> Result<bool> {
        let running = &mut self.tasks[task];
        running.pieces = 0;
        let dirty = running.task.dirty();
        if dirty {
            let commit = running.task.commit(self.now_ms)?;
            self.backend.commit(Transaction { appends: commit.appends }, commit.writes)?;
        }
        self.incidents.extend(running.task.take_incidents());
        self.counters += running.task.take_counters();
        Ok(dirty)
    }

    /// The tasks of a sub-topology (by its place in the topology), for [`Driver::step`].
    pub fn tasks(&self, sub_topology: usize) -> Vec<usize> {
        (0..self.tasks.len()).filter(|task| self.tasks[*task].sub_topology == sub_topology).collect()
    }

    pub fn task(&mut self, task: usize) -> &mut Task {
        &mut self.tasks[task].task
    }

    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// The topic's entries, partition by partition.
    pub fn entries(&self, topic: &str) -> Result<Vec<Vec<Arc<Entry>>>> {
        let mut partitions = Vec::new();
        for partition in 0..self.log.topic(topic)?.config.partitions {
            let source = TopicPartition { topic: topic.into(), partition };
            let limit = FetchLimit::of(usize::MAX, usize::MAX);
            let fetched = self.log.fetch(&source, self.log.offsets(&source)?.start, limit)?.entries;
            partitions.push(fetched.into_iter().map(|fetched| fetched.entry).collect());
        }
        Ok(partitions)
    }

    /// The topic's rows, one partition behind the other; `None` when it has none.
    pub fn read(&self, topic: &str) -> Result<Option<RecordBatch>> {
        let entries = self.entries(topic)?.into_iter().flatten().collect::<Vec<_>>();
        let batches: Vec<&RecordBatch> = entries.iter().filter_map(|entry| entry.payload.batch()).collect();
        Ok(match batches.first() {
            Some(first) => Some(concat_batches(&first.schema(), batches.iter().copied())?),
            None => None,
        })
    }

    /// What the topic holds, as [`text`] shows it.
    pub fn read_text(&self, topic: &str) -> Result<String> {
        Ok(self.read(topic)?.map(|rows| text(&rows)).transpose()?.unwrap_or_default())
    }

    /// How often each partition of a repartition topic was announced to.
    pub fn announcements(&self, topic: &str) -> Result<Vec<usize>> {
        let control = |entry: &&Arc<Entry>| matches!(entry.payload, Payload::Control(_));
        Ok(self.entries(topic)?.iter().map(|entries| entries.iter().filter(control).count()).collect())
    }

    /// The rows of a table, in the order of its keys; see [`TableRows::schema`].
    pub fn table(&self, table: &str) -> Result<RecordBatch> {
        let sub_topology = self.table_maker(table)?;
        let table = TableRows::of(sub_topology)?;
        let store = sub_topology.table_store(&self.topology.query);
        let Some(id) = store.and_then(|store| self.backend.find_store(&store)) else { return table.decode(std::iter::empty()) };
        let partitions = sub_topology.table_sink().map_or(0, |sink| sink.partitions).max(sub_topology.partitions);
        let mut rows = Vec::new();
        for partition in 0..partitions {
            self.backend.scan(id, partition, table.range(), &mut |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            })?;
        }
        rows.sort();
        table.decode(rows.iter().map(|(key, value)| (key.as_slice(), value.as_slice())))
    }

    /// The table as [`text`] shows it.
    pub fn table_text(&self, table: &str) -> Result<String> {
        text(&self.table(table)?)
    }

    /// What a push query has given since this was last asked.
    pub fn pushed(&self) -> Vec<Batch> {
        std::mem::take(&mut *self.pushed.0.lock().expect("no test panics while it holds this"))
    }

    pub fn take_incidents(&mut self) -> Vec<Incident> {
        std::mem::take(&mut self.incidents)
    }

    /// Over all tasks, of what is committed.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn table_maker(&self, table: &str) -> Result<&SubTopology> {
        let mut makers = self.topology.sub_topologies.iter().filter(|sub| sub.table_sink().is_some_and(|sink| sink.sink == table));
        makers.next_back().ok_or_else(|| Error::Topology(format!("nothing fills a table \"{table}\"")))
    }
}

/// The entry in pieces of at most `rows_max` rows.
fn pieces(fetched: &Fetched, rows_max: usize) -> Vec<Fetched> {
    let rows = fetched.entry.rows();
    if rows <= rows_max {
        return vec![fetched.clone()];
    }
    let piece = |from: usize| {
        let length = rows_max.min(rows - from);
        Fetched {
            base_offset: fetched.offset(from),
            offsets: fetched.offsets.as_ref().map(|offsets| offsets[from..from + length].into()),
            next_offset: if from + length == rows { fetched.next_offset } else { fetched.offset(from + length) },
            entry: Arc::new(fetched.entry.slice(from, length)),
        }
    };
    (0..rows).step_by(rows_max).map(piece).collect()
}

/// Rows from text: the first line names the columns and their Arrow types (`k:Int64 v:Utf8`), each other line is a row; `-` is null.
/// Lines are cut at white space.
pub fn rows(text: &str) -> Result<RecordBatch> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let head = lines.next().unwrap_or_default();
    let mut fields = Vec::new();
    for column in head.split_whitespace() {
        let (name, data_type) = column.split_once(':').unwrap_or((column, "Utf8"));
        fields.push(Field::new(name, data_type.parse::<DataType>()?, true));
    }
    let cells: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let cell = |row: &Vec<&str>| row.get(index).copied().filter(|cell| *cell != "-").map(str::to_owned);
        let texts: StringArray = cells.iter().map(cell).collect();
        columns.push(cast(&texts, field.data_type())?);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Rows as text: names, then a line for each row; nulls are `-`.
pub fn text(rows: &RecordBatch) -> Result<String> {
    let options = FormatOptions::default().with_null("-");
    let columns = rows.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let schema = rows.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut lines = vec![names.join(" ")];
    for row in 0..rows.num_rows() {
        let cells: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
        lines.push(cells.join(" "));
    }
    Ok(lines.join("\n"))
}

/// As [`text`], the rows sorted: for what has no order.
pub fn sorted_text(rows: &RecordBatch) -> Result<String> {
    let text = text(rows)?;
    let mut lines: Vec<&str> = text.lines().collect();
    if let Some(rows) = lines.get_mut(1..) {
        rows.sort_unstable();
    }
    Ok(lines.join("\n"))
}
