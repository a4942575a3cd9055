//! Where in a statement the thing is that an error names: libraries seldom say.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};

/// In characters from 0; `None` unless there is exactly one place it can be.
pub fn of(message: &str, text: &str) -> Option<u32> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().ok()?;
    let input = message.contains(" input syntax ");
    let called = message.strip_prefix("function ").and_then(|rest| rest.split(['(', ' ']).next());
    let mut places = tokens.iter().enumerate().filter(|(index, token)| match (&token.token, called) {
        (Token::Word(word), Some(name)) => {
            word.value.eq_ignore_ascii_case(name) && matches!(tokens.get(index + 1), Some(next) if next.token == Token::LParen)
        }
        (Token::Word(word), None) if !input => named(message).is_some_and(|name| word.value.eq_ignore_ascii_case(name)),
        (Token::SingleQuotedString(value), None) if input => quoted(message).is_some_and(|quoted| quoted == value),
        _ => false,
    });
    let (_, found) = places.next()?;
    let Location { line, column } = found.span.start;
    let place = millpond_sql::position::of(text, line, column)?;
    places.next().is_none().then(|| place.0 - 1)
}

/// What stands between the quotes of the message.
fn quoted(message: &str) -> Option<&str> {
    let begin = message.find('"')? + 1;
    let end = message.rfind('"').filter(|end| *end > begin)?;
    let whole = &message[begin..end];
    // `column "a" of relation "t"` names the first.
    Some(if message.contains(" input syntax ") { whole } else { whole.split('"').next().unwrap_or(whole) })
}

/// The last part of a qualified name.
fn named(message: &str) -> Option<&str> {
    quoted(message).and_then(|name| name.rsplit('.').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_once_is_found() {
        for (message, text, place) in [
            ("column \"a\" of relation \"t\" does not exist", "INSERT INTO t (a)", Some(15)),
            ("function abs(text) does not exist", "SELECT abs, abs('x')", Some(12)),
            ("invalid input syntax for type integer: \"x\"", "SELECT x, 'x'::int", Some(10)),
            ("column \"t.v\" must appear in the GROUP BY clause", "SELECT t.v", Some(9)),
            ("column \"a\" does not exist", "SELECT a, a", None),
            ("division by zero", "SELECT 1 / 0", None),
        ] {
            assert_eq!(of(message, text), place, "{message}");
        }
    }
}
