//! Joins small entries that were appended one by one, so that tasks see batches even when clients wrote rows.

use std::sync::Arc;

use arrow::compute::concat_batches;
use millpond_log::{Entry, Fetched, Payload};

/// Entries of at least so many rows stay as they are.
const SMALL_ROWS: usize = 1_024;
/// What is joined becomes no larger than this.
const JOINED_ROWS_MAX: usize = 16_384;

/// The same rows at the same offsets, in fewer entries.
pub(crate) fn coalesce(entries: Vec<Fetched>) -> Vec<Fetched> {
    let mut joined = Vec::with_capacity(entries.len());
    let mut run: Vec<Fetched> = Vec::new();
    for fetched in entries {
        if !run.last().is_none_or(|last| fits(last, &fetched)) || rows(&run) + fetched.entry.rows() > JOINED_ROWS_MAX {
            join(&mut run, &mut joined);
        }
        run.push(fetched);
    }
    join(&mut run, &mut joined);
    joined
}

fn rows(run: &[Fetched]) -> usize {
    run.iter().map(|fetched| fetched.entry.rows()).sum()
}

fn fits(last: &Fetched, next: &Fetched) -> bool {
    let small = |fetched: &Fetched| fetched.entry.rows() < SMALL_ROWS;
    let alike = match (&last.entry.payload, &next.entry.payload) {
        (Payload::Opaque(a), Payload::Opaque(b)) | (Payload::Columns(a), Payload::Columns(b)) => a.schema_ref() == b.schema_ref(),
        _ => false,
    };
    alike && small(last) && small(next) && last.entry.channel == next.entry.channel
}

fn join(run: &mut Vec<Fetched>, joined: &mut Vec<Fetched>) {
    if run.len() > 1
        && let Some(one) = join_all(run)
    {
        run.clear();
        joined.push(one);
        return;
    }
    joined.append(run);
}

/// `None` when they cannot be joined after all.
fn join_all(run: &[Fetched]) -> Option<Fetched> {
    let (first, last) = (run.first()?, run.last()?);
    let batches: Vec<_> = run.iter().filter_map(|fetched| fetched.entry.payload.batch()).collect();
    let batch = concat_batches(batches.first()?.schema_ref(), batches).ok()?;
    let dense = |pair: &[Fetched]| pair[0].base_offset + pair[0].entry.rows() as u64 == pair[1].base_offset;
    let offsets = if run.iter().all(|fetched| fetched.offsets.is_none()) && run.windows(2).all(dense) {
        None
    } else {
        Some(run.iter().flat_map(|fetched| (0..fetched.entry.rows()).map(|row| fetched.offset(row))).collect())
    };
    let entry = Entry { payload: first.entry.payload.with_batch(batch), channel: first.entry.channel };
    Some(Fetched { base_offset: first.base_offset, offsets, next_offset: last.next_offset, entry: Arc::new(entry) })
}

#[cfg(test)]
mod tests {
    use millpond_log::{Control, opaque};

    use super::*;

    fn fetched(base_offset: u64, rows: usize) -> Fetched {
        let records = (0..rows).map(|_| opaque::Record { key: None, value: Some(b"v"), timestamp_ms: 0, headers: &[] });
        let entry = Arc::new(Entry::opaque(opaque::batch(records)));
        Fetched { base_offset, offsets: None, next_offset: base_offset + rows as u64, entry }
    }

    #[test]
    fn small_neighbours_become_one_and_keep_their_offsets() {
        let joined = coalesce(vec![fetched(0, 1), fetched(1, 2), fetched(7, 1), fetched(8, SMALL_ROWS), fetched(8 + SMALL_ROWS as u64, 1)]);
        let shape: Vec<_> = joined.iter().map(|fetched| (fetched.base_offset, fetched.entry.rows(), fetched.next_offset)).collect();
        assert_eq!(shape[..2], [(0, 4, 8), (8, SMALL_ROWS, 8 + SMALL_ROWS as u64)]);
        assert_eq!((0..4).map(|row| joined[0].offset(row)).collect::<Vec<_>>(), [0, 1, 2, 7]);
        assert!(coalesce(vec![fetched(0, 1), fetched(1, 1)])[0].offsets.is_none());
    }

    #[test]
    fn announcements_and_channels_stay_apart() {
        let control = Entry::control(0, Control { stream_time_ms: 1, idle: false });
        let control = Fetched { base_offset: 1, offsets: None, next_offset: 2, entry: Arc::new(control) };
        assert_eq!(coalesce(vec![fetched(0, 1), control, fetched(2, 1)]).len(), 3);
        let mut other = fetched(1, 1);
        other.entry = Arc::new(Entry::clone(&other.entry).with_channel(1));
        assert_eq!(coalesce(vec![fetched(0, 1), other]).len(), 2);
    }
}
