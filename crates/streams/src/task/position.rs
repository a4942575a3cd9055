//! Where a task stands: how far each input is taken and each channel has come, and what its operators were told of time. Kept in the
//! store `query/sub-topology/positions`, written with every commit.
//!
//! ```text
//!  input/<node>/<topic>  next offset (u64) │ for each channel: flags (1 time is known, 2 idle, 4 is taken further), time (i64),
//!                        and if it is taken further than the input: its next offset (u64)
//!  clock                 flags (1 told, 2 ended, 4 has a stream time, 8 all idle) │ told (i64) │ stream time (i64)
//!  layout/<node>         what the node's store is encoded as, as text
//! ```

use millpond_state::{Backend, Writes};

use super::input::Queue;
use crate::operator::store::StoreHandle;
use crate::time::{Channel, Clock, StreamTime};
use crate::{Error, Result};

const CLOCK: &[u8] = b"clock";

pub(super) struct Positions {
    store: StoreHandle,
    /// Layouts that are not written yet.
    layouts: Vec<(Vec<u8>, String)>,
}

/// What is saved of an input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Saved {
    /// The first offset whose row is not taken.
    pub(super) next_offset: u64,
    pub(super) channels: Vec<SavedChannel>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct SavedChannel {
    pub(super) channel: Channel,
    /// Where the channel is taken further than the input: its first offset whose row is not taken.
    pub(super) next_offset: Option<u64>,
}

impl Positions {
    pub(super) fn new(store: StoreHandle) -> Positions {
        Positions { store, layouts: Vec::new() }
    }

    /// `None`: it was never read.
    pub(super) fn input(&self, node: &str, topic: &str) -> Result<Option<Saved>> {
        match self.get(&input_key(node, topic))? {
            Some(bytes) => decode_input(&bytes).ok_or_else(corrupt).map(Some),
            None => Ok(None),
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

    pub(super) fn write_input(&mut self, node: &str, queue: &Queue, writes: &mut Writes) {
        if let Some(saved) = queue.saved() {
            writes.put(&input_key(node, &queue.topic), &encode_input(&saved));
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

/// The store of the positions of a sub-topology's tasks.
pub fn positions_store(query: &str, sub_topology: u32) -> String {
    format!("{query}/{sub_topology}/positions")
}

/// How far a task that may run elsewhere has committed an input, as far as `backend` knows. `None`: it has never been committed.
pub fn committed_position(backend: &dyn Backend, store: &str, partition: u32, node: &str, topic: &str) -> Result<Option<u64>> {
    let Some(store) = backend.find_store(store) else { return Ok(None) };
    match backend.get_many(store, partition, &[&input_key(node, topic)])?.pop().flatten() {
        Some(bytes) => Ok(Some(decode_input(&bytes).ok_or_else(corrupt)?.next_offset)),
        None => Ok(None),
    }
}

fn input_key(node: &str, topic: &str) -> Vec<u8> {
    format!("input/{node}/{topic}").into_bytes()
}

fn encode_input(saved: &Saved) -> Vec<u8> {
    let mut bytes = saved.next_offset.to_be_bytes().to_vec();
    for SavedChannel { channel, next_offset } in &saved.channels {
        bytes.push(u8::from(channel.time_ms.is_some()) | u8::from(channel.idle) << 1 | u8::from(next_offset.is_some()) << 2);
        bytes.extend(channel.time_ms.unwrap_or(0).to_be_bytes());
        bytes.extend(next_offset.iter().flat_map(|next_offset| next_offset.to_be_bytes()));
    }
    bytes
}

fn decode_input(bytes: &[u8]) -> Option<Saved> {
    let (next_offset, mut rest) = bytes.split_first_chunk::<8>()?;
    let mut channels = Vec::new();
    while !rest.is_empty() {
        let (flags, behind) = rest.split_first().filter(|(flags, _)| **flags < 8)?;
        let (time_ms, behind) = behind.split_first_chunk::<8>()?;
        let channel = Channel { time_ms: (flags & 1 != 0).then(|| i64::from_be_bytes(*time_ms)), idle: flags & 2 != 0 };
        let (next_offset, behind) = if flags & 4 != 0 {
            let (next_offset, behind) = behind.split_first_chunk::<8>()?;
            (Some(u64::from_be_bytes(*next_offset)), behind)
        } else {
            (None, behind)
        };
        channels.push(SavedChannel { channel, next_offset });
        rest = behind;
    }
    Some(Saved { next_offset: u64::from_be_bytes(*next_offset), channels })
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
    use millpond_state::{StoreConfig, WriteSet};

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
        let channel = |time_ms, idle, next_offset| SavedChannel { channel: Channel { time_ms, idle }, next_offset };
        let channels = vec![channel(Some(-5), true, None), channel(None, false, Some(50)), channel(Some(7), false, Some(43))];
        let saved = Saved { next_offset: 42, channels };
        let bytes = encode_input(&saved);
        let cut: Vec<usize> = (0..bytes.len()).filter(|length| decode_input(&bytes[..*length]).is_some()).collect();
        assert_eq!(cut, [8, 17, 34], "only between channels");
        assert_eq!(decode_input(&[&bytes[..], &[8; 9]].concat()), None, "a flag that there is not");
        assert_eq!(decode_input(&bytes), Some(saved));
        for stream_time in [StreamTime::Unknown, StreamTime::At(-3), StreamTime::End(None), StreamTime::End(Some(9))] {
            for clock in [Clock { told_ms: None, ended: false }, Clock { told_ms: Some(8), ended: true }] {
                assert_eq!(decode_clock(&encode_clock(clock, stream_time)), Some((clock, stream_time)));
            }
        }
        assert_eq!(decode_clock(&[]), None);
    }
}
