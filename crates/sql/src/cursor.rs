//! Reading a statement token by token: what our own statements are parsed with.

use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use crate::error::{FEATURE_NOT_SUPPORTED, INVALID_PARAMETER_VALUE, SYNTAX_ERROR, UNDEFINED_SCHEMA};
use crate::position::Source;
use crate::tokens::End;
use crate::{Error, Position, near};

/// Words that cannot be a name unless quoted: PostgreSQL's reserved words, without those that ksqlDB takes bare.
const RESERVED: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "AS",
    "ASC",
    "BOTH",
    "CASE",
    "CAST",
    "CHECK",
    "COLLATE",
    "CONSTRAINT",
    "CREATE",
    "CROSS",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_USER",
    "DEFAULT",
    "DESC",
    "DISTINCT",
    "DO",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "FALSE",
    "FETCH",
    "FOR",
    "FOREIGN",
    "FROM",
    "FULL",
    "GRANT",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INTERSECT",
    "INTO",
    "IS",
    "JOIN",
    "LATERAL",
    "LEADING",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "NATURAL",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "ONLY",
    "OR",
    "ORDER",
    "OUTER",
    "REFERENCES",
    "RETURNING",
    "RIGHT",
    "SELECT",
    "SESSION_USER",
    "SOME",
    "TABLE",
    "THEN",
    "TO",
    "TRAILING",
    "TRIM",
    "TRUE",
    "UNION",
    "UNIQUE",
    "USER",
    "USING",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// A statement, or a part of it, and how far it has been read.
pub(crate) struct Cursor<'s, 't> {
    pub source: &'s Source<'s>,
    tokens: &'t [TokenWithSpan],
    at: usize,
    pub end: End,
    /// Where the statement begins: positions in the AST are counted from there.
    pub start: usize,
}

impl<'s, 't> Cursor<'s, 't> {
    pub fn new(source: &'s Source<'s>, tokens: &'t [TokenWithSpan], end: End) -> Self {
        let start = tokens.first().map_or(0, |token| source.offset(token.span.start));
        Self { source, tokens, at: 0, end, start }
    }

    /// A reader of `tokens`, which are a part of the same statement.
    pub fn part<'p>(&self, tokens: &'p [TokenWithSpan], end: End) -> Cursor<'s, 'p> {
        Cursor { source: self.source, tokens, at: 0, end, start: self.start }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn skip(&mut self, count: usize) {
        self.at = (self.at + count).min(self.tokens.len());
    }

    pub fn peek(&self) -> Option<&'t TokenWithSpan> {
        self.nth(0)
    }

    pub fn nth(&self, ahead: usize) -> Option<&'t TokenWithSpan> {
        self.tokens.get(self.at + ahead)
    }

    pub fn done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// What is left, which counts as read.
    pub fn rest(&mut self) -> &'t [TokenWithSpan] {
        let rest = &self.tokens[self.at.min(self.tokens.len())..];
        self.at = self.tokens.len();
        rest
    }

    /// What stands between the bracket that comes next and its partner, both of which count as read.
    pub fn bracketed(&mut self) -> Result<Cursor<'s, 't>, Error> {
        let inside = self.at + 1;
        self.expect_token(&Token::LParen)?;
        let mut depth = 1;
        while let Some(token) = self.peek() {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let tokens = &self.tokens[inside..self.at];
                self.at += 1;
                return Ok(self.part(tokens, End::Token(token.span)));
            }
            self.at += 1;
        }
        Err(self.unexpected())
    }

    /// The unquoted word `ahead` of here.
    pub fn word(&self, ahead: usize) -> Option<&'t Word> {
        match &self.nth(ahead)?.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word),
            _ => None,
        }
    }

    /// Whether these words come next.
    pub fn sees(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, expected)| self.word(ahead).is_some_and(|word| word.value.eq_ignore_ascii_case(expected)))
    }

    pub fn sees_token(&self, ahead: usize, expected: &Token) -> bool {
        self.nth(ahead).is_some_and(|token| token.token == *expected)
    }

    /// Reads these words if they come next, all or none.
    pub fn accept(&mut self, words: &[&str]) -> bool {
        let found = self.sees(words);
        if found {
            self.skip(words.len());
        }
        found
    }

    /// Reads the first of these words that comes next.
    pub fn accept_one<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        words.iter().find(|word| self.accept(&[word])).copied()
    }

    pub fn accept_token(&mut self, expected: &Token) -> bool {
        let found = self.sees_token(0, expected);
        if found {
            self.skip(1);
        }
        found
    }

    pub fn expect(&mut self, words: &[&str]) -> Result<(), Error> {
        for word in words {
            if !self.accept(&[word]) {
                return Err(self.unexpected_among(&[word]));
            }
        }
        Ok(())
    }

    /// Reads one of these words.
    pub fn expect_one<'w>(&mut self, words: &[&'w str]) -> Result<&'w str, Error> {
        self.accept_one(words).ok_or_else(|| self.unexpected_among(words))
    }

    pub fn expect_token(&mut self, expected: &Token) -> Result<(), Error> {
        if self.accept_token(expected) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub fn finish(&self) -> Result<(), Error> {
        if self.done() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// A name: folded when unquoted.
    pub fn name(&mut self) -> Result<String, Error> {
        let Some(TokenWithSpan { token: Token::Word(word), .. }) = self.peek() else { return Err(self.unexpected()) };
        if word.quote_style.is_none() && RESERVED.iter().any(|reserved| word.value.eq_ignore_ascii_case(reserved)) {
            let hint = format!("\"{0}\" is a reserved word: write it in double quotes to use it as a name.", word.value);
            return Err(self.unexpected().hint(hint));
        }
        if word.value.is_empty() {
            return Err(Error::new(SYNTAX_ERROR, "zero-length delimited identifier", self.position()));
        }
        self.skip(1);
        Ok(word.value.clone())
    }

    /// A stream's or table's name; `public.` before it means nothing.
    pub fn object_name(&mut self) -> Result<String, Error> {
        let position = self.position();
        let name = self.name()?;
        if !self.accept_token(&Token::Period) {
            return Ok(name);
        }
        if !name.eq_ignore_ascii_case("public") {
            return Err(Error::new(UNDEFINED_SCHEMA, format!("streams and tables cannot be in schema \"{name}\""), position)
                .hint("All streams and tables are in the schema \"public\"."));
        }
        self.name()
    }

    /// `(a, b, …)`
    pub fn names_in_brackets(&mut self) -> Result<Vec<String>, Error> {
        let mut inside = self.bracketed()?;
        let mut names = vec![inside.name()?];
        while inside.accept_token(&Token::Comma) {
            names.push(inside.name()?);
        }
        inside.finish()?;
        Ok(names)
    }

    /// A string's content, if a string comes next.
    pub fn accept_string(&mut self) -> Option<String> {
        let content = match &self.peek()?.token {
            Token::SingleQuotedString(s)
            | Token::EscapedStringLiteral(s)
            | Token::UnicodeStringLiteral(s)
            | Token::NationalStringLiteral(s) => s.clone(),
            Token::DollarQuotedString(s) => s.value.clone(),
            _ => return None,
        };
        self.skip(1);
        Some(content)
    }

    pub fn string(&mut self) -> Result<String, Error> {
        self.accept_string().ok_or_else(|| self.unexpected())
    }

    /// A whole number that is not negative.
    pub fn number(&mut self) -> Result<u64, Error> {
        let Some(TokenWithSpan { token: Token::Number(digits, _), .. }) = self.peek() else { return Err(self.unexpected()) };
        let number = digits.parse().map_err(|_| {
            let message = format!("\"{digits}\" is not a whole number, or too large");
            Error::new(INVALID_PARAMETER_VALUE, message, self.position())
        })?;
        self.skip(1);
        Ok(number)
    }

    /// A number with its sign, if one comes next, as it was written.
    pub fn accept_signed(&mut self) -> Option<String> {
        let sign = usize::from(self.sees_token(0, &Token::Minus) || self.sees_token(0, &Token::Plus));
        let TokenWithSpan { token: Token::Number(digits, _), .. } = self.nth(sign)? else { return None };
        let minus = if self.sees_token(0, &Token::Minus) { "-" } else { "" };
        self.skip(sign + 1);
        Some(format!("{minus}{digits}"))
    }

    /// Where the next token is, or the end.
    pub fn position(&self) -> Position {
        match (self.peek(), self.end) {
            (Some(token), _) => self.source.position(token.span.start),
            (None, End::Token(Span { start: at, .. }) | End::Input(at)) => self.source.position(at),
        }
    }

    /// Where the next token is, in characters from the beginning of the statement.
    pub fn offset(&self) -> u32 {
        (self.position().0 - 1).saturating_sub(self.start as u32)
    }

    /// The next token is not what should be here.
    pub fn unexpected(&self) -> Error {
        unexpected(self.source, self.peek(), self.end)
    }

    /// The next token is none of `words`.
    pub fn unexpected_among(&self, words: &[&str]) -> Error {
        let error = self.unexpected();
        match self.word(0).and_then(|word| near::miss(&word.value, words.iter().copied())) {
            Some(meant) => error.hint(perhaps(meant)),
            None => error,
        }
    }

    /// What comes next is understood, and not supported.
    pub fn unsupported(&self, what: impl AsRef<str>) -> Error {
        Error::new(FEATURE_NOT_SUPPORTED, format!("{} is not supported", what.as_ref()), self.position())
    }
}

/// A syntax error at `token`, or at the end.
pub(crate) fn unexpected(source: &Source, token: Option<&TokenWithSpan>, end: End) -> Error {
    match (token, &end) {
        (Some(TokenWithSpan { span, .. }), _) | (None, End::Token(span)) => near_span(source, *span),
        (None, End::Input(at)) => Error::new(SYNTAX_ERROR, "syntax error at end of input", source.position(*at)),
    }
}

fn near_span(source: &Source, span: Span) -> Error {
    let text = source.between(span.start, span.end);
    Error::new(SYNTAX_ERROR, format!("syntax error at or near \"{text}\""), source.position(span.start))
}

pub(crate) fn perhaps(meant: &str) -> String {
    format!("Perhaps you meant {meant}.")
}
