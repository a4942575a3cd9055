//! What a session can SET.

use millpond_planner::Settings as PlanSettings;
use millpond_serving::{Scope, Setting};
use millpond_sql::Dialect;

use crate::error::{Error, Result};

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Boolean,
    OneOf(&'static [&'static str]),
    /// `off`, or a number with ms, s, min, h; milliseconds without.
    Duration,
    Integer,
    /// Nothing, `all`, or numbers separated by commas.
    Partitions,
    /// Told by the server.
    Fixed,
}

struct Declared {
    name: &'static str,
    kind: Kind,
    default: &'static str,
    /// The client is told when it changes (ParameterStatus).
    reported: bool,
    description: &'static str,
}

const fn setting(name: &'static str, kind: Kind, default: &'static str, description: &'static str) -> Declared {
    Declared { name, kind, default, reported: false, description }
}

const fn reported(name: &'static str, kind: Kind, default: &'static str, description: &'static str) -> Declared {
    Declared { name, kind, default, reported: true, description }
}

const DECLARED: &[Declared] = &[
    setting(
        "auto.offset.reset",
        Kind::OneOf(&["earliest", "latest"]),
        "",
        "Where queries start; unset: persistent ones at the earliest record, push queries at the latest.",
    ),
    setting(
        "dialect",
        Kind::OneOf(&["millpond", "ksqldb"]),
        "millpond",
        "How unquoted names fold, and what types the pseudo columns have.",
    ),
    setting("emit_every_update", Kind::Boolean, "off", "Forward each intermediate update of an aggregate, not one per commit."),
    setting("idle_timeout", Kind::Duration, "30s", "After how long without a record a source does not hold stream time back; off: never."),
    setting(
        "local_partitions",
        Kind::Partitions,
        "",
        "Of tables, only these partitions, which must be here, or all that are here, without asking other members; unset: everything.",
    ),
    setting("statement_timeout", Kind::Duration, "0", "After how long a statement is cancelled; 0: never."),
    reported("application_name", Kind::Text, "", "What the client calls itself."),
    reported("client_encoding", Kind::OneOf(&["UTF8", "UTF-8", "unicode"]), "UTF8", "The client's character set; only UTF8."),
    reported(
        "DateStyle",
        Kind::OneOf(&["ISO", "ISO, MDY", "ISO, DMY", "ISO, YMD", "ISO,MDY", "ISO,DMY", "ISO,YMD"]),
        "ISO, MDY",
        "How dates are written; only ISO.",
    ),
    reported("IntervalStyle", Kind::OneOf(&["postgres"]), "postgres", "How intervals are written."),
    reported("TimeZone", Kind::OneOf(&["UTC", "Etc/UTC", "GMT", "Z", "0"]), "UTC", "TIMESTAMP has no zone; only UTC."),
    reported("standard_conforming_strings", Kind::OneOf(&["on"]), "on", "A backslash in '…' is a backslash."),
    setting("bytea_output", Kind::OneOf(&["hex"]), "hex", "How BYTES are written."),
    setting("client_min_messages", Kind::Text, "notice", "Accepted, without effect."),
    setting("default_transaction_isolation", Kind::Text, "read committed", "Accepted, without effect."),
    setting("default_transaction_read_only", Kind::Text, "off", "Accepted, without effect."),
    setting("extra_float_digits", Kind::Integer, "1", "Accepted: numbers are always written in full."),
    setting("idle_in_transaction_session_timeout", Kind::Duration, "0", "Accepted, without effect."),
    setting("lock_timeout", Kind::Duration, "0", "Accepted: there are no locks to wait for."),
    setting("row_security", Kind::Text, "on", "Accepted, without effect."),
    setting("search_path", Kind::Text, "public", "Accepted: streams and tables are in schema public."),
    setting("session_authorization", Kind::Text, "", "Who the client says it is."),
    setting("synchronize_seqscans", Kind::Text, "on", "Accepted, without effect."),
    setting("transaction_isolation", Kind::Text, "read committed", "Accepted: a statement reads one moment."),
    setting("default_transaction_deferrable", Kind::Text, "off", "Accepted, without effect."),
    setting("role", Kind::Text, "none", "Accepted: there is no access control yet."),
    setting("transaction_deferrable", Kind::Text, "off", "Accepted, without effect."),
    setting("transaction_read_only", Kind::Text, "off", "Accepted, without effect."),
    setting("xmloption", Kind::Text, "content", "Accepted, without effect."),
    setting("integer_datetimes", Kind::Fixed, "on", "Times are integers in the binary protocol."),
    setting("is_superuser", Kind::Fixed, "on", "There is no access control yet."),
    setting("max_identifier_length", Kind::Fixed, "63", "What clients may count on."),
    setting("server_encoding", Kind::Fixed, "UTF8", "Text is UTF-8."),
    setting("server_version", Kind::Fixed, crate::wire::SERVER_VERSION, "The PostgreSQL version whose protocol and catalogs are spoken."),
    setting("server_version_num", Kind::Fixed, "150013", "The same as a number."),
];

/// The values of one session.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What it was begun with: RESET goes back to these.
    initial: Vec<(&'static str, String)>,
    values: Vec<(&'static str, String)>,
}

impl Settings {
    /// A value for the whole session, from the startup message.
    pub fn begin_with(&mut self, name: &str, value: &str) -> Result<()> {
        let declared = find(name)?;
        let value = check(declared, value)?;
        put(&mut self.initial, declared.name, value);
        Ok(())
    }

    pub fn get(&self, name: &str) -> Result<&str> {
        let declared = find(name)?;
        let set = |values: &'_ Vec<(&'static str, String)>| values.iter().position(|(name, _)| *name == declared.name);
        Ok(match (set(&self.values), set(&self.initial)) {
            (Some(at), _) => &self.values[at].1,
            (None, Some(at)) => &self.initial[at].1,
            (None, None) => declared.default,
        })
    }

    /// The name as it is declared, when the client is to be told of the new value.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<Option<&'static str>> {
        let declared = find(name)?;
        match value {
            Some(value) => {
                let value = check(declared, value)?;
                put(&mut self.values, declared.name, value);
            }
            None => self.values.retain(|(name, _)| *name != declared.name),
        }
        Ok(declared.reported.then_some(declared.name))
    }

    pub fn reset_all(&mut self) -> Vec<&'static str> {
        let changed = std::mem::take(&mut self.values);
        changed.into_iter().map(|(name, _)| name).filter(|name| find(name).is_ok_and(|declared| declared.reported)).collect()
    }

    /// Those that `other` has another value of and the client is told of.
    pub fn changed(&self, other: &Settings) -> Vec<&'static str> {
        let reported = DECLARED.iter().filter(|declared| declared.reported).map(|declared| declared.name);
        reported.filter(|name| self.known(name) != other.known(name)).collect()
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Setting> {
        let mut all: Vec<Setting> = DECLARED
            .iter()
            .map(|declared| Setting {
                name: declared.name.to_string(),
                value: self.get(declared.name).unwrap_or_default().to_string(),
                description: declared.description.to_string(),
            })
            .collect();
        all.sort_by_key(|setting| setting.name.to_lowercase());
        all
    }

    pub fn dialect(&self) -> Dialect {
        self.known("dialect").parse().unwrap_or_default()
    }

    /// What a plan depends on.
    pub fn plan(&self, service_id: &str, columnar: bool) -> PlanSettings {
        let dialect = self.dialect();
        let reset = self.known("auto.offset.reset");
        PlanSettings {
            dialect,
            emit_every_update: self.known("emit_every_update") == "on",
            idle_timeout_ms: duration_ms(self.known("idle_timeout")).flatten(),
            from_earliest: match (reset, dialect) {
                ("", Dialect::Millpond) => true,
                ("", Dialect::Ksqldb) => false,
                (reset, _) => reset == "earliest",
            },
            service_id: service_id.to_string(),
            columnar,
        }
    }

    /// How much a pull query reads.
    pub fn scope(&self) -> Scope {
        self.known("local_partitions").parse().unwrap_or_default()
    }

    /// Where push queries start.
    pub fn push_from_earliest(&self) -> bool {
        self.known("auto.offset.reset") == "earliest"
    }

    pub fn statement_timeout(&self) -> Option<std::time::Duration> {
        let millis = duration_ms(self.known("statement_timeout")).flatten()?;
        (millis > 0).then(|| std::time::Duration::from_millis(millis as u64))
    }

    fn known(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }
}

fn put(values: &mut Vec<(&'static str, String)>, name: &'static str, value: String) {
    values.retain(|(other, _)| *other != name);
    values.push((name, value));
}

fn find(name: &str) -> Result<&'static Declared> {
    let alias = match name.to_ascii_lowercase().as_str() {
        "ksql.streams.auto.offset.reset" => "auto.offset.reset",
        "time zone" | "time_zone" => "timezone",
        "names" => "client_encoding",
        "session characteristics" => "transaction_isolation",
        _ => name,
    };
    DECLARED.iter().find(|declared| declared.name.eq_ignore_ascii_case(alias)).ok_or_else(|| {
        let names: Vec<String> = DECLARED.iter().map(|declared| declared.name.to_string()).collect();
        let hint = match millpond_catalog::snapshot::similar(name, names.iter()) {
            Some(similar) => format!("Perhaps you meant \"{similar}\"."),
            None => "SHOW ALL lists the settings there are.".to_string(),
        };
        Error::new("42704", format!("unrecognized configuration parameter \"{name}\"")).hint(hint)
    })
}

/// The value as it is kept.
fn check(declared: &Declared, value: &str) -> Result<String> {
    let invalid =
        |hint: String| Err(Error::new("22023", format!("invalid value for parameter \"{}\": \"{value}\"", declared.name)).hint(hint));
    match declared.kind {
        Kind::Text => Ok(value.to_string()),
        Kind::Fixed => Err(Error::new("55P02", format!("parameter \"{}\" cannot be changed", declared.name))),
        Kind::Boolean => match value.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" | "t" | "y" => Ok("on".to_string()),
            "off" | "false" | "no" | "0" | "f" | "n" => Ok("off".to_string()),
            _ => invalid("It is on or off.".to_string()),
        },
        Kind::OneOf(choices) => match choices.iter().find(|choice| choice.eq_ignore_ascii_case(value)) {
            Some(choice) => Ok(choice.to_string()),
            None => invalid(format!("It can be {}.", choices.join(", "))),
        },
        Kind::Duration => match duration_ms(value) {
            Some(_) => Ok(value.to_string()),
            None => invalid("Write a number with ms, s, min or h, or off.".to_string()),
        },
        Kind::Partitions => match value.parse::<Scope>() {
            Ok(scope) => Ok(scope.to_string()),
            Err(_) => invalid("Write numbers separated by commas, or all; nothing stands for everything.".to_string()),
        },
        Kind::Integer => match value.parse::<i64>() {
            Ok(_) => Ok(value.to_string()),
            Err(_) => invalid("It is a number.".to_string()),
        },
    }
}

/// `None`: no duration at all. `Some(None)`: off.
fn duration_ms(text: &str) -> Option<Option<i64>> {
    let text = text.trim().to_ascii_lowercase();
    if matches!(text.as_str(), "off" | "never" | "none") {
        return Some(None);
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: i64 = text[..end].parse().ok()?;
    let factor = match text[end..].trim() {
        "" | "ms" | "milliseconds" | "millisecond" => 1,
        "s" | "second" | "seconds" => 1_000,
        "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_and_values_are_refused_with_a_hint() {
        let mut settings = Settings::default();
        let error = settings.set("dialekt", Some("ksqldb")).unwrap_err();
        assert_eq!((error.sqlstate, error.hint.as_deref()), ("42704", Some("Perhaps you meant \"dialect\".")));
        assert_eq!(settings.set("dialect", Some("oracle")).unwrap_err().sqlstate, "22023");
        assert_eq!(settings.set("server_version", Some("17")).unwrap_err().sqlstate, "55P02");
    }

    #[test]
    fn set_and_reset() {
        let mut settings = Settings::default();
        settings.begin_with("application_name", "psql").unwrap();
        assert_eq!(settings.set("Application_Name", Some("x")).unwrap(), Some("application_name"));
        assert_eq!(settings.get("application_name").unwrap(), "x");
        settings.set("application_name", None).unwrap();
        assert_eq!(settings.get("application_name").unwrap(), "psql");
        settings.set("idle_timeout", Some("2 s")).unwrap();
        assert_eq!(settings.plan("s", true).idle_timeout_ms, Some(2_000));
        settings.set("idle_timeout", Some("off")).unwrap();
        assert_eq!(settings.plan("s", true).idle_timeout_ms, None);
        settings.set("dialect", Some("KSQLDB")).unwrap();
        assert!(!settings.plan("s", true).from_earliest);
        assert!(settings.reset_all().is_empty());
        assert!(settings.plan("s", true).from_earliest && !settings.push_from_earliest());
    }

    #[test]
    fn the_client_is_told_of_what_goes_back() {
        let mut settings = Settings::default();
        let before = settings.clone();
        settings.set("application_name", Some("x")).unwrap();
        settings.set("dialect", Some("ksqldb")).unwrap();
        assert_eq!(settings.changed(&before), ["application_name"]);
    }
}
