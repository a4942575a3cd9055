//! ksqlDB's expressions in words that sqlparser and DataFusion know.
//!
//! `s->f` → `s['f']` · `STRUCT(a := 1)` → `named_struct('a', 1)` · `MAP('k' := v)` → `map(make_array('k'), make_array(v))` ·
//! `1e3` → `CAST('1e3' AS DOUBLE)`
//!
//! This works on tokens: each new token has the place of the one it stands for, so positions stay those of the message.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use crate::Error;
use crate::error::{FEATURE_NOT_SUPPORTED, SYNTAX_ERROR};
use crate::position::Source;

/// `tokens` with ksqlDB's forms replaced. Their nesting has been checked before (`tokens::check_depth`).
pub(crate) fn rewritten(source: &Source, tokens: &[TokenWithSpan]) -> Result<Vec<TokenWithSpan>, Error> {
    let mut output = Vec::with_capacity(tokens.len());
    rewrite(source, tokens, &mut output)?;
    Ok(output)
}

fn rewrite(source: &Source, tokens: &[TokenWithSpan], output: &mut Vec<TokenWithSpan>) -> Result<(), Error> {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1).map(|token| &token.token);
        match &token.token {
            Token::Arrow => match next {
                Some(Token::Word(field)) => {
                    let place = tokens[at + 1].span;
                    output.push(TokenWithSpan::new(Token::LBracket, token.span));
                    output.push(TokenWithSpan::new(Token::SingleQuotedString(field.value.clone()), place));
                    output.push(TokenWithSpan::new(Token::RBracket, place));
                    at += 2;
                    continue;
                }
                Some(Token::Mul) => return Err(all_fields(source, token)),
                _ => output.push(token.clone()),
            },
            Token::CustomBinaryOperator(operator) if operator == "->*" => return Err(all_fields(source, token)),
            Token::RArrow if is_lambda(tokens, at) => {
                return Err(Error::new(FEATURE_NOT_SUPPORTED, "lambda functions are not supported", source.position(token.span.start))
                    .hint("Use UNNEST to work on the elements of an array, or array functions such as array_has or array_position."));
            }
            Token::Word(word) if next == Some(&Token::LParen) && constructs(word).is_some() => {
                let close = closing(tokens, at + 1);
                let inside = &tokens[at + 2..close];
                if !construct(source, word.keyword, token.span, inside, output)? {
                    // sqlparser reads a bare STRUCT( or MAP( as syntax of other databases: as an ordinary word it is a function's name.
                    output.push(function(&word.value.to_lowercase(), token.span));
                    at += 1;
                    continue;
                }
                at = close + 1;
                continue;
            }
            // Before anything but a quantity it is a name; sqlparser would take the next word for the quantity.
            Token::Word(word) if word.keyword == Keyword::INTERVAL && word.quote_style.is_none() && !next.is_some_and(is_quantity) => {
                output.push(TokenWithSpan::new(Token::make_word(&word.value, Some('"')), token.span));
            }
            // With an exponent it is a DOUBLE; DataFusion would make a DECIMAL of it, which cannot hold most of them.
            Token::Number(digits, _) if digits.contains(['e', 'E']) => double(digits, token.span, output),
            _ => output.push(token.clone()),
        }
        at += 1;
    }
    Ok(())
}

/// What begins after INTERVAL.
fn is_quantity(token: &Token) -> bool {
    matches!(token, Token::SingleQuotedString(_) | Token::Number(..) | Token::LParen | Token::Minus)
}

/// `CAST('1e200' AS DOUBLE)`
fn double(digits: &str, span: Span, output: &mut Vec<TokenWithSpan>) {
    let word = |text: &str| Token::make_keyword(text);
    let tokens = [word("CAST"), Token::LParen, Token::SingleQuotedString(digits.to_string()), word("AS"), word("DOUBLE"), Token::RParen];
    output.extend(tokens.map(|token| TokenWithSpan::new(token, span)));
}

fn all_fields(source: &Source, token: &TokenWithSpan) -> Error {
    Error::new(FEATURE_NOT_SUPPORTED, "all fields of a struct at once (->*) are not supported", source.position(token.span.start))
        .hint("Name the fields: s->a AS a, s->b AS b.")
}

/// `(x, y) => …` and `x => …` as arguments of the functions that take a lambda; elsewhere `name => value` is a named argument.
fn is_lambda(tokens: &[TokenWithSpan], arrow: usize) -> bool {
    if arrow > 0 && tokens[arrow - 1].token == Token::RParen {
        return true;
    }
    let mut depth = 0usize;
    // An argument list longer than this has no lambda in it that we would recognise.
    for at in (0..arrow).rev().take(4096) {
        match tokens[at].token {
            Token::RParen => depth += 1,
            Token::LParen if depth > 0 => depth -= 1,
            Token::LParen => {
                let function = at.checked_sub(1).map(|before| &tokens[before].token);
                return matches!(function, Some(Token::Word(word))
                    if ["transform", "filter", "reduce"].iter().any(|name| word.value.eq_ignore_ascii_case(name)));
            }
            _ => {}
        }
    }
    false
}

fn constructs(word: &Word) -> Option<Keyword> {
    (word.quote_style.is_none() && matches!(word.keyword, Keyword::STRUCT | Keyword::MAP)).then_some(word.keyword)
}

/// The bracket that closes the one at `open`, or the end.
fn closing(tokens: &[TokenWithSpan], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// The pieces of `tokens` between separators that stand outside of brackets.
fn pieces<'t>(tokens: &'t [TokenWithSpan], separator: &Token) -> Vec<&'t [TokenWithSpan]> {
    let (mut pieces, mut depth, mut from) = (Vec::new(), 0usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            other if depth == 0 && other == separator => {
                pieces.push(&tokens[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&tokens[from..]);
    pieces
}

/// Writes the call that stands for `STRUCT(…)` or `MAP(…)`; `false` when there is no `:=` in it.
fn construct(
    source: &Source,
    keyword: Keyword,
    place: Span,
    inside: &[TokenWithSpan],
    output: &mut Vec<TokenWithSpan>,
) -> Result<bool, Error> {
    let arguments: Vec<_> = pieces(inside, &Token::Comma).into_iter().map(|argument| pieces(argument, &Token::Assignment)).collect();
    if arguments.iter().all(|argument| argument.len() < 2) {
        return Ok(false);
    }
    let mut entries = Vec::with_capacity(arguments.len());
    for argument in &arguments {
        match argument.as_slice() {
            [name, value] if !name.is_empty() && !value.is_empty() => entries.push((*name, *value)),
            _ => {
                let wrong = argument.first().and_then(|piece| piece.first()).map_or(place, |token| token.span);
                let form = if keyword == Keyword::MAP { "MAP('key' := value, …)" } else { "STRUCT(name := value, …)" };
                return Err(Error::new(SYNTAX_ERROR, "each argument needs a name, := and a value", source.position(wrong.start))
                    .hint(format!("Write {form}.")));
            }
        }
    }
    let token = |token| TokenWithSpan::new(token, place);
    if keyword == Keyword::STRUCT {
        output.extend([function("named_struct", place), token(Token::LParen)]);
        for (i, (name, value)) in entries.into_iter().enumerate() {
            if i > 0 {
                output.push(token(Token::Comma));
            }
            output.extend([TokenWithSpan::new(field(source, name)?, name[0].span), token(Token::Comma)]);
            rewrite(source, value, output)?;
        }
        output.push(token(Token::RParen));
        return Ok(true);
    }
    output.extend([function("map", place), token(Token::LParen)]);
    for keys in [true, false] {
        output.extend([function("make_array", place), token(Token::LParen)]);
        for (i, (key, value)) in entries.iter().enumerate() {
            if i > 0 {
                output.push(token(Token::Comma));
            }
            rewrite(source, if keys { key } else { value }, output)?;
        }
        output.push(token(Token::RParen));
        if keys {
            output.push(token(Token::Comma));
        }
    }
    output.push(token(Token::RParen));
    Ok(true)
}

fn field(source: &Source, name: &[TokenWithSpan]) -> Result<Token, Error> {
    match name {
        [TokenWithSpan { token: Token::Word(word), .. }] => Ok(Token::SingleQuotedString(word.value.clone())),
        [TokenWithSpan { token: Token::SingleQuotedString(text), .. }] => Ok(Token::SingleQuotedString(text.clone())),
        other => {
            let wrong = other.get(1).or(other.first()).map_or(Span::empty(), |token| token.span);
            Err(Error::new(SYNTAX_ERROR, "a field of a struct needs a plain name", source.position(wrong.start))
                .hint("Write STRUCT(name := value, …)."))
        }
    }
}

/// A word that is nothing but a function's name.
fn function(name: &str, place: Span) -> TokenWithSpan {
    TokenWithSpan::new(Token::Word(Word { value: name.to_string(), quote_style: None, keyword: Keyword::NoKeyword }), place)
}
