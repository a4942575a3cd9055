//! From sqlparser's lines and columns to the positions of the Postgres protocol.

use sqlparser::tokenizer::{Location, TokenWithSpan};

use crate::{Dialect, Position};

/// The position of `line` and `column` (both from 1, columns in characters) in `text`, a whole message.
///
/// The spans in the AST of a statement count from the beginning of the message, not of the statement. A location outside of the text
/// (sqlparser's empty span is 0, 0) has no position.
pub fn of(text: &str, line: u64, column: u64) -> Option<Position> {
    if line == 0 || column == 0 {
        return None;
    }
    let mut rest = text;
    let mut before = 0u64;
    for _ in 1..line {
        let end = rest.find('\n')?;
        before += rest[..=end].chars().count() as u64;
        rest = &rest[end + 1..];
    }
    let width = rest.split('\n').next().map_or(0, |line| line.chars().count()) as u64;
    // One past the end of the line is where "end of input" stands.
    (column <= width + 1).then(|| Position((before + column) as u32))
}

/// A message's text, indexed once so that each of its tokens finds its place without another pass.
pub(crate) struct Source<'a> {
    text: &'a str,
    pub dialect: Dialect,
    /// The character that each line begins with.
    lines: Vec<usize>,
    /// The byte that each character begins with; `None` when every character is a byte.
    bytes: Option<Vec<usize>>,
    chars: usize,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str, dialect: Dialect) -> Self {
        let mut lines = vec![0];
        lines.extend(text.chars().enumerate().filter(|(_, c)| *c == '\n').map(|(at, _)| at + 1));
        let bytes = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect::<Vec<_>>());
        let chars = bytes.as_ref().map_or(text.len(), Vec::len);
        Self { text, dialect, lines, bytes, chars }
    }

    pub fn text(&self) -> &'a str {
        self.text
    }

    /// In characters from 0; the end of the text for a location that sqlparser left empty.
    pub fn offset(&self, at: Location) -> usize {
        match (at.line as usize).checked_sub(1).and_then(|line| self.lines.get(line)) {
            Some(start) if at.column > 0 => (start + at.column as usize - 1).min(self.chars),
            _ => self.chars,
        }
    }

    pub fn position(&self, at: Location) -> Position {
        Position(self.offset(at) as u32 + 1)
    }

    fn byte(&self, at: usize) -> usize {
        match &self.bytes {
            None => at.min(self.text.len()),
            Some(bytes) => bytes.get(at).copied().unwrap_or(self.text.len()),
        }
    }

    /// The text between two locations.
    pub fn between(&self, from: Location, to: Location) -> &'a str {
        let from = self.byte(self.offset(from));
        let to = self.byte(self.offset(to));
        self.text.get(from..to).unwrap_or_default()
    }

    /// A token as it was written.
    pub fn written(&self, token: &TokenWithSpan) -> &'a str {
        self.between(token.span.start, token.span.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_characters_not_bytes() {
        let text = "één\r\n'ü' x\n";
        assert_eq!(of(text, 1, 1), Some(Position(1)));
        assert_eq!(of(text, 2, 1), Some(Position(6)));
        assert_eq!(of(text, 2, 5), Some(Position(10)));
        assert_eq!(of(text, 3, 1), Some(Position(12)));
        for (line, column) in [(0, 0), (1, 9), (4, 1), (u64::MAX, u64::MAX)] {
            assert_eq!(of(text, line, column), None);
        }
        let source = Source::new(text, Dialect::Millpond);
        assert_eq!(source.position(Location::new(2, 5)), Position(10));
        assert_eq!(source.between(Location::new(2, 1), Location::new(2, 4)), "'ü'");
        assert_eq!(source.offset(Location::empty()), 11);
    }
}
