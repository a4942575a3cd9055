//! The readers of a process: as many as fetch at the same time, each a consumer.
//!
//! ```text
//!   fetch(partition, offset) ──► the free reader that stands there          what it fetched ahead is used
//!                            └─► else a free one that does not read it
//!                            └─► else one that stands elsewhere, has more of it, and was not asked for that for a while
//!                            └─► else a new one, up to READERS_MAX
//!                            └─► else the one that stood elsewhere the longest is moved
//! ```
//! So each worker finds the consumer with its partitions again, and a reader that is behind does not drag along those that are not.
//!
//! Readers whose partitions nobody reads any more are closed.
//!
//! A reader hears of what comes to its partitions. Where it stopped reading one, for an error or because nobody asked for so long, somebody may
//! sleep who believes to be told: it is woken, and [`Readers::is_unheard`] has it ask again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashSet;
use millpond_log::{Error, Fetch, FetchLimit, Result, TopicPartition};
use parking_lot::{Condvar, Mutex};

use crate::cluster::Cluster;
use crate::columns::record_at;
use crate::reader::Reader;

/// After so long without a record it is asked whether there is one.
const PATIENCE: Duration = Duration::from_millis(100);
const READERS_MAX: usize = 8;
/// Who reads on at some place comes back sooner.
const LEFT: Duration = Duration::from_secs(1);
/// What nobody has read, or asked about, for so long after all were woken is not fetched ahead any more.
const UNUSED: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Readers {
    cluster: Arc<Cluster>,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug)]
struct State {
    free: Vec<Reader>,
    made: usize,
    /// What no reader hears of any more, and nobody has asked for since.
    unheard: HashSet<TopicPartition>,
    /// Topics that were deleted while readers were out.
    deleted: Vec<Arc<str>>,
    /// When all were last woken to ask again.
    woken: Instant,
}

impl State {
    fn new() -> State {
        State { free: Vec::new(), made: 0, unheard: HashSet::new(), deleted: Vec::new(), woken: Instant::now() }
    }

    /// Those that read nothing.
    fn take_idle(&mut self) -> Vec<Reader> {
        let idle: Vec<Reader> = self.free.extract_if(.., |reader| reader.is_idle()).collect();
        self.made -= idle.len();
        idle
    }
}

impl Readers {
    pub fn new(cluster: Arc<Cluster>) -> Readers {
        Readers { cluster, state: Mutex::new(State::new()), returned: Condvar::new() }
    }

    pub fn count(&self) -> usize {
        self.state.lock().made
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
        let fetched = reader.fetch(partition, from, limit, wait);
        self.give_back(reader, partition);
        if fetched.is_err() {
            self.cluster.notifier().notify();
        }
        fetched
    }

    /// Where the partition ended when a reader last heard of it; `None`: no free reader reads it.
    pub fn known_end(&self, partition: &TopicPartition) -> Option<u64> {
        self.state.lock().free.iter_mut().filter_map(|reader| reader.known_end(partition)).max()
    }

    /// Whether nobody will tell of what comes to the partition until it is fetched from again.
    pub fn is_unheard(&self, partition: &TopicPartition) -> bool {
        self.state.lock().unheard.contains(partition)
    }

    fn take(&self, partition: &TopicPartition, start: u64) -> Result<Reader> {
        let mut state = self.state.lock();
        loop {
            let places: Vec<Option<(u64, Instant)>> = state.free.iter().map(|reader| reader.place(partition)).collect();
            let there = places.iter().position(|place| place.is_some_and(|(next, _)| next == start));
            let oldest = || {
                let used = |(index, place): (usize, &Option<(u64, Instant)>)| Some((place.as_ref()?.1, index));
                places.iter().enumerate().filter_map(used).min()
            };
            // Where it has nothing more, somebody may sleep until it has.
            let left = || state.free.iter().position(|reader| reader.has_left(partition, LEFT));
            let index = match there.or_else(|| places.iter().position(Option::is_none)).or_else(left) {
                Some(index) => index,
                None if state.made < READERS_MAX => {
                    state.made += 1;
                    drop(state);
                    return Reader::new(&self.cluster).inspect_err(|_| {
                        self.state.lock().made -= 1;
                        // There is room for one that waits.
                        self.returned.notify_one();
                    });
                }
                None => match oldest() {
                    Some((_, index)) => index,
                    None => {
                        self.returned.wait(&mut state);
                        continue;
                    }
                },
            };
            return Ok(state.free.swap_remove(index));
        }
    }

    /// After a fetch from `partition`.
    fn give_back(&self, mut reader: Reader, partition: &TopicPartition) {
        let mut state = self.state.lock();
        if reader.place(partition).is_some() {
            state.unheard.remove(partition);
        } else {
            state.unheard.insert(partition.clone());
        }
        for topic in &state.deleted {
            reader.release_topic(topic);
        }
        state.free.push(reader);
        if state.free.len() == state.made {
            state.deleted.clear();
        }
        self.returned.notify_one();
    }

    pub fn forget_topic(&self, topic: &str) {
        let mut state = self.state.lock();
        state.free.iter_mut().for_each(|reader| reader.release_topic(topic));
        state.unheard.retain(|partition| *partition.topic != *topic);
        if state.free.len() < state.made {
            state.deleted.push(topic.into());
        }
    }

    /// Lets go of partitions that nobody reads, and closes readers that have none; hands on what librdkafka has to say.
    pub fn tidy(&self) {
        let mut state = self.state.lock();
        let idle = state.take_idle();
        let State { free, unheard, woken, .. } = &mut *state;
        // Who counts on hearing of a partition has asked about it when woken, however long nothing has come.
        let asked_since = (woken.elapsed() >= UNUSED).then(|| std::mem::replace(woken, Instant::now()));
        for reader in free {
            asked_since.iter().for_each(|moment| unheard.extend(reader.release_unused(*moment)));
            reader.poll();
        }
        let wake = asked_since.is_some() || !unheard.is_empty();
        drop(state);
        if wake {
            self.cluster.notifier().notify();
        }
        // Takes a moment each: they say goodbye to their brokers.
        drop(idle);
    }
}
