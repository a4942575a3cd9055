//! PostgreSQL's templates for dates and times, such as `FMMonth DD, YYYY HH24:MI`: compiled, and written.
//!
//! The rules are those of its manual (9.8, Data Type Formatting Functions) where it says them, and else what its server does (15).

use chrono::{DateTime, Datelike, NaiveDate};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// A compiled template. What is no pattern stands for itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Item>);

#[derive(Debug, Clone, PartialEq)]
enum Item {
    Text(String),
    Field { name: &'static str, field: Field, modifiers: Modifiers },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Modifiers {
    /// `FM`: no zeros and blanks that only fill up.
    fill: bool,
    /// `TM`: names in another language, of which we have none; they are not filled up.
    translated: bool,
    /// `TH` or `th` behind a number.
    ordinal: Option<Case>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Upper,
    Capital,
    Lower,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Number(Number),
    /// The first digits of a second's fraction.
    Fraction(u32),
    /// So many last digits of the year.
    Year(u32),
    IsoYear(u32),
    /// `2,021`
    YearWithComma,
    Century,
    Month(Case),
    MonthShort(Case),
    /// In Roman numerals.
    MonthRoman(Case),
    Weekday(Case),
    WeekdayShort(Case),
    /// AM or PM.
    Half(Case),
    HalfDotted(Case),
    Era(Case),
    EraDotted(Case),
    Zone(Case),
    ZoneHours,
    ZoneMinutes,
    Offset,
    /// `FX`, which is about reading.
    Nothing,
}

/// A number that is filled up with zeros to a width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    /// 1 to 12.
    ClockHour,
    Hour,
    Minute,
    Second,
    SecondOfDay,
    Quarter,
    Month,
    WeekOfYear,
    IsoWeek,
    WeekOfMonth,
    DayOfYear,
    IsoDayOfYear,
    Day,
    /// 1 is Sunday.
    Weekday,
    /// 1 is Monday.
    IsoWeekday,
    /// Since 4714-11-24 BC.
    JulianDay,
}

/// Patterns that are the same in capitals and in small letters. Of those that begin alike the longest comes first.
const NUMBERS: &[(&str, Field)] = &[
    ("CC", Field::Century),
    ("DDD", Field::Number(Number::DayOfYear)),
    ("DD", Field::Number(Number::Day)),
    ("D", Field::Number(Number::Weekday)),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("FX", Field::Nothing),
    ("HH24", Field::Number(Number::Hour)),
    ("HH12", Field::Number(Number::ClockHour)),
    ("HH", Field::Number(Number::ClockHour)),
    ("IDDD", Field::Number(Number::IsoDayOfYear)),
    ("ID", Field::Number(Number::IsoWeekday)),
    ("IW", Field::Number(Number::IsoWeek)),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("I", Field::IsoYear(1)),
    ("J", Field::Number(Number::JulianDay)),
    ("MI", Field::Number(Number::Minute)),
    ("MM", Field::Number(Number::Month)),
    ("MS", Field::Fraction(3)),
    ("OF", Field::Offset),
    ("Q", Field::Number(Number::Quarter)),
    ("SSSSS", Field::Number(Number::SecondOfDay)),
    ("SSSS", Field::Number(Number::SecondOfDay)),
    ("SS", Field::Number(Number::Second)),
    ("US", Field::Fraction(6)),
    ("WW", Field::Number(Number::WeekOfYear)),
    ("W", Field::Number(Number::WeekOfMonth)),
    ("Y,YYY", Field::YearWithComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
];

/// Patterns whose letters say those of the result. They come before [`NUMBERS`]: `DAY` is no `D`.
const NAMES: &[(&str, Field)] = &[
    ("A.D.", Field::EraDotted(Case::Upper)),
    ("a.d.", Field::EraDotted(Case::Lower)),
    ("B.C.", Field::EraDotted(Case::Upper)),
    ("b.c.", Field::EraDotted(Case::Lower)),
    ("AD", Field::Era(Case::Upper)),
    ("ad", Field::Era(Case::Lower)),
    ("BC", Field::Era(Case::Upper)),
    ("bc", Field::Era(Case::Lower)),
    ("A.M.", Field::HalfDotted(Case::Upper)),
    ("a.m.", Field::HalfDotted(Case::Lower)),
    ("P.M.", Field::HalfDotted(Case::Upper)),
    ("p.m.", Field::HalfDotted(Case::Lower)),
    ("AM", Field::Half(Case::Upper)),
    ("am", Field::Half(Case::Lower)),
    ("PM", Field::Half(Case::Upper)),
    ("pm", Field::Half(Case::Lower)),
    ("DAY", Field::Weekday(Case::Upper)),
    ("Day", Field::Weekday(Case::Capital)),
    ("day", Field::Weekday(Case::Lower)),
    ("DY", Field::WeekdayShort(Case::Upper)),
    ("Dy", Field::WeekdayShort(Case::Capital)),
    ("dy", Field::WeekdayShort(Case::Lower)),
    ("MONTH", Field::Month(Case::Upper)),
    ("Month", Field::Month(Case::Capital)),
    ("month", Field::Month(Case::Lower)),
    ("MON", Field::MonthShort(Case::Upper)),
    ("Mon", Field::MonthShort(Case::Capital)),
    ("mon", Field::MonthShort(Case::Lower)),
    ("RM", Field::MonthRoman(Case::Upper)),
    ("rm", Field::MonthRoman(Case::Lower)),
    ("TZH", Field::ZoneHours),
    ("tzh", Field::ZoneHours),
    ("TZM", Field::ZoneMinutes),
    ("tzm", Field::ZoneMinutes),
    ("TZ", Field::Zone(Case::Upper)),
    ("tz", Field::Zone(Case::Lower)),
];

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// Names of months and days are filled up to the longest.
const NAME_WIDTH: usize = 9;

impl Template {
    pub fn new(text: &str) -> Template {
        let mut items = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let mut modifiers = Modifiers::default();
            match rest.get(..2) {
                Some("FM" | "fm") => modifiers.fill = true,
                Some("TM" | "tm") => modifiers.translated = true,
                _ => {}
            }
            if modifiers.fill || modifiers.translated {
                rest = &rest[2..];
            }
            if let Some((name, field)) = pattern(rest) {
                rest = &rest[name.len()..];
                modifiers.ordinal = match rest.get(..2) {
                    Some("TH") => Some(Case::Upper),
                    Some("th") => Some(Case::Lower),
                    _ => None,
                };
                // SP, a number in words, is read and does nothing.
                if modifiers.ordinal.is_some() || rest.starts_with("SP") {
                    rest = &rest[2..];
                }
                items.push(Item::Field { name, field, modifiers });
            } else if let Some(quoted) = rest.strip_prefix('"') {
                rest = literal(quoted, &mut items);
            } else {
                // A backslash is for a quote, and else stands for itself.
                let mut characters = rest.strip_prefix('\\').filter(|after| after.starts_with('"')).unwrap_or(rest).chars();
                if let Some(character) = characters.next() {
                    push_text(&mut items, character);
                }
                rest = characters.as_str();
            }
        }
        Template(items)
    }

    /// Writes what the template makes of `moment`; fails where a span of time has no such field.
    pub fn write(&self, moment: &Moment, out: &mut String) -> Result<(), String> {
        for item in &self.0 {
            match item {
                Item::Text(text) => out.push_str(text),
                Item::Field { name, field, modifiers } => {
                    let written = write(*field, *modifiers, moment, out);
                    written.ok_or_else(|| format!("a time or an interval has no {name}"))?;
                }
            }
        }
        Ok(())
    }
}

/// The pattern at the beginning of `text`.
fn pattern(text: &str) -> Option<(&'static str, Field)> {
    let is_name = |(name, _): &&(&str, Field)| text.starts_with(name);
    let is_number = |(name, _): &&(&str, Field)| match text.get(..name.len()) {
        Some(found) => found == *name || found == name.to_ascii_lowercase(),
        None => false,
    };
    NAMES.iter().find(is_name).or_else(|| NUMBERS.iter().find(is_number)).copied()
}

/// What stands between double quotes, of which the first is gone already; gives what follows.
fn literal<'a>(text: &'a str, items: &mut Vec<Item>) -> &'a str {
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => push_text(items, characters.next().unwrap_or('\\')),
            other => push_text(items, other),
        }
    }
    characters.as_str()
}

fn push_text(items: &mut Vec<Item>, character: char) {
    match items.last_mut() {
        Some(Item::Text(text)) => text.push(character),
        _ => items.push(Item::Text(character.to_string())),
    }
}

/// What is written: an instant, or a span of time, whose parts have one sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// A span has none.
    date: Option<NaiveDate>,
    zone: Option<(i32, String)>,
}

impl Moment {
    /// What clocks show. `zone`: how many seconds east of UTC that is, and the zone's name. `None` if no calendar has the year.
    pub fn at(local_micros: i64, zone: Option<(i32, String)>) -> Option<Moment> {
        let date = DateTime::from_timestamp_micros(local_micros)?.date_naive();
        let (year, month, day) = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
        let time = Moment::span(0, 0, local_micros.rem_euclid(DAY));
        Some(Moment { year, month, day, date: Some(date), zone, ..time })
    }

    pub fn span(months: i64, days: i64, micros: i64) -> Moment {
        Moment {
            year: months / 12,
            month: months % 12,
            day: days,
            hour: micros / (3_600 * SECOND),
            minute: micros / (60 * SECOND) % 60,
            second: micros / SECOND % 60,
            micros: micros % SECOND,
            date: None,
            zone: None,
        }
    }

    /// As people count: the year before 1 is 1 BC.
    fn counted(&self, year: i64) -> i64 {
        if self.date.is_some() && year <= 0 { 1 - year } else { year }
    }

    fn month_index(&self) -> Option<usize> {
        self.date.map(|date| date.month0() as usize)
    }

    fn offset_seconds(&self) -> i32 {
        self.zone.as_ref().map_or(0, |(seconds, _)| *seconds)
    }
}

/// `None` where a date is needed and there is none.
fn write(field: Field, modifiers: Modifiers, moment: &Moment, out: &mut String) -> Option<()> {
    let name_width = if modifiers.fill || modifiers.translated { 0 } else { NAME_WIDTH };
    match field {
        Field::Number(kind) => {
            if let Some((value, width)) = number(kind, moment)? {
                count(value, width, modifiers, out);
            }
        }
        Field::Fraction(digits) => {
            // FM leaves its zeros.
            count(moment.micros / 10i64.pow(6 - digits), digits as usize, Modifiers { fill: false, ..modifiers }, out);
        }
        Field::Year(digits) => count(last_digits(moment.counted(moment.year), digits), signed(moment.year, digits, moment), modifiers, out),
        Field::IsoYear(digits) => {
            let year = i64::from(moment.date?.iso_week().year());
            count(last_digits(moment.counted(year), digits), signed(year, digits, moment), modifiers, out);
        }
        Field::YearWithComma => {
            let year = moment.counted(moment.year);
            let thousands = year / 1_000;
            numbered(format!("{thousands},{:03}", year - thousands * 1_000), modifiers, out);
        }
        Field::Century => {
            let century = match moment.date {
                None => moment.year / 100,
                Some(_) if moment.year > 0 => (moment.year - 1) / 100 + 1,
                Some(_) => moment.year / 100 - 1,
            };
            count(century, if century < 0 { 3 } else { 2 }, modifiers, out);
        }
        Field::Month(case) => padded(&cased(MONTHS[moment.month_index()?], case), name_width, out),
        Field::MonthShort(case) => out.push_str(&cased(&MONTHS[moment.month_index()?][..3], case)),
        Field::MonthRoman(case) => {
            let index = match moment.month {
                0 if moment.year == 0 => return Some(()),
                // A span of whole years.
                0 => {
                    if moment.year > 0 {
                        11
                    } else {
                        0
                    }
                }
                month if month < 0 => month.rem_euclid(12) as usize,
                month => month as usize - 1,
            };
            padded(&cased(ROMAN[index], case), if modifiers.fill { 0 } else { 4 }, out);
        }
        Field::Weekday(case) => padded(&cased(weekday(moment)?, case), name_width, out),
        Field::WeekdayShort(case) => out.push_str(&cased(&weekday(moment)?[..3], case)),
        Field::Half(case) => out.push_str(&cased(if moment.hour % 24 >= 12 { "PM" } else { "AM" }, case)),
        Field::HalfDotted(case) => out.push_str(&cased(if moment.hour % 24 >= 12 { "P.M." } else { "A.M." }, case)),
        Field::Era(case) => out.push_str(&cased(if moment.date?.year() > 0 { "AD" } else { "BC" }, case)),
        Field::EraDotted(case) => out.push_str(&cased(if moment.date?.year() > 0 { "A.D." } else { "B.C." }, case)),
        Field::Zone(case) => {
            moment.date?;
            if let Some((_, name)) = &moment.zone {
                // In capitals it is as it is written.
                out.push_str(&if case == Case::Lower { name.to_lowercase() } else { name.clone() });
            }
        }
        Field::ZoneHours => {
            moment.date?;
            let seconds = moment.offset_seconds();
            out.push_str(&format!("{}{:02}", if seconds < 0 { '-' } else { '+' }, seconds.abs() / 3_600));
        }
        Field::ZoneMinutes => {
            moment.date?;
            out.push_str(&format!("{:02}", moment.offset_seconds().abs() % 3_600 / 60));
        }
        Field::Offset => {
            moment.date?;
            let seconds = moment.offset_seconds();
            let width = if modifiers.fill { 0 } else { 2 };
            out.push_str(&format!("{}{:0width$}", if seconds < 0 { '-' } else { '+' }, seconds.abs() / 3_600));
            if seconds % 3_600 != 0 {
                out.push_str(&format!(":{:02}", seconds.abs() % 3_600 / 60));
            }
        }
        Field::Nothing => {}
    }
    Some(())
}

/// The value and the width of a number. Inside: `None` where a span shows nothing.
fn number(kind: Number, moment: &Moment) -> Option<Option<(i64, usize)>> {
    let signed = |value: i64| (value, if value < 0 { 3 } else { 2 });
    let day_of_year = match moment.date {
        Some(date) => i64::from(date.ordinal()),
        // About so many.
        None => (moment.year * 12 + moment.month) * 30 + moment.day,
    };
    Some(Some(match kind {
        Number::ClockHour => {
            let hour = if moment.hour % 12 == 0 { 12 } else { moment.hour % 12 };
            (hour, if moment.hour < 0 { 3 } else { 2 })
        }
        Number::Hour => signed(moment.hour),
        Number::Minute => signed(moment.minute),
        Number::Second => signed(moment.second),
        Number::SecondOfDay => (moment.hour * 3_600 + moment.minute * 60 + moment.second, 0),
        Number::Quarter if moment.month == 0 => return Some(None),
        Number::Quarter => ((moment.month - 1) / 3 + 1, 0),
        Number::Month => signed(moment.month),
        Number::WeekOfYear => ((day_of_year - 1) / 7 + 1, 2),
        Number::IsoWeek => (i64::from(moment.date?.iso_week().week()), 2),
        Number::WeekOfMonth => ((moment.day - 1) / 7 + 1, 0),
        Number::DayOfYear => (day_of_year, 3),
        Number::IsoDayOfYear => {
            let date = moment.date?;
            (i64::from(date.iso_week().week0() * 7 + date.weekday().number_from_monday()), 3)
        }
        Number::Day => (moment.day, 2),
        Number::Weekday => (i64::from(moment.date?.weekday().number_from_sunday()), 0),
        Number::IsoWeekday => (i64::from(moment.date?.weekday().number_from_monday()), 0),
        // Chrono counts from the first day of the year 1.
        Number::JulianDay => (i64::from(moment.date?.num_days_from_ce()) + 1_721_425, 0),
    }))
}

fn last_digits(year: i64, digits: u32) -> i64 {
    if digits < 4 { year % 10i64.pow(digits) } else { year }
}

/// The width of so many digits of `year`, with its sign.
fn signed(year: i64, digits: u32, moment: &Moment) -> usize {
    digits as usize + usize::from(moment.counted(year) < 0 && digits > 1)
}

fn count(value: i64, width: usize, modifiers: Modifiers, out: &mut String) {
    let width = if modifiers.fill { 0 } else { width };
    numbered(format!("{value:0width$}"), modifiers, out);
}

fn numbered(digits: String, modifiers: Modifiers, out: &mut String) {
    out.push_str(&digits);
    let Some(case) = modifiers.ordinal else { return };
    let teen = digits.len() > 1 && digits.as_bytes()[digits.len() - 2] == b'1';
    let ending = match digits.as_bytes().last() {
        Some(b'1') if !teen => "ST",
        Some(b'2') if !teen => "ND",
        Some(b'3') if !teen => "RD",
        _ => "TH",
    };
    out.push_str(&cased(ending, case));
}

fn weekday(moment: &Moment) -> Option<&'static str> {
    moment.date.map(|date| WEEKDAYS[date.weekday().num_days_from_sunday() as usize])
}

fn cased(text: &str, case: Case) -> String {
    match case {
        Case::Upper => text.to_uppercase(),
        Case::Capital => text.to_string(),
        Case::Lower => text.to_lowercase(),
    }
}

fn padded(text: &str, width: usize, out: &mut String) {
    out.push_str(&format!("{text:width$}"));
}
