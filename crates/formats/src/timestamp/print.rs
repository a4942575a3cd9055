//! Writing by a pattern.

use super::pattern::{Field, Item, OffsetStyle, Style};
use super::{Zone, civil};

pub(super) const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
pub(super) const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
pub(super) const HALVES: [&str; 2] = ["AM", "PM"];
pub(super) const ERAS: [&str; 2] = ["BC", "AD"];
pub(super) const ERAS_FULL: [&str; 2] = ["Before Christ", "Anno Domini"];

/// An instant, and what clocks in its zone show.
pub(super) struct Moment {
    pub(super) ms: i64,
    pub(super) days: i64,
    pub(super) ms_of_day: i64,
    pub(super) zone: Zone,
}

pub(super) fn print(items: &[Item], moment: &Moment, date: &(i64, i64, i64), out: &mut String) {
    for item in items {
        match item {
            Item::Literal(text) => out.push_str(text),
            Item::Number { field, min, .. } => number(value(*field, moment, date), *min, *field, out),
            Item::ShortYear(field) => out.push_str(&format!("{:02}", value(*field, moment, date).rem_euclid(100))),
            Item::Fraction(digits) => {
                let nanos = format!("{:03}000000", moment.ms_of_day % 1000);
                out.push_str(&nanos[..*digits]);
            }
            Item::Name { field, style } => out.push_str(name(*field, *style, moment, date)),
            Item::ZoneId => out.push_str(&moment.zone.id()),
            Item::ZoneName => out.push_str(&moment.zone.name(moment.ms)),
            Item::Offset { zero, style } => offset(moment.zone.offset_seconds(moment.ms), zero, *style, out),
            Item::Optional(items) => print(items, moment, date, out),
        }
    }
}

fn value(field: Field, moment: &Moment, (year, month, day): &(i64, i64, i64)) -> i64 {
    let hour = moment.ms_of_day / 3_600_000;
    let between = |value: i64, count: i64| if value % count == 0 { count } else { value % count };
    match field {
        Field::Year => *year,
        Field::YearOfEra => {
            if *year > 0 {
                *year
            } else {
                1 - *year
            }
        }
        Field::Era => i64::from(*year > 0),
        Field::Quarter => (*month - 1) / 3 + 1,
        Field::Month => *month,
        Field::Day => *day,
        Field::DayOfYear => moment.days - civil::days(*year, 1, 1) + 1,
        Field::Weekday => civil::weekday(moment.days),
        Field::AmPm => hour / 12,
        Field::Hour => hour,
        Field::ClockHour => between(hour, 24),
        Field::HourOfHalf => hour % 12,
        Field::ClockHourOfHalf => between(hour, 12),
        Field::Minute => moment.ms_of_day / 60_000 % 60,
        Field::Second => moment.ms_of_day / 1000 % 60,
        Field::Nano => moment.ms_of_day % 1000 * 1_000_000,
        Field::MilliOfDay => moment.ms_of_day,
        Field::NanoOfDay => moment.ms_of_day * 1_000_000,
    }
}

fn number(value: i64, min: usize, field: Field, out: &mut String) {
    if value < 0 {
        out.push('-');
    } else if matches!(field, Field::Year | Field::YearOfEra) && min >= 4 && value.checked_ilog10().is_some_and(|log| log as usize >= min) {
        out.push('+');
    }
    out.push_str(&format!("{:0min$}", value.unsigned_abs()));
}

fn name(field: Field, style: Style, moment: &Moment, date: &(i64, i64, i64)) -> &'static str {
    let value = value(field, moment, date);
    let (names, first): (&[&'static str], i64) = match field {
        Field::Month => (&MONTHS, 1),
        Field::Weekday => (&WEEKDAYS, 1),
        Field::AmPm => (&HALVES, 0),
        _ if style == Style::Full => (&ERAS_FULL, 0),
        _ => (&ERAS, 0),
    };
    let full = names[(value - first) as usize];
    match style {
        Style::Full => full,
        Style::Short => &full[..full.len().min(3)],
        Style::Narrow => &full[..1],
    }
}

fn offset(seconds: i32, zero: &str, style: OffsetStyle, out: &mut String) {
    if seconds == 0 {
        return out.push_str(zero);
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let all = seconds.unsigned_abs();
    let (hours, minutes, rest) = (all / 3600, all / 60 % 60, all % 60);
    let text = match style {
        OffsetStyle::HoursMaybeMinutes if minutes == 0 => format!("{sign}{hours:02}"),
        OffsetStyle::CompactMaybeSeconds if rest > 0 => format!("{sign}{hours:02}{minutes:02}{rest:02}"),
        OffsetStyle::HoursMaybeMinutes | OffsetStyle::Compact | OffsetStyle::CompactMaybeSeconds => format!("{sign}{hours:02}{minutes:02}"),
        OffsetStyle::ColonMaybeSeconds if rest > 0 => format!("{sign}{hours:02}:{minutes:02}:{rest:02}"),
        OffsetStyle::Colon | OffsetStyle::ColonMaybeSeconds => format!("{sign}{hours:02}:{minutes:02}"),
        OffsetStyle::GmtShort if minutes == 0 => format!("GMT{sign}{hours}"),
        OffsetStyle::GmtShort => format!("GMT{sign}{hours}:{minutes:02}"),
        OffsetStyle::Gmt => format!("GMT{sign}{hours:02}:{minutes:02}"),
    };
    out.push_str(&text);
}
