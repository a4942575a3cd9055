//! Rows as an Arrow IPC stream: the schema, a message for each batch, the mark of the end.
//!
//! ARW-1  what is sent for a batch is all that a reader needs to have its rows: a push query's come as they change.

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::super::{BatchStream, Piece};
use crate::error::Result;

/// A batch is cut into messages of this size, so that little of it is buffered for a slow reader.
const MESSAGE_BYTES: usize = 256 << 10;

/// The schema's message, and what follows it.
pub fn pieces(schema: &SchemaRef, batches: BatchStream) -> Result<(Bytes, BoxStream<'static, Result<Piece>>)> {
    let mut writer = Writer::new(schema)?;
    let header = Bytes::from(writer.written());
    let pieces = stream::unfold(Some((writer, batches)), |state| async {
        let (mut writer, mut batches) = state?;
        match batches.next().await {
            Some(Ok(batch)) => {
                let rows = batch.num_rows() as u64;
                match writer.0.write(&batch) {
                    Ok(()) => Some((Ok(Piece { rows, messages: messages(writer.written()) }), Some((writer, batches)))),
                    Err(error) => Some((Err(error.into()), None)),
                }
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => {
                let end = writer.0.finish().map(|()| Piece { rows: 0, messages: messages(writer.written()) });
                Some((end.map_err(Into::into), None))
            }
        }
    });
    Ok((header, pieces.boxed()))
}

struct Writer(StreamWriter<Vec<u8>>);

impl Writer {
    fn new(schema: &Schema) -> Result<Writer> {
        Ok(Writer(StreamWriter::try_new(Vec::new(), schema)?))
    }

    /// What was written since it was last asked.
    fn written(&mut self) -> Vec<u8> {
        std::mem::take(self.0.get_mut())
    }
}

fn messages(bytes: Vec<u8>) -> Vec<Bytes> {
    let mut bytes = Bytes::from(bytes);
    let mut messages = Vec::with_capacity(bytes.len() / MESSAGE_BYTES + 1);
    while bytes.len() > MESSAGE_BYTES {
        messages.push(bytes.split_to(MESSAGE_BYTES));
    }
    messages.push(bytes);
    messages
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, RecordBatch};
    use arrow::buffer::Buffer;
    use arrow::datatypes::{DataType, Field};
    use arrow::ipc::reader::StreamDecoder;

    use super::*;

    #[tokio::test]
    async fn each_piece_can_be_read_when_it_has_come() {
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int32, true)]));
        let batch = |from: i32| {
            let values: Int32Array = (from..from + 100_000).map(|v| (v % 3 > 0).then_some(v)).collect();
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(values)]).unwrap()
        };
        let given = [batch(0), batch(7)];
        let (header, mut pieces) = pieces(&schema, stream::iter(given.clone().map(Ok)).boxed()).unwrap();
        let mut decoder = StreamDecoder::new();
        assert!(decoder.decode(&mut Buffer::from(header)).unwrap().is_none());
        for batch in given {
            let piece = pieces.next().await.unwrap().unwrap();
            assert_eq!(piece.rows, 100_000);
            assert!(piece.messages.len() > 1 && piece.messages.iter().all(|message| message.len() <= MESSAGE_BYTES));
            let read: Vec<_> =
                piece.messages.into_iter().filter_map(|message| decoder.decode(&mut Buffer::from(message)).unwrap()).collect();
            assert_eq!(read, [batch]);
        }
        assert_eq!(decoder.schema(), Some(schema));
        let end = pieces.next().await.unwrap().unwrap();
        assert!(decoder.decode(&mut Buffer::from(end.messages.concat())).unwrap().is_none());
        decoder.finish().unwrap();
        assert!(end.rows == 0 && pieces.next().await.is_none());
    }
}
