//! A cursor over JSON text. It hands out slices of the text: nothing is built that nobody asked for.

use std::borrow::Cow;

use crate::column::Reason;

/// Deeper documents are refused, so that a malicious one cannot overflow the stack.
const DEPTH_MAX: usize = 256;

pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// Whether none of the bytes ends the plain part of a text. Without a branch, so that vector instructions can look at all of them at once.
fn is_plain(bytes: &[u8; 32]) -> bool {
    bytes.iter().fold(true, |plain, byte| plain & (*byte != b'"') & (*byte != b'\\') & (*byte >= 0x20))
}

/// How many of eight bytes come before the first that ends the plain part of a text: a quote, a backslash or a control character.
fn before_special(eight: [u8; 8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 0x80;
    let eight = u64::from_le_bytes(eight);
    // The lowest bit set is right; above it a borrow may have set more.
    let below = |bytes: u64, limit: u8| bytes.wrapping_sub(ONES * u64::from(limit)) & !bytes & HIGH;
    let is = |byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    let special = is(b'"') | is(b'\\') | below(eight, 0x20);
    special.trailing_zeros() as usize / 8
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    Text,
    Number,
    Boolean,
    Null,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Object => "an object",
            Kind::Array => "an array",
            Kind::Text => "a text",
            Kind::Number => "a number",
            Kind::Boolean => "a boolean",
            Kind::Null => "null",
        })
    }
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    pub(crate) fn error(&self, expected: &str) -> Reason {
        match self.text[self.boundary()..].chars().next() {
            Some(found) => format!("invalid JSON at byte {}: expected {expected}, found '{found}'", self.at),
            None => format!("invalid JSON: expected {expected}, but it ends"),
        }
    }

    fn boundary(&self) -> usize {
        (self.at.min(self.text.len())..=self.text.len()).find(|at| self.text.is_char_boundary(*at)).unwrap_or(self.text.len())
    }

    /// What kind of value comes next; only its first character has been looked at.
    pub(crate) fn peek(&mut self) -> Result<Kind, Reason> {
        self.blanks();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::Text),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.error("a value")),
        }
    }

    /// Only blanks are left.
    pub(crate) fn end(&mut self) -> Result<(), Reason> {
        self.blanks();
        if self.at < self.text.len() { Err(self.error("the end")) } else { Ok(()) }
    }

    /// Takes `null` if it is next.
    pub(crate) fn null(&mut self) -> Result<bool, Reason> {
        if self.peek()? != Kind::Null {
            return Ok(false);
        }
        self.word("null")?;
        Ok(true)
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, Reason> {
        self.blanks();
        if self.byte() == Some(b't') {
            self.word("true")?;
            return Ok(true);
        }
        self.word("false")?;
        Ok(false)
    }

    fn word(&mut self, word: &str) -> Result<(), Reason> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error(word));
        }
        self.at += word.len();
        Ok(())
    }

    /// A number as it is written.
    pub(crate) fn number(&mut self) -> Result<&'a str, Reason> {
        self.blanks();
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.byte() == Some(b'0');
        if self.digits() == 0 {
            return Err(self.error("a digit"));
        }
        if zero && self.text.as_bytes()[start..self.at].iter().filter(|byte| byte.is_ascii_digit()).count() > 1 {
            return Err(format!("invalid JSON at byte {start}: a number begins with 0"));
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.error("a digit"));
            }
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.error("a digit"));
            }
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    /// A text, without its quotes and escapes.
    pub(crate) fn text(&mut self) -> Result<Cow<'a, str>, Reason> {
        self.blanks();
        if self.byte() != Some(b'"') {
            return Err(self.error("'\"'"));
        }
        self.at += 1;
        let text = self.plain()?;
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        let mut whole = text.to_string();
        while self.byte() == Some(b'\\') {
            self.at += 1;
            whole.push(self.escape()?);
            whole.push_str(self.plain()?);
        }
        self.at += 1;
        Ok(Cow::Owned(whole))
    }

    /// Up to the next quote or backslash.
    fn plain(&mut self) -> Result<&'a str, Reason> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        while bytes[self.at..].first_chunk().is_some_and(is_plain) {
            self.at += 32;
        }
        while let Some(eight) = bytes[self.at..].first_chunk() {
            let plain = before_special(*eight);
            self.at += plain;
            if plain < 8 {
                break;
            }
        }
        loop {
            match self.byte() {
                Some(b'"' | b'\\') => return Ok(&self.text[start..self.at]),
                Some(0..=0x1f) => return Err(format!("invalid JSON at byte {}: a control character in a text", self.at)),
                Some(_) => self.at += 1,
                None => return Err("invalid JSON: a text does not end".to_string()),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Reason> {
        let escaped = self.byte().ok_or("invalid JSON: a text does not end")?;
        let character = match escaped {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.error("an escape")),
        };
        self.at += 1;
        Ok(character)
    }

    /// Behind `\u`: one code unit, or a surrogate pair.
    fn unicode(&mut self) -> Result<char, Reason> {
        let first = self.hex()?;
        let code = if (0xd800..0xdc00).contains(&first) && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let second = self.hex()?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(format!("invalid JSON at byte {}: half a surrogate pair", self.at));
            }
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| format!("invalid JSON at byte {}: half a surrogate pair", self.at))
    }

    fn hex(&mut self) -> Result<u32, Reason> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(|| self.error("four hexadecimal digits"))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|error| error.to_string())
    }

    /// Calls `each` at every value of an object with its name; `each` must take the value.
    pub(crate) fn object(&mut self, mut each: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), Reason>) -> Result<(), Reason> {
        self.blanks();
        if self.byte() != Some(b'{') {
            return Err(self.error("'{'"));
        }
        self.at += 1;
        self.blanks();
        if self.byte() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let name = self.text()?;
            self.blanks();
            if self.byte() != Some(b':') {
                return Err(self.error("':'"));
            }
            self.at += 1;
            each(self, name)?;
            if self.last(b'}', "',' or '}'")? {
                return Ok(());
            }
        }
    }

    /// Calls `each` at every element of an array; `each` must take it.
    pub(crate) fn array(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), Reason>) -> Result<(), Reason> {
        self.blanks();
        if self.byte() != Some(b'[') {
            return Err(self.error("'['"));
        }
        self.at += 1;
        self.blanks();
        if self.byte() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            each(self)?;
            if self.last(b']', "',' or ']'")? {
                return Ok(());
            }
        }
    }

    /// Takes the comma (`false`) or the closing bracket (`true`).
    fn last(&mut self, close: u8, expected: &str) -> Result<bool, Reason> {
        self.blanks();
        let last = match self.byte() {
            Some(b',') => false,
            Some(byte) if byte == close => true,
            _ => return Err(self.error(expected)),
        };
        self.at += 1;
        Ok(last)
    }

    /// Takes a value of any kind and gives it as it is written.
    pub(crate) fn skip(&mut self) -> Result<&'a str, Reason> {
        self.blanks();
        let start = self.at;
        self.skip_value(0)?;
        Ok(&self.text[start..self.at])
    }

    fn skip_value(&mut self, depth: usize) -> Result<(), Reason> {
        if depth > DEPTH_MAX {
            return Err(format!("JSON is nested more than {DEPTH_MAX} deep"));
        }
        match self.peek()? {
            Kind::Object => self.object(|scanner, _| scanner.skip_value(depth + 1)),
            Kind::Array => self.array(|scanner| scanner.skip_value(depth + 1)),
            Kind::Text => self.text().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::Boolean => self.boolean().map(drop),
            Kind::Null => self.null().map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_part_of_a_text_ends_where_it_should() {
        for length in 0..100 {
            for end in ["\"", "\\", "\u{1f}", "\0"] {
                let (plain, behind) = ("é".repeat(length % 3) + &"x".repeat(length), "\"".repeat(9));
                let text = format!("{plain}{end}{behind}");
                let mut scanner = Scanner::new(&text);
                match end {
                    "\"" | "\\" => assert_eq!((scanner.plain().unwrap(), scanner.at), (plain.as_str(), plain.len())),
                    _ => assert!(scanner.plain().unwrap_err().contains(&format!("at byte {}", plain.len()))),
                }
            }
        }
        assert_eq!(Scanner::new("no end, nowhere").plain().unwrap_err(), "invalid JSON: a text does not end");
    }

    #[test]
    fn special_bytes_are_found_among_eight() {
        let plain = *b"plain!#[";
        assert_eq!([plain, [0xff; 8], [0x20; 8]].map(before_special), [8; 3]);
        for place in 0..8 {
            for special in [b'"', b'\\', 0, 0x1f] {
                for behind in [b'x', b'!', b'#', b'[', b']', b'"', 0x20, 0x80] {
                    let mut eight = plain;
                    eight[place] = special;
                    eight[place + 1..].fill(behind);
                    assert_eq!(before_special(eight), place);
                }
            }
        }
    }
}
