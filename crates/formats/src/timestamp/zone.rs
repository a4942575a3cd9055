//! Time zones: fixed offsets and the IANA data base.

use chrono::{DateTime, MappedLocalTime, Offset, TimeZone};
use chrono_tz::{OffsetName, Tz};

use crate::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Seconds east of UTC.
    Fixed(i32),
    Named(Tz),
}

/// Abbreviations that are used in texts and are no IANA names.
const ABBREVIATIONS: [(&str, Tz); 8] = [
    ("PST", Tz::America__Los_Angeles),
    ("PDT", Tz::America__Los_Angeles),
    ("CST", Tz::America__Chicago),
    ("CDT", Tz::America__Chicago),
    ("EDT", Tz::America__New_York),
    ("MDT", Tz::America__Denver),
    ("BST", Tz::Europe__London),
    ("CEST", Tz::Europe__Paris),
];

impl Zone {
    pub const UTC: Zone = Zone::Fixed(0);

    /// `UTC`, `Z`, `+02:00`, `UTC+2`, `Europe/Berlin`, `EST`.
    pub fn parse(text: &str) -> Result<Zone> {
        let unknown = || Error::Zone(text.to_string());
        if ["z", "utc", "gmt", "ut"].iter().any(|name| text.eq_ignore_ascii_case(name)) {
            return Ok(Zone::UTC);
        }
        let bare = ["UTC", "GMT", "UT"].iter().find_map(|name| text.strip_prefix(name)).unwrap_or(text);
        if bare.starts_with(['+', '-']) {
            return match offset(bare) {
                Some((seconds, "")) => Ok(Zone::Fixed(seconds)),
                _ => Err(unknown()),
            };
        }
        if let Some((_, zone)) = ABBREVIATIONS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)) {
            return Ok(Zone::Named(*zone));
        }
        match text.parse::<Tz>() {
            Ok(zone) => Ok(Zone::Named(zone)),
            Err(_) => {
                let zone = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(text));
                zone.map(|zone| Zone::Named(*zone)).ok_or_else(unknown)
            }
        }
    }

    /// Seconds east of UTC at an instant (ms).
    pub fn offset_seconds(&self, ms: i64) -> i32 {
        match self {
            Zone::Fixed(seconds) => *seconds,
            Zone::Named(zone) => match DateTime::from_timestamp_millis(ms) {
                Some(instant) => zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc(),
                None => 0,
            },
        }
    }

    /// What clocks show at an instant, both in ms.
    pub fn local(&self, ms: i64) -> i64 {
        ms.saturating_add(i64::from(self.offset_seconds(ms)) * 1000)
    }

    /// The instant at which clocks show `local_ms`: the earlier one when they do twice; as much after the gap as it is inside when they
    /// never do (as Java's ZonedDateTime).
    pub fn instant(&self, local_ms: i64) -> i64 {
        let seconds = match self {
            Zone::Fixed(seconds) => *seconds,
            Zone::Named(zone) => {
                match DateTime::from_timestamp_millis(local_ms).map(|local| zone.offset_from_local_datetime(&local.naive_utc())) {
                    Some(MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(offset, _)) => offset.fix().local_minus_utc(),
                    // No zone has two gaps within a day and a half.
                    Some(MappedLocalTime::None) => self.offset_seconds(local_ms - 36 * 3_600_000),
                    None => 0,
                }
            }
        };
        local_ms.saturating_sub(i64::from(seconds) * 1000)
    }

    /// `Europe/Berlin`, `Z`, `+02:00`.
    pub fn id(&self) -> String {
        match self {
            Zone::Fixed(0) => "Z".to_string(),
            Zone::Fixed(seconds) => {
                let all = seconds.unsigned_abs();
                let (hours, minutes, rest) = (all / 3600, all / 60 % 60, all % 60);
                let sign = if *seconds < 0 { '-' } else { '+' };
                let end = if rest > 0 { format!(":{rest:02}") } else { String::new() };
                format!("{sign}{hours:02}:{minutes:02}{end}")
            }
            Zone::Named(zone) => zone.name().to_string(),
        }
    }

    /// `CEST`; offsets and zones without a name have their id.
    pub fn name(&self, ms: i64) -> String {
        match self {
            Zone::Fixed(0) => "UTC".to_string(),
            Zone::Fixed(_) => self.id(),
            Zone::Named(zone) => {
                let name = DateTime::from_timestamp_millis(ms)
                    .and_then(|instant| zone.offset_from_utc_datetime(&instant.naive_utc()).abbreviation().map(str::to_string));
                name.unwrap_or_else(|| self.id())
            }
        }
    }
}

/// `+2`, `+02`, `+0200`, `+02:00`, `-02:30:15` at the start of a text: seconds, and the rest.
pub(crate) fn offset(text: &str) -> Option<(i32, &str)> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let text = &text[1..];
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (hours, rest) = match digits(text) {
        0 => return None,
        1 => text.split_at(1),
        _ => text.split_at(2),
    };
    let mut seconds = hours.parse::<i32>().ok()? * 3600;
    let mut rest = rest;
    for unit in [60, 1] {
        let after = rest.strip_prefix(':').unwrap_or(rest);
        if digits(after) < 2 {
            break;
        }
        let (part, after) = after.split_at(2);
        let part = part.parse::<i32>().ok().filter(|part| *part < 60)?;
        seconds += part * unit;
        rest = after;
    }
    (seconds <= 18 * 3600).then_some((sign * seconds, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_by_their_names() {
        for (text, seconds) in [("UTC", 0), ("z", 0), ("+02:00", 7200), ("UTC-3", -10_800), ("-0230", -9000), ("Asia/Kolkata", 19_800)] {
            assert_eq!(Zone::parse(text).unwrap().offset_seconds(0), seconds, "{text}");
        }
        for text in ["", "Nowhere/Land", "+19:00", "+02:61", "+"] {
            assert!(Zone::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn clocks_that_jump() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let local = |text: &str| crate::timestamp::parse_iso_timestamp(text).unwrap();
        assert_eq!(berlin.instant(local("2021-03-28T02:30")), local("2021-03-28T01:30"));
        assert_eq!(berlin.instant(local("2021-10-31T02:30")), local("2021-10-31T00:30"));
        assert_eq!(berlin.local(local("2021-07-01T00:00")), local("2021-07-01T02:00"));
        assert_eq!(berlin.name(local("2021-07-01T00:00")), "CEST");
    }
}
