//! Many small entries into few: a topic that was written a row at a time is still read in batches.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use millpond_log::{Entry, Fetched, Payload, Result};

/// Entries from this many rows on are left as they are.
const SMALL_ROWS: usize = 256;
/// What small entries are put together to.
const TOGETHER_ROWS: usize = 4096;

/// The same rows at the same offsets, in fewer entries.
pub fn coalesce(fetched: Vec<Fetched>) -> Result<Vec<Fetched>> {
    let mut fewer = Vec::with_capacity(fetched.len());
    let mut rest = &fetched[..];
    while let Some(first) = rest.first() {
        let mut rows = first.entry.rows();
        let mut run = 1;
        while let Some(next) = rest.get(run) {
            if !follows(&rest[run - 1], next) || rows + next.entry.rows() > TOGETHER_ROWS {
                break;
            }
            rows += next.entry.rows();
            run += 1;
        }
        fewer.push(if run == 1 { first.clone() } else { join(&rest[..run])? });
        rest = &rest[run..];
    }
    Ok(fewer)
}

fn follows(before: &Fetched, next: &Fetched) -> bool {
    let same_kind = match (&before.entry.payload, &next.entry.payload) {
        (Payload::Opaque(before), Payload::Opaque(next)) | (Payload::Columns(before), Payload::Columns(next)) => {
            Arc::ptr_eq(before.schema_ref(), next.schema_ref()) || before.schema_ref() == next.schema_ref()
        }
        _ => false,
    };
    same_kind
        && before.entry.channel == next.entry.channel
        && before.offsets.is_none()
        && next.offsets.is_none()
        && before.next_offset == next.base_offset
        && before.entry.rows() < SMALL_ROWS
        && next.entry.rows() < SMALL_ROWS
}

fn join(run: &[Fetched]) -> Result<Fetched> {
    let batches: Vec<&RecordBatch> = run.iter().filter_map(|fetched| fetched.entry.payload.batch()).collect();
    let (first, last) = (&run[0], &run[run.len() - 1]);
    let payload = first.entry.payload.with_batch(concat_batches(batches[0].schema_ref(), batches.iter().copied())?);
    let entry = Arc::new(Entry { payload, channel: first.entry.channel });
    Ok(Fetched { base_offset: first.base_offset, offsets: None, next_offset: last.next_offset, entry })
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_log::Control;
    use millpond_log::opaque::{Columns, Record, batch};

    #[test]
    fn only_small_neighbours_of_one_kind_and_channel_are_put_together() {
        let record = |value| Record { key: None, value: Some(value), timestamp_ms: 0, headers: &[] };
        let entry = |rows: usize| Entry::opaque(batch(vec![record(&b"v"[..]); rows]));
        let entries = [
            entry(1),
            entry(2),
            entry(3).with_channel(1),
            Entry::control(1, Control { stream_time_ms: 0, idle: false }),
            entry(300),
            entry(1),
            entry(1),
        ];
        let mut offset = 10;
        let mut fetched: Vec<Fetched> = entries
            .into_iter()
            .map(|entry| {
                let base_offset = offset;
                offset += entry.rows() as u64;
                Fetched { base_offset, offsets: None, next_offset: offset, entry: Arc::new(entry) }
            })
            .collect();
        fetched[6].offsets = Some([fetched[6].base_offset].into());
        let fewer = coalesce(fetched).unwrap();
        let shape: Vec<_> = fewer.iter().map(|fetched| (fetched.base_offset, fetched.next_offset, fetched.entry.rows())).collect();
        assert_eq!(shape, [(10, 13, 3), (13, 16, 3), (16, 17, 1), (17, 317, 300), (317, 318, 1), (318, 319, 1)]);
        let columns = Columns::of(fewer[0].entry.payload.batch().unwrap()).unwrap();
        assert_eq!((columns.values.value(2), fewer[0].offset(2)), (&b"v"[..], 12));
    }
}
