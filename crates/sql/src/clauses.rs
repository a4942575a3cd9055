//! Takes the streaming clauses out of a query's tokens, so that what is left is SQL that sqlparser knows.
//!
//! ```text
//! SELECT … FROM a JOIN b WITHIN … ON … WINDOW … WHERE … GROUP BY … PARTITION BY … HAVING … EMIT … LIMIT n
//!                        └── cut ─┘     └─ cut ─┘                └─── cut ────┘         └ cut┘
//! ```
//!
//! Only clauses of the query itself are taken: inside of brackets they belong to OVER (…), or to a subquery, which cannot stream.

use sqlparser::ast::Expr;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::ast::{Emit, Window, Within};
use crate::cursor::{Cursor, perhaps, unexpected};
use crate::error::{FEATURE_NOT_SUPPORTED, SYNTAX_ERROR};
use crate::tokens::End;
use crate::{Error, Position, expression, near, window};

/// A query's tokens without its streaming clauses, and these.
pub(crate) struct Cut {
    pub rest: Vec<TokenWithSpan>,
    pub window: Option<Window>,
    pub partition_by: Option<Vec<Expr>>,
    pub emit: Option<Emit>,
    pub within: Vec<Option<Within>>,
}

/// Where in a query the scan is, in the order in which the clauses stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Clause {
    Start,
    Select,
    From,
    On,
    Window,
    Where,
    GroupBy,
    PartitionBy,
    Having,
    Tail,
    Emit,
}

struct Scan<'s, 't> {
    cursor: Cursor<'s, 't>,
    tokens: &'t [TokenWithSpan],
    clause: Clause,
    /// For each open bracket whether a subquery stands in it.
    brackets: Vec<bool>,
    cut: Cut,
    /// A branch of UNION and its like, and the first clause that cannot stand in one.
    set_operation: bool,
    branch_clause: Option<(&'static str, Position)>,
}

/// The streaming clauses of the query that `cursor` stands before; reads to the end.
pub(crate) fn cut(cursor: &mut Cursor) -> Result<Cut, Error> {
    let end = cursor.end;
    let tokens = cursor.rest();
    let cut = Cut { rest: Vec::with_capacity(tokens.len()), window: None, partition_by: None, emit: None, within: Vec::new() };
    let cursor = cursor.part(tokens, end);
    let mut scan = Scan { cursor, tokens, clause: Clause::Start, brackets: Vec::new(), cut, set_operation: false, branch_clause: None };
    while let Some(token) = scan.cursor.peek() {
        if !scan.token(token)? {
            scan.cut.rest.push(token.clone());
            scan.cursor.skip(1);
        }
    }
    match scan.branch_clause {
        Some((clause, position)) if scan.set_operation => {
            Err(Error::new(FEATURE_NOT_SUPPORTED, format!("{clause} is not supported in a branch of UNION, EXCEPT or INTERSECT"), position)
                .hint("Make each branch a stream or table of its own first, then combine them; INSERT INTO … SELECT merges streams."))
        }
        _ => Ok(scan.cut),
    }
}

impl<'t> Scan<'_, 't> {
    /// Whether the token begins a streaming clause, which has been read then.
    fn token(&mut self, token: &'t TokenWithSpan) -> Result<bool, Error> {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                let subquery =
                    self.cursor.word(1).is_some_and(|word| matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::FROM));
                self.brackets.push(subquery);
            }
            Token::RParen | Token::RBracket | Token::RBrace => drop(self.brackets.pop()),
            Token::Word(word) if word.quote_style.is_none() && !self.is_name() => match self.brackets.last() {
                Some(subquery) => self.nested(*subquery)?,
                None => return self.word(word),
            },
            _ => {}
        }
        Ok(false)
    }

    /// The word before or after says that this one is a name: `t.window`, `AS emit`.
    fn is_name(&self) -> bool {
        match self.before(1).map(|token| &token.token) {
            Some(Token::Period) => true,
            Some(Token::Word(word)) => word.quote_style.is_none() && word.keyword == Keyword::AS && self.clause != Clause::Start,
            _ => false,
        }
    }

    fn before(&self, steps: usize) -> Option<&'t TokenWithSpan> {
        self.cursor.at().checked_sub(steps).and_then(|at| self.tokens.get(at))
    }

    fn follows(&self, steps: usize, keyword: Keyword) -> bool {
        matches!(self.before(steps).map(|token| &token.token), Some(Token::Word(word)) if word.keyword == keyword)
    }

    /// Inside of brackets no streaming clause can be.
    fn nested(&self, subquery: bool) -> Result<(), Error> {
        let names_a_column = self.follows(1, Keyword::SELECT) || self.before(1).is_some_and(|token| token.token == Token::Comma);
        let clause = if window::begins(&self.cursor) {
            "WINDOW"
        } else if self.begins_within() {
            "WITHIN"
        } else if subquery && self.cursor.sees(&["PARTITION", "BY"]) {
            "PARTITION BY"
        } else if subquery && !names_a_column && self.emit().is_some() {
            "EMIT"
        } else {
            return Ok(());
        };
        Err(self.cursor.unsupported(format!("{clause} inside of brackets or of a subquery")).hint(
            "Make the subquery a stream or table of its own first (CREATE STREAM … AS, CREATE TABLE … AS), and select from that by its name.",
        ))
    }

    fn word(&mut self, word: &Word) -> Result<bool, Error> {
        match word.keyword {
            Keyword::SELECT => self.clause = Clause::Select,
            // In `a IS [NOT] DISTINCT FROM b` it begins no clause.
            Keyword::FROM if !(self.follows(1, Keyword::DISTINCT) && (self.follows(2, Keyword::IS) || self.follows(2, Keyword::NOT))) => {
                self.moves_to(Clause::From)?;
            }
            Keyword::JOIN if matches!(self.clause, Clause::From | Clause::On) => {
                self.clause = Clause::From;
                self.cut.within.push(None);
            }
            Keyword::JOIN if self.clause == Clause::Window => {
                return Err(self.cursor.unexpected().hint("WINDOW stands after all joins, before WHERE and GROUP BY."));
            }
            Keyword::ON | Keyword::USING if self.clause == Clause::From => self.clause = Clause::On,
            Keyword::WHERE => self.moves_to(Clause::Where)?,
            Keyword::GROUP if self.cursor.sees(&["GROUP", "BY"]) => self.moves_to(Clause::GroupBy)?,
            Keyword::HAVING => self.moves_to(Clause::Having)?,
            Keyword::ORDER if self.cursor.sees(&["ORDER", "BY"]) => self.moves_to(Clause::Tail)?,
            Keyword::LIMIT | Keyword::OFFSET if self.clause != Clause::Emit && self.clause > Clause::Select => self.clause = Clause::Tail,
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => {
                self.moves_to(Clause::Start)?;
                self.set_operation = true;
            }
            Keyword::WINDOW if window::begins(&self.cursor) => return self.window(),
            Keyword::PARTITION if self.cursor.sees(&["PARTITION", "BY"]) => return self.partition_by(),
            Keyword::WITHIN if self.begins_within() => return self.within(),
            _ if word.value.eq_ignore_ascii_case("emit") => return self.emits(),
            Keyword::LIMIT | Keyword::OFFSET | Keyword::ALL => {}
            _ if self.clause == Clause::Emit => {
                return Err(self.cursor.unexpected().hint("EMIT ends a query: only LIMIT n can follow it."));
            }
            _ => {}
        }
        Ok(false)
    }

    /// A clause of SQL's own begins. sqlparser checks their order, but for the clauses that it does not get to see.
    fn moves_to(&mut self, next: Clause) -> Result<(), Error> {
        let hint = match self.clause {
            Clause::PartitionBy if matches!(next, Clause::From | Clause::Where | Clause::GroupBy) => {
                "PARTITION BY stands after WHERE and GROUP BY."
            }
            Clause::Emit => "EMIT ends a query: only LIMIT n can follow it.",
            _ => {
                self.clause = next;
                return Ok(());
            }
        };
        Err(self.cursor.unexpected().hint(hint))
    }

    fn window(&mut self) -> Result<bool, Error> {
        let position = self.cursor.position();
        if self.cut.window.is_some() && !self.set_operation {
            return Err(Error::new(SYNTAX_ERROR, "a query has only one WINDOW", position));
        }
        if !matches!(self.clause, Clause::From | Clause::On) {
            return Err(self.cursor.unexpected().hint("WINDOW stands after FROM and its joins, before WHERE and GROUP BY."));
        }
        self.cut.window = Some(window::window(&mut self.cursor)?);
        self.clause = Clause::Window;
        self.branch_clause.get_or_insert(("WINDOW", position));
        Ok(true)
    }

    fn begins_within(&self) -> bool {
        let number = |ahead: usize| matches!(self.cursor.nth(ahead).map(|token| &token.token), Some(Token::Number(..)));
        self.cursor.sees(&["WITHIN"]) && (number(1) || (self.cursor.sees_token(1, &Token::LParen) && number(2)))
    }

    fn within(&mut self) -> Result<bool, Error> {
        let position = self.cursor.position();
        let wrong =
            self.cursor.unexpected().hint("WITHIN stands after the joined stream, before ON: a JOIN b WITHIN 1 HOUR ON a.id = b.id.");
        let (Clause::From, Some(slot)) = (self.clause, self.cut.within.last_mut()) else { return Err(wrong) };
        if slot.is_some() {
            return Err(wrong);
        }
        *slot = Some(window::within(&mut self.cursor)?);
        self.branch_clause.get_or_insert(("WITHIN", position));
        Ok(true)
    }

    fn partition_by(&mut self) -> Result<bool, Error> {
        let position = self.cursor.position();
        if self.cut.partition_by.is_some() && !self.set_operation {
            return Err(Error::new(SYNTAX_ERROR, "a query has only one PARTITION BY", position));
        }
        if !(Clause::From..=Clause::GroupBy).contains(&self.clause) {
            return Err(self.cursor.unexpected().hint("PARTITION BY stands after FROM, WHERE and GROUP BY, before EMIT."));
        }
        self.cursor.expect(&["PARTITION", "BY"])?;
        let from = self.cursor.at();
        let mut depth = 0usize;
        while let Some(token) = self.cursor.peek() {
            match &token.token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
                Token::Word(word) if depth == 0 && word.quote_style.is_none() && self.ends_list(word) => break,
                _ => {}
            }
            self.cursor.skip(1);
        }
        let list = &self.tokens[from..self.cursor.at()];
        let end = self.cursor.peek().map_or(self.cursor.end, |token| End::Token(token.span));
        if list.is_empty() {
            return Err(unexpected(self.cursor.source, self.cursor.peek(), self.cursor.end));
        }
        let mut expressions = expression::expressions(self.cursor.source, list, end)?;
        // The list may stand in brackets of its own.
        if let [Expr::Tuple(inner)] = expressions.as_mut_slice() {
            expressions = std::mem::take(inner);
        } else if let [Expr::Nested(_)] = expressions.as_slice() {
            expressions = expressions.into_iter().map(|expr| if let Expr::Nested(inner) = expr { *inner } else { expr }).collect();
        }
        self.cut.partition_by = Some(expressions);
        self.clause = Clause::PartitionBy;
        self.branch_clause.get_or_insert(("PARTITION BY", position));
        Ok(true)
    }

    /// Whether `word`, which comes next, ends a PARTITION BY.
    fn ends_list(&self, word: &Word) -> bool {
        match word.keyword {
            Keyword::HAVING | Keyword::LIMIT | Keyword::ORDER | Keyword::WHERE | Keyword::GROUP | Keyword::WINDOW | Keyword::OFFSET => true,
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::FETCH | Keyword::PARTITION => true,
            // As in `IS DISTINCT FROM` it belongs to an expression.
            _ => word.value.eq_ignore_ascii_case("emit") && self.cursor.word(1).is_some(),
        }
    }

    /// `EMIT CHANGES` or `EMIT FINAL`, if it comes next.
    fn emit(&self) -> Option<Emit> {
        match () {
            _ if self.cursor.sees(&["EMIT", "CHANGES"]) => Some(Emit::Changes),
            _ if self.cursor.sees(&["EMIT", "FINAL"]) => Some(Emit::Final),
            _ => None,
        }
    }

    fn emits(&mut self) -> Result<bool, Error> {
        let ends = self.cursor.nth(2).is_none() || self.cursor.word(2).is_some_and(|word| word.keyword == Keyword::LIMIT);
        match self.emit() {
            // In a select list it may be a column and its alias.
            Some(_) if self.clause <= Clause::Select && !ends => Ok(false),
            Some(_) if self.clause == Clause::Emit => Err(self.cursor.unexpected()),
            Some(emit) => {
                self.cursor.skip(2);
                self.cut.emit = Some(emit);
                self.clause = Clause::Emit;
                match self.cursor.peek().map(|token| &token.token) {
                    None => Ok(true),
                    Some(Token::Word(word))
                        if matches!(word.keyword, Keyword::LIMIT | Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT) =>
                    {
                        Ok(true)
                    }
                    _ => Err(self.cursor.unexpected().hint("EMIT ends a query: only LIMIT n can follow it.")),
                }
            }
            None => {
                let next = self.cursor.word(1).and_then(|word| near::miss(&word.value, ["CHANGES", "FINAL"]));
                match next {
                    Some(meant) if self.clause >= Clause::From => {
                        let wrong = unexpected(self.cursor.source, self.cursor.nth(1), self.cursor.end);
                        Err(wrong.hint(perhaps(&format!("EMIT {meant}"))))
                    }
                    _ => Ok(false),
                }
            }
        }
    }
}
