//! COPY … FROM STDIN: bytes of the client ─► records ─► columns of text ─► typed batches, all appended at the end.

mod records;
#[cfg(test)]
mod round_trip;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, StringBuilder};
use millpond_catalog::Source;
use millpond_executor::SourceWrite;
use millpond_formats::text::parse_column;
use millpond_sql::ast::{Copy, CopyFormat};

use self::records::{Fields, Records};
use crate::error::{Error, Result, invalid_text};
use crate::session::Session;
use crate::statement::write::{self, Slot};

/// Rows that are typed at a time.
const BATCH_ROWS: usize = 8_192;
/// What an atomic COPY may hold in memory.
const BYTES_MAX: usize = 2 << 30;

/// A COPY that is being read. Dropping it leaves nothing behind.
pub struct CopyIn {
    source: Arc<Source>,
    slots: Vec<Slot>,
    records: Records,
    batch: Batch,
    writes: Vec<SourceWrite>,
    rows: u64,
    bytes: usize,
    /// The first line names the columns.
    header: bool,
}

/// Texts of the rows that are not typed yet.
struct Batch {
    columns: Vec<StringBuilder>,
    /// The line each row begins at.
    lines: Vec<u64>,
}

impl CopyIn {
    pub fn begin(session: &Session, copy: &Copy, target: &str, columns: &[String]) -> Result<CopyIn> {
        session.may_write("COPY FROM")?;
        let unread = match copy.format {
            CopyFormat::Text | CopyFormat::Csv => None,
            CopyFormat::Binary => Some("COPY in binary format is not supported"),
            CopyFormat::Arrow => Some("COPY FROM STDIN in arrow format is not supported"),
        };
        if let Some(unread) = unread {
            return Err(Error::unsupported(unread).hint("Use FORMAT text or csv."));
        }
        let source = write::writable(session, target)?;
        let slots = write::slots(&source, columns, session.dialect())?;
        let batch = Batch { columns: slots.iter().map(|_| StringBuilder::new()).collect(), lines: Vec::new() };
        Ok(CopyIn { source, slots, records: Records::new(copy)?, batch, writes: Vec::new(), rows: 0, bytes: 0, header: copy.header })
    }

    /// How many columns the client is to send.
    pub fn columns(&self) -> usize {
        self.slots.len()
    }

    pub fn push(&mut self, data: &[u8]) -> Result<()> {
        self.bytes += data.len();
        if self.bytes > BYTES_MAX {
            return Err(Error::new("54000", format!("a COPY is one transaction and can hold {} MiB", BYTES_MAX >> 20))
                .hint("Split the file and COPY its parts."));
        }
        self.records.push(data);
        self.take()
    }

    /// What was read, and how many rows.
    pub fn finish(mut self) -> Result<(Vec<SourceWrite>, u64)> {
        self.records.end();
        self.take()?;
        self.type_rows()?;
        Ok((self.writes, self.rows))
    }

    fn take(&mut self) -> Result<()> {
        let mut fields = Fields::default();
        while self.records.next(&mut fields).map_err(|error| self.placed(error, self.records.line()))? {
            if std::mem::take(&mut self.header) {
                continue;
            }
            let line = fields.line;
            if fields.len() < self.slots.len() {
                let missing = &self.slots[fields.len()].name;
                return Err(self.placed(Error::new("22P04", format!("missing data for column \"{missing}\"")), line));
            }
            if fields.len() > self.slots.len() {
                return Err(self.placed(Error::new("22P04", "extra data after last expected column"), line));
            }
            for (builder, field) in self.batch.columns.iter_mut().zip(fields.iter()) {
                builder.append_option(field);
            }
            self.batch.lines.push(line);
            if self.batch.lines.len() == BATCH_ROWS {
                self.type_rows()?;
            }
        }
        Ok(())
    }

    fn type_rows(&mut self) -> Result<()> {
        let lines = std::mem::take(&mut self.batch.lines);
        if lines.is_empty() {
            return Ok(());
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.slots.len());
        for (builder, slot) in self.batch.columns.iter_mut().zip(&self.slots) {
            let texts = builder.finish();
            let column = parse_column(texts.iter(), &slot.data_type)
                .map_err(|(row, reason)| self.source.invalid(&texts, row, &reason, slot, lines.get(row).copied().unwrap_or_default()))?;
            columns.push(column);
        }
        let rows = lines.len();
        let write = write::source_write(&self.source, &self.slots, columns, rows)
            .map_err(|error| error.context(format!("COPY {}, lines {} to {}", self.source.name, lines[0], lines[rows - 1])))?;
        self.writes.push(write);
        self.rows += rows as u64;
        Ok(())
    }

    fn placed(&self, error: Error, line: u64) -> Error {
        error.context(format!("COPY {}, line {line}", self.source.name))
    }
}

trait Invalid {
    fn invalid(&self, texts: &StringArray, row: usize, reason: &str, slot: &Slot, line: u64) -> Error;
}

impl Invalid for Source {
    fn invalid(&self, texts: &StringArray, row: usize, reason: &str, slot: &Slot, line: u64) -> Error {
        let text = if row < texts.len() && texts.is_valid(row) { texts.value(row) } else { "" };
        Error::new(invalid_text(reason), reason).context(format!("COPY {}, line {line}, column {}: \"{text}\"", self.name, slot.name))
    }
}
