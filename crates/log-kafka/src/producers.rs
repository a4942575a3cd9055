//! The producers of a process: as many as write at the same time.
//!
//! All are made at the start, which ends what a former process of the service had begun, and keeps it from going on ([`super::owner`]).
//! Whoever finds its place taken by another process writes nothing more.

use millpond_log::{Append, Error, Result};
use parking_lot::{Condvar, Mutex};

use crate::options::Options;
use crate::owner::Owner;
use crate::producer::{Producer, Written};

const ARRIVAL_TRIES: usize = 5;

pub(crate) struct Producers {
    options: Options,
    owner: Owner,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    free: Vec<Producer>,
    /// Of those that are gone and may have left a transaction in the air: making them anew ends it.
    gone: Vec<usize>,
    /// Another process has taken over: how that was found out.
    fenced: Option<String>,
}

impl Producers {
    pub fn new(options: Options, owner: Owner) -> Result<Producers> {
        let count = options.producers.max(1);
        // The former process may have had more of them.
        let made = make(&options, (0..count.max(owner.producers()?)).collect());
        let mut free = made.into_iter().map(|(_, producer)| producer).collect::<Result<Vec<Producer>>>()?;
        free.truncate(count);
        arrive(&options, &owner, &mut free[0])?;
        let state = State { free, gone: Vec::new(), fenced: None };
        Ok(Producers { options, owner, state: Mutex::new(state), returned: Condvar::new() })
    }

    pub fn transact(&self, appends: &[Append]) -> Result<Vec<Written>> {
        let producer = self.take()?;
        let outcome = producer.transact(appends);
        if outcome.usable {
            self.state.lock().free.push(producer);
        } else {
            let number = producer.number;
            // Takes a moment: it waits for what is on its way.
            drop(producer);
            self.state.lock().gone.push(number);
        }
        self.returned.notify_one();
        match outcome.result {
            Err(Error::Fenced(reason)) => {
                self.verify()?;
                Err(Error::Unresolved(format!("Kafka has ended a transaction that took too long: {reason}")))
            }
            result => result,
        }
    }

    /// Fails when another process has taken over: from then on all do.
    fn verify(&self) -> Result<()> {
        self.owner.verify().inspect_err(|error| {
            if let Error::Fenced(reason) = error {
                self.state.lock().fenced = Some(reason.clone());
                self.returned.notify_all();
            }
        })
    }

    /// Ends what the producers of these numbers may have left in the air. All are free, or gone as before.
    fn make_anew(&self, numbers: Vec<usize>) -> Result<()> {
        if let Err(error) = self.verify() {
            self.state.lock().gone.extend(numbers);
            // Whoever waits for a producer is to try for itself.
            self.returned.notify_all();
            return Err(error);
        }
        let made = make(&self.options, numbers);
        let mut outcome = self.verify();
        let mut state = self.state.lock();
        for (number, producer) in made {
            match producer {
                Ok(producer) => state.free.push(producer),
                Err(error) => {
                    state.gone.push(number);
                    outcome = outcome.and(Err(error));
                }
            }
        }
        drop(state);
        self.returned.notify_all();
        outcome
    }

    fn take(&self) -> Result<Producer> {
        let mut state = self.state.lock();
        loop {
            if let Some(reason) = &state.fenced {
                return Err(Error::Fenced(reason.clone()));
            }
            if let Some(producer) = state.free.pop() {
                return Ok(producer);
            }
            match state.gone.pop() {
                Some(number) => {
                    drop(state);
                    self.make_anew(vec![number])?;
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
        let gone = {
            let mut state = self.state.lock();
            if let Some(reason) = &state.fenced {
                return Err(Error::Fenced(reason.clone()));
            }
            std::mem::take(&mut state.gone)
        };
        if gone.is_empty() {
            return Ok(());
        }
        self.make_anew(gone)
    }
}

/// Writes down that this process has come. One that is alive yet may fence it once more, before it has seen that.
fn arrive(options: &Options, owner: &Owner, producer: &mut Producer) -> Result<()> {
    let arrival = [owner.arrival(options.producers.max(1))];
    let mut tries = ARRIVAL_TRIES;
    loop {
        let outcome = producer.transact(&arrival);
        tries -= 1;
        match outcome.result {
            Ok(written) => {
                written.iter().for_each(|written| owner.arrived(written.last));
                return Ok(());
            }
            Err(error) if tries == 0 => return Err(error),
            Err(error) => tracing::warn!(target: "kafka", %error, "could not take over at once"),
        }
        *producer = Producer::new(options, producer.number)?;
    }
}

/// All at the same time: each waits for the brokers several times.
fn make(options: &Options, numbers: Vec<usize>) -> Vec<(usize, Result<Producer>)> {
    std::thread::scope(|scope| {
        let making: Vec<_> = numbers.into_iter().map(|number| (number, scope.spawn(move || Producer::new(options, number)))).collect();
        making.into_iter().map(|(number, making)| (number, making.join().expect("making a producer does not panic"))).collect()
    })
}

impl std::fmt::Debug for Producers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producers").field("free", &self.state.lock().free.len()).finish_non_exhaustive()
    }
}
