//! The bytes of an entry.
//!
//! ```text
//!   head     layout(1) kind(1) flags(1) channel(4) span(4) payload length(4) schema(4) │ newest timestamp(8)? met(8)?
//!            offsets: count(4) each, from the first one covered (4)?  │ control: stream time(8) idle(1)?  │ payload, when small?
//!   payload  length of the message(4) 0(4) message, padded to 64 │ body: what Arrow IPC has for a batch; or a whole IPC stream
//! ```
//! The schema is not in the payload: it is kept once (see [`crate::schemas`]), as it would be most of an entry of one row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;
use arrow::ipc::reader::{RecordBatchDecoder, StreamReader};
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, StreamWriter};
use arrow::ipc::{CompressionType, root_as_message};
use millpond_log::{Control, Entry, Error, Payload, Result};

use crate::schemas::{Schemas, has_dictionaries};

const LAYOUT: u8 = 1;
/// Below this compression costs more than it gives.
const COMPRESSED_BYTES_MIN: usize = 4 << 10;
/// Payloads up to this lie beside their head.
pub const INLINE_BYTES_MAX: usize = 4 << 10;
const ALIGNMENT: usize = 64;

const IN_BLOB: u8 = 1;
const LISTED: u8 = 2;
const TIMED: u8 = 4;
const MET: u8 = 8;
const STREAM: u8 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Opaque = 0,
    Columns = 1,
    Control = 2,
}

/// What is known of an entry without its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    kind: Kind,
    is_stream: bool,
    schema: u32,
    control: Option<Control>,
    pub channel: u32,
    /// How many offsets it covers.
    pub span: u32,
    pub payload_bytes: u32,
    pub max_timestamp_ms: Option<i64>,
    /// When a cleaning first met its tombstones.
    pub met_ms: Option<i64>,
    /// Its rows' offsets, from the first one it covers, when rows are missing.
    pub offsets: Option<Vec<u32>>,
}

/// An entry ready to be written, at whatever offset.
#[derive(Debug)]
pub struct Encoded {
    pub head: Head,
    pub payload: Vec<u8>,
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::Corrupt(what.to_string())
}

/// Gives the entry as it should be cached, too: without what the encoding left out.
pub fn encode(entry: Entry, schemas: &Schemas) -> Result<(Entry, Encoded)> {
    let entry = match entry.payload.batch() {
        Some(batch) => Entry { payload: entry.payload.with_batch(compact_views(batch)?), channel: entry.channel },
        None => entry,
    };
    let span = u32::try_from(entry.rows()).map_err(|_| corrupt("an entry has more than 2^32 rows"))?;
    let (kind, control) = match &entry.payload {
        Payload::Opaque(_) => (Kind::Opaque, None),
        Payload::Columns(_) => (Kind::Columns, None),
        Payload::Control(control) => (Kind::Control, Some(*control)),
    };
    let (mut schema, mut is_stream, mut payload) = (0, false, Vec::new());
    let mut entry = entry;
    if let Some(batch) = entry.payload.batch() {
        is_stream = has_dictionaries(batch.schema_ref());
        if is_stream {
            payload = encode_stream(batch)?;
        } else {
            let shared;
            (schema, shared) = schemas.id(batch.schema_ref())?;
            payload = encode_batch(batch, entry.bytes())?;
            // One schema for all entries of its kind, so that readers can tell by the pointer.
            entry.payload = entry.payload.with_batch(batch.clone().with_schema(shared)?);
        }
    }
    let payload_bytes = u32::try_from(payload.len()).map_err(|_| corrupt("an entry has more than 4 GiB"))?;
    let (channel, max_timestamp_ms) = (entry.channel, entry.payload.max_timestamp_ms());
    let head = Head { kind, is_stream, schema, control, channel, span, payload_bytes, max_timestamp_ms, met_ms: None, offsets: None };
    Ok((entry, Encoded { head, payload }))
}

/// Columns of views drag the buffers of all rows they were cut from along: keep what is used.
fn compact_views(batch: &RecordBatch) -> Result<RecordBatch> {
    if !batch.columns().iter().any(|column| matches!(column.data_type(), DataType::Utf8View | DataType::BinaryView)) {
        return Ok(batch.clone());
    }
    let columns = batch.columns().iter().map(|column| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => column.clone(),
        }
    });
    Ok(RecordBatch::try_new(batch.schema(), columns.collect())?)
}

fn write_options(bytes: usize) -> Result<IpcWriteOptions> {
    let compression = (bytes >= COMPRESSED_BYTES_MIN).then_some(CompressionType::LZ4_FRAME);
    Ok(IpcWriteOptions::default().try_with_compression(compression)?)
}

fn encode_stream(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), batch.schema_ref(), write_options(usize::MAX)?)?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

fn encode_batch(batch: &RecordBatch, bytes: usize) -> Result<Vec<u8>> {
    let (_, data) =
        IpcDataGenerator::default().encode(batch, &mut DictionaryTracker::new(false), &write_options(bytes)?, &mut Default::default())?;
    let body = (8 + data.ipc_message.len()).next_multiple_of(ALIGNMENT);
    let mut payload = Vec::with_capacity(body + data.arrow_data.len());
    payload.extend_from_slice(&(data.ipc_message.len() as u32).to_be_bytes());
    payload.extend_from_slice(&[0; 4]);
    payload.extend_from_slice(&data.ipc_message);
    payload.resize(body, 0);
    payload.extend_from_slice(&data.arrow_data);
    Ok(payload)
}

fn decode_batch(payload: &[u8], schema: u32, schemas: &Schemas) -> Result<RecordBatch> {
    // One copy into aligned memory; uncompressed columns then lie in it.
    let payload = Buffer::from(payload);
    let length = payload.first_chunk::<4>().map(|length| u32::from_be_bytes(*length) as usize).ok_or_else(|| corrupt("no message"))?;
    let message = payload.get(8..8 + length).ok_or_else(|| corrupt("a message that ends too early"))?;
    let message = root_as_message(message).map_err(corrupt)?;
    let batch = message.header_as_record_batch().ok_or_else(|| corrupt("a message without rows"))?;
    let body = (8 + length).next_multiple_of(ALIGNMENT).min(payload.len());
    let body = payload.slice(body);
    let dictionaries = HashMap::new();
    let version = message.version();
    Ok(RecordBatchDecoder::try_new(&body, batch, schemas.schema(schema)?, &dictionaries, &version)?.read_record_batch()?)
}

fn decode_stream(payload: &[u8]) -> Result<RecordBatch> {
    StreamReader::try_new(payload, None)?.next().ok_or_else(|| corrupt("a stream without rows"))?.map_err(Error::from)
}

impl Encoded {
    /// What goes to `log`, and what to `blobs`.
    pub fn values(&self) -> (Vec<u8>, Option<&[u8]>) {
        let mut head = self.head.encode();
        if self.head.in_blob() {
            return (head, Some(&self.payload));
        }
        head.extend_from_slice(&self.payload);
        (head, None)
    }
}

impl Head {
    pub fn in_blob(&self) -> bool {
        self.payload_bytes as usize > INLINE_BYTES_MAX
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut flags = 0;
        for (set, flag) in [
            (self.in_blob(), IN_BLOB),
            (self.offsets.is_some(), LISTED),
            (self.max_timestamp_ms.is_some(), TIMED),
            (self.met_ms.is_some(), MET),
            (self.is_stream, STREAM),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let mut bytes = vec![LAYOUT, self.kind as u8, flags];
        for number in [self.channel, self.span, self.payload_bytes, self.schema] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        for number in [self.max_timestamp_ms, self.met_ms].into_iter().flatten() {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        if let Some(offsets) = &self.offsets {
            bytes.extend_from_slice(&(offsets.len() as u32).to_be_bytes());
            offsets.iter().for_each(|offset| bytes.extend_from_slice(&offset.to_be_bytes()));
        }
        if let Some(control) = self.control {
            bytes.extend_from_slice(&control.stream_time_ms.to_be_bytes());
            bytes.push(u8::from(control.idle));
        }
        bytes
    }

    /// Gives the payload too, when it is there.
    pub fn decode(bytes: &[u8]) -> Result<(Head, &[u8])> {
        let mut rest = Rest(bytes);
        let [layout, kind, flags] = rest.take::<3>()?;
        if layout != LAYOUT {
            return Err(corrupt(format!("an entry of layout {layout}")));
        }
        let kind = match kind {
            0 => Kind::Opaque,
            1 => Kind::Columns,
            2 => Kind::Control,
            other => return Err(corrupt(format!("an entry of kind {other}"))),
        };
        let (channel, span, payload_bytes, schema) = (rest.u32()?, rest.u32()?, rest.u32()?, rest.u32()?);
        let max_timestamp_ms = if flags & TIMED != 0 { Some(rest.i64()?) } else { None };
        let met_ms = if flags & MET != 0 { Some(rest.i64()?) } else { None };
        let offsets = if flags & LISTED != 0 {
            let count = rest.u32()?;
            Some((0..count).map(|_| rest.u32()).collect::<Result<Vec<u32>>>()?)
        } else {
            None
        };
        let control = match kind {
            Kind::Control => Some(Control { stream_time_ms: rest.i64()?, idle: rest.take::<1>()? != [0] }),
            _ => None,
        };
        let is_stream = flags & STREAM != 0;
        let head = Head { kind, is_stream, schema, control, channel, span, payload_bytes, max_timestamp_ms, met_ms, offsets };
        Ok((head, rest.0))
    }

    /// The entry that this head and its payload are.
    pub fn entry(&self, payload: &[u8], schemas: &Schemas) -> Result<Entry> {
        if let Some(control) = self.control {
            return Ok(Entry::control(self.channel, control));
        }
        if payload.len() != self.payload_bytes as usize {
            return Err(corrupt(format!("{} bytes where {} should be", payload.len(), self.payload_bytes)));
        }
        let batch = if self.is_stream { decode_stream(payload)? } else { decode_batch(payload, self.schema, schemas)? };
        let rows = self.offsets.as_ref().map_or(self.span as usize, Vec::len);
        if batch.num_rows() != rows {
            return Err(corrupt(format!("{} rows where {rows} should be", batch.num_rows())));
        }
        let entry = if self.kind == Kind::Opaque { Entry::opaque(batch) } else { Entry::columns(batch) };
        Ok(entry.with_channel(self.channel))
    }
}

/// Bytes still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| corrupt("an entry that ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{DictionaryArray, Int64Array, StringArray, StringViewArray};
    use arrow::datatypes::Int32Type;
    use millpond_state_rocksdb::{Database, Options};

    #[test]
    fn any_batch_comes_back_and_broken_bytes_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let schemas = Schemas::load(Database::open(directory.path(), &Options::default()).unwrap()).unwrap();
        let long = "a rather long text that does not fit into a view";
        let views: StringViewArray = (0..1000).map(|row| Some(format!("{long} {row}"))).collect();
        let plain: ArrayRef = Arc::new(StringArray::from_iter((0..1000).map(|row| (row % 3 > 0).then_some(long))));
        let dictionary: DictionaryArray<Int32Type> = (0..1000).map(|row| if row % 2 == 0 { "even" } else { "odd" }).collect();
        let batch = |columns: Vec<(&str, ArrayRef)>| RecordBatch::try_from_iter(columns).unwrap();
        for batch in [
            batch(vec![("plain", plain.clone()), ("number", Arc::new(Int64Array::from_iter_values(0..1000)))]),
            batch(vec![("views", Arc::new(views))]),
            batch(vec![("dictionary", Arc::new(dictionary)), ("plain", plain)]),
        ] {
            for (offset, length) in [(0, 1000), (500, 1), (7, 300)] {
                let entry = Entry::columns(batch.slice(offset, length)).with_channel(9);
                let (cached, encoded) = encode(entry.clone(), &schemas).unwrap();
                assert_eq!(cached, entry);
                assert!(encoded.payload.len() < 200 * length + 2000, "only the slice is written: {}", encoded.payload.len());
                let (value, blob) = encoded.values();
                let (head, rest) = Head::decode(&value).unwrap();
                assert_eq!(head, encoded.head);
                assert_eq!(head.entry(blob.unwrap_or(rest), &schemas).unwrap(), entry);
                for cut in [0, 2, 10, value.len() / 2] {
                    if let Ok((head, rest)) = Head::decode(&value[..cut]) {
                        assert!(head.entry(rest, &schemas).is_err());
                    }
                }
            }
        }
    }
}
