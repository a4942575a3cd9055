//! INSERT and DELETE.

use sqlparser::ast::SetExpr;
use sqlparser::tokenizer::Token;

use crate::Error;
use crate::ast::{Delete, InsertSelect, InsertValues, Kind, Query};
use crate::cursor::Cursor;
use crate::properties::properties;
use crate::{expression, query};

pub(crate) fn insert(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect(&["INSERT", "INTO"])?;
    let target = cursor.object_name()?;
    let mut settings = properties_here(cursor)?;
    let columns = if cursor.sees_token(0, &Token::LParen) && !query::begins(cursor) { cursor.names_in_brackets()? } else { Vec::new() };
    settings.extend(properties_here(cursor)?);
    if cursor.sees(&["DEFAULT", "VALUES"]) {
        return Err(cursor.unsupported("DEFAULT VALUES").hint("Columns have no defaults: name those to write, the others are NULL."));
    }
    if !query::begins(cursor) {
        return Err(cursor.unexpected_among(&["VALUES", "SELECT", "WITH"]));
    }
    refuse_tail(cursor)?;
    let query = query::query(cursor)?;
    match values(query) {
        Ok(rows) if settings.is_empty() => Ok(Kind::InsertValues(InsertValues { target, columns, rows })),
        Ok(_) => Err(cursor.unsupported("WITH (…) on INSERT … VALUES").hint("It belongs to INSERT INTO … SELECT, a persistent query.")),
        Err(query) => Ok(Kind::InsertSelect(InsertSelect { target, columns, properties: settings, query })),
    }
}

pub(crate) fn delete(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect(&["DELETE", "FROM"])?;
    let target = cursor.object_name()?;
    for clause in ["USING", "RETURNING"] {
        if cursor.sees(&[clause]) {
            return Err(cursor.unsupported(clause).hint("Write DELETE FROM table WHERE key = value."));
        }
    }
    if !cursor.accept(&["WHERE"]) {
        return Ok(Kind::Delete(Delete { target, predicate: None }));
    }
    let predicate = expression::expression(cursor.source, cursor.rest(), cursor.end)?;
    Ok(Kind::Delete(Delete { target, predicate: Some(predicate) }))
}

/// `WITH (…)` holds properties; any other `WITH` begins a query.
fn properties_here(cursor: &mut Cursor) -> Result<crate::ast::Properties, Error> {
    if cursor.sees(&["WITH"]) && cursor.sees_token(1, &Token::LParen) { properties(cursor) } else { Ok(Vec::new()) }
}

/// Refuses what PostgreSQL allows after the rows.
fn refuse_tail(cursor: &Cursor) -> Result<(), Error> {
    let (mut ahead, mut depth) = (0, 0usize);
    while let Some(token) = cursor.nth(ahead) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            _ => {
                let word = |at: usize, expected: &str| cursor.word(at).is_some_and(|word| word.value.eq_ignore_ascii_case(expected));
                let refused = if word(ahead, "RETURNING") {
                    Some(("RETURNING", "Rows are stored as they are written: there is nothing more to return."))
                } else if word(ahead, "ON") && word(ahead + 1, "CONFLICT") {
                    Some(("ON CONFLICT", "An INSERT into a table replaces the row that has its key."))
                } else {
                    None
                };
                if let Some((what, hint)) = refused {
                    let error = cursor.unsupported(what).hint(hint);
                    return Err(Error { position: Some(cursor.source.position(token.span.start)), ..error });
                }
            }
        }
        ahead += 1;
    }
    Ok(())
}

/// The rows, when the query is nothing but `VALUES`.
fn values(query: Query) -> Result<Vec<Vec<sqlparser::ast::Expr>>, Query> {
    let plain = query.emit.is_none()
        && query.partition_by.is_none()
        && query.body.with.is_none()
        && query.body.order_by.is_none()
        && query.body.limit_clause.is_none()
        && query.body.fetch.is_none();
    if !plain || !matches!(*query.body.body, SetExpr::Values(_)) {
        return Err(query);
    }
    match *query.body.body {
        SetExpr::Values(values) => Ok(values.rows.into_iter().map(|row| row.content).collect()),
        _ => Ok(Vec::new()),
    }
}
