//! A topic's entries into a source's columns: what stream and table sources have in common.
//!
//! REC-1  only the columns that are wanted are built. Whether a record can be decoded does not depend on them: all declared are checked.
//! REC-2  a record that cannot be decoded, or has no time, is left out, counted, and explained; the others of its entry stay.
//!        Such is also one of native columns whose value the type that is declared now does not hold.
//! REC-3  where such a record is to stop the query, what stands before it in its entry is given, and nothing behind it.

mod conversion;
mod decoder;
mod headers;
mod shared;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, Int32Array, Int64Array, RecordBatch, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, filter};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::util::display::array_value_to_string;
use millpond_formats::timestamp::Pattern;
use millpond_formats::windowed;
use millpond_log::entry::{TIMESTAMP, TOMBSTONE};
use millpond_log::{Fetched, Payload, opaque};

use self::conversion::convert;
pub use self::shared::Decodings;
use self::shared::SharedDecoder;
use super::source::{Arrival, Content, Keys, Records};
use super::stream_source::running_max;
use super::table_key::{MILLIS, WINDOW_END, WINDOW_START};
use super::{Counters, Incident, IncidentKind, nullable, record_batch};
use crate::batch::tombstones;
use crate::expression::DESCRIBED_MAX;
use crate::topology::{OnError, SourceColumn, SourceSpec, Windowed};
use crate::{Batch, Error, Result};

/// Decodes the entries of one partition for one source node.
pub struct RecordDecoder {
    spec: SourceSpec,
    node: String,
    schema: SchemaRef,
    partition: u32,
    table: bool,
    /// Knows which of the declared columns are wanted.
    opaque: SharedDecoder,
    pattern: Option<Pattern>,
}

/// An entry's declared columns that are wanted (by index into the layout's columns), and what else a row has.
#[derive(Debug, Clone)]
struct Decoded {
    columns: Vec<Option<ArrayRef>>,
    timestamps: Int64Array,
    /// True where there is no value: of a table, such a row deletes its key.
    tombstones: BooleanArray,
    windows: Option<(Int64Array, Int64Array)>,
    /// Rows that cannot be decoded, and why.
    errors: Vec<(usize, String)>,
}

impl RecordDecoder {
    pub fn new(
        spec: &SourceSpec,
        node: &str,
        schema: &SchemaRef,
        partition: u32,
        table: bool,
        decodings: &Decodings,
    ) -> Result<RecordDecoder> {
        let layout = &spec.layout;
        let unsound = |what: &str| Error::Topology(format!("source {}: {what}", spec.source));
        if spec.columns.len() != schema.fields().len() {
            return Err(unsound("its node has other columns"));
        }
        let declared = spec.columns.iter().filter_map(|column| match column {
            SourceColumn::Declared(index) => Some(*index),
            _ => None,
        });
        let mut wanted: Vec<usize> = declared.chain(spec.timestamp.as_ref().map(|(index, _)| *index)).collect();
        if table {
            wanted.extend(0..layout.key_columns);
        }
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.last().is_some_and(|last| *last >= layout.columns.len()) {
            return Err(unsound("a column that is not declared is wanted"));
        }
        let pattern = match &spec.timestamp {
            Some((_, Some(pattern))) => Some(Pattern::new(pattern)?),
            _ => None,
        };
        Ok(RecordDecoder {
            opaque: decodings.decoder(spec, partition, wanted)?,
            spec: spec.clone(),
            node: node.to_owned(),
            schema: nullable(schema),
            partition,
            table,
            pattern,
        })
    }

    /// `running_max_ms` is the partition's largest timestamp up to here.
    pub fn decode(&mut self, fetched: &Fetched, running_max_ms: &mut i64) -> Result<Arrival> {
        let decoded = match &fetched.entry.payload {
            Payload::Columns(rows) => self.columns(rows)?,
            Payload::Opaque(rows) => self.opaque.decode(&fetched.entry, rows)?,
            Payload::Control(control) => {
                let content = Content::Control { channel: fetched.entry.channel as usize, control: *control };
                let (incidents, counters) = (Vec::new(), Counters::default());
                return Ok(Arrival { content, incidents, counters, next_offset: fetched.next_offset, fault: None });
            }
        };
        let rows = decoded.timestamps.len();
        let timestamps = self.rowtimes(&decoded)?;
        let mut decodable = BooleanBufferBuilder::new(rows);
        decodable.append_n(rows, true);
        for (row, _) in &decoded.errors {
            decodable.set_bit(*row, false);
        }
        let decodable = decodable.finish();
        let timed: BooleanBuffer = timestamps.iter().map(|time_ms| time_ms.is_some_and(|time_ms| time_ms >= 0)).collect();
        let kept = &decodable & &timed;
        let untimed = decodable.count_set_bits() - kept.count_set_bits();

        let mut left_out = decoded.errors.clone();
        if untimed > 0 {
            left_out.extend(self.untimed(&decoded, &timestamps, &(&decodable & &!&timed))?);
            left_out.sort_by_key(|(row, _)| *row);
        }
        let fault = self.fault(fetched, &left_out);
        let (counters, incidents) = if fault.is_some() {
            (Counters::default(), Vec::new())
        } else {
            let (undecodable, bad_timestamp) = (decoded.errors.len() as u64, untimed as u64);
            let counters = Counters { rows_in: rows as u64, undecodable, bad_timestamp, ..Counters::default() };
            (counters, self.incidents(fetched, &decoded, &left_out)?)
        };

        let offsets = Int64Array::from_iter_values((0..rows).map(|row| fetched.offset(row) as i64));
        let mut records = self.records(decoded, &timestamps, offsets)?;
        let (mut counters, mut next_offset) = (counters, fetched.next_offset);
        if let (Some(_), Some((row, _))) = (&fault, left_out.first()) {
            records = records.slice(0, *row);
            counters.rows_in = *row as u64;
            next_offset = fetched.offset(*row);
        } else if kept.count_set_bits() < rows {
            records = records.filter(&BooleanArray::new(kept, None))?;
        }
        records.batch.stream_times = running_max(&records.batch.timestamps, running_max_ms);
        Ok(Arrival { content: Content::Records(records), incidents, counters, next_offset, fault })
    }

    fn columns(&self, rows: &RecordBatch) -> Result<Decoded> {
        let declared = &self.spec.layout.columns;
        let mut columns = vec![None; declared.len()];
        let mut errors = Vec::new();
        for (index, field) in declared.iter().enumerate().take(self.spec.layout.written_columns()) {
            let Some(column) = rows.column_by_name(field.name()) else { continue };
            columns[index] = Some(if column.data_type() == field.data_type() {
                column.clone()
            } else {
                let (converted, failed) = convert(column, field)?;
                errors.extend(failed);
                converted
            });
        }
        one_each(&mut errors);
        headers::read(&self.spec.layout, self.opaque.wanted(), &headers::none(rows.num_rows()), &mut columns)?;
        for index in self.opaque.wanted() {
            // Written before the column was added.
            columns[*index].get_or_insert_with(|| new_null_array(declared[*index].data_type(), rows.num_rows()));
        }
        let corrupt = |column: &str| millpond_log::Error::Corrupt(format!("an entry of topic \"{}\" has no {column}", self.spec.topic));
        let timestamps = rows.column_by_name(TIMESTAMP).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let tombstones = rows.column_by_name(TOMBSTONE).and_then(|column| column.as_boolean_opt());
        let window = |name: &str| -> Result<Int64Array> {
            let column = rows.column_by_name(name).ok_or_else(|| corrupt(name))?;
            Ok(cast(&cast(column, &MILLIS)?, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
        };
        Ok(Decoded {
            columns,
            timestamps: timestamps.ok_or_else(|| corrupt(TIMESTAMP))?.clone(),
            tombstones: tombstones.cloned().unwrap_or_else(|| BooleanArray::from(vec![false; rows.num_rows()])),
            windows: match self.spec.layout.windowed {
                Some(_) => Some((window(WINDOW_START)?, window(WINDOW_END)?)),
                None => None,
            },
            errors,
        })
    }

    /// Rowtime of each row; null where there is none. A row without a value has no timestamp column, so its record's time counts.
    fn rowtimes(&self, decoded: &Decoded) -> Result<Int64Array> {
        let Some((index, _)) = &self.spec.timestamp else { return Ok(decoded.timestamps.clone()) };
        let column = decoded.columns[*index].as_ref().expect("the timestamp column is wanted");
        let own = millis(column, self.pattern.as_ref())?;
        if decoded.tombstones.true_count() == 0 {
            return Ok(own);
        }
        let recorded = decoded.timestamps.iter().zip(&own).zip(decoded.tombstones.iter());
        Ok(recorded.map(|((recorded, own), tombstone)| if tombstone == Some(true) { recorded } else { own }).collect())
    }

    fn records(&self, decoded: Decoded, timestamps: &Int64Array, offsets: Int64Array) -> Result<Records> {
        let rows = timestamps.len();
        let time = |values: &Int64Array| cast(values, &MILLIS);
        let bound = |windows: &Option<(Int64Array, Int64Array)>, end: bool| match windows {
            Some((starts, ends)) => time(if end { ends } else { starts }),
            None => Ok(new_null_array(&MILLIS, rows)),
        };
        let columns = self.spec.columns.iter().map(|column| {
            Ok(match column {
                SourceColumn::Declared(index) => decoded.columns[*index].clone().expect("a declared column of the node is wanted"),
                SourceColumn::Rowtime => time(timestamps)?,
                SourceColumn::RowPartition => Arc::new(Int32Array::from(vec![self.partition as i32; rows])) as ArrayRef,
                SourceColumn::RowOffset => Arc::new(offsets.clone()),
                SourceColumn::WindowStart => bound(&decoded.windows, false)?,
                SourceColumn::WindowEnd => bound(&decoded.windows, true)?,
            })
        });
        let rows = record_batch(&self.schema, columns.collect::<Result<_>>()?, rows)?;
        let tombstones = if self.table { None } else { tombstones(decoded.tombstones.clone()) };
        let keys = self.table.then(|| Keys {
            columns: decoded.columns[..self.spec.layout.key_columns].iter().flatten().cloned().collect(),
            windows: decoded.windows,
            tombstones: decoded.tombstones,
        });
        let batch = Batch { rows, timestamps: timestamps.clone(), stream_times: timestamps.clone(), changes: None, tombstones };
        Ok(Records { batch, offsets, keys })
    }

    /// Why `rows` have no time; of those that need not all be told, the first.
    fn untimed(&self, decoded: &Decoded, timestamps: &Int64Array, rows: &BooleanBuffer) -> Result<Vec<(usize, String)>> {
        let mut reasons = Vec::new();
        for row in rows.set_indices().take(self.told_max()) {
            let own = self.spec.timestamp.as_ref().filter(|_| !decoded.tombstones.value(row));
            let time_ms = timestamps.is_valid(row).then(|| timestamps.value(row));
            reasons.push((
                row,
                match own {
                    Some((index, _)) => {
                        let column = decoded.columns[*index].as_ref().expect("the timestamp column is wanted");
                        no_time(self.spec.layout.columns[*index].name(), column, row, time_ms)?
                    }
                    None => match time_ms {
                        Some(time_ms) => format!("the record's timestamp {time_ms} is before 1970"),
                        None => "the record has no timestamp".to_owned(),
                    },
                },
            ));
        }
        Ok(reasons)
    }

    /// Dead letters must all be kept; of others a sample will do.
    fn told_max(&self) -> usize {
        if self.spec.on_error == OnError::DeadLetter { usize::MAX } else { DESCRIBED_MAX }
    }

    /// What stops the query, if anything of the rows that are left out does.
    fn fault(&self, fetched: &Fetched, left_out: &[(usize, String)]) -> Option<Error> {
        let (row, reason) = left_out.first().filter(|_| self.spec.on_error == OnError::Stop)?;
        let (topic, partition, offset) = (self.spec.topic.to_string(), self.partition, fetched.offset(*row));
        Some(Error::Undecodable { topic, partition, offset, reason: reason.clone() })
    }

    fn incidents(&self, fetched: &Fetched, decoded: &Decoded, left_out: &[(usize, String)]) -> Result<Vec<Incident>> {
        let raw = match &fetched.entry.payload {
            Payload::Opaque(rows) if self.spec.on_error == OnError::DeadLetter && !left_out.is_empty() => Some(opaque::Columns::of(rows)?),
            _ => None,
        };
        // Without a raw record there is no letter to be kept.
        let most = if raw.is_some() { usize::MAX } else { DESCRIBED_MAX };
        let incident = |(row, reason): &(usize, String)| Incident {
            topic: Some(self.spec.topic.to_string()),
            partition: Some(self.partition),
            offset: Some(fetched.offset(*row)),
            rowtime_ms: decoded.timestamps.is_valid(*row).then(|| decoded.timestamps.value(*row)),
            raw: raw.as_ref().map(|record| (record.key(*row).map(<[u8]>::to_vec), record.value(*row).map(<[u8]>::to_vec))),
            ..Incident::new(IncidentKind::Deserialization, &self.node, reason.clone())
        };
        Ok(left_out.iter().take(most).map(incident).collect())
    }
}

impl Records {
    fn filter(&self, mask: &BooleanArray) -> Result<Records> {
        Ok(Records {
            batch: self.batch.filter(mask)?,
            offsets: filter(&self.offsets, mask)?.as_primitive::<Int64Type>().clone(),
            keys: match &self.keys {
                Some(keys) => Some(keys.filter(mask)?),
                None => None,
            },
        })
    }
}

/// The first reason of each row, in the order of rows.
fn one_each(errors: &mut Vec<(usize, String)>) {
    errors.sort_by_key(|(row, _)| *row);
    errors.dedup_by_key(|(row, _)| *row);
}

/// How windows follow keys in the bytes of Kafka Streams' keys.
pub(crate) fn window_format(windowed: Windowed) -> windowed::Window {
    match windowed {
        Windowed::Time { size_ms } => windowed::Window::Time { size_ms },
        Windowed::Session => windowed::Window::Session,
    }
}

/// Why a row has no time, of its timestamp column's value and the time (ms) that is read of it.
pub(crate) fn no_time(name: &str, column: &ArrayRef, row: usize, time_ms: Option<i64>) -> Result<String> {
    if column.is_null(row) {
        return Ok(format!("column \"{name}\": the timestamp is null"));
    }
    let value = array_value_to_string(column, row)?;
    Ok(match time_ms {
        Some(_) => format!("column \"{name}\": the timestamp '{value}' is before 1970"),
        None => format!("column \"{name}\": '{value}' is no timestamp of its format"),
    })
}

/// A timestamp column's values in ms: BIGINT, TIMESTAMP, DATE, or text with its pattern. Null where there is none, or it cannot be read.
pub(crate) fn millis(column: &ArrayRef, pattern: Option<&Pattern>) -> Result<Int64Array> {
    match (column.data_type(), pattern) {
        (DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8, Some(pattern)) => {
            let text = cast(column, &DataType::Utf8)?;
            Ok(text.as_string::<i32>().iter().map(|text| text.and_then(|text| pattern.parse(text).ok())).collect())
        }
        (data_type, _) if data_type.is_integer() => Ok(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone()),
        _ => Ok(cast(&cast(column, &MILLIS)?, &DataType::Int64)?.as_primitive::<Int64Type>().clone()),
    }
}
