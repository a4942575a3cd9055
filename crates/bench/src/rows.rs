//! The input: bids on auctions, the same for the same arguments.
//!
//! 10,000 rows for each second of event time, a fifth of them up to a second out of order; keys are the newest auctions, the newest of
//! them the hottest.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

const ROWS_PER_SECOND: i64 = 10_000;
const DISORDER_MS: u64 = 1_000;
const LIVE_AUCTIONS: u64 = 10_000;
const ROWS_PER_AUCTION: u64 = 30;
/// 2020-01-01.
const FIRST_MS: i64 = 1_577_836_800_000;

/// `auction BIGINT, price BIGINT, at TIMESTAMP`, as the stream declares them.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("auction", DataType::Int64, true),
        Field::new("price", DataType::Int64, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]))
}

/// `rows` rows in batches of `batch_rows`.
pub fn generate(rows: usize, batch_rows: usize) -> Result<Vec<RecordBatch>, ArrowError> {
    let schema = schema();
    let mut random = 1_u64;
    (0..rows).step_by(batch_rows).map(|from| batch(&schema, from..rows.min(from + batch_rows), &mut random)).collect()
}

fn batch(schema: &SchemaRef, range: std::ops::Range<usize>, random: &mut u64) -> Result<RecordBatch, ArrowError> {
    let mut auctions = Vec::with_capacity(range.len());
    let mut prices = Vec::with_capacity(range.len());
    let mut times = Vec::with_capacity(range.len());
    for row in range {
        let newest = LIVE_AUCTIONS + row as u64 / ROWS_PER_AUCTION;
        // The smaller of two draws: the newer, the more often.
        let age = (next(random) % LIVE_AUCTIONS).min(next(random) % LIVE_AUCTIONS);
        auctions.push((newest - age) as i64);
        prices.push((next(random) % 200_000) as i64);
        let back = if next(random).is_multiple_of(5) { next(random) % DISORDER_MS } else { 0 };
        times.push(FIRST_MS + row as i64 * 1_000 / ROWS_PER_SECOND - back as i64);
    }
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(auctions)), Arc::new(Int64Array::from(prices)), Arc::new(TimestampMillisecondArray::from(times))];
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_arguments_make_the_same_rows() {
        let rows = generate(1_000, 300).expect("rows");
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_000);
        assert_eq!(rows, generate(1_000, 300).expect("rows"));
    }
}
