//! Java's DateTimeFormatter patterns: the letters, compiled.

use super::{DAY_MS, Zone, civil, print, read};
use crate::{Error, Result};

/// A compiled pattern. Texts are read without regard to case; names of months and days are English.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    text: String,
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Literal(String),
    /// Digits, padded with zeros to `min`.
    Number {
        field: Field,
        min: usize,
        max: usize,
    },
    /// `yy`: the last two digits of a year from 2000 on.
    ShortYear(Field),
    /// So many digits behind the decimal point of a second.
    Fraction(usize),
    Name {
        field: Field,
        style: Style,
    },
    ZoneId,
    ZoneName,
    Offset {
        zero: &'static str,
        style: OffsetStyle,
    },
    Optional(Vec<Item>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Year,
    YearOfEra,
    Era,
    Quarter,
    Month,
    Day,
    DayOfYear,
    Weekday,
    AmPm,
    /// 0 to 23.
    Hour,
    /// 1 to 24.
    ClockHour,
    /// 0 to 11.
    HourOfHalf,
    /// 1 to 12.
    ClockHourOfHalf,
    Minute,
    Second,
    Nano,
    MilliOfDay,
    NanoOfDay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Short,
    Full,
    Narrow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OffsetStyle {
    /// `+02`, `+0230`.
    HoursMaybeMinutes,
    /// `+0200`.
    Compact,
    /// `+02:00`.
    Colon,
    /// `+0200`, `+020015`.
    CompactMaybeSeconds,
    /// `+02:00`, `+02:00:15`.
    ColonMaybeSeconds,
    /// `GMT+2`, `GMT+2:30`.
    GmtShort,
    /// `GMT+02:00`.
    Gmt,
}

impl Pattern {
    /// A letter without a meaning, or one too often in a row, is refused with its place.
    pub fn new(text: &str) -> Result<Pattern> {
        let refuse = |reason: String| Error::Pattern { pattern: text.to_string(), reason };
        let mut stack: Vec<Vec<Item>> = vec![Vec::new()];
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let after = &rest[character.len_utf8()..];
            // In characters from 1, as people count.
            let at = text[..text.len() - rest.len()].chars().count() + 1;
            let items = stack.last_mut().expect("the stack is never empty");
            match character {
                '\'' => {
                    let (literal, after) = quoted(after).ok_or_else(|| refuse(format!("the quote at position {at} does not end")))?;
                    push_literal(items, &literal);
                    rest = after;
                }
                '[' => {
                    stack.push(Vec::new());
                    rest = after;
                }
                ']' => {
                    let optional = stack.pop().filter(|_| !stack.is_empty());
                    let optional = optional.ok_or_else(|| refuse(format!("']' at position {at} without '['")))?;
                    stack.last_mut().expect("checked above").push(Item::Optional(optional));
                    rest = after;
                }
                'a'..='z' | 'A'..='Z' => {
                    let count = rest.chars().take_while(|next| *next == character).count();
                    items.push(item(character, count, at).map_err(refuse)?);
                    rest = &rest[count..];
                }
                '{' | '}' | '#' => return Err(refuse(format!("'{character}' at position {at} is reserved"))),
                _ => {
                    push_literal(items, character.encode_utf8(&mut [0; 4]));
                    rest = after;
                }
            }
        }
        // An optional section may be left open.
        while stack.len() > 1 {
            let optional = stack.pop().expect("checked above");
            stack.last_mut().expect("checked above").push(Item::Optional(optional));
        }
        Ok(Pattern { text: text.to_string(), items: stack.pop().unwrap_or_default() })
    }

    /// The instant (ms) that `text` names; UTC where it names no zone. Fields that the pattern lacks are those of 1970-01-01T00:00.
    pub fn parse(&self, text: &str) -> Result<i64> {
        self.parse_in(text, &Zone::UTC)
    }

    /// The same, with another zone than UTC where the text names none.
    pub fn parse_in(&self, text: &str, zone: &Zone) -> Result<i64> {
        let refuse = |reason: String| Error::Timestamp { text: text.to_string(), wanted: format!("'{}'", self.text), reason };
        let (fields, rest) = read::read(&self.items, text).map_err(refuse)?;
        if !rest.is_empty() {
            return Err(refuse(format!("'{rest}' is left over")));
        }
        fields.instant(zone).map_err(refuse)
    }

    /// As [`Pattern::parse`], but text behind what the pattern covers does not matter.
    pub fn parse_prefix(&self, text: &str) -> Result<i64> {
        let refuse = |reason: String| Error::Timestamp { text: text.to_string(), wanted: format!("'{}'", self.text), reason };
        let (fields, _) = read::read(&self.items, text).map_err(refuse)?;
        fields.instant(&Zone::UTC).map_err(refuse)
    }

    /// An instant (ms) as text, in UTC.
    pub fn format(&self, ms: i64) -> String {
        self.format_in(ms, &Zone::UTC)
    }

    pub fn format_in(&self, ms: i64, zone: &Zone) -> String {
        let local = zone.local(ms);
        let moment = print::Moment { ms, days: local.div_euclid(DAY_MS), ms_of_day: local.rem_euclid(DAY_MS), zone: *zone };
        let mut out = String::new();
        print::print(&self.items, &moment, &civil::date(moment.days), &mut out);
        out
    }

    /// Whether some field is one of a date.
    pub fn has_date(&self) -> bool {
        any(&self.items, &|field| (field as u8) < (Field::AmPm as u8))
    }

    /// Whether some field is one of a time of day.
    pub fn has_time(&self) -> bool {
        any(&self.items, &|field| field as u8 >= Field::AmPm as u8)
    }

    /// Whether some field is a zone or an offset.
    pub fn has_zone(&self) -> bool {
        fn within(items: &[Item]) -> bool {
            items.iter().any(|item| match item {
                Item::ZoneId | Item::ZoneName | Item::Offset { .. } => true,
                Item::Optional(items) => within(items),
                _ => false,
            })
        }
        within(&self.items)
    }
}

fn any(items: &[Item], wanted: &dyn Fn(Field) -> bool) -> bool {
    items.iter().any(|item| match item {
        Item::Number { field, .. } | Item::ShortYear(field) | Item::Name { field, .. } => wanted(*field),
        Item::Fraction(_) => wanted(Field::Nano),
        Item::Optional(items) => any(items, wanted),
        _ => false,
    })
}

/// Behind an opening quote: the literal, and what follows the closing one. `''` is a quote, inside and by itself.
fn quoted(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('\'') {
        return Some(("'".to_string(), rest));
    }
    let mut literal = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('\'')?;
        literal.push_str(part);
        match after.strip_prefix('\'') {
            Some(after) => {
                literal.push('\'');
                rest = after;
            }
            None => return Some((literal, after)),
        }
    }
}

fn push_literal(items: &mut Vec<Item>, text: &str) {
    match items.last_mut() {
        Some(Item::Literal(literal)) => literal.push_str(text),
        _ => items.push(Item::Literal(text.to_string())),
    }
}

/// What `count` letters in a row mean, the first of which is at `at`.
fn item(letter: char, count: usize, at: usize) -> Result<Item, String> {
    let too_many = || format!("too many letters '{letter}' at position {at}");
    let number = |field, min, max| Ok(Item::Number { field, min, max });
    // One letter takes what is there, two take two digits.
    let two = |field| match count {
        1 => number(field, 1, 19),
        2 => number(field, 2, 2),
        _ => Err(too_many()),
    };
    let name = |field| match count {
        1..=3 => Ok(Item::Name { field, style: Style::Short }),
        4 => Ok(Item::Name { field, style: Style::Full }),
        5 => Ok(Item::Name { field, style: Style::Narrow }),
        _ => Err(too_many()),
    };
    let offset = |zero, style| Ok(Item::Offset { zero, style });
    match (letter, count) {
        ('u' | 'y', 2) => Ok(Item::ShortYear(if letter == 'u' { Field::Year } else { Field::YearOfEra })),
        ('u' | 'y', 1..=19) => number(if letter == 'u' { Field::Year } else { Field::YearOfEra }, count, 19),
        ('G', _) => name(Field::Era),
        ('Q' | 'q', 1..=2) => two(Field::Quarter),
        ('M' | 'L', 1..=2) => two(Field::Month),
        ('M' | 'L', _) => name(Field::Month),
        ('d', _) => two(Field::Day),
        ('D', 1) => number(Field::DayOfYear, 1, 19),
        ('D', 2..=3) => number(Field::DayOfYear, count, 3),
        ('E', _) => name(Field::Weekday),
        ('a', 1) => Ok(Item::Name { field: Field::AmPm, style: Style::Short }),
        ('H', _) => two(Field::Hour),
        ('k', _) => two(Field::ClockHour),
        ('K', _) => two(Field::HourOfHalf),
        ('h', _) => two(Field::ClockHourOfHalf),
        ('m', _) => two(Field::Minute),
        ('s', _) => two(Field::Second),
        ('S', 1..=9) => Ok(Item::Fraction(count)),
        ('n', 1..=19) => number(Field::Nano, count, 19),
        ('A', 1..=19) => number(Field::MilliOfDay, count, 19),
        ('N', 1..=19) => number(Field::NanoOfDay, count, 19),
        ('V', 2) => Ok(Item::ZoneId),
        ('V', _) => Err(format!("'V' at position {at} is not written twice")),
        ('z', 1..=4) => Ok(Item::ZoneName),
        ('X', 1) => offset("Z", OffsetStyle::HoursMaybeMinutes),
        ('X', 2) => offset("Z", OffsetStyle::Compact),
        ('X', 3) => offset("Z", OffsetStyle::Colon),
        ('X', 4) => offset("Z", OffsetStyle::CompactMaybeSeconds),
        ('X', 5) => offset("Z", OffsetStyle::ColonMaybeSeconds),
        ('x', 1) => offset("+00", OffsetStyle::HoursMaybeMinutes),
        ('x', 2) => offset("+0000", OffsetStyle::Compact),
        ('x', 3) => offset("+00:00", OffsetStyle::Colon),
        ('x', 4) => offset("+0000", OffsetStyle::CompactMaybeSeconds),
        ('x', 5) => offset("+00:00", OffsetStyle::ColonMaybeSeconds),
        ('Z', 1..=3) => offset("+0000", OffsetStyle::Compact),
        ('Z', 4) | ('O', 4) => offset("GMT", OffsetStyle::Gmt),
        ('Z', 5) => offset("Z", OffsetStyle::ColonMaybeSeconds),
        ('O', 1) => offset("GMT", OffsetStyle::GmtShort),
        ('a' | 'n' | 'A' | 'N' | 'S' | 'u' | 'y' | 'D' | 'z' | 'X' | 'x' | 'Z' | 'O' | 'Q' | 'q', _) => Err(too_many()),
        _ => Err(format!("letter '{letter}' at position {at} has no meaning")),
    }
}
