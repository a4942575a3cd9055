//! COPY … TO STDOUT: rows as lines of text or CSV, or as an Arrow IPC stream, each as soon as it is there.

mod arrow_stream;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::Bytes;
use futures::StreamExt;
use millpond_sql::ast::{Copy, CopyFormat, Query};

use super::{Answer, CopyOut, Given, Piece, query};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::session::Session;
use crate::wire::text;

pub async fn copy_out(
    session: &Session,
    interrupt: &mut Interrupt<'_>,
    copy: &Copy,
    query: &Query,
    given: &Given<'_>,
    offset: u32,
) -> Result<Answer> {
    if copy.format == CopyFormat::Binary {
        return Err(Error::unsupported("COPY in binary format is not supported").hint("Use FORMAT text, csv or arrow."));
    }
    let (schema, batches) = query::open(session, interrupt, query, given, offset).await?;
    let columns = schema.fields().len();
    if copy.format == CopyFormat::Arrow {
        let (header, pieces) = arrow_stream::pieces(&schema, batches)?;
        return Ok(Answer::CopyOut(CopyOut { columns, binary: true, header: Some(header), pieces }));
    }
    let header = copy.header.then(|| header(copy, &schema));
    let copy = copy.clone();
    let piece = move |batch: RecordBatch| Piece { rows: batch.num_rows() as u64, messages: lines(&copy, &batch) };
    let pieces = batches.map(move |batch| batch.map(&piece)).boxed();
    Ok(Answer::CopyOut(CopyOut { columns, binary: false, header, pieces }))
}

fn header(copy: &Copy, schema: &Schema) -> Bytes {
    let mut line = String::new();
    for (column, field) in schema.fields().iter().enumerate() {
        if column > 0 {
            line.push(copy.delimiter);
        }
        write(copy, field.name(), &mut line);
    }
    line.push('\n');
    line.into()
}

/// A line for each row.
pub fn lines(copy: &Copy, batch: &RecordBatch) -> Vec<Bytes> {
    let mut value = String::new();
    (0..batch.num_rows())
        .map(|row| {
            let mut line = String::new();
            for (index, column) in batch.columns().iter().enumerate() {
                if index > 0 {
                    line.push(copy.delimiter);
                }
                value.clear();
                if text::write(column, row, &mut value) { write(copy, &value, &mut line) } else { line.push_str(&copy.null) }
            }
            line.push('\n');
            Bytes::from(line)
        })
        .collect()
}

fn write(copy: &Copy, value: &str, line: &mut String) {
    match copy.format {
        CopyFormat::Csv => {
            let special = |c: char| c == copy.delimiter || c == copy.quote || matches!(c, '\n' | '\r');
            if value.contains(special) || value == copy.null || value == "\\." {
                line.push(copy.quote);
                for c in value.chars() {
                    if c == copy.quote || c == copy.escape {
                        line.push(copy.escape);
                    }
                    line.push(c);
                }
                line.push(copy.quote);
            } else {
                line.push_str(value);
            }
        }
        CopyFormat::Text | CopyFormat::Binary | CopyFormat::Arrow => {
            for c in value.chars() {
                match c {
                    '\\' => line.push_str("\\\\"),
                    '\n' => line.push_str("\\n"),
                    '\r' => line.push_str("\\r"),
                    '\t' => line.push_str("\\t"),
                    '\u{8}' => line.push_str("\\b"),
                    '\u{c}' => line.push_str("\\f"),
                    '\u{b}' => line.push_str("\\v"),
                    c if c == copy.delimiter => {
                        line.push('\\');
                        line.push(c);
                    }
                    c => line.push(c),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_sql::ast::CopyDirection;

    fn copy(format: CopyFormat, delimiter: char) -> Copy {
        let direction = CopyDirection::From { target: String::new(), columns: Vec::new() };
        Copy { direction, format, delimiter, null: String::new(), header: false, quote: '"', escape: '"' }
    }

    fn written(copy: &Copy, value: &str) -> String {
        let mut line = String::new();
        write(copy, value, &mut line);
        line
    }

    #[test]
    fn what_would_be_misread_is_quoted_or_escaped() {
        let csv = copy(CopyFormat::Csv, ',');
        assert_eq!(written(&csv, "plain"), "plain");
        assert_eq!(written(&csv, "a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(written(&csv, ""), "\"\"");
        let text = copy(CopyFormat::Text, '|');
        assert_eq!(written(&text, "a\tb\\c|d\n"), "a\\tb\\\\c\\|d\\n");
    }
}
