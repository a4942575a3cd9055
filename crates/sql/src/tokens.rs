//! Text → tokens: folded by the dialect, split into statements, and checked for what would overflow a stack.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use crate::Error;
use crate::error::{STATEMENT_TOO_COMPLEX, SYNTAX_ERROR};
use crate::grammar::Grammar;
use crate::position::Source;

/// Brackets inside of brackets.
const NESTING_MAX: usize = 100;
/// Operators that follow one another, over all open brackets: `a + b + c …` makes a tree as deep as it is long.
const CHAIN_MAX: usize = 1_000;

/// The tokens of one statement.
pub(crate) struct Slice<'t> {
    pub tokens: &'t [TokenWithSpan],
    /// Where the statement stops: at its semicolon, or at the end of the message.
    pub end: End,
}

/// What an error at the end of a statement points at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// Before this token: a semicolon or a bracket that closes the part.
    Token(Span),
    /// The message ends here.
    Input(Location),
}

/// All tokens of the message but white space and comments. Unquoted names are folded; backtick quotes have become double quotes.
pub(crate) fn tokenize(source: &Source) -> Result<Vec<TokenWithSpan>, Error> {
    let tokens = Tokenizer::new(&Grammar, source.text()).tokenize_with_location().map_err(|error| {
        let message = error.message.trim_end_matches('.').replace("Unterminated", "unterminated").replace("Expected", "expected");
        Error::new(SYNTAX_ERROR, message.replace("Unexpected", "unexpected"), source.position(error.location))
    })?;
    let mut folded = Vec::with_capacity(tokens.len());
    for mut token in tokens {
        match &mut token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) => match word.quote_style {
                None => word.value = source.dialect.fold(&word.value),
                Some(_) => word.quote_style = Some('"'),
            },
            Token::Number(digits, _) => digits.retain(|c| c != '_'),
            _ => {}
        }
        folded.push(token);
    }
    Ok(folded)
}

/// The statements between the semicolons, without the empty ones.
pub(crate) fn split<'t>(tokens: &'t [TokenWithSpan]) -> Vec<Slice<'t>> {
    let mut statements = Vec::new();
    let mut rest = tokens;
    while !rest.is_empty() {
        let semicolon = rest.iter().position(|token| token.token == Token::SemiColon);
        let (statement, after) = match semicolon {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        if let Some(last) = statement.last() {
            let end = match semicolon {
                Some(at) => End::Token(rest[at].span),
                None => End::Input(last.span.end),
            };
            statements.push(Slice { tokens: statement, end });
        }
        rest = after;
    }
    statements
}

/// Refuses what would make a tree so deep that walking it overflows the stack: neither sqlparser nor DataFusion counts everything.
pub(crate) fn check_depth(source: &Source, tokens: &[TokenWithSpan]) -> Result<(), Error> {
    let mut levels = vec![Level::default()];
    for token in tokens {
        let here = levels.last().copied().unwrap_or_default();
        let nested = levels.len() > 1;
        match (role(&token.token), levels.last_mut()) {
            (Role::Opens(case), _) => levels.push(Level { case, outer: here.depth(), ..Level::default() }),
            (Role::Closes(case), _) if nested && here.case == case => drop(levels.pop()),
            (Role::Separates, Some(level)) => *level = Level { conditions: 0, operators: 0, ..here },
            (Role::Unites, Some(level)) => *level = Level { unions: here.unions + 1, conditions: 0, operators: 0, ..here },
            (Role::Joins, Some(level)) => *level = Level { conditions: here.conditions + 1, operators: 0, ..here },
            (Role::Operates, Some(level)) => level.operators += 1,
            _ => {}
        }
        if levels.len() > NESTING_MAX || levels.last().is_some_and(|level| level.depth() > CHAIN_MAX) {
            return Err(Error::new(STATEMENT_TOO_COMPLEX, "the statement is nested too deeply", source.position(token.span.start)).hint(
                "Use IN (…) or a JOIN for a long list of conditions, and a stream or table of its own for a part of the statement.",
            ));
        }
    }
    Ok(())
}

/// Operators in a row, since the bracket that is open.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// Opened by CASE, closed by END.
    case: bool,
    /// The depth at which the bracket stands.
    outer: usize,
    unions: usize,
    conditions: usize,
    /// Within the last condition.
    operators: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.outer + self.unions + self.conditions + self.operators
    }
}

enum Role {
    Opens(bool),
    Closes(bool),
    /// A new expression begins.
    Separates,
    Unites,
    Joins,
    Operates,
    Operand,
}

fn role(token: &Token) -> Role {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => Role::Opens(false),
        Token::RParen | Token::RBracket | Token::RBrace => Role::Closes(false),
        Token::Comma => Role::Separates,
        Token::Word(word) => match word.keyword {
            Keyword::CASE => Role::Opens(true),
            Keyword::END => Role::Closes(true),
            Keyword::WHEN
            | Keyword::THEN
            | Keyword::ELSE
            | Keyword::SELECT
            | Keyword::WHERE
            | Keyword::HAVING
            | Keyword::ON
            | Keyword::JOIN => Role::Separates,
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => Role::Unites,
            Keyword::AND | Keyword::OR => Role::Joins,
            Keyword::IS
            | Keyword::NOT
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::SIMILAR
            | Keyword::BETWEEN
            | Keyword::NOTNULL
            | Keyword::COLLATE
            | Keyword::AT
            | Keyword::RLIKE
            | Keyword::REGEXP
            | Keyword::OPERATOR
            | Keyword::XOR
            | Keyword::OVERLAPS
            | Keyword::DIV
            | Keyword::MEMBER => Role::Operates,
            _ => Role::Operand,
        },
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::UnicodeStringLiteral(_)
        | Token::SingleQuotedByteStringLiteral(_)
        | Token::Placeholder(_)
        | Token::Period
        | Token::Assignment
        | Token::EOF => Role::Operand,
        _ => Role::Operates,
    }
}
