//! Who reads what: each partition through one consumer, and through a further one for each further place of it that is read at the same time.
//!
//! ```text
//!   fetch(partition, offset) ──► the reader that stands there              what it fetched ahead is used
//!                            └─► else one that stands elsewhere, has more of it, and was not asked for that for a while
//!                            └─► else a new one, up to READERS_MAX of the partition: through the consumer that the partition shares with others, or
//!                            │   else through the first of the further ones that does not read it
//!                            └─► else the one that stood elsewhere the longest is moved
//! ```
//! So the number of consumers is that of the places where a partition is read, not of partitions or of those who read; and whoever is behind does not
//! drag along those that are not. Readers that nobody needs are closed, and consumers without readers.
//!
//! A reader hears of what comes to its partition. Where it stopped reading, for an error or because nobody asked for so long, somebody may
//! sleep who believes to be told: it is woken, and [`Known::unheard`] has it ask again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use millpond_log::{Error, Fetch, FetchLimit, Result, TopicPartition};
use parking_lot::{Condvar, Mutex};

use crate::cluster::Cluster;
use crate::columns::record_at;
use crate::consumer::Consumer;
use crate::reader::Reader;

/// After so long without a record it is asked whether there is one.
const PATIENCE: Duration = Duration::from_millis(100);
/// Of one partition.
const READERS_MAX: usize = 8;
/// Who reads on at some place comes back sooner.
const LEFT: Duration = Duration::from_secs(1);
/// And sooner than that in any case: what has been fetched ahead for so long in vain is let go.
const ABANDONED: Duration = Duration::from_secs(10);
/// How often it is looked for that.
const LOOK: Duration = Duration::from_secs(1);
/// What nobody has read, or asked about, for so long after all were woken is not fetched ahead any more.
const UNUSED: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Readers {
    cluster: Arc<Cluster>,
    /// So many consumers share what users' topics have, by the partitions' numbers.
    shared: usize,
    /// What their names begin with.
    own_topics: String,
    state: Mutex<State>,
    /// Something was given back.
    returned: Condvar,
}

#[derive(Debug)]
struct State {
    places: HashMap<TopicPartition, Vec<Place>>,
    /// By number; made when they are needed.
    consumers: Vec<Option<Arc<Consumer>>>,
    /// What no reader hears of any more, and nobody has asked for since.
    unheard: HashSet<TopicPartition>,
    /// When all were last woken to ask again.
    woken: Instant,
    /// When it was last looked for what is abandoned.
    looked: Instant,
}

/// Where a partition is read.
#[derive(Debug)]
struct Place {
    consumer: usize,
    /// `None`: in use, or about to be opened or closed.
    reader: Option<Reader>,
    /// The topic was deleted meanwhile: it is closed when it comes back.
    gone: bool,
}

/// What is known of a partition.
pub(crate) struct Known {
    /// Where it ended when a reader last heard of it; `None`: no free reader reads it.
    pub end: Option<u64>,
    /// Whether nobody may tell of what comes to it until it is fetched from again.
    pub unheard: bool,
}

/// Who is to read.
enum Choice {
    Reader(Reader),
    /// A new one, through that consumer. `known`: it reads others of the topic.
    Open {
        consumer: Arc<Consumer>,
        known: bool,
    },
    /// Whoever comes back first.
    Wait,
}

impl State {
    fn new() -> State {
        let now = Instant::now();
        State { places: HashMap::new(), consumers: Vec::new(), unheard: HashSet::new(), woken: now, looked: now }
    }

    fn choose(&mut self, partition: &TopicPartition, start: u64, readers: &Readers) -> Result<Choice> {
        let places = self.places.get_mut(partition).map(Vec::as_mut_slice).unwrap_or_default();
        let find = |suits: &dyn Fn(&Reader) -> bool| places.iter().position(|place| place.reader.as_ref().is_some_and(suits));
        // Where it has nothing more, somebody may sleep until it has.
        let found = find(&|reader| reader.next() == start).or_else(|| find(&|reader| reader.has_left(LEFT)));
        if found.is_none() && places.len() < READERS_MAX {
            return self.open(partition, readers);
        }
        let oldest = || {
            let used = |(index, place): (usize, &Place)| Some((place.reader.as_ref()?.used(), index));
            places.iter().enumerate().filter_map(used).min().map(|(_, index)| index)
        };
        let reader = found.or_else(oldest).and_then(|index| places[index].reader.take());
        Ok(reader.map_or(Choice::Wait, Choice::Reader))
    }

    fn open(&mut self, partition: &TopicPartition, readers: &Readers) -> Result<Choice> {
        let known = |consumer: usize| {
            let mut of_topic = self.places.iter().filter(|(other, _)| *other.topic == *partition.topic);
            of_topic.any(|(_, places)| places.iter().any(|place| place.consumer == consumer))
        };
        let reads = |number: &usize| self.places.get(partition).is_some_and(|places| places.iter().any(|place| place.consumer == *number));
        let home = readers.home(partition);
        let number = std::iter::once(home).chain(readers.shared + 1..).find(|number| !reads(number)).unwrap_or(home);
        let known = known(number);
        if self.consumers.len() <= number {
            self.consumers.resize(number + 1, None);
        }
        let consumer = match &self.consumers[number] {
            Some(consumer) => Arc::clone(consumer),
            None => Arc::clone(self.consumers[number].insert(Arc::new(Consumer::new(number, &readers.cluster)?))),
        };
        self.places.entry(partition.clone()).or_default().push(Place { consumer: number, reader: None, gone: false });
        Ok(Choice::Open { consumer, known })
    }

    fn place_mut(&mut self, partition: &TopicPartition, consumer: usize) -> Option<&mut Place> {
        self.places.get_mut(partition)?.iter_mut().find(|place| place.consumer == consumer)
    }

    /// The free readers that go, to be closed.
    fn take(&mut self, goes: impl Fn(&Reader) -> bool) -> Vec<Reader> {
        let places = self.places.values_mut().flatten();
        places.filter_map(|place| place.reader.take_if(|reader| goes(reader))).collect()
    }

    /// Nobody reads the partition through the consumer any more.
    fn remove(&mut self, partition: &TopicPartition, consumer: usize) {
        let Some(places) = self.places.get_mut(partition) else { return };
        let gone = places.extract_if(.., |place| place.consumer == consumer).any(|place| place.gone);
        if places.is_empty() {
            self.places.remove(partition);
        }
        // Nobody can count on hearing of a topic that was deleted.
        if !gone {
            self.unheard.insert(partition.clone());
        }
    }

    /// Those that read nothing.
    fn take_idle(&mut self) -> Vec<Arc<Consumer>> {
        let idle = |consumer: &mut Option<Arc<Consumer>>| consumer.take_if(|consumer| Arc::strong_count(consumer) == 1);
        self.consumers.iter_mut().filter_map(idle).collect()
    }
}

impl Readers {
    pub fn new(cluster: Arc<Cluster>) -> Readers {
        let (shared, own_topics) = (cluster.options().consumers.max(1), cluster.options().prefix());
        Readers { cluster, shared, own_topics, state: Mutex::new(State::new()), returned: Condvar::new() }
    }

    /// The consumer that the partition shares with others. A request for records names all partitions of its consumer, so those of the service's
    /// own topics, which are many and mostly quiet, have one to themselves.
    fn home(&self, partition: &TopicPartition) -> usize {
        match partition.topic.starts_with(&self.own_topics) {
            true => 0,
            false => 1 + partition.partition as usize % self.shared,
        }
    }

    /// How many consumers there are.
    pub fn consumers(&self) -> usize {
        self.state.lock().consumers.iter().flatten().count()
    }

    /// What is there from `from` on; waits for it, up to the timeout.
    pub fn read(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Fetch> {
        self.cluster.check_partition(partition)?;
        let deadline = Instant::now() + self.cluster.timeout();
        let mut wait = Duration::ZERO;
        loop {
            let fetch = self.fetch(partition, from, limit, wait)?;
            if fetch.next_offset > from {
                return Ok(fetch);
            }
            let range = self.cluster.offsets(partition)?;
            if from == range.end {
                return Ok(fetch);
            }
            range.check(partition, from)?;
            if Instant::now() >= deadline {
                return Err(Error::Storage(format!(
                    "Kafka: nothing came of {partition} from {from} on within {:?}",
                    self.cluster.timeout()
                )));
            }
            wait = PATIENCE;
        }
    }

    /// What is there from `from` on, or how much further a reader has come without anything to see; waits up to `wait` for it.
    pub fn fetch(&self, partition: &TopicPartition, from: u64, limit: FetchLimit, wait: Duration) -> Result<Fetch> {
        let mut reader = self.take(partition, record_at(&partition.topic, from))?;
        let fetched = reader.fetch(from, limit, wait);
        match &fetched {
            Ok(_) => self.give_back(reader),
            Err(_) => self.close(vec![reader]),
        }
        fetched
    }

    pub fn known(&self, partition: &TopicPartition) -> Known {
        let mut state = self.state.lock();
        let places = state.places.get_mut(partition).map(Vec::as_mut_slice).unwrap_or_default();
        let end = places.iter_mut().filter_map(|place| place.reader.as_mut()?.known_end()).max();
        Known { end, unheard: state.unheard.contains(partition) }
    }

    fn take(&self, partition: &TopicPartition, start: u64) -> Result<Reader> {
        let mut state = self.state.lock();
        loop {
            match state.choose(partition, start, self)? {
                Choice::Reader(reader) => return Ok(reader),
                Choice::Open { consumer, known } => {
                    drop(state);
                    let number = consumer.number;
                    return Reader::open(consumer, partition, start, known).inspect_err(|_| self.closed(&[(partition.clone(), number)]));
                }
                Choice::Wait => self.returned.wait(&mut state),
            }
        }
    }

    fn give_back(&self, reader: Reader) {
        let mut state = self.state.lock();
        state.unheard.remove(reader.partition());
        let mut closing = Vec::new();
        match state.place_mut(reader.partition(), reader.consumer()) {
            Some(place) if !place.gone => place.reader = Some(reader),
            _ => closing.push(reader),
        }
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            closing.extend(state.take(|reader| reader.has_left(ABANDONED)));
        }
        drop(state);
        self.returned.notify_all();
        self.close(closing);
    }

    /// Lets go of what nobody reads any more. Their places are taken until they are closed: the consumer cannot be given their partitions before.
    fn close(&self, readers: Vec<Reader>) {
        let closed: Vec<(TopicPartition, usize)> = readers.into_iter().map(Reader::close).collect();
        self.closed(&closed);
    }

    fn closed(&self, closed: &[(TopicPartition, usize)]) {
        if closed.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        closed.iter().for_each(|(partition, consumer)| state.remove(partition, *consumer));
        drop(state);
        self.returned.notify_all();
        self.cluster.notifier().notify();
    }

    pub fn forget_topic(&self, topic: &str) {
        let mut state = self.state.lock();
        state.unheard.retain(|partition| *partition.topic != *topic);
        let of_topic = state.places.iter_mut().filter(|(partition, _)| *partition.topic == *topic);
        of_topic.flat_map(|(_, places)| places).for_each(|place| place.gone = true);
        let readers = state.take(|reader| *reader.partition().topic == *topic);
        drop(state);
        self.close(readers);
    }

    /// Lets go of partitions that nobody reads, and closes consumers that have none; hands on what librdkafka has to say.
    pub fn tidy(&self) {
        let mut state = self.state.lock();
        let idle = state.take_idle();
        // Who counts on hearing of a partition has asked about it when woken, however long nothing has come.
        let asked_since = (state.woken.elapsed() >= UNUSED).then(|| std::mem::replace(&mut state.woken, Instant::now()));
        let unused = asked_since.map(|moment| state.take(|reader| reader.heard() < moment)).unwrap_or_default();
        state.consumers.iter().flatten().for_each(|consumer| consumer.poll());
        let wake = asked_since.is_some() || !state.unheard.is_empty();
        drop(state);
        self.close(unused);
        if wake {
            self.cluster.notifier().notify();
        }
        // Takes a moment each: they say goodbye to their brokers.
        drop(idle);
    }
}
