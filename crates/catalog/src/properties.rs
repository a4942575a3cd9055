//! The WITH clause, checked: what each property may be and what it defaults to.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::de::value::StrDeserializer;

use crate::{Error, Format, OnDataLoss, OnError, Result, TimestampColumn, WindowType};

/// Where a WITH clause stands: not every property may stand everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `CREATE STREAM|TABLE name (…) WITH (…)`.
    Create,
    /// `CREATE STREAM|TABLE name WITH (…) AS SELECT …`.
    CreateAs,
    /// `INSERT INTO name WITH (…) SELECT …`.
    Insert,
}

/// What a WITH clause says; `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    pub topic: Option<String>,
    pub partitions: Option<u32>,
    pub key_format: Option<Format>,
    pub value_format: Option<Format>,
    pub timestamp: Option<TimestampColumn>,
    pub window: Option<WindowType>,
    pub retention_ms: Option<i64>,
    pub on_error: Option<OnError>,
    pub on_data_loss: Option<OnDataLoss>,
    pub wrap_single_value: Option<bool>,
    pub emit_every_update: Option<bool>,
    /// `Some(None)`: never idle.
    pub idle_timeout_ms: Option<Option<i64>>,
    pub query_id: Option<String>,
}

/// All names there are, for hints.
const NAMES: [&str; 21] = [
    "kafka_topic",
    "format",
    "key_format",
    "value_format",
    "key_delimiter",
    "value_delimiter",
    "partitions",
    "replicas",
    "retention_ms",
    "timestamp",
    "timestamp_format",
    "window_type",
    "window_size",
    "wrap_single_value",
    "on_error",
    "on_data_loss",
    "emit_every_update",
    "idle_timeout",
    "query_id",
    "source_connector",
    "cleanup_policy",
];

impl Properties {
    /// `properties` as (name in lower case, value) in the order written. `fold` makes a column's name of how it was written.
    pub fn parse<'a>(
        properties: impl Iterator<Item = (&'a str, &'a str)>,
        place: Place,
        fold: impl Fn(&str) -> String,
    ) -> Result<Properties> {
        let raw = Raw::collect(properties)?;
        let mut parsed = Properties { topic: raw.get("kafka_topic").map(str::to_string), ..Properties::default() };
        if parsed.topic.as_deref() == Some("") {
            return Err(property("kafka_topic", "a topic needs a name".to_string(), None));
        }
        parsed.partitions = raw.number("partitions", 1, 10_000)?.map(|n| n as u32);
        raw.number("replicas", 1, 1_000)?;
        parsed.retention_ms = raw.number("retention_ms", -1, i64::MAX)?.filter(|ms| *ms >= 0);
        parsed.wrap_single_value = raw.parse("wrap_single_value", "true or false", boolean)?;
        parsed.emit_every_update = raw.parse("emit_every_update", "true or false", boolean)?;
        parsed.idle_timeout_ms = raw.parse("idle_timeout", "a duration such as '10 seconds', or 'off'", idle_timeout)?;
        parsed.on_error = raw.parse("on_error", "skip, dead_letter or stop", variant)?;
        parsed.on_data_loss = raw.parse("on_data_loss", "earliest, latest or stop", variant)?;
        parsed.query_id = raw.get("query_id").map(&fold);
        formats(&raw, &mut parsed)?;
        if let Some(column) = raw.get("timestamp") {
            parsed.timestamp = Some(TimestampColumn { column: fold(column), format: raw.get("timestamp_format").map(str::to_string) });
        } else if raw.get("timestamp_format").is_some() {
            return Err(property("timestamp_format", "timestamp_format needs timestamp".to_string(), None));
        }
        parsed.window = window(&raw)?;
        place_check(&raw, place)?;
        Ok(parsed)
    }
}

/// The clause as written, each name once.
struct Raw<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Raw<'a> {
    fn collect(properties: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Raw<'a>> {
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for (name, value) in properties {
            if !NAMES.contains(&name) {
                let names: Vec<String> = NAMES.iter().map(|name| name.to_string()).collect();
                let hint = match crate::snapshot::similar(name, names.iter()) {
                    Some(similar) => format!("Perhaps you meant \"{similar}\"."),
                    None => format!("The properties are: {}.", NAMES.join(", ")),
                };
                return Err(property(name, format!("unknown property \"{name}\""), Some(hint)));
            }
            if seen.iter().any(|(other, _)| *other == name) {
                return Err(property(name, format!("property \"{name}\" is given twice"), None));
            }
            seen.push((name, value));
        }
        Ok(Raw(seen))
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &str, min: i64, max: i64) -> Result<Option<i64>> {
        self.parse(name, &format!("a whole number from {min} to {max}"), |text| {
            i64::from_str(text.trim()).ok().filter(|number| (min..=max).contains(number))
        })
    }

    fn parse<T>(&self, name: &str, wanted: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        match self.get(name) {
            None => Ok(None),
            Some(text) => parse(text)
                .map(Some)
                .ok_or_else(|| property(name, format!("property \"{name}\" cannot be \"{text}\""), Some(format!("Write {wanted}.")))),
        }
    }
}

fn formats(raw: &Raw<'_>, parsed: &mut Properties) -> Result<()> {
    if raw.get("format").is_some() && (raw.get("key_format").is_some() || raw.get("value_format").is_some()) {
        return Err(property(
            "format",
            "format excludes key_format and value_format".to_string(),
            Some("Give FORMAT alone, or KEY_FORMAT and VALUE_FORMAT.".to_string()),
        ));
    }
    let format = |name: &str, delimiter: &str| -> Result<Option<Format>> {
        let Some(text) = raw.get(name) else { return Ok(None) };
        let delimiter = raw.parse(delimiter, "one character, SPACE or TAB", delimiter_of)?;
        let parsed = match text.to_ascii_lowercase().as_str() {
            "native" => Format::Native,
            "json" => Format::Json,
            "kafka" => Format::Kafka,
            "none" => Format::None,
            "delimited" => Format::Delimited { delimiter: delimiter.unwrap_or(',') },
            "avro" | "protobuf" | "protobuf_nosr" | "json_sr" => {
                return Err(property(
                    name,
                    format!("format {} is not supported yet", text.to_ascii_uppercase()),
                    Some("Use native, json, delimited or kafka.".to_string()),
                ));
            }
            _ => {
                return Err(property(
                    name,
                    format!("unknown format \"{text}\""),
                    Some("The formats are native, json, delimited and kafka.".to_string()),
                ));
            }
        };
        if delimiter.is_some() && !matches!(parsed, Format::Delimited { .. }) {
            return Err(property(name, "a delimiter is for the DELIMITED format only".to_string(), None));
        }
        Ok(Some(parsed))
    };
    parsed.key_format = format("key_format", "key_delimiter")?.or(format("format", "key_delimiter")?);
    parsed.value_format = format("value_format", "value_delimiter")?.or(format("format", "value_delimiter")?);
    if parsed.value_format == Some(Format::None) {
        return Err(property("value_format", "values need a format".to_string(), None));
    }
    Ok(())
}

fn window(raw: &Raw<'_>) -> Result<Option<WindowType>> {
    let size = raw.parse("window_size", "a duration such as '1 hour'", duration_ms)?;
    let refuse = |message: &str| Err(property("window_type", message.to_string(), None));
    match raw.get("window_type").map(str::to_ascii_lowercase).as_deref() {
        None if size.is_some() => refuse("window_size needs window_type"),
        None => Ok(None),
        Some("tumbling" | "hopping") => match size {
            Some(size_ms) => Ok(Some(WindowType::Time { size_ms })),
            None => refuse("tumbling and hopping windows need window_size"),
        },
        Some("session") if size.is_some() => refuse("session windows have no window_size"),
        Some("session") => Ok(Some(WindowType::Session)),
        Some(other) => refuse(&format!("unknown window type \"{other}\"")),
    }
}

fn place_check(raw: &Raw<'_>, place: Place) -> Result<()> {
    let refused: &[&str] = match place {
        Place::Create => &["cleanup_policy", "query_id", "emit_every_update"],
        Place::CreateAs => &["cleanup_policy", "query_id", "window_type", "window_size", "on_error", "on_data_loss", "source_connector"],
        Place::Insert => &NAMES,
    };
    let allowed: &[&str] = if place == Place::Insert { &["query_id", "emit_every_update", "idle_timeout"] } else { &[] };
    match raw.0.iter().find(|(name, _)| refused.contains(name) && !allowed.contains(name)) {
        Some(("cleanup_policy", _)) => Err(property(
            "cleanup_policy",
            "cleanup_policy cannot be set".to_string(),
            Some("Streams are kept by retention_ms, tables are compacted.".to_string()),
        )),
        Some((name, _)) => Err(property(name, format!("property \"{name}\" cannot stand here"), None)),
        None => Ok(()),
    }
}

fn property(name: &str, message: String, hint: Option<String>) -> Error {
    Error::Property { name: name.to_string(), message, hint }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// A variant by the name under which the catalog writes it.
fn variant<T: DeserializeOwned>(text: &str) -> Option<T> {
    T::deserialize(StrDeserializer::<serde::de::value::Error>::new(&text.to_ascii_lowercase())).ok()
}

fn delimiter_of(text: &str) -> Option<char> {
    match text.to_ascii_uppercase().as_str() {
        "SPACE" => Some(' '),
        "TAB" => Some('\t'),
        _ => {
            let mut characters = text.chars();
            characters.next().filter(|_| characters.next().is_none())
        }
    }
}

/// `off` and `never` are `Some(None)`.
pub fn idle_timeout(text: &str) -> Option<Option<i64>> {
    match text.trim().to_ascii_lowercase().as_str() {
        "off" | "never" => Some(None),
        text => duration_ms(text).map(Some),
    }
}

/// `10 seconds`, `500ms`, `1 h`; a number alone is milliseconds. In milliseconds, not negative.
pub fn duration_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = i64::from_str(&text[..digits]).ok()?;
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "ms" | "millisecond" | "milliseconds" => 1,
        "s" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(properties: &[(&str, &str)], place: Place) -> Result<Properties> {
        Properties::parse(properties.iter().copied(), place, |name| name.to_lowercase())
    }

    #[test]
    fn formats_default_to_nothing_and_exclude_each_other() {
        assert_eq!(parse(&[], Place::Create).expect("empty").value_format, None);
        assert_eq!(parse(&[("format", "JSON")], Place::Create).expect("json").key_format, Some(Format::Json));
        assert!(parse(&[("format", "json"), ("key_format", "kafka")], Place::Create).is_err());
        assert!(parse(&[("value_format", "json"), ("value_delimiter", ";")], Place::Create).is_err());
    }

    #[test]
    fn what_is_misspelt_is_told_what_was_meant() {
        let error = parse(&[("kafka_topc", "x")], Place::Create).expect_err("misspelt");
        assert_eq!(error.hint().as_deref(), Some("Perhaps you meant \"kafka_topic\"."));
    }

    #[test]
    fn only_insert_names_its_query() {
        let query_id = [("query_id", "Q")];
        assert_eq!(parse(&query_id, Place::Insert).expect("its place").query_id.as_deref(), Some("q"));
        for place in [Place::Create, Place::CreateAs] {
            let error = parse(&query_id, place).expect_err("misplaced");
            assert_eq!(error.to_string(), "property \"query_id\" cannot stand here");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration_ms("10 seconds"), Some(10_000));
        assert_eq!(duration_ms("1h"), Some(3_600_000));
        assert_eq!(duration_ms("250"), Some(250));
        assert_eq!(duration_ms("-1 s"), None);
        assert_eq!(duration_ms("99999999999999 days"), None);
        assert_eq!(idle_timeout("off"), Some(None));
    }
}
