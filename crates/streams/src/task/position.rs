//! Where a task stands: how far each input is taken and each channel has come, and what its operators were told of time. Kept in the
//! store `query/sub-topology/positions`, written with every commit.
//!
//! ```text
//!  input/<node>/<topic>  next offset (u64) │ for each channel: flags (1 time is known, 2 idle), time (i64)
//!  clock                 flags (1 told, 2 ended, 4 has a stream time, 8 all idle) │ told (i64) │ stream time (i64)
//!  layout/<node>         what the node's store is encoded as, as text
//! ```

use millpond_state::Writes;

use super::input::Queue;
use crate::operator::store::StoreHandle;
use crate::time::{Channel, Channels, Clock, StreamTime};
use crate::{Error, Result};

const CLOCK: &[u8] = b"clock";

pub(super) struct Positions {
    store: StoreHandle,
    /// Layouts that are not written yet.
    layouts: Vec<(Vec<u8>, String)>,
}

/// What was saved of an input.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) next_offset: Option<u64>,
    pub(super) channels: Vec<Channel>,
}

impl Positions {
    pub(super) fn new(store: StoreHandle) -> Positions {
        Positions { store, layouts: Vec::new() }
    }

    pub(super) fn input(&self, node: &str, topic: &str) -> Result<Saved> {
        match self.get(&input_key(node, topic))? {
            Some(bytes) => decode_input(&bytes).ok_or_else(corrupt),
            None => Ok(Saved::default()),
        }
    }

    pub(super) fn clock(&self) -> Result<(Clock, StreamTime)> {
        match self.get(CLOCK)? {
            Some(bytes) => decode_clock(&bytes).ok_or_else(corrupt),
            None => Ok((Clock::default(), StreamTime::Unknown)),
        }
    }

    /// Fails when the node's store was written by another version of the query, with rows of other columns.
    pub(super) fn check_layout(&mut self, node: &str, layout: String) -> Result<()> {
        let key = [b"layout/", node.as_bytes()].concat();
        match self.get(&key)? {
            Some(saved) if saved == layout.as_bytes() => {}
            Some(_) => {
                let message = format!("the store of {node} was written with other columns");
                return Err(Error::State(millpond_state::Error::Storage(message)));
            }
            None => self.layouts.push((key, layout)),
        }
        Ok(())
    }

    /// Where positions are written to.
    pub(super) fn writes(&self) -> Writes {
        Writes::new(self.store.id, self.store.partition)
    }

    pub(super) fn write_input(&mut self, node: &str, queue: &Queue, channels: &Channels, writes: &mut Writes) {
        if let Some(position) = queue.position() {
            writes.put(&input_key(node, &queue.topic), &encode_input(position, channels));
        }
    }

    pub(super) fn write_clock(&mut self, clock: Clock, stream_time: StreamTime, writes: &mut Writes) {
        writes.put(CLOCK, &encode_clock(clock, stream_time));
        for (key, layout) in std::mem::take(&mut self.layouts) {
            writes.put(&key, layout.as_bytes());
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut found = self.store.backend.get_many(self.store.id, self.store.partition, &[key])?;
        Ok(found.pop().flatten())
    }
}

fn input_key(node: &str, topic: &str) -> Vec<u8> {
    format!("input/{node}/{topic}").into_bytes()
}

fn encode_input(next_offset: u64, channels: &Channels) -> Vec<u8> {
    let mut bytes = next_offset.to_be_bytes().to_vec();
    for channel in channels.iter() {
        bytes.push(u8::from(channel.time_ms.is_some()) | u8::from(channel.idle) << 1);
        bytes.extend(channel.time_ms.unwrap_or(0).to_be_bytes());
    }
    bytes
}

fn decode_input(bytes: &[u8]) -> Option<Saved> {
    let (next_offset, mut rest) = bytes.split_first_chunk::<8>()?;
    let mut channels = Vec::new();
    while !rest.is_empty() {
        let (flags, behind) = rest.split_first()?;
        let (time_ms, behind) = behind.split_first_chunk::<8>()?;
        channels.push(Channel { time_ms: (flags & 1 != 0).then(|| i64::from_be_bytes(*time_ms)), idle: flags & 2 != 0 });
        rest = behind;
    }
    Some(Saved { next_offset: Some(u64::from_be_bytes(*next_offset)), channels })
}

fn encode_clock(clock: Clock, stream_time: StreamTime) -> Vec<u8> {
    let idle = matches!(stream_time, StreamTime::End(_));
    let flags = [clock.told_ms.is_some(), clock.ended, stream_time.millis().is_some(), idle];
    let mut bytes = vec![flags.iter().enumerate().map(|(bit, flag)| u8::from(*flag) << bit).sum()];
    bytes.extend(clock.told_ms.unwrap_or(0).to_be_bytes());
    bytes.extend(stream_time.millis().unwrap_or(0).to_be_bytes());
    bytes
}

fn decode_clock(bytes: &[u8]) -> Option<(Clock, StreamTime)> {
    let (flags, rest) = bytes.split_first()?;
    let (told, rest) = rest.split_first_chunk::<8>()?;
    let (time, _) = rest.split_first_chunk::<8>()?;
    let time_ms = (flags & 4 != 0).then(|| i64::from_be_bytes(*time));
    let stream_time = match (flags & 8 != 0, time_ms) {
        (true, time_ms) => StreamTime::End(time_ms),
        (false, Some(time_ms)) => StreamTime::At(time_ms),
        (false, None) => StreamTime::Unknown,
    };
    let told_ms = (flags & 1 != 0).then(|| i64::from_be_bytes(*told));
    Some((Clock { told_ms, ended: flags & 2 != 0 }, stream_time))
}

fn corrupt() -> Error {
    Error::State(millpond_state::Error::Storage("a task's positions cannot be read".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millpond_state::memory::MemoryBackend;
    use millpond_state::{Backend, StoreConfig, WriteSet};

    use super::*;

    #[test]
    fn a_store_of_other_columns_is_refused() {
        let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
        let positions = || Positions::new(StoreHandle::open(&backend, "positions", 0, StoreConfig::keep(1)).unwrap());
        let mut first = positions();
        first.check_layout("node", "Utf8;Int64".into()).unwrap();
        let mut writes = first.writes();
        first.write_clock(Clock::default(), StreamTime::Unknown, &mut writes);
        backend.commit(millpond_log::Transaction::default(), WriteSet { writes: vec![writes], expiries: Vec::new() }).unwrap();
        positions().check_layout("node", "Utf8;Int64".into()).unwrap();
        let error = positions().check_layout("node", "Utf8;Utf8".into()).unwrap_err();
        assert!(matches!(error, Error::State(_)), "{error}");
    }

    #[test]
    fn positions_come_back() {
        let mut channels = Channels::new(3);
        channels.observe(0, -5);
        channels.set_idle(0, true);
        channels.observe(2, 7);
        let saved = decode_input(&encode_input(42, &channels)).unwrap();
        assert_eq!(saved, Saved { next_offset: Some(42), channels: channels.iter().collect() });
        for stream_time in [StreamTime::Unknown, StreamTime::At(-3), StreamTime::End(None), StreamTime::End(Some(9))] {
            for clock in [Clock { told_ms: None, ended: false }, Clock { told_ms: Some(8), ended: true }] {
                assert_eq!(decode_clock(&encode_clock(clock, stream_time)), Some((clock, stream_time)));
            }
        }
        assert_eq!(decode_clock(&[]), None);
    }
}
