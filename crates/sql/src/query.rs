//! Queries: SQL's own part goes to sqlparser, the streaming clauses come from `clauses`.

use sqlparser::ast::SetExpr;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use crate::Error;
use crate::ast::Query;
use crate::cursor::Cursor;
use crate::tokens::End;
use crate::{clauses, expression};

/// Whether a query begins here.
pub(crate) fn begins(cursor: &Cursor) -> bool {
    let brackets = (0..).take_while(|ahead| cursor.sees_token(*ahead, &Token::LParen)).count();
    cursor.word(brackets).is_some_and(|word| {
        matches!(word.keyword, Keyword::SELECT | Keyword::VALUES | Keyword::TABLE)
            || (word.keyword == Keyword::WITH && !cursor.sees_token(brackets + 1, &Token::LParen))
    })
}

/// The query that takes the rest of `cursor`.
pub(crate) fn query(cursor: &mut Cursor) -> Result<Query, Error> {
    let (tokens, end) = unwrapped(cursor.rest(), cursor.end);
    let position = cursor.part(tokens, end).position();
    let cut = clauses::cut(&mut cursor.part(tokens, end))?;
    let rest = table_command(cut.rest);
    let body = expression::query(cursor.source, &rest, end)?;
    let refused = match body.body.as_ref() {
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => Some((
            "a statement that writes in WITH",
            "Write INSERT INTO … SELECT with the WITH clause after INTO, or DELETE FROM on its own.",
        )),
        SetExpr::Select(select) if select.into.is_some() => Some(("SELECT … INTO", "Write CREATE TABLE … AS SELECT.")),
        _ if !body.locks.is_empty() => Some(("FOR UPDATE", "Reads see one committed state and take no locks.")),
        _ => None,
    };
    match refused {
        Some((what, hint)) => {
            let error = cursor.unsupported(what).hint(hint);
            Err(Error { position: Some(position), ..error })
        }
        None => Ok(Query { body, window: cut.window, partition_by: cut.partition_by, emit: cut.emit, within: cut.within }),
    }
}

/// Takes off the brackets that stand around a whole query.
fn unwrapped(mut tokens: &[TokenWithSpan], mut end: End) -> (&[TokenWithSpan], End) {
    while let [TokenWithSpan { token: Token::LParen, .. }, inside @ .., last @ TokenWithSpan { token: Token::RParen, .. }] = tokens {
        let mut depth = 0i64;
        let whole = inside.iter().all(|token| {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            depth >= 0
        });
        if !whole || depth != 0 {
            break;
        }
        tokens = inside;
        end = End::Token(last.span);
    }
    (tokens, end)
}

/// `TABLE name` is short for `SELECT * FROM name`, and DataFusion knows only the long form.
fn table_command(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if let Some(TokenWithSpan { token: Token::Word(Word { keyword: Keyword::TABLE, .. }), span }) = tokens.first() {
        let span = *span;
        tokens.splice(0..1, select_all(span));
    }
    tokens
}

/// `SELECT * FROM`, all of it at `place`.
pub(crate) fn select_all(place: Span) -> [TokenWithSpan; 3] {
    [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")].map(|token| TokenWithSpan::new(token, place))
}
