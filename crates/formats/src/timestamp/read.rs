//! Reading by a pattern.

use super::pattern::{Field, Item, OffsetStyle, Style};
use super::print::{ERAS, ERAS_FULL, HALVES, MONTHS, WEEKDAYS};
use super::{DAY_MS, Zone, civil, zone};

/// What a text has said.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fields {
    year: Option<i64>,
    year_of_era: Option<i64>,
    era: Option<i64>,
    quarter: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    weekday: Option<i64>,
    half: Option<i64>,
    hour: Option<i64>,
    hour_of_half: Option<i64>,
    minute: Option<i64>,
    second: Option<i64>,
    nano: Option<i64>,
    nano_of_day: Option<i64>,
    zone: Option<Zone>,
}

/// The fields, and the text behind them.
pub(super) fn read<'a>(items: &[Item], text: &'a str) -> Result<(Fields, &'a str), String> {
    let mut fields = Fields::default();
    let rest = read_items(items, text, &mut fields)?;
    Ok((fields, rest))
}

fn read_items<'a>(items: &[Item], text: &'a str, fields: &mut Fields) -> Result<&'a str, String> {
    let mut rest = text;
    for (index, item) in items.iter().enumerate() {
        rest = match item {
            Item::Literal(literal) => strip(rest, literal).ok_or_else(|| format!("expected '{literal}' at '{rest}'"))?,
            Item::Number { field, min, max } => {
                let reserved = if min < max { reserved(&items[index + 1..]) } else { 0 };
                let (value, rest) = number(rest, *min, *max, reserved, matches!(field, Field::Year | Field::YearOfEra))?;
                fields.set(*field, value)?;
                rest
            }
            Item::ShortYear(field) => {
                let (value, rest) = number(rest, 2, 2, 0, false)?;
                fields.set(*field, 2000 + value)?;
                rest
            }
            Item::Fraction(digits) => {
                let (value, rest) = number(rest, *digits, *digits, 0, false)?;
                fields.set(Field::Nano, value * 10i64.pow(9 - *digits as u32))?;
                rest
            }
            Item::Name { field, style } => {
                let (value, rest) = name(rest, *field, *style)?;
                fields.set(*field, value)?;
                rest
            }
            Item::ZoneId | Item::ZoneName => {
                let (zone, rest) = zone_name(rest)?;
                fields.zone = Some(zone);
                rest
            }
            Item::Offset { zero, style } => {
                let (zone, rest) = read_offset(rest, zero, *style)?;
                fields.zone = Some(zone);
                rest
            }
            Item::Optional(items) => {
                let before = *fields;
                match read_items(items, rest, fields) {
                    Ok(rest) => rest,
                    Err(_) => {
                        *fields = before;
                        rest
                    }
                }
            }
        };
    }
    Ok(rest)
}

/// How many digits the items directly behind a number of open length need: `yyyyMMdd`.
fn reserved(items: &[Item]) -> usize {
    let mut digits = 0;
    for item in items {
        digits += match item {
            Item::Number { min, max, .. } if min == max => *min,
            Item::ShortYear(_) => 2,
            Item::Fraction(count) => *count,
            _ => break,
        };
    }
    digits
}

/// The rest of `text` behind `prefix`, whatever its case.
fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let mut rest = text.chars();
    for expected in prefix.chars() {
        let found = rest.next()?;
        if found != expected && !found.to_lowercase().eq(expected.to_lowercase()) {
            return None;
        }
    }
    Some(rest.as_str())
}

fn number(text: &str, min: usize, max: usize, reserved: usize, signed: bool) -> Result<(i64, &str), String> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') if signed => (true, &text[1..]),
        Some(b'+') if signed => (false, &text[1..]),
        _ => (false, text),
    };
    let found = digits.bytes().take_while(u8::is_ascii_digit).count();
    let count = found.saturating_sub(reserved).clamp(min.min(found), max.min(found));
    if count < min {
        return Err(format!("expected {min} digits at '{text}'"));
    }
    let value: i64 = digits[..count].parse().map_err(|_| format!("'{}' is too large", &digits[..count]))?;
    Ok((if negative { -value } else { value }, &digits[count..]))
}

fn name(text: &str, field: Field, style: Style) -> Result<(i64, &str), String> {
    let (names, first): (&[&str], i64) = match field {
        Field::Month => (&MONTHS, 1),
        Field::Weekday => (&WEEKDAYS, 1),
        Field::AmPm => (&HALVES, 0),
        _ if style == Style::Full => (&ERAS_FULL, 0),
        _ => (&ERAS, 0),
    };
    let found = names.iter().zip(first..).find_map(|(full, value)| {
        let name = match style {
            Style::Full => full,
            Style::Short => &full[..full.len().min(3)],
            Style::Narrow => &full[..1],
        };
        strip(text, name).map(|rest| (value, rest))
    });
    found.ok_or_else(|| format!("expected a name at '{text}'"))
}

fn zone_name(text: &str) -> Result<(Zone, &str), String> {
    let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'+' | b'-' | b':');
    let longest = text.bytes().take_while(|byte| of_name(byte)).count();
    let found = (1..=longest).rev().find_map(|end| Zone::parse(&text[..end]).ok().map(|zone| (zone, &text[end..])));
    found.ok_or_else(|| format!("expected a time zone at '{text}'"))
}

fn read_offset<'a>(text: &'a str, zero: &str, style: OffsetStyle) -> Result<(Zone, &'a str), String> {
    let refused = || format!("expected an offset from UTC at '{text}'");
    let gmt = matches!(style, OffsetStyle::Gmt | OffsetStyle::GmtShort);
    let offset_text = if gmt { strip(text, "GMT").ok_or_else(refused)? } else { text };
    match zone::offset(offset_text) {
        Some((seconds, rest)) => Ok((Zone::Fixed(seconds), rest)),
        None => strip(text, zero).map(|rest| (Zone::UTC, rest)).ok_or_else(refused),
    }
}

impl Fields {
    fn set(&mut self, field: Field, value: i64) -> Result<(), String> {
        let (place, value, valid) = match field {
            Field::Year => (&mut self.year, value, civil::YEARS),
            Field::YearOfEra => (&mut self.year_of_era, value, civil::YEARS),
            Field::Era => (&mut self.era, value, 0..=1),
            Field::Quarter => (&mut self.quarter, value, 1..=4),
            Field::Month => (&mut self.month, value, 1..=12),
            Field::Day => (&mut self.day, value, 1..=31),
            Field::DayOfYear => (&mut self.day_of_year, value, 1..=366),
            Field::Weekday => (&mut self.weekday, value, 1..=7),
            Field::AmPm => (&mut self.half, value, 0..=1),
            Field::Hour => (&mut self.hour, value, 0..=24),
            Field::ClockHour => (&mut self.hour, if value == 24 { 0 } else { value }, 0..=23),
            Field::HourOfHalf => (&mut self.hour_of_half, value, 0..=11),
            Field::ClockHourOfHalf => (&mut self.hour_of_half, if value == 12 { 0 } else { value }, 0..=11),
            Field::Minute => (&mut self.minute, value, 0..=59),
            Field::Second => (&mut self.second, value, 0..=59),
            Field::Nano => (&mut self.nano, value, 0..=999_999_999),
            Field::MilliOfDay => (&mut self.nano_of_day, value.saturating_mul(1_000_000), 0..=DAY_MS * 1_000_000 - 1),
            Field::NanoOfDay => (&mut self.nano_of_day, value, 0..=DAY_MS * 1_000_000 - 1),
        };
        if !valid.contains(&value) {
            return Err(format!("{value} is out of range"));
        }
        if place.is_some_and(|before| before != value) {
            return Err(format!("two fields disagree: {} and {value}", place.unwrap_or_default()));
        }
        *place = Some(value);
        Ok(())
    }

    pub(super) fn instant(&self, default: &Zone) -> Result<i64, String> {
        let local = self.days()? * DAY_MS + self.ms_of_day()?;
        Ok(self.zone.as_ref().unwrap_or(default).instant(local))
    }

    fn days(&self) -> Result<i64, String> {
        let year = match (self.year, self.year_of_era) {
            (Some(year), _) => year,
            (None, Some(year)) if self.era == Some(0) => 1 - year,
            (None, Some(year)) => year,
            (None, None) => 1970,
        };
        let days = match (self.day_of_year, self.month, self.day) {
            (Some(366), None, None) if !civil::is_leap(year) => return Err(format!("{year} has no day 366")),
            (Some(day), None, None) => civil::days(year, 1, 1) + day - 1,
            (_, month, day) => {
                let month = month.or(self.quarter.map(|quarter| quarter * 3 - 2)).unwrap_or(1);
                // As Java's "smart" resolver: the 31st of a shorter month is its last day.
                civil::days(year, month, day.unwrap_or(1).min(civil::days_of_month(year, month)))
            }
        };
        match self.weekday {
            Some(weekday) if self.day.or(self.day_of_year).is_some() && civil::weekday(days) != weekday => {
                Err("the day of the week is not that of the date".to_string())
            }
            _ => Ok(days),
        }
    }

    fn ms_of_day(&self) -> Result<i64, String> {
        if let Some(nano) = self.nano_of_day {
            return Ok(nano / 1_000_000);
        }
        let hour = self.hour.unwrap_or_else(|| self.hour_of_half.unwrap_or(0) + 12 * self.half.unwrap_or(0));
        let ms = ((hour * 60 + self.minute.unwrap_or(0)) * 60 + self.second.unwrap_or(0)) * 1000 + self.nano.unwrap_or(0) / 1_000_000;
        if ms > DAY_MS { Err("a day has 24 hours".to_string()) } else { Ok(ms) }
    }
}

#[cfg(test)]
mod tests {
    use crate::timestamp::{Pattern, Zone, parse_iso_timestamp};

    #[test]
    fn reads_and_writes_by_patterns() {
        for (pattern, text, iso) in [
            ("yyyy-MM-dd HH:mm:ss", "2013-07-04 10:00:00", "2013-07-04T10:00:00Z"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSS", "2013-07-04T10:00:00.125", "2013-07-04T10:00:00.125Z"),
            ("yyyyMMddHHmmssSSS", "20130704100000125", "2013-07-04T10:00:00.125Z"),
            ("yyyy-MM-dd'T'HH:mm:ssX", "2013-07-04T10:00:00Z", "2013-07-04T10:00:00Z"),
            ("d MMM uuuu, h:mm a", "4 Jul 2013, 3:07 PM", "2013-07-04T15:07Z"),
            ("EEEE, MMMM dd, yyyy", "Thursday, July 04, 2013", "2013-07-04"),
            ("EEE yy", "Thu 13", "2013"),
            ("yyyy-DDD", "2012-366", "2012-12-31"),
            ("kk:mm", "24:30", "1970-01-01T00:30"),
            ("hh 'o''clock' a", "12 o'clock AM", "1970-01-01T00:00"),
            ("A", "1500", "1970-01-01T00:00:01.5"),
            ("HH:mm:ss.nnnnnnnnn", "00:00:01.500000000", "1970-01-01T00:00:01.5"),
            ("yyyy-MM-dd[ HH:mm]", "2013-07-04 10:00", "2013-07-04T10:00"),
            ("G y", "AD 2013", "2013"),
            ("''yyyy''", "'2013'", "2013"),
        ] {
            let compiled = Pattern::new(pattern).unwrap();
            let ms = parse_iso_timestamp(iso).unwrap();
            if pattern != "EEE yy" {
                assert_eq!(compiled.format(ms), text, "{pattern}");
            }
            assert_eq!(compiled.parse(text), Ok(ms), "{pattern}");
            assert_eq!(compiled.parse(&text.to_lowercase()), Ok(ms), "{pattern}");
        }
    }

    #[test]
    fn zones_in_the_text_or_beside_it() {
        let ten = parse_iso_timestamp("2013-07-04T10:00:00Z").unwrap();
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        for (pattern, text) in [
            ("yyyy-MM-dd HH:mm X", "2013-07-04 12:00 +02"),
            ("yyyy-MM-dd HH:mm XX", "2013-07-04 12:00 +0200"),
            ("yyyy-MM-dd HH:mm xxx", "2013-07-04 12:00 +02:00"),
            ("yyyy-MM-dd HH:mm Z", "2013-07-04 12:00 +0200"),
            ("yyyy-MM-dd HH:mm ZZZZ", "2013-07-04 12:00 GMT+02:00"),
            ("yyyy-MM-dd HH:mm O", "2013-07-04 12:00 GMT+2"),
            ("yyyy-MM-dd HH:mm VV", "2013-07-04 12:00 Europe/Berlin"),
            ("yyyy-MM-dd HH:mm z", "2013-07-04 12:00 CEST"),
            ("yyyy-MM-dd HH:mm", "2013-07-04 12:00"),
        ] {
            let compiled = Pattern::new(pattern).unwrap();
            assert_eq!(compiled.format_in(ten, &berlin), text, "{pattern}");
            assert_eq!(compiled.parse_in(text, &berlin), Ok(ten), "{pattern}");
        }
        assert_eq!(Pattern::new("HH:mmXXX").unwrap().format(0), "00:00Z");
        assert_eq!(Pattern::new("HH:mmxxx").unwrap().format(0), "00:00+00:00");
    }

    #[test]
    fn optional_parts_and_days_beyond_the_month() {
        let pattern = Pattern::new("yyyy[-MM[-dd]]").unwrap();
        assert_eq!(pattern.parse("2013"), parse_iso_timestamp("2013"));
        assert_eq!(pattern.parse("2013-07"), parse_iso_timestamp("2013-07"));
        assert_eq!(pattern.parse("2013-02-31"), parse_iso_timestamp("2013-02-28"));
    }

    #[test]
    fn refuses_with_a_reason() {
        for (pattern, reason) in [
            ("yyyy-'MM", "the quote at position 6 does not end"),
            ("yyyy]", "']' at position 5 without '['"),
            ("{yyyy}", "'{' at position 1 is reserved"),
            ("dd 'été' jjjj", "letter 'j' at position 10 has no meaning"),
            ("qqqq", "too many letters 'q' at position 1"),
            ("yyyy-MM-ddTHH", "letter 'T' at position 11 has no meaning"),
            ("[yyyy[-MMM]] HHH", "too many letters 'H' at position 14"),
            ("YYYY", "letter 'Y' at position 1 has no meaning"),
            ("HH V", "'V' at position 4 is not written twice"),
        ] {
            let error = Pattern::new(pattern).unwrap_err().to_string();
            assert_eq!(error, format!("invalid date pattern '{pattern}': {reason}"));
        }
        for (pattern, text) in [
            ("yyyy-MM-dd", "2013-7-4"),
            ("yyyy-MM-dd", "2013-07-04x"),
            ("yyyy-MM-dd", "2013-13-04"),
            ("yyyy-MM-dd", ""),
            ("HH", "25"),
            ("EEE yyyy-MM-dd", "Mon 2013-07-04"),
            ("MMM", "Foo"),
            ("yyyyX", "2013+19"),
            ("VV", "Nowhere"),
            ("u", "99999999999999999999"),
        ] {
            assert!(Pattern::new(pattern).unwrap().parse(text).is_err(), "{pattern} {text}");
        }
        assert_eq!(
            Pattern::new("yyyy-MM-dd").unwrap().parse("2013").unwrap_err().to_string(),
            "cannot read '2013' as 'yyyy-MM-dd': expected '-' at ''"
        );
    }
}
