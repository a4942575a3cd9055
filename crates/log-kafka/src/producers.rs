//! The producers of a process: as many as write at the same time.
//!
//! All are made at the start, which ends what a former process of the same instance had begun, and keeps its producers from going on. Where that
//! one had more of them, what the others had begun is ended by the coordinator, when it has taken too long.
//!
//! Kafka lets the newest producer of a transactional id write only, and tells the older one no more than that it is not the newest: another
//! process has come, or the coordinator has ended a transaction that took too long because this process stood still. So whoever is fenced asks
//! the group, if there is one, whether its instance is another process's by now.
//!
//! OWN-1  a process announces itself first ([`crate::group`]) and makes its producers then: who is fenced by them finds that it has come.
//! OWN-2  who makes a producer anew asks before and after: behind the second answer no other process has come without fencing it again.
//!
//! Without a group nobody knows, and a producer is made anew each time: two processes of one instance would fence each other again and again, and
//! neither would lose or double a row by that.

use millpond_log::{Append, Error, Result};
use parking_lot::{Condvar, Mutex};

use crate::fence::Fence;
use crate::group::KafkaGroup;
use crate::options::Options;
use crate::producer::{Producer, Then, Written};

pub(crate) struct Producers {
    options: Options,
    fence: Option<Fence>,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    free: Vec<Producer>,
    /// Of those that are gone and may have left a transaction in the air: making them anew ends it.
    gone: Vec<String>,
}

impl Producers {
    /// `free`: what [`Producers::make`] has made.
    pub fn new(options: Options, free: Vec<Producer>, fence: Option<Fence>) -> Producers {
        Producers { options, fence, state: Mutex::new(State { free, gone: Vec::new() }), returned: Condvar::new() }
    }

    /// All that a process has.
    pub fn make(options: &Options) -> Result<Vec<Producer>> {
        let made = make(options, (0..options.producers.max(1)).map(|number| number.to_string()).collect());
        made.into_iter().map(|(_, producer)| producer).collect()
    }

    pub fn transact(&self, appends: &[Append]) -> Result<Vec<Written>> {
        let producer = self.take()?;
        let outcome = producer.transact(appends, self.fence.as_ref());
        if outcome.then == Then::GoesOn {
            self.state.lock().free.push(producer);
        } else {
            let name = producer.name.clone();
            // Takes a moment: it waits for what is on its way.
            drop(producer);
            self.state.lock().gone.push(name);
        }
        self.returned.notify_one();
        match outcome.result {
            Err(error) if outcome.then == Then::Fenced => match self.verify() {
                Err(replaced @ Error::Fenced(_)) => Err(replaced),
                // Also where it could not be asked: who makes the producer anew asks again.
                _ => Err(Error::Unresolved(format!("Kafka has ended a transaction that took too long: {error}"))),
            },
            result => result,
        }
    }

    fn group(&self) -> Option<&KafkaGroup> {
        self.fence.as_ref().map(Fence::group)
    }

    /// Fails when another process has come in this one's place: from then on all do.
    fn verify(&self) -> Result<()> {
        self.group().map_or(Ok(()), KafkaGroup::verify)
    }

    /// The same, as far as is known.
    fn check(&self) -> Result<()> {
        self.group().and_then(KafkaGroup::replaced).map_or(Ok(()), |reason| Err(Error::Fenced(reason)))
    }

    /// Ends what the producers of these names may have left in the air. All are free, or gone as before.
    fn make_anew(&self, names: Vec<String>) -> Result<()> {
        if let Err(error) = self.verify() {
            self.state.lock().gone.extend(names);
            // Whoever waits for a producer is to try for itself.
            self.returned.notify_all();
            return Err(error);
        }
        let made = make(&self.options, names);
        let verified = self.verify();
        let (mut outcome, mut void) = (Ok(()), Vec::new());
        let mut state = self.state.lock();
        for (name, producer) in made {
            match producer {
                Ok(producer) if verified.is_ok() => state.free.push(producer),
                Ok(producer) => {
                    state.gone.push(name);
                    void.push(producer);
                }
                Err(error) => {
                    state.gone.push(name);
                    outcome = outcome.and(Err(error));
                }
            }
        }
        drop(state);
        drop(void);
        let outcome = verified.and(outcome);
        self.returned.notify_all();
        outcome
    }

    fn take(&self) -> Result<Producer> {
        let mut state = self.state.lock();
        loop {
            if let Err(error) = self.check() {
                // Who waits was woken one at a time.
                self.returned.notify_all();
                return Err(error);
            }
            if let Some(producer) = state.free.pop() {
                return Ok(producer);
            }
            match state.gone.pop() {
                Some(name) => {
                    drop(state);
                    self.make_anew(vec![name])?;
                    state = self.state.lock();
                }
                None => self.returned.wait(&mut state),
            }
        }
    }

    /// Hands on what librdkafka has to say.
    pub fn poll(&self) {
        self.state.lock().free.iter().for_each(Producer::poll);
    }

    /// Ends what gone producers may have left in the air.
    pub fn settle(&self) -> Result<()> {
        self.check()?;
        let gone = std::mem::take(&mut self.state.lock().gone);
        if gone.is_empty() {
            return Ok(());
        }
        self.make_anew(gone)
    }
}

/// All at the same time: each waits for the brokers several times.
fn make(options: &Options, names: Vec<String>) -> Vec<(String, Result<Producer>)> {
    std::thread::scope(|scope| {
        let begin = |name: String| (name.clone(), scope.spawn(move || Producer::new(options, name)));
        let making: Vec<_> = names.into_iter().map(begin).collect();
        making.into_iter().map(|(name, making)| (name, making.join().expect("making a producer does not panic"))).collect()
    })
}

impl std::fmt::Debug for Producers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producers").field("free", &self.state.lock().free.len()).finish_non_exhaustive()
    }
}
