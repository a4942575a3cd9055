//! Processes of one service over one log and one group, each with a host that writes down what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_log::{FetchLimit, Log, MemoryLog, Payload, TopicPartition, opaque};
use millpond_membership::memory::{MemoryGroup, MemoryMember};
use millpond_membership::{Assignment, Config, Coordinator, Group, Holding, Host, Unit, topic};
use parking_lot::{Condvar, Mutex};

/// Longer than anything takes.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct Service {
    pub log: Arc<dyn Log>,
    pub group: MemoryGroup,
    catalog: Arc<Mutex<BTreeSet<Unit>>>,
    claims: Arc<Mutex<Claims>>,
}

pub struct Process {
    pub instance: String,
    pub member: Arc<MemoryMember>,
    pub coordinator: Arc<Coordinator>,
    pub host: Arc<Recorder>,
}

/// Which member runs what, and what was wrong with that.
#[derive(Default)]
struct Claims {
    running: BTreeMap<Unit, String>,
    wrong: Vec<String>,
}

pub struct Recorder {
    group: MemoryGroup,
    catalog: Arc<Mutex<BTreeSet<Unit>>>,
    claims: Arc<Mutex<Claims>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    told: Vec<Holding>,
    /// Calls that come do not return.
    held_up: bool,
}

pub fn units(partitions: std::ops::Range<u32>) -> BTreeSet<Unit> {
    partitions.map(|partition| Unit::new("t", partition)).collect()
}

impl Service {
    pub fn new(partitions: u32) -> Service {
        let catalog = Arc::new(Mutex::new(units(0..partitions)));
        Service { log: Arc::new(MemoryLog::new()), group: MemoryGroup::new(), catalog, claims: Arc::default() }
    }

    pub fn set_units(&self, units: BTreeSet<Unit>) {
        *self.catalog.lock() = units;
    }

    pub fn start(&self, instance: &str) -> Process {
        self.start_over(instance, Arc::clone(&self.log))
    }

    pub fn start_over(&self, instance: &str, log: Arc<dyn Log>) -> Process {
        let member = self.group.join(instance);
        let (group, catalog, claims) = (self.group.clone(), Arc::clone(&self.catalog), Arc::clone(&self.claims));
        let host = Arc::new(Recorder { group, catalog, claims, state: Mutex::default(), changed: Condvar::new() });
        let address = format!("{instance}:6455");
        let config = Config { service_id: "s".to_owned(), instance: instance.to_owned(), address };
        let log = Arc::new(member.fence(log));
        let group: Arc<dyn Group> = member.clone();
        let coordinator = Coordinator::start(config, log, group, host.clone()).unwrap();
        Process { instance: instance.to_owned(), member, coordinator, host }
    }

    /// Processes of these instances, each of which runs as many units as any other.
    pub fn start_all(&self, instances: &[&str]) -> Vec<Process> {
        let processes: Vec<Process> = instances.iter().map(|instance| self.start(instance)).collect();
        let share = self.catalog.lock().len() / instances.len();
        processes.iter().for_each(|process| process.host.wait_running(|units| units.len() == share));
        processes
    }

    /// The epochs of all assignments that were ever written.
    pub fn epochs(&self) -> Vec<u64> {
        let (partition, mut epochs) = (TopicPartition::new(topic("s"), 0), Vec::new());
        for fetched in self.log.fetch(&partition, 0, FetchLimit::NONE).unwrap().entries {
            let Payload::Opaque(batch) = &fetched.entry.payload else { panic!("it is opaque") };
            let columns = opaque::Columns::of(batch).unwrap();
            let assignment =
                (columns.key(0) == Some(b"assignment")).then(|| serde_json::from_slice::<Assignment>(columns.value(0).unwrap()));
            epochs.extend(assignment.and_then(Result::ok).map(|assignment| assignment.epoch));
        }
        epochs
    }

    /// How many records there are.
    pub fn end(&self) -> u64 {
        self.log.offsets(&TopicPartition::new(topic("s"), 0)).unwrap().end
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.claims.lock().wrong, Vec::<String>::new());
            let epochs = self.epochs();
            assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
        }
    }
}

impl Process {
    /// The assignment that this process sees, once it is `wanted`.
    pub fn wait(&self, wanted: impl Fn(&Assignment) -> bool) -> Arc<Assignment> {
        let found = self.coordinator.wait_until(DEADLINE, wanted);
        found.unwrap_or_else(|| panic!("{} sees {:#?}", self.instance, self.coordinator.assignment()))
    }
}

impl Recorder {
    pub fn told(&self) -> Vec<Holding> {
        self.state.lock().told.clone()
    }

    pub fn running(&self) -> BTreeSet<Unit> {
        running(&self.state.lock().told)
    }

    pub fn wait_running(&self, wanted: impl Fn(&BTreeSet<Unit>) -> bool) {
        self.wait(|told| wanted(&running(told)));
    }

    pub fn wait(&self, wanted: impl Fn(&[Holding]) -> bool) {
        let (deadline, mut state) = (Instant::now() + DEADLINE, self.state.lock());
        while !wanted(&state.told) {
            assert!(!self.changed.wait_until(&mut state, deadline).timed_out(), "{:#?}", state.told);
        }
    }

    /// Calls that come from now on do not return before [`Recorder::go_on`].
    pub fn hold_up(&self) {
        self.state.lock().held_up = true;
    }

    pub fn go_on(&self) {
        self.state.lock().held_up = false;
        self.changed.notify_all();
    }

    pub fn abandoned(&self) -> usize {
        self.told().iter().filter(|holding| matches!(holding, Holding::Abandon { .. })).count()
    }
}

fn running(told: &[Holding]) -> BTreeSet<Unit> {
    match told.last() {
        Some(Holding::Run { units, .. }) => units.clone(),
        _ => BTreeSet::new(),
    }
}

impl Claims {
    fn stop(&mut self, member: &str, kept: &BTreeSet<Unit>) {
        self.running.retain(|unit, by| by != member || kept.contains(unit));
    }

    fn run(&mut self, group: &MemoryGroup, member: &str, units: &BTreeSet<Unit>) {
        let members = group.members();
        let live = |id: &String| members.iter().any(|member| member.id == *id);
        for unit in units {
            let before = self.running.insert(unit.clone(), member.to_owned());
            if let Some(before) = before.filter(|before| before != member && live(before) && members.iter().any(|other| other.id == member))
            {
                self.wrong.push(format!("{unit}: {before} and {member} at once"));
            }
        }
    }
}

impl Host for Recorder {
    fn units(&self) -> BTreeSet<Unit> {
        self.catalog.lock().clone()
    }

    fn take(&self, holding: Holding) {
        let mut state = self.state.lock();
        let before = state.told.last().and_then(|holding| match holding {
            Holding::Run { member, .. } => Some(member.clone()),
            Holding::Abandon { .. } => None,
        });
        state.told.push(holding.clone());
        self.changed.notify_all();
        while state.held_up {
            self.changed.wait(&mut state);
        }
        drop(state);
        let mut claims = self.claims.lock();
        match holding {
            Holding::Run { member, units } => {
                claims.stop(&member, &units);
                claims.run(&self.group, &member, &units);
            }
            Holding::Abandon { .. } => before.iter().for_each(|member| claims.stop(member, &BTreeSet::new())),
        }
    }
}
