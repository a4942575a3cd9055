//! `WINDOW …` and `WITHIN …`: the streaming clauses that are about time.

use sqlparser::tokenizer::Token;

use crate::Error;
use crate::ast::{Window, WindowKind, Within};
use crate::cursor::{Cursor, perhaps};
use crate::error::{INVALID_PARAMETER_VALUE, SYNTAX_ERROR};
use crate::near;

const KINDS: &[&str] = &["TUMBLING", "HOPPING", "SESSION"];

const UNITS: &[(&str, i64)] = &[
    ("DAYS", 86_400_000),
    ("DAY", 86_400_000),
    ("HOURS", 3_600_000),
    ("HOUR", 3_600_000),
    ("MINUTES", 60_000),
    ("MINUTE", 60_000),
    ("SECONDS", 1_000),
    ("SECOND", 1_000),
    ("MILLISECONDS", 1),
    ("MILLISECOND", 1),
];

/// Whether `WINDOW` is ksqlDB's here, not SQL's `WINDOW name AS (…)`.
pub(crate) fn begins(cursor: &Cursor) -> bool {
    let kind = |ahead: usize| {
        cursor.word(ahead).is_some_and(|word| KINDS.iter().any(|kind| word.value.eq_ignore_ascii_case(kind)))
            && cursor.sees_token(ahead + 1, &Token::LParen)
    };
    cursor.sees(&["WINDOW"]) && (kind(1) || (matches!(cursor.nth(1).map(|t| &t.token), Some(Token::Word(_))) && kind(2)))
}

/// `WINDOW [name] TUMBLING|HOPPING|SESSION (…)`; only called where one [`begins`].
pub(crate) fn window(cursor: &mut Cursor) -> Result<Window, Error> {
    let position = cursor.offset();
    cursor.expect(&["WINDOW"])?;
    // The optional name means nothing; one that is itself called SESSION is told by the bracket.
    if !cursor.sees_token(1, &Token::LParen) {
        cursor.skip(1);
    }
    let kind = cursor.expect_one(KINDS)?;
    let mut inside = cursor.bracketed()?;
    let place = inside.position();
    let mut options = Options::default();
    if kind == "SESSION" {
        options.gap_ms = Some(positive(&mut inside, "the gap of a session")?);
    } else {
        options.read(&mut inside, kind)?;
    }
    while inside.accept_token(&Token::Comma) {
        options.read(&mut inside, kind)?;
    }
    inside.finish()?;
    let missing = |what: &str| Error::new(SYNTAX_ERROR, format!("a {kind} window needs {what}"), place);
    let kind = match (kind, options.gap_ms, options.size_ms, options.advance_ms) {
        ("SESSION", Some(gap_ms), _, _) => WindowKind::Session { gap_ms },
        ("TUMBLING", _, Some(size_ms), _) => WindowKind::Tumbling { size_ms },
        ("HOPPING", _, Some(size_ms), Some(advance_ms)) if advance_ms <= size_ms => WindowKind::Hopping { size_ms, advance_ms },
        ("HOPPING", _, Some(_), Some(_)) => {
            return Err(Error::new(INVALID_PARAMETER_VALUE, "a hopping window cannot advance by more than its size", place)
                .hint("With a longer step, rows between the windows would be in none."));
        }
        ("HOPPING", _, Some(_), None) => return Err(missing("ADVANCE BY").hint("Write HOPPING (SIZE 1 HOUR, ADVANCE BY 10 MINUTES).")),
        _ => return Err(missing("SIZE").hint(format!("Write {kind} (SIZE 1 HOUR, …)."))),
    };
    Ok(Window { kind, grace_ms: options.grace_ms, retention_ms: options.retention_ms, position })
}

/// `WITHIN n unit | (n unit, n unit) [GRACE PERIOD n unit]`
pub(crate) fn within(cursor: &mut Cursor) -> Result<Within, Error> {
    cursor.expect(&["WITHIN"])?;
    let (before_ms, after_ms) = if cursor.sees_token(0, &Token::LParen) {
        let mut inside = cursor.bracketed()?;
        let before_ms = duration(&mut inside)?;
        inside.expect_token(&Token::Comma)?;
        let after_ms = duration(&mut inside)?;
        inside.finish()?;
        (before_ms, after_ms)
    } else {
        let both = duration(cursor)?;
        (both, both)
    };
    let grace_ms = if cursor.accept(&["GRACE", "PERIOD"]) { Some(duration(cursor)?) } else { None };
    Ok(Within { before_ms, after_ms, grace_ms })
}

#[derive(Default)]
struct Options {
    size_ms: Option<i64>,
    gap_ms: Option<i64>,
    advance_ms: Option<i64>,
    retention_ms: Option<i64>,
    grace_ms: Option<i64>,
}

impl Options {
    fn read(&mut self, cursor: &mut Cursor, kind: &str) -> Result<(), Error> {
        let position = cursor.position();
        let wrong = cursor.unexpected_among(&["SIZE", "ADVANCE", "RETENTION", "GRACE"]);
        let (name, slot, value) = if kind != "SESSION" && cursor.accept(&["SIZE"]) {
            ("SIZE", &mut self.size_ms, positive(cursor, "the size of a window")?)
        } else if kind == "HOPPING" && cursor.accept(&["ADVANCE", "BY"]) {
            ("ADVANCE BY", &mut self.advance_ms, positive(cursor, "the advance of a window")?)
        } else if cursor.accept(&["RETENTION"]) {
            ("RETENTION", &mut self.retention_ms, duration(cursor)?)
        } else if cursor.accept(&["GRACE", "PERIOD"]) {
            ("GRACE PERIOD", &mut self.grace_ms, duration(cursor)?)
        } else {
            return Err(wrong);
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(Error::new(SYNTAX_ERROR, format!("{name} is given twice"), position)),
        }
    }
}

fn positive(cursor: &mut Cursor, what: &str) -> Result<i64, Error> {
    let position = cursor.position();
    match duration(cursor)? {
        0 => Err(Error::new(INVALID_PARAMETER_VALUE, format!("{what} must be longer than zero"), position)),
        ms => Ok(ms),
    }
}

/// `n unit` in milliseconds.
fn duration(cursor: &mut Cursor) -> Result<i64, Error> {
    let position = cursor.position();
    let number = cursor.number()?;
    let Some(word) = cursor.word(0) else { return Err(cursor.unexpected().hint("A time span is a number and a unit: 10 MINUTES.")) };
    let Some((_, unit_ms)) = UNITS.iter().find(|(unit, _)| word.value.eq_ignore_ascii_case(unit)) else {
        let hint = match near::miss(&word.value, UNITS.iter().map(|(unit, _)| *unit)) {
            Some(meant) => perhaps(meant),
            None => "Units are DAYS, HOURS, MINUTES, SECONDS and MILLISECONDS.".to_string(),
        };
        return Err(cursor.unexpected().hint(hint));
    };
    cursor.skip(1);
    i64::try_from(number)
        .ok()
        .and_then(|number| number.checked_mul(*unit_ms))
        .ok_or_else(|| Error::new(INVALID_PARAMETER_VALUE, "the time span is too long", position))
}
