//! COPY, with its options in PostgreSQL's new spelling `WITH (…)` and in the old one.

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::Error;
use crate::ast::{Copy, CopyDirection, CopyFormat, Kind};
use crate::cursor::Cursor;
use crate::error::{INVALID_PARAMETER_VALUE, SYNTAX_ERROR};
use crate::{Position, query};

pub(crate) fn copy(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect(&["COPY"])?;
    let what = cursor.position();
    let direction = if cursor.sees_token(0, &Token::LParen) {
        let mut inside = cursor.bracketed()?;
        if !query::begins(&inside) {
            return Err(inside.unexpected_among(&["SELECT", "WITH", "VALUES"]));
        }
        let query = query::query(&mut inside)?;
        if cursor.sees(&["FROM"]) {
            return Err(cursor.unexpected().hint("A query can only be copied TO STDOUT."));
        }
        cursor.expect(&["TO"])?;
        CopyDirection::To { query }
    } else {
        source(cursor)?
    };
    endpoint(cursor, matches!(direction, CopyDirection::From { .. }))?;
    let options = Options::read(cursor)?;
    if cursor.sees(&["WHERE"]) {
        return Err(cursor.unsupported("WHERE on COPY").hint("Filter in the query that reads the stream."));
    }
    cursor.finish()?;
    Ok(Kind::Copy(options.checked(direction, what)?))
}

/// `name [(columns)] FROM|TO`
fn source(cursor: &mut Cursor) -> Result<CopyDirection, Error> {
    let place = cursor.peek().map(|token| token.span);
    // Reads may name any schema, writes only ours.
    let mut ahead = 1;
    while cursor.sees_token(ahead, &Token::Period) {
        ahead += 2;
    }
    let name: Vec<TokenWithSpan> = (0..ahead).filter_map(|ahead| cursor.nth(ahead).cloned()).collect();
    let mut reader = cursor.part(&name, cursor.end);
    reader.name()?;
    while reader.accept_token(&Token::Period) {
        reader.name()?;
    }
    let mut writer = cursor.part(&name, cursor.end);
    cursor.skip(ahead);
    let columns = if cursor.sees_token(0, &Token::LParen) { cursor.names_in_brackets()? } else { Vec::new() };
    if cursor.expect_one(&["FROM", "TO"])? == "FROM" {
        return Ok(CopyDirection::From { target: writer.object_name()?, columns });
    }
    let Some(place) = place else { return Err(cursor.unexpected()) };
    let [select, all, from] = query::select_all(place);
    let mut tokens = vec![select];
    for (i, column) in columns.into_iter().enumerate() {
        if i > 0 {
            tokens.push(TokenWithSpan::new(Token::Comma, place));
        }
        tokens.push(TokenWithSpan::new(Token::make_word(&column, Some('"')), place));
    }
    if tokens.len() == 1 {
        tokens.push(all);
    }
    tokens.push(from);
    tokens.extend(name);
    Ok(CopyDirection::To { query: query::query(&mut cursor.part(&tokens, cursor.end))? })
}

fn endpoint(cursor: &mut Cursor, from: bool) -> Result<(), Error> {
    let (client, other) = if from { ("STDIN", "STDOUT") } else { ("STDOUT", "STDIN") };
    if cursor.accept(&[client]) {
        return Ok(());
    }
    let program = cursor.sees(&["PROGRAM"]);
    let file = cursor.peek().is_some_and(|token| matches!(token.token, Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_)));
    if program || file {
        let what = if program { "COPY with a program of the server" } else { "COPY with a file of the server" };
        return Err(cursor.unsupported(what).hint("Use psql's \\copy, which reads and writes at the client."));
    }
    if cursor.sees(&[other]) {
        return Err(cursor.unexpected().hint(format!("Perhaps you meant {client}.")));
    }
    Err(cursor.unexpected_among(&[client]))
}

#[derive(Default)]
struct Options {
    format: Option<CopyFormat>,
    delimiter: Option<(String, Position)>,
    null: Option<String>,
    header: Option<bool>,
    quote: Option<(String, Position)>,
    escape: Option<(String, Position)>,
    /// Options that were given, to find those given twice.
    seen: Vec<String>,
}

impl Options {
    fn read(cursor: &mut Cursor) -> Result<Self, Error> {
        let mut options = Options::default();
        let with = cursor.accept(&["WITH"]);
        if cursor.sees_token(0, &Token::LParen) {
            let mut inside = cursor.bracketed()?;
            loop {
                options.modern(&mut inside)?;
                if !inside.accept_token(&Token::Comma) {
                    break;
                }
            }
            inside.finish()?;
            return Ok(options);
        }
        if with && cursor.done() {
            return Err(cursor.unexpected());
        }
        while !cursor.done() && !cursor.sees(&["WHERE"]) {
            options.old(cursor)?;
        }
        Ok(options)
    }

    fn once(&mut self, name: &str, position: Position) -> Result<(), Error> {
        if self.seen.iter().any(|other| other == name) {
            return Err(Error::new(SYNTAX_ERROR, format!("option {name} is given twice"), position));
        }
        self.seen.push(name.to_string());
        Ok(())
    }

    /// One option of `WITH (name value, …)`.
    fn modern(&mut self, cursor: &mut Cursor) -> Result<(), Error> {
        const NAMES: &[&str] = &["FORMAT", "DELIMITER", "NULL", "HEADER", "QUOTE", "ESCAPE", "ENCODING", "FREEZE"];
        let position = cursor.position();
        refuse(cursor)?;
        let name = cursor.expect_one(NAMES)?;
        self.once(name, position)?;
        let position = cursor.position();
        match name {
            "FORMAT" => {
                let format = match &cursor.peek().map(|token| &token.token) {
                    Some(Token::Word(Word { value, .. }) | Token::SingleQuotedString(value)) => value.to_lowercase(),
                    _ => return Err(cursor.unexpected()),
                };
                self.format = Some(match format.as_str() {
                    "text" => CopyFormat::Text,
                    "csv" => CopyFormat::Csv,
                    "binary" => CopyFormat::Binary,
                    "arrow" => CopyFormat::Arrow,
                    _ => {
                        return Err(Error::new(INVALID_PARAMETER_VALUE, format!("COPY format \"{format}\" not recognized"), position)
                            .hint("Formats are text, csv and, of what is copied TO STDOUT, arrow."));
                    }
                });
                cursor.skip(1);
            }
            "HEADER" => self.header = Some(switch(cursor)?),
            // It promises something about transactions that is always so here.
            "FREEZE" => drop(switch(cursor)?),
            _ => self.text(name, cursor, position)?,
        }
        Ok(())
    }

    /// One option of the spelling before PostgreSQL 9.0: `CSV HEADER NULL AS 'NA'`.
    fn old(&mut self, cursor: &mut Cursor) -> Result<(), Error> {
        const NAMES: &[&str] = &["CSV", "BINARY", "HEADER", "DELIMITER", "DELIMITERS", "NULL", "QUOTE", "ESCAPE", "ENCODING", "FREEZE"];
        let position = cursor.position();
        refuse(cursor)?;
        let name = cursor.expect_one(NAMES)?;
        self.once(name, position)?;
        match name {
            "CSV" => self.format = Some(CopyFormat::Csv),
            "BINARY" => self.format = Some(CopyFormat::Binary),
            "HEADER" => self.header = Some(true),
            "FREEZE" => {}
            _ => {
                cursor.accept(&["AS"]);
                let position = cursor.position();
                self.text(name, cursor, position)?;
            }
        }
        Ok(())
    }

    fn text(&mut self, name: &str, cursor: &mut Cursor, position: Position) -> Result<(), Error> {
        let value = cursor.string()?;
        match name {
            "NULL" => self.null = Some(value),
            "QUOTE" => self.quote = Some((value, position)),
            "ESCAPE" => self.escape = Some((value, position)),
            "ENCODING" if ["UTF8", "UTF-8", "UNICODE"].iter().any(|utf8| value.eq_ignore_ascii_case(utf8)) => {}
            "ENCODING" => {
                return Err(Error::new(INVALID_PARAMETER_VALUE, format!("encoding \"{value}\" is not supported"), position)
                    .hint("Convert the data to UTF8 first, for example with iconv."));
            }
            _ => self.delimiter = Some((value, position)),
        }
        Ok(())
    }

    fn checked(self, direction: CopyDirection, what: Position) -> Result<Copy, Error> {
        let format = self.format.unwrap_or(CopyFormat::Text);
        let csv = format == CopyFormat::Csv;
        let binary = matches!(format, CopyFormat::Binary | CopyFormat::Arrow);
        for (option, given, allowed) in [
            ("DELIMITER", self.delimiter.is_some(), !binary),
            ("NULL", self.null.is_some(), !binary),
            ("HEADER", self.header == Some(true), !binary),
            ("QUOTE", self.quote.is_some(), csv),
            ("ESCAPE", self.escape.is_some(), csv),
        ] {
            if given && !allowed {
                let hint = if binary { "Leave it out, or choose FORMAT csv or text." } else { "Add FORMAT csv." };
                return Err(Error::new(SYNTAX_ERROR, format!("COPY {option} is not for this format"), what).hint(hint));
            }
        }
        let delimiter = single("DELIMITER", self.delimiter.as_ref())?.unwrap_or(if csv { ',' } else { '\t' });
        let quote = single("QUOTE", self.quote.as_ref())?.unwrap_or('"');
        let escape = single("ESCAPE", self.escape.as_ref())?.unwrap_or(quote);
        let null = self.null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_string() });
        let invalid = |message: &str| Err(Error::new(INVALID_PARAMETER_VALUE, message, what));
        if !binary && (matches!(delimiter, '\r' | '\n') || (!csv && "\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(delimiter))) {
            return invalid("this COPY DELIMITER cannot be told from data");
        }
        if csv && delimiter == quote {
            return invalid("COPY DELIMITER and QUOTE must be different");
        }
        if null.contains(['\r', '\n']) {
            return invalid("COPY NULL cannot contain a line break");
        }
        if !binary && null.contains(delimiter) {
            return invalid("COPY DELIMITER must not be in the NULL text");
        }
        if csv && null.contains(quote) {
            return invalid("COPY QUOTE must not be in the NULL text");
        }
        Ok(Copy { direction, format, delimiter, null, header: self.header.unwrap_or(false), quote, escape })
    }
}

/// Options of PostgreSQL's that we do not have.
fn refuse(cursor: &Cursor) -> Result<(), Error> {
    const REFUSED: &[&str] =
        &["FORCE", "FORCE_QUOTE", "FORCE_NOT_NULL", "FORCE_NULL", "ON_ERROR", "REJECT_LIMIT", "DEFAULT", "LOG_VERBOSITY"];
    match REFUSED.iter().find(|name| cursor.sees(&[name])) {
        Some(name) => {
            Err(cursor.unsupported(format!("COPY option {name}")).hint("Options are FORMAT, HEADER, NULL, DELIMITER, QUOTE and ESCAPE."))
        }
        None => Ok(()),
    }
}

/// `true`, `on`, `1` or nothing at all.
fn switch(cursor: &mut Cursor) -> Result<bool, Error> {
    let position = cursor.position();
    let text = match cursor.peek().map(|token| &token.token) {
        None | Some(Token::Comma) => return Ok(true),
        Some(Token::Word(Word { value, .. }) | Token::SingleQuotedString(value) | Token::Number(value, _)) => value.to_lowercase(),
        _ => return Err(cursor.unexpected()),
    };
    match text.as_str() {
        "true" | "on" | "1" => cursor.skip(1),
        "false" | "off" | "0" => {
            cursor.skip(1);
            return Ok(false);
        }
        "match" => return Err(cursor.unsupported("HEADER match").hint("Write HEADER true, and the columns after the name.")),
        _ => return Err(Error::new(INVALID_PARAMETER_VALUE, "this option needs true or false", position)),
    }
    Ok(true)
}

fn single(name: &str, value: Option<&(String, Position)>) -> Result<Option<char>, Error> {
    let Some((text, position)) = value else { return Ok(None) };
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if c.is_ascii() => Ok(Some(c)),
        _ => Err(Error::new(INVALID_PARAMETER_VALUE, format!("COPY {name} must be a single one-byte character"), *position)),
    }
}
