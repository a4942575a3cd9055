//! PostgreSQL's array literals: `{1,2,NULL,"a b",{…}}`.

use crate::column::{Column, Reason, Values};

/// Appends the elements of `text` to `items`.
pub(super) fn append(items: &mut Column, text: &str) -> Result<(), Reason> {
    let mut literal = Literal { whole: text, rest: text.trim() };
    literal.array(items)?;
    if literal.rest.is_empty() { Ok(()) } else { Err(literal.malformed("text after the closing brace")) }
}

struct Literal<'a> {
    whole: &'a str,
    rest: &'a str,
}

impl Literal<'_> {
    fn malformed(&self, detail: &str) -> Reason {
        format!("malformed array literal: \"{}\": {detail}", self.whole)
    }

    fn take(&mut self, character: char) -> bool {
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn array(&mut self, items: &mut Column) -> Result<(), Reason> {
        if !self.take('{') {
            return Err(self.malformed("it must begin with \"{\""));
        }
        self.blanks();
        if self.take('}') {
            return Ok(());
        }
        loop {
            self.blanks();
            self.element(items)?;
            self.blanks();
            if self.take('}') {
                return Ok(());
            }
            if !self.take(',') {
                return Err(self.malformed("expected \",\" or \"}\""));
            }
        }
    }

    fn element(&mut self, items: &mut Column) -> Result<(), Reason> {
        if self.rest.starts_with('{') {
            let Values::List { item, .. } = &mut items.values else {
                return Err(self.malformed("unexpected \"{\""));
            };
            self.array(item)?;
            return items.close();
        }
        if self.take('"') {
            let text = self.quoted()?;
            return super::append(items, &text);
        }
        let text = self.bare()?;
        if text.eq_ignore_ascii_case("null") { items.put_null() } else { super::append(items, &text) }
    }

    fn quoted(&mut self) -> Result<String, Reason> {
        let mut text = String::new();
        let mut characters = self.rest.chars();
        loop {
            match characters.next() {
                Some('"') => break,
                Some('\\') => text.extend(characters.next()),
                Some(character) => text.push(character),
                None => return Err(self.malformed("a quoted element does not end")),
            }
        }
        self.rest = characters.as_str();
        Ok(text)
    }

    /// An element without quotes: up to the comma or brace, without the blanks around it.
    fn bare(&mut self) -> Result<String, Reason> {
        let mut text = String::new();
        // A blank behind a backslash stays.
        let mut kept = 0;
        let mut characters = self.rest.chars();
        loop {
            let rest = characters.as_str();
            match characters.next() {
                Some(',' | '}') => {
                    self.rest = rest;
                    break;
                }
                Some('\\') => {
                    text.extend(characters.next());
                    kept = text.len();
                }
                Some('"' | '{') => return Err(self.malformed("a quote or brace inside an element")),
                Some(character) => {
                    text.push(character);
                    if !character.is_whitespace() {
                        kept = text.len();
                    }
                }
                None => return Err(self.malformed("it does not end")),
            }
        }
        text.truncate(kept);
        if text.is_empty() { Err(self.malformed("an element is empty")) } else { Ok(text) }
    }
}
