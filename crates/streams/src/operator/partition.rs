//! Which partition a row goes to: Kafka's default, murmur2 over the serialised key, so that rows lie where Java clients would put them.

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use millpond_formats::{Format, key_bytes};
use millpond_log::murmur2;

use crate::Result;

/// The partition of each row's key. Rows without a key go to `keyless`.
pub fn partitions(format: &Format, keys: &[ArrayRef], count: u32, keyless: u32) -> Result<Vec<u32>> {
    Ok(of_bytes(&key_bytes(format, keys)?, count, keyless))
}

/// As [`partitions`], of keys that are serialised already.
pub fn of_bytes(keys: &BinaryArray, count: u32, keyless: u32) -> Vec<u32> {
    keys.iter().map(|key| key.map_or(keyless % count, |key| murmur2::partition(key, count))).collect()
}

/// The rows of each partition that gets any, in their order.
pub fn split(rows: &RecordBatch, partitions: &[u32], count: u32) -> Result<Vec<(u32, RecordBatch)>> {
    debug_assert_eq!(rows.num_rows(), partitions.len());
    if let Some(first) = partitions.first()
        && partitions.iter().all(|partition| partition == first)
    {
        return Ok(vec![(*first, rows.clone())]);
    }
    let mut indices: Vec<Vec<u32>> = vec![Vec::new(); count as usize];
    for (row, partition) in partitions.iter().enumerate() {
        indices[*partition as usize].push(row as u32);
    }
    let filled = indices.into_iter().enumerate().filter(|(_, indices)| !indices.is_empty());
    filled.map(|(partition, indices)| Ok((partition as u32, take_record_batch(rows, &UInt32Array::from(indices))?))).collect()
}
