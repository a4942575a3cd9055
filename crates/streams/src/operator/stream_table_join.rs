//! Join of a stream with a table: each row of the stream with the table's row of its key, as it is when the stream's row comes.
//!
//! ```text
//!  table changes (port 1) ─► store[key] = row
//!                                   │ one look-up for a batch
//!  stream rows   (port 0) ──────────┴─► stream columns ++ table columns
//! ```
//! STJ-1  a change of the table gives nothing by itself.
//! STJ-2  INNER gives the rows that have a partner; LEFT gives all, with nulls for the table's columns where there is none.
//! STJ-3  a partner for which the rest of the ON condition is not true is none. A row with a null key has no partner.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{nullif, take_arrays};
use arrow::datatypes::{DataType, SchemaRef};
use millpond_state::{Overlay, WriteSet};

use super::row_codec::RowCodec;
use super::store::StoreHandle;
use super::{Context, Operator, nullable, record_batch};
use crate::expression::Guarded;
use crate::topology::StreamTableJoinSpec;
use crate::{Batch, Error, Result};

/// The port of the table's changes; the stream is at port 0.
const TABLE: usize = 1;

pub struct StreamTableJoin {
    stream_key: Vec<Guarded>,
    table_key: Vec<usize>,
    left: bool,
    filter: Option<Guarded>,
    keys: RowCodec,
    /// All of the table's columns.
    rows: RowCodec,
    table_types: Vec<DataType>,
    output: SchemaRef,
    store: Overlay,
}

impl StreamTableJoin {
    pub fn new(
        spec: &StreamTableJoinSpec,
        stream: &SchemaRef,
        table: &SchemaRef,
        output: &SchemaRef,
        store: StoreHandle,
    ) -> Result<StreamTableJoin> {
        if spec.table_key.is_empty() || spec.table_key.len() != spec.stream_key.len() {
            return Err(Error::Topology("a join with a table is on the whole of the table's key".into()));
        }
        if output.fields().len() != stream.fields().len() + table.fields().len() {
            return Err(Error::Topology("a join gives the stream's columns, then the table's".into()));
        }
        let table_types: Vec<DataType> = table.fields().iter().map(|field| field.data_type().clone()).collect();
        let key_types: Option<Vec<DataType>> = spec.table_key.iter().map(|column| table_types.get(*column).cloned()).collect();
        let key_types = key_types.ok_or_else(|| Error::Topology("the table has no such key column".into()))?;
        let stream_key = spec.stream_key.iter().zip(&key_types).map(|(part, wanted)| Guarded::of_type(part.clone(), wanted.clone()));
        Ok(StreamTableJoin {
            stream_key: stream_key.collect(),
            table_key: spec.table_key.clone(),
            left: spec.left,
            filter: spec.filter.clone().map(Guarded::new),
            keys: RowCodec::new(key_types)?,
            rows: RowCodec::new(table_types.clone())?,
            table_types,
            output: nullable(output),
            store: store.overlay(),
        })
    }

    fn change(&mut self, batch: &Batch) -> Result<()> {
        let Some(changes) = &batch.changes else {
            return Err(Error::Topology("the table's side of a join was given a stream".into()));
        };
        let columns = batch.rows.columns();
        let key: Vec<ArrayRef> = self.table_key.iter().map(|column| columns[*column].clone()).collect();
        let (keys, rows) = (self.keys.encode(&key)?, self.rows.encode(columns)?);
        for (row, change) in changes.values().iter().enumerate() {
            if *change > 0 {
                self.store.put(keys.row(row).as_ref(), rows.row(row).as_ref());
            } else {
                self.store.delete(keys.row(row).as_ref());
            }
        }
        Ok(())
    }

    /// The table's columns for each row of the stream, and which rows have a partner.
    fn look_up(&self, batch: &Batch, context: &mut Context<'_>) -> Result<(Vec<ArrayRef>, BooleanArray)> {
        let key: Result<Vec<ArrayRef>> = self.stream_key.iter().map(|part| part.values(batch, context)).collect();
        let key = key?;
        let valid = key.iter().fold(None, |valid, column| NullBuffer::union(valid.as_ref(), column.logical_nulls().as_ref()));
        let keys = self.keys.encode(&key)?;
        let wanted: Vec<usize> = (0..batch.num_rows()).filter(|row| valid.as_ref().is_none_or(|valid| valid.is_valid(*row))).collect();
        let slices: Vec<&[u8]> = wanted.iter().map(|row| keys.row(*row).data()).collect();
        let found = self.store.get_many(&slices)?;
        let mut partners: Vec<Option<u32>> = vec![None; batch.num_rows()];
        let mut count = 0;
        for (row, value) in wanted.iter().zip(&found) {
            if value.is_some() {
                partners[*row] = Some(count);
                count += 1;
            }
        }
        let matched: BooleanArray = partners.iter().map(|partner| Some(partner.is_some())).collect();
        if count == 0 {
            let nulls = self.table_types.iter().map(|data_type| new_null_array(data_type, batch.num_rows()));
            return Ok((nulls.collect(), matched));
        }
        let rows = self.rows.decode(found.iter().flatten().map(Vec::as_slice))?;
        Ok((take_arrays(&rows, &UInt32Array::from(partners), None)?, matched))
    }

    fn joined(&self, batch: &Batch, table: &[ArrayRef]) -> Result<RecordBatch> {
        let columns = batch.rows.columns().iter().chain(table).cloned().collect();
        record_batch(&self.output, columns, batch.num_rows())
    }

    fn join(&self, batch: Batch, context: &mut Context<'_>) -> Result<()> {
        let (mut table, mut matched) = self.look_up(&batch, context)?;
        // The condition is only asked of rows with a partner: nothing should fail for a pair that is not there.
        let batch = if self.left || matched.true_count() == matched.len() {
            batch
        } else {
            let kept: Result<Vec<ArrayRef>> = table.iter().map(|column| Ok(arrow::compute::filter(column, &matched)?)).collect();
            table = kept?;
            let batch = batch.filter(&matched)?;
            matched = BooleanArray::from(vec![true; batch.num_rows()]);
            batch
        };
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let Some(filter) = &self.filter else {
            let rows = self.joined(&batch, &table)?;
            context.forward(batch.with_rows(rows));
            return Ok(());
        };
        let candidates = batch.with_rows(self.joined(&batch, &table)?);
        let passed = if matched.true_count() == matched.len() {
            filter.mask(&candidates, context)?
        } else {
            let pairs = candidates.filter(&matched)?;
            spread(&filter.mask(&pairs, context)?, &matched)
        };
        if !self.left {
            context.forward(candidates.filter(&passed)?);
            return Ok(());
        }
        let failed = arrow::compute::not(&passed)?;
        let table: Result<Vec<ArrayRef>> = table.iter().map(|column| without(column, &failed)).collect();
        let rows = self.joined(&batch, &table?)?;
        context.forward(batch.with_rows(rows));
        Ok(())
    }
}

/// `answers` are those of the rows where `asked` is true; others are false.
fn spread(answers: &BooleanArray, asked: &BooleanArray) -> BooleanArray {
    let mut answers = answers.iter();
    asked.iter().map(|asked| Some(asked == Some(true) && answers.next().flatten() == Some(true))).collect()
}

/// The column with nulls where `failed`.
fn without(column: &ArrayRef, failed: &BooleanArray) -> Result<ArrayRef> {
    if failed.true_count() == 0 { Ok(column.clone()) } else { Ok(nullif(column, failed)?) }
}

impl Operator for StreamTableJoin {
    fn layout(&self) -> Option<String> {
        Some(format!("{};{}", self.keys.layout(), self.rows.layout()))
    }

    fn process(&mut self, port: usize, batch: Batch, context: &mut Context<'_>) -> Result<()> {
        if port == TABLE { self.change(&batch) } else { self.join(batch.with_values()?, context) }
    }

    fn write(&mut self, writes: &mut WriteSet) -> Result<()> {
        self.store.drain(writes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::Operator::Lt;
    use datafusion::physical_expr::expressions::{binary, col};

    use super::*;
    use crate::operator::fixture::{Row, Run, backend, changes, column, input, store, stream};

    /// The stream's `k` and `v`, then the table's, which is keyed by its `k`.
    fn joined_schema() -> SchemaRef {
        let named = ["sk", "sv", "tk", "tv"].into_iter().zip(input().fields().iter().chain(input().fields()).cloned().collect::<Vec<_>>());
        Arc::new(Schema::new(named.map(|(name, field)| field.as_ref().clone().with_name(name)).collect::<Vec<Field>>()))
    }

    fn run(left: bool, with_filter: bool) -> Run {
        let output = joined_schema();
        let filter = with_filter.then(|| binary(col("sv", &output).unwrap(), Lt, col("tv", &output).unwrap(), &output).unwrap());
        let spec = StreamTableJoinSpec { stream_key: vec![column("k")], table_key: vec![0], left, filter };
        let backend = backend();
        Run::new(StreamTableJoin::new(&spec, &input(), &input(), &output, store(&backend)).unwrap(), &backend)
    }

    fn row(key: &str, value: i64, time: i64) -> Row<'_> {
        (Some(key), Some(value), time)
    }

    const STREAM: [Row<'static>; 4] = [(Some("a"), Some(1), 7), (None, Some(2), 8), (Some("b"), Some(3), 9), (Some("a"), Some(50), 10)];

    #[test]
    fn inner_and_left() {
        for (left, lines) in [
            (false, &["a 1 a 10 @7", "a 50 a 10 @10"][..]),
            (true, &["a 1 a 10 @7", "null 2 null null @8", "b 3 null null @9", "a 50 a 10 @10"]),
        ] {
            let mut run = run(left, false);
            run.process_at(1, changes(&[(1, row("a", 10, 1)), (1, row("c", 30, 2))]));
            run.process(stream(&STREAM, 0));
            assert_eq!(run.lines(), lines);
        }
    }

    #[test]
    fn a_row_sees_the_table_as_it_is_when_it_comes() {
        let mut run = run(true, false);
        run.process(stream(&[row("a", 1, 1)], 0));
        run.process_at(1, changes(&[(1, row("a", 10, 2))]));
        run.process(stream(&[row("a", 2, 3)], 0));
        run.commit();
        run.process_at(1, changes(&[(-1, row("a", 10, 4)), (1, row("a", 11, 4))]));
        run.process(stream(&[row("a", 3, 5)], 0));
        run.process_at(1, changes(&[(-1, row("a", 11, 6))]));
        run.process(stream(&[row("a", 4, 7)], 0));
        run.commit();
        run.process(stream(&[row("a", 5, 8)], 0));
        assert_eq!(run.lines(), ["a 1 null null @1", "a 2 a 10 @3", "a 3 a 11 @5", "a 4 null null @7", "a 5 null null @8"]);
    }

    #[test]
    fn the_rest_of_the_condition_decides_whether_there_is_a_partner() {
        for (left, lines) in
            [(false, &["a 1 a 10 @7"][..]), (true, &["a 1 a 10 @7", "null 2 null null @8", "b 3 null null @9", "a 50 null null @10"])]
        {
            let mut run = run(left, true);
            run.process_at(1, changes(&[(1, row("a", 10, 1))]));
            run.process(stream(&STREAM, 0));
            assert_eq!(run.lines(), lines);
        }
    }

    #[test]
    fn mistakes_of_the_planner_are_told() {
        let backend = backend();
        for (stream_key, table_key) in [(vec![], vec![]), (vec![column("k")], vec![0, 1]), (vec![column("k")], vec![7])] {
            let spec = StreamTableJoinSpec { stream_key, table_key, left: false, filter: None };
            let made = StreamTableJoin::new(&spec, &input(), &input(), &joined_schema(), store(&backend));
            assert!(matches!(made, Err(Error::Topology(_))));
        }
    }
}
