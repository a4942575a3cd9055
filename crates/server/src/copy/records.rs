//! Bytes to records of fields, in COPY's text and csv formats, however the bytes are cut.

use millpond_sql::ast::{Copy, CopyFormat};

use crate::error::{Error, Result};

/// A line that is longer is a mistake, not data.
const RECORD_BYTES_MAX: usize = 256 << 20;

/// The fields of one record.
#[derive(Debug, Default)]
pub struct Fields {
    /// The line the record begins at, from 1.
    pub line: u64,
    text: String,
    /// Where each field ends in `text`, and whether it is NULL.
    ends: Vec<(usize, bool)>,
}

impl Fields {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        let mut start = 0;
        self.ends.iter().map(move |(end, null)| {
            let field = &self.text[start..*end];
            start = *end;
            (!null).then_some(field)
        })
    }
}

pub struct Records {
    csv: bool,
    delimiter: u8,
    quote: u8,
    escape: u8,
    null: Vec<u8>,
    buffer: Vec<u8>,
    /// Where the next record begins in `buffer`.
    start: usize,
    /// Up to where it was looked for the record's end, and whether that is within quotes.
    scanned: usize,
    quoted: bool,
    line: u64,
    ended: bool,
    /// `\.` was read: nothing counts any more.
    closed: bool,
}

impl Records {
    pub fn new(copy: &Copy) -> Result<Records> {
        let byte = |what: &str, c: char| match u8::try_from(c) {
            Ok(byte) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(byte),
            _ => Err(Error::new("0A000", format!("COPY {what} must be a single one-byte character"))),
        };
        Ok(Records {
            csv: copy.format == CopyFormat::Csv,
            delimiter: byte("delimiter", copy.delimiter)?,
            quote: byte("quote", copy.quote)?,
            escape: byte("escape", copy.escape)?,
            null: copy.null.clone().into_bytes(),
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            quoted: false,
            line: 1,
            ended: false,
            closed: false,
        })
    }

    /// The line that is being read.
    pub fn line(&self) -> u64 {
        self.line
    }

    pub fn push(&mut self, data: &[u8]) {
        if self.closed {
            return;
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(data);
    }

    /// No more bytes come: what is left is a record.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next record, if there is a whole one.
    pub fn next(&mut self, fields: &mut Fields) -> Result<bool> {
        if self.closed {
            return Ok(false);
        }
        let Some((end, next)) = self.boundary()? else { return Ok(false) };
        let record = &self.buffer[self.start..end];
        if record == b"\\." {
            self.closed = true;
            return Ok(false);
        }
        fields.line = self.line;
        let mut bytes = std::mem::take(&mut fields.text).into_bytes();
        bytes.clear();
        fields.ends.clear();
        if self.csv {
            self.split_csv(record, &mut bytes, &mut fields.ends)
        } else {
            self.split_text(record, &mut bytes, &mut fields.ends)
        }
        fields.text = String::from_utf8(bytes).map_err(|_| Error::new("22021", "invalid byte sequence for encoding \"UTF8\""))?;
        self.line += 1 + record.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.start = next;
        self.scanned = next;
        self.quoted = false;
        Ok(true)
    }

    /// Where the record that begins at `start` ends, and where the next one begins.
    fn boundary(&mut self) -> Result<Option<(usize, usize)>> {
        let mut at = self.scanned;
        while at < self.buffer.len() {
            let byte = self.buffer[at];
            if self.csv {
                if self.quoted && byte == self.escape && self.escape != self.quote {
                    at += 2;
                    continue;
                }
                if byte == self.quote {
                    self.quoted = !self.quoted;
                }
            } else if byte == b'\\' {
                at += 2;
                continue;
            }
            if !self.quoted && byte == b'\n' {
                let end = if at > self.start && self.buffer[at - 1] == b'\r' { at - 1 } else { at };
                return Ok(Some((end, at + 1)));
            }
            at += 1;
        }
        self.scanned = at.min(self.buffer.len());
        // An escape at the very end: what it escapes has not come.
        if at > self.buffer.len() {
            self.scanned = self.buffer.len() - 1;
        }
        if self.buffer.len() - self.start > RECORD_BYTES_MAX {
            return Err(Error::new("54000", "a COPY line is too long"));
        }
        if !self.ended || self.start == self.buffer.len() {
            return Ok(None);
        }
        if self.quoted {
            return Err(Error::new("22P04", "unterminated CSV quoted field"));
        }
        let end = self.buffer.len();
        let trimmed = if self.buffer[end - 1] == b'\r' { end - 1 } else { end };
        Ok(Some((trimmed, end)))
    }

    fn split_csv(&self, record: &[u8], text: &mut Vec<u8>, ends: &mut Vec<(usize, bool)>) {
        let mut at = 0;
        loop {
            let begin = text.len();
            let (mut was_quoted, mut inside) = (false, false);
            while at < record.len() {
                let byte = record[at];
                if inside {
                    let escaped = record.get(at + 1).copied().filter(|next| *next == self.quote || *next == self.escape);
                    match escaped {
                        Some(next) if byte == self.escape => {
                            text.push(next);
                            at += 1;
                        }
                        _ if byte == self.quote => inside = false,
                        _ => text.push(byte),
                    }
                } else if byte == self.delimiter {
                    break;
                } else if byte == self.quote {
                    (was_quoted, inside) = (true, true);
                } else {
                    text.push(byte);
                }
                at += 1;
            }
            ends.push((text.len(), !was_quoted && text[begin..] == self.null[..]));
            if at >= record.len() {
                return;
            }
            at += 1;
        }
    }

    fn split_text(&self, record: &[u8], text: &mut Vec<u8>, ends: &mut Vec<(usize, bool)>) {
        let mut at = 0;
        loop {
            let begin = at;
            while at < record.len() && record[at] != self.delimiter {
                at += if record[at] == b'\\' { 2 } else { 1 };
            }
            let raw = &record[begin..at.min(record.len())];
            let null = raw == &self.null[..];
            if !null {
                unescape(raw, text);
            }
            ends.push((text.len(), null));
            if at >= record.len() {
                return;
            }
            at += 1;
        }
    }
}

/// Backslash sequences of COPY's text format.
fn unescape(raw: &[u8], text: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'\\' {
            text.push(*byte);
            continue;
        }
        let Some((escaped, tail)) = rest.split_first() else {
            text.push(b'\\');
            return;
        };
        rest = tail;
        match escaped {
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'v' => text.push(11),
            b'0'..=b'7' => rest = number(8, escaped - b'0', 2, rest, text),
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => rest = number(16, 0, 2, rest, text),
            other => text.push(*other),
        }
    }
}

/// Up to `digits` more digits of a byte.
fn number<'a>(radix: u32, first: u8, digits: usize, mut rest: &'a [u8], text: &mut Vec<u8>) -> &'a [u8] {
    let mut value = u32::from(first);
    for _ in 0..digits {
        let Some(digit) = rest.first().and_then(|byte| char::from(*byte).to_digit(radix)) else { break };
        value = value * radix + digit;
        rest = &rest[1..];
    }
    text.push(value as u8);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_sql::ast::CopyDirection;

    fn copy(format: CopyFormat, delimiter: char, null: &str) -> Copy {
        let direction = CopyDirection::From { target: String::new(), columns: Vec::new() };
        Copy { direction, format, delimiter, null: null.to_string(), header: false, quote: '"', escape: '"' }
    }

    /// Records of `data`, cut into pieces of `size`.
    fn read(copy: &Copy, data: &[u8], size: usize) -> Result<Vec<(u64, Vec<Option<String>>)>> {
        let mut records = Records::new(copy)?;
        let mut read = Vec::new();
        let mut fields = Fields::default();
        for piece in data.chunks(size).map(Some).chain([None]) {
            match piece {
                Some(piece) => records.push(piece),
                None => records.end(),
            }
            while records.next(&mut fields)? {
                read.push((fields.line, fields.iter().map(|field| field.map(str::to_string)).collect()));
            }
        }
        Ok(read)
    }

    fn some(fields: &[&str]) -> Vec<Option<String>> {
        fields.iter().map(|field| Some(field.to_string())).collect()
    }

    #[test]
    fn csv_however_it_is_cut() {
        let csv = copy(CopyFormat::Csv, ',', "NA");
        let data = b"a,\"b,\"\"c\"\"\nd\",NA\r\n\"NA\",,x\nlast,1,2";
        let whole = read(&csv, data, data.len()).unwrap();
        assert_eq!(whole[0], (1, vec![Some("a".into()), Some("b,\"c\"\nd".into()), None]));
        assert_eq!(whole[1], (3, some(&["NA", "", "x"])));
        assert_eq!(whole[2], (4, some(&["last", "1", "2"])));
        for size in 1..data.len() {
            assert_eq!(read(&csv, data, size).unwrap(), whole, "cut at {size}");
        }
        assert_eq!(read(&csv, b"a,\"b", 9).unwrap_err().sqlstate, "22P04");
    }

    #[test]
    fn text_however_it_is_cut() {
        let text = copy(CopyFormat::Text, '\t', "\\N");
        let data = b"a\\tb\t\\N\tc\\\\\nd\\\ne\t\\101\\x42\t\n\\.\nignored\n";
        let whole = read(&text, data, data.len()).unwrap();
        assert_eq!(whole, [(1, vec![Some("a\tb".into()), None, Some("c\\".into())]), (2, some(&["d\ne", "AB", ""]))]);
        for size in 1..data.len() {
            assert_eq!(read(&text, data, size).unwrap(), whole, "cut at {size}");
        }
        assert_eq!(read(&text, b"\xff\n", 9).unwrap_err().sqlstate, "22021");
    }
}
