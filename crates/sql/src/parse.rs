//! Text → statements.
//!
//! ```text
//! text ─► tokens, folded ─► statements ─┬─► ours: read token by token (`ddl`, `insert`, `copy`, `show`, …)
//!                                       └─► queries: streaming clauses cut out (`clauses`), the rest to sqlparser
//! ```
//!
//! All tokens keep their places in the whole message, so an error, or a span in a tree, is a position there.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::ast::Kind;
use crate::cursor::{Cursor, perhaps};
use crate::position::Source;
use crate::tokens::{self, End};
use crate::{Dialect, Error, Statement, alter, copy, ddl, insert, near, query, setting, show, transaction, unsupported};

/// The statements of a message, in order. Empty statements are left out.
pub fn parse(text: &str, dialect: Dialect) -> Result<Vec<Statement>, Error> {
    let source = Source::new(text, dialect);
    let tokens = tokens::tokenize(&source)?;
    let mut statements = Vec::new();
    for slice in tokens::split(&tokens) {
        tokens::check_depth(&source, slice.tokens)?;
        statements.push(statement(&source, slice.tokens, slice.end)?);
    }
    Ok(statements)
}

/// The statement that all of `tokens` make.
pub(crate) fn statement(source: &Source, tokens: &[TokenWithSpan], end: End) -> Result<Statement, Error> {
    let mut cursor = Cursor::new(source, tokens, end);
    let kind = kind(&mut cursor)?;
    cursor.finish()?;
    let text = match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => source.between(first.span.start, last.span.end).to_string(),
        _ => String::new(),
    };
    Ok(Statement { kind, text, offset: cursor.start as u32 })
}

fn kind(cursor: &mut Cursor) -> Result<Kind, Error> {
    if query::begins(cursor) {
        return Ok(Kind::Query(query::query(cursor)?));
    }
    let Some(word) = cursor.word(0) else { return Err(cursor.unexpected()) };
    match word.value.to_uppercase().as_str() {
        "CREATE" => ddl::create(cursor),
        "DROP" => ddl::drop(cursor),
        "INSERT" => insert::insert(cursor),
        "DELETE" => insert::delete(cursor),
        "COPY" => copy::copy(cursor),
        "TERMINATE" | "PAUSE" | "RESUME" => show::lifecycle(cursor),
        "ALTER" if alter::begins(cursor) => alter::alter(cursor),
        "SHOW" | "LIST" => show::show(cursor),
        "DESCRIBE" | "DESC" => show::describe(cursor),
        "EXPLAIN" => show::explain(cursor),
        "PRINT" => show::print(cursor),
        "SET" => setting::set(cursor),
        "RESET" | "UNSET" => setting::reset(cursor),
        "BEGIN" | "START" => transaction::begin(cursor),
        "COMMIT" | "END" => transaction::commit(cursor),
        "ROLLBACK" | "ABORT" => transaction::rollback(cursor),
        "DECLARE" => transaction::declare(cursor),
        "FETCH" => transaction::fetch(cursor),
        "CLOSE" => transaction::close(cursor),
        "DEALLOCATE" => transaction::deallocate(cursor),
        "DISCARD" => transaction::discard(cursor),
        "FLUSH" => {
            cursor.skip(1);
            Ok(Kind::Flush)
        }
        _ => {
            // A name that only looks like one of these statements would be followed by something else.
            if !cursor.sees_token(1, &Token::Eq) {
                unsupported::statement(cursor)?;
            }
            let error = cursor.unexpected();
            Err(match near::miss(&word.value, near::STATEMENTS.iter().copied()) {
                Some(meant) => error.hint(perhaps(meant)),
                None => error,
            })
        }
    }
}
