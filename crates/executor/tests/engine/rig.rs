//! An engine under test: statements as text, rows as numbers, a clock that is moved by hand, storage that can be made to fail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::util::display::array_value_to_string;
use millpond_catalog::Command;
use millpond_executor::{Clock, Config, Engine, ManualClock, MemberConfig, Push, QueryState, Result, SourceWrite, Storage, SystemClock};
use millpond_log::entry::TOMBSTONE;
use millpond_log::{FetchLimit, Payload, TopicPartition};
use millpond_planner::Settings;
use millpond_sql::Dialect;
use millpond_sql::ast::{self, Kind};
use millpond_state::StoreId;
use millpond_state::memory::MemoryBackend;

use crate::faults::{Faults, FaultyLog, FaultyState};

pub const STREAM: &str = "CREATE STREAM events (k BIGINT, v BIGINT) WITH (kafka_topic = 'events', partitions = 4)";

pub const WINDOWED: &str = "CREATE TABLE counts AS SELECT k, COUNT(*) AS n, SUM(v) AS total FROM events \
     WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 5 SECONDS) GROUP BY k EMIT CHANGES";

pub struct Rig {
    pub engine: Engine,
    pub clock: Arc<ManualClock>,
    pub faults: Arc<Faults>,
    storage: Storage,
}

impl Rig {
    pub fn new(workers: usize) -> Rig {
        let backend = Arc::new(MemoryBackend::new());
        Rig::over(Storage { log: backend.log(), state: backend }, workers)
    }

    /// Commits come from FLUSH only: the clock stands still.
    pub fn over(storage: Storage, workers: usize) -> Rig {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        Rig::open(storage, workers, false, None, clock.clone(), clock)
    }

    /// As many workers as there is work for.
    pub fn gathering(workers: usize) -> Rig {
        let backend = Arc::new(MemoryBackend::new());
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        Rig::open(Storage { log: backend.log(), state: backend }, workers, true, None, clock.clone(), clock)
    }

    /// One of several, which commit by themselves: what one waits for, another does.
    pub fn member(storage: Storage, workers: usize, member: MemberConfig) -> Rig {
        let unused = Arc::new(ManualClock::new(0));
        Rig::open(storage, workers, false, Some(member), Arc::new(SystemClock), unused)
    }

    fn open(
        storage: Storage,
        workers: usize,
        gather: bool,
        member: Option<MemberConfig>,
        clock: Arc<dyn Clock>,
        by_hand: Arc<ManualClock>,
    ) -> Rig {
        let faults = Arc::new(Faults::default());
        let watched = Storage {
            log: Arc::new(FaultyLog::new(Arc::clone(&storage.log), Arc::clone(&faults))),
            state: Arc::new(FaultyState::new(Arc::clone(&storage.state), Arc::clone(&faults))),
        };
        let config = Config { workers, commit_interval: Duration::from_millis(100), service_id: "test".to_owned(), member, gather };
        let engine = Engine::open_with_clock(config, watched, clock).unwrap();
        Rig { engine, clock: by_hand, faults, storage }
    }

    /// Stops it cleanly and starts it again.
    pub fn restarted(self, workers: usize) -> Rig {
        self.engine.shutdown();
        Rig::over(self.storage, workers)
    }

    /// Nothing that is not committed by now will be; then as after a start.
    pub fn crashed(self, workers: usize) -> Rig {
        self.faults.refuse_commits(true);
        self.restarted(workers)
    }

    pub fn sql(&self, text: &str) -> Result<()> {
        for statement in millpond_sql::parse(text, Dialect::default()).unwrap() {
            let catalog = self.engine.catalog();
            let settings = settings();
            match &statement.kind {
                Kind::CreateSource(create) => {
                    self.engine.execute(millpond_planner::create_source(create, &statement.text, &catalog, &settings)?, None)?;
                }
                Kind::CreateAs(create) => {
                    let planned = millpond_planner::create_as(create, &statement.text, &catalog, &settings)?;
                    self.engine.execute(planned.command, Some(planned.topology))?;
                }
                Kind::InsertSelect(insert) => {
                    let planned = millpond_planner::insert_select(insert, &statement.text, &catalog, &settings)?;
                    self.engine.execute(planned.command, Some(planned.topology))?;
                }
                Kind::Drop(drop) => {
                    self.engine.execute(Command::Drop { name: drop.name.clone(), delete_topic: drop.delete_topic }, None)?;
                }
                Kind::Lifecycle { action, query: Some(query) } => {
                    let query = query.clone();
                    let command = match action {
                        ast::Action::Terminate => Command::Terminate { query },
                        ast::Action::Pause => Command::Query { query, state: millpond_catalog::QueryState::Paused },
                        ast::Action::Resume => Command::Query { query, state: millpond_catalog::QueryState::Running },
                    };
                    self.engine.execute(command, None)?;
                }
                Kind::ResetQuery(reset) => self.engine.reset(reset)?,
                Kind::Flush => self.engine.flush()?,
                other => panic!("the rig does not know {other:?}"),
            }
        }
        Ok(())
    }

    pub fn push(&self, text: &str, from_earliest: bool) -> Push {
        let statements = millpond_sql::parse(text, Dialect::default()).unwrap();
        let Kind::Query(query) = &statements[0].kind else { panic!("{text} is no query") };
        let planned = millpond_planner::push(query, &self.engine.catalog(), &settings()).unwrap();
        self.engine.push(planned.topology, from_earliest).unwrap()
    }

    /// Rows of BIGINT columns, each with its rowtime.
    pub fn write(&self, source: &str, rows: &[(&[i64], i64)]) {
        self.try_write(source, rows, None).unwrap();
    }

    pub fn try_write(&self, source: &str, rows: &[(&[i64], i64)], tombstones: Option<BooleanArray>) -> Result<()> {
        let source = Arc::clone(self.engine.catalog().source(source).unwrap());
        let fields: Vec<Field> = source.columns.iter().map(|column| Field::new(&column.name, DataType::Int64, true)).collect();
        let column = |index: usize| Arc::new(rows.iter().map(|(values, _)| Some(values[index])).collect::<Int64Array>()) as _;
        let columns = (0..fields.len()).map(column).collect();
        let rowtime = rows.iter().map(|(_, time)| Some(*time)).collect();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        self.engine.append(vec![SourceWrite { source, rows, rowtime: Some(rowtime), tombstones }])
    }

    pub fn flush(&self) {
        self.engine.flush().unwrap();
    }

    /// What the changes in a table's topic make: the values of `key` to those of `values`, each as text.
    pub fn table(&self, topic: &str, key: &[&str], values: &[&str]) -> BTreeMap<String, String> {
        let mut table = BTreeMap::new();
        for rows in self.entries(topic) {
            let tombstones = rows.column_by_name(TOMBSTONE).map(|column| column.as_boolean().clone());
            for row in 0..rows.num_rows() {
                let text = |columns: &[&str]| {
                    let cell = |name: &&str| array_value_to_string(rows.column_by_name(name).unwrap(), row).unwrap();
                    columns.iter().map(cell).collect::<Vec<_>>().join(" ")
                };
                if tombstones.as_ref().is_some_and(|tombstones| tombstones.value(row)) {
                    table.remove(&text(key));
                } else {
                    table.insert(text(key), text(values));
                }
            }
        }
        table
    }

    /// The `counts` of [`WINDOWED`]: key and window start (ms) to count and sum.
    pub fn counts(&self) -> BTreeMap<(i64, i64), (i64, i64)> {
        let mut counts = BTreeMap::new();
        for rows in self.entries("counts") {
            let column = |name: &str| {
                let column = arrow::compute::cast(rows.column_by_name(name).unwrap(), &DataType::Int64).unwrap();
                column.as_primitive::<Int64Type>().clone()
            };
            let (key, start, n, total) = (column("k"), column("windowstart"), column("n"), column("total"));
            for row in 0..rows.num_rows() {
                counts.insert((key.value(row), start.value(row)), (n.value(row), total.value(row)));
            }
        }
        counts
    }

    /// All entries of columns of a topic, partition by partition.
    pub fn entries(&self, topic: &str) -> Vec<RecordBatch> {
        let partitions = self.storage.log.topic(topic).unwrap().config.partitions;
        let mut batches = Vec::new();
        for partition in 0..partitions {
            let partition = TopicPartition::new(topic, partition);
            let range = self.storage.log.offsets(&partition).unwrap();
            for fetched in self.storage.log.fetch(&partition, range.start, FetchLimit::NONE).unwrap().entries {
                match &fetched.entry.payload {
                    Payload::Columns(rows) => batches.push(rows.clone()),
                    other => panic!("{topic} has {other:?}"),
                }
            }
        }
        batches
    }

    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    pub fn stores(&self) -> Vec<String> {
        self.storage.state.stores().unwrap().into_iter().map(|(name, _)| name).collect()
    }

    pub fn name_of(&self, store: StoreId) -> Option<String> {
        self.storage.state.stores().unwrap().into_iter().find(|(_, id)| *id == store).map(|(name, _)| name)
    }

    pub fn topics(&self) -> Vec<String> {
        self.storage.log.topics().unwrap().into_iter().map(|topic| topic.name.to_string()).collect()
    }

    pub fn status(&self, query: &str) -> millpond_executor::QueryStatus {
        self.engine.queries().into_iter().find(|status| status.id == query).unwrap_or_else(|| panic!("there is no query {query}"))
    }

    /// Lets the engine get there by itself; panics when it does not.
    pub fn until(&self, query: &str, state: QueryState) {
        self.eventually(|| self.status(query).state == state);
    }

    pub fn eventually(&self, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < deadline, "it does not come about");
            std::thread::yield_now();
        }
    }

    pub fn advance(&self, by_ms: i64) {
        self.clock.advance(by_ms);
        self.engine.wake();
    }
}

fn settings() -> Settings {
    Settings { service_id: "test".to_owned(), ..Settings::default() }
}

/// Pseudo-random numbers, the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound) as i64
    }
}

/// Rows for `events` (key, value, rowtime): a row each `step_ms`, up to `disorder_ms` late.
pub fn events(rows: usize, step_ms: i64, disorder_ms: i64, random: &mut Random) -> Vec<([i64; 2], i64)> {
    let event = |row: usize| {
        let late = if disorder_ms > 0 { random.below(disorder_ms as u64) } else { 0 };
        ([random.below(50), random.below(1_000)], 1_000_000 + row as i64 * step_ms + disorder_ms - late)
    };
    (0..rows).map(event).collect()
}

/// What [`WINDOWED`] is to count of them when none is late.
pub fn by_hand<'a>(events: impl IntoIterator<Item = &'a ([i64; 2], i64)>) -> BTreeMap<(i64, i64), (i64, i64)> {
    let mut counts = BTreeMap::new();
    for ([key, value], time_ms) in events {
        let (n, total) = counts.entry((*key, time_ms - time_ms % 10_000)).or_insert((0, 0));
        *n += 1;
        *total += value;
    }
    counts
}

pub fn rows(events: &[([i64; 2], i64)]) -> Vec<(&[i64], i64)> {
    events.iter().map(|(values, time_ms)| (&values[..], *time_ms)).collect()
}
