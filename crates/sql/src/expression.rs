//! Tokens → sqlparser's expressions and queries, and its errors → ours.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, Spanned, TableFactor, Visit, Visitor};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::cursor::{perhaps, unexpected};
use crate::error::{FEATURE_NOT_SUPPORTED, STATEMENT_TOO_COMPLEX, SYNTAX_ERROR};
use crate::grammar::Grammar;
use crate::position::Source;
use crate::tokens::End;
use crate::{Error, names, near, rewrite};

/// sqlparser's own count of nested rules; brackets are counted before (`tokens::check_depth`).
const RECURSION_MAX: usize = 200;

/// One expression, which takes all of `tokens`.
pub(crate) fn expression(source: &Source, tokens: &[TokenWithSpan], end: End) -> Result<Expr, Error> {
    let mut expr = parsed(source, tokens, end, |parser| parser.parse_expr())?;
    names::finish(source.dialect, &mut expr);
    Ok(expr)
}

/// Expressions between commas, which take all of `tokens`.
pub(crate) fn expressions(source: &Source, tokens: &[TokenWithSpan], end: End) -> Result<Vec<Expr>, Error> {
    let mut list = parsed(source, tokens, end, |parser| parser.parse_comma_separated(Parser::parse_expr))?;
    names::finish(source.dialect, &mut list);
    Ok(list)
}

/// A query without streaming clauses, which takes all of `tokens`.
pub(crate) fn query(source: &Source, tokens: &[TokenWithSpan], end: End) -> Result<Box<Query>, Error> {
    let mut query = parsed(source, tokens, end, |parser| parser.parse_query())?;
    names::finish(source.dialect, &mut query);
    Ok(query)
}

fn parsed<T: Visit>(
    source: &Source,
    tokens: &[TokenWithSpan],
    end: End,
    parse: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>,
) -> Result<T, Error> {
    let mut parser =
        Parser::new(&Grammar).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(rewrite::rewritten(source, tokens)?);
    let result = parse(&mut parser).map_err(|error| from_sqlparser(source, tokens, end, error))?;
    let next = parser.peek_token();
    match next.token {
        Token::EOF => refuse_sample(source, tokens, &result).map(|()| result),
        _ => Err(at(source, tokens, end, next.span.start)),
    }
}

/// DataFusion passes over TABLESAMPLE, and would give all rows.
fn refuse_sample(source: &Source, tokens: &[TokenWithSpan], tree: &impl Visit) -> Result<(), Error> {
    let mut words = tokens.iter().filter(|token| {
        matches!(&token.token, Token::Word(word)
            if word.quote_style.is_none() && matches!(word.keyword, Keyword::TABLESAMPLE | Keyword::SAMPLE))
    });
    // They are names too, so the tree decides.
    let Some(first) = words.clone().next() else { return Ok(()) };
    let ControlFlow::Break(table_end) = tree.visit(&mut Sampled) else { return Ok(()) };
    let token = words.find(|token| token.span.start >= table_end).unwrap_or(first);
    Err(Error::new(FEATURE_NOT_SUPPORTED, "TABLESAMPLE is not supported", source.position(token.span.start))
        .hint("Pick rows with a condition on a column: WHERE id % 100 = 0."))
}

/// Finds a table with TABLESAMPLE: breaks with the place at which its name, or its alias, ends.
struct Sampled;

impl Visitor for Sampled {
    type Break = Location;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Location> {
        let (alias, table) = match factor {
            TableFactor::Table { sample: Some(_), alias, name, .. } => (alias, name.span()),
            TableFactor::Derived { sample: Some(_), alias, subquery, .. } => (alias, subquery.span()),
            _ => return ControlFlow::Continue(()),
        };
        let name = alias.as_ref().map(|alias| alias.columns.last().map_or(&alias.name, |column| &column.name));
        ControlFlow::Break(name.map_or(table, |name| name.span).end)
    }
}

fn from_sqlparser(source: &Source, tokens: &[TokenWithSpan], end: End, error: ParserError) -> Error {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            let first = tokens.first().map_or(Location::empty(), |token| token.span.start);
            return Error::new(STATEMENT_TOO_COMPLEX, "the statement is nested too deeply", source.position(first));
        }
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
    };
    let (message, location) = located(&message);
    match message.strip_prefix("Expected: ") {
        Some(expected) => {
            let error = at(source, tokens, end, location);
            let expected = expected.split(", found: ").next().unwrap_or_default();
            if error.hint.is_some() || expected.starts_with("end of statement") {
                error
            } else {
                error.hint(format!("Expected here: {expected}."))
            }
        }
        // A few of sqlparser's complaints are sentences of their own.
        None => {
            let mut letters = message.trim_end_matches('.').chars();
            let first = letters.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
            let position = at(source, tokens, end, location).position;
            Error { sqlstate: SYNTAX_ERROR, message: format!("{first}{}", letters.as_str()), hint: None, position }
        }
    }
}

/// Takes the ` at Line: 1, Column: 8` off a message of sqlparser's; without it the place is the end of input.
fn located(message: &str) -> (&str, Location) {
    let found = message.rsplit_once(" at Line: ").and_then(|(text, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((text, Location::new(line.parse().ok()?, column.parse().ok()?)))
    });
    found.unwrap_or((message, Location::empty()))
}

/// A syntax error at the token that begins at `location`, with what was perhaps meant there or just before.
fn at(source: &Source, tokens: &[TokenWithSpan], end: End, location: Location) -> Error {
    let index = tokens.iter().position(|token| token.span.start == location);
    let error = unexpected(source, index.map(|at| &tokens[at]), end);
    // `SELECT a FORM t` goes wrong at `t` only, since FORM could be an alias.
    let here = index.unwrap_or(tokens.len());
    let suspects = [here.checked_sub(1), Some(here), here.checked_sub(2)];
    let meant = suspects.into_iter().flatten().find_map(|at| match &tokens.get(at)?.token {
        Token::Word(word) if word.quote_style.is_none() => near::miss(&word.value, near::CLAUSES.iter().copied()),
        _ => None,
    });
    match meant {
        Some(meant) => error.hint(perhaps(meant)),
        None => error,
    }
}
