//! ISO 8601 texts, whole or cut short, and PostgreSQL's way to write them (a blank instead of the T).

use super::{DAY_MS, Zone, civil, zone};
use crate::{Error, Result};

/// `2013-07-04 10:00:00`, `2013-07-04T10:00:00.123Z`, `2013-07-04T10:00+02:00`, `2013-07-04 10:00 Europe/Berlin`, `2013-07`, `2013`:
/// milliseconds since the epoch. What is missing is the least there is; without a zone it is UTC. Digits beyond milliseconds are cut.
pub fn parse_iso_timestamp(text: &str) -> Result<i64> {
    timestamp(text.trim()).ok_or_else(|| refused(text, "timestamp"))
}

/// `2013-07-04`, `2013-07`, `2013`, `20130704`: days since the epoch.
pub fn parse_iso_date(text: &str) -> Result<i32> {
    let mut cursor = Cursor(text.trim().as_bytes());
    let days = cursor.date().filter(|_| cursor.0.is_empty()).and_then(|days| i32::try_from(days).ok());
    days.ok_or_else(|| refused(text, "date"))
}

/// `10:00`, `10:00:00`, `10:00:00.123`: milliseconds of the day.
pub fn parse_iso_time(text: &str) -> Result<i32> {
    let mut cursor = Cursor(text.trim().as_bytes());
    let ms = cursor.time().filter(|_| cursor.0.is_empty()).filter(|ms| *ms < DAY_MS).and_then(|ms| i32::try_from(ms).ok());
    ms.ok_or_else(|| refused(text, "time"))
}

fn refused(text: &str, wanted: &str) -> Error {
    Error::Timestamp { text: text.to_string(), wanted: wanted.to_string(), reason: format!("it is no ISO {wanted}") }
}

fn timestamp(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text.as_bytes());
    let mut local = cursor.date()? * DAY_MS;
    match cursor.0 {
        [] => return Some(local),
        [b'T' | b't' | b' ', rest @ ..] if rest.first().is_some_and(u8::is_ascii_digit) => {
            cursor.0 = rest;
            local += cursor.time()?;
        }
        // A zone may follow a date directly.
        _ => {}
    }
    let rest = std::str::from_utf8(cursor.0).ok()?.trim_start();
    match rest {
        "" => Some(local),
        "Z" | "z" => Some(local),
        _ if rest.starts_with(['+', '-']) => match zone::offset(rest)? {
            (seconds, "") => Some(local - i64::from(seconds) * 1000),
            _ => None,
        },
        _ => Some(Zone::parse(rest).ok()?.instant(local)),
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    /// A number of `min` to `max` digits.
    fn number(&mut self, min: usize, max: usize) -> Option<i64> {
        let digits = self.0.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count();
        if digits < min {
            return None;
        }
        let value = self.0[..digits].iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        self.0 = &self.0[digits..];
        Some(value)
    }

    /// Days since the epoch.
    fn date(&mut self) -> Option<i64> {
        if self.0.len() == 8 && self.0.iter().all(u8::is_ascii_digit) {
            let (year, month, day) = (self.number(4, 4)?, self.number(2, 2)?, self.number(2, 2)?);
            return valid(year, month, day);
        }
        let negative = self.take(b'-');
        if !negative {
            self.take(b'+');
        }
        let year = self.number(4, 6)?;
        let (mut month, mut day) = (1, 1);
        if matches!(self.0, [b'-', digit, ..] if digit.is_ascii_digit()) {
            self.take(b'-');
            month = self.number(1, 2)?;
            if matches!(self.0, [b'-', digit, ..] if digit.is_ascii_digit()) {
                self.take(b'-');
                day = self.number(1, 2)?;
            }
        }
        valid(if negative { -year } else { year }, month, day)
    }

    /// Milliseconds of the day; 24:00 is the day's end.
    fn time(&mut self) -> Option<i64> {
        let hour = self.number(1, 2)?;
        let (mut minute, mut second, mut ms) = (0, 0, 0);
        if self.take(b':') {
            minute = self.number(2, 2)?;
            if self.take(b':') {
                second = self.number(2, 2)?;
                if self.take(b'.') || self.take(b',') {
                    let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    if digits == 0 {
                        return None;
                    }
                    ms = (0..3).fold(0, |ms, place| ms * 10 + self.0[..digits].get(place).map_or(0, |digit| i64::from(digit - b'0')));
                    self.0 = &self.0[digits..];
                }
            }
        }
        let all = ((hour * 60 + minute) * 60 + second) * 1000 + ms;
        (hour <= 24 && minute < 60 && second < 60 && all <= DAY_MS).then_some(all)
    }
}

fn valid(year: i64, month: i64, day: i64) -> Option<i64> {
    let real = civil::YEARS.contains(&year) && (1..=12).contains(&month) && (1..=civil::days_of_month(year, month)).contains(&day);
    real.then(|| civil::days(year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_whole_and_partial() {
        let ten = 1_372_932_000_000;
        for (text, ms) in [
            ("2013-07-04 10:00:00", ten),
            ("2013-07-04T10:00:00", ten),
            ("2013-07-04T10:00:00Z", ten),
            ("2013-07-04T10:00:00.1239Z", ten + 123),
            ("2013-07-04T10:00:00.5", ten + 500),
            ("2013-07-04 12:00+02", ten),
            ("2013-07-04T12:00:00+0200", ten),
            ("2013-07-04T12:00:00 +02:00", ten),
            ("2013-07-04 12:00 Europe/Berlin", ten),
            ("2013-07-04 10:00:00 UTC", ten),
            ("  2013-07-04 10  ", ten),
            ("2013-07-04", ten - 36_000_000),
            ("20130704", ten - 36_000_000),
            ("2013-07", 1_372_636_800_000),
            ("2013", 1_356_998_400_000),
            ("1969-12-31T23:59:59.999", -1),
            ("2013-07-03T24:00", ten - 36_000_000),
            ("-0001-01-01", civil::days(-1, 1, 1) * DAY_MS),
        ] {
            assert_eq!(parse_iso_timestamp(text), Ok(ms), "{text}");
        }
        for text in [
            "",
            "soon",
            "2013-13-01",
            "2013-02-29",
            "2013-07-04T25:00",
            "2013-07-04T10:60",
            "2013-07-04T10:00:00X",
            "2013-07-04 10:00:00.",
            "13",
        ] {
            assert!(parse_iso_timestamp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(parse_iso_date("1970-01-02"), Ok(1));
        assert_eq!(parse_iso_date("1969"), Ok(-365));
        assert!(parse_iso_date("1970-01-02T00:00").is_err());
        assert_eq!(parse_iso_time("23:59:59.999"), Ok(86_399_999));
        assert_eq!(parse_iso_time("07:30"), Ok(27_000_000));
        assert!(parse_iso_time("24:00").is_err());
    }
}
