//! The producers of a process: as many as write at the same time.
//!
//! All are made at the start, which ends what a former process of the service had begun, and keeps it from going on: Kafka lets the newest
//! producer of a transactional id write only. Whoever finds its place taken so writes nothing more.

use millpond_log::{Append, Error, Result};
use parking_lot::{Condvar, Mutex};

use crate::options::Options;
use crate::producer::{Producer, Written};

pub(crate) struct Producers {
    options: Options,
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
    pub fn new(options: Options) -> Result<Producers> {
        let made = make(&options, (0..options.producers.max(1)).collect());
        let free = made.into_iter().map(|(_, producer)| producer).collect::<Result<Vec<Producer>>>()?;
        let state = State { free, gone: Vec::new(), fenced: None };
        Ok(Producers { options, state: Mutex::new(state), returned: Condvar::new() })
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
            let mut state = self.state.lock();
            state.gone.push(number);
            if let Err(Error::Fenced(reason)) = &outcome.result {
                state.fenced = Some(reason.clone());
            }
        }
        self.returned.notify_one();
        outcome.result
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
            if let Some(number) = state.gone.pop() {
                drop(state);
                return Producer::new(&self.options, number).inspect_err(|_| {
                    self.state.lock().gone.push(number);
                    self.returned.notify_one();
                });
            }
            self.returned.wait(&mut state);
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
        let made = make(&self.options, gone);
        let mut outcome = Ok(());
        let mut state = self.state.lock();
        for (number, producer) in made {
            match producer {
                Ok(producer) => state.free.push(producer),
                Err(error) => {
                    state.gone.push(number);
                    outcome = Err(error);
                }
            }
        }
        drop(state);
        self.returned.notify_all();
        outcome
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
