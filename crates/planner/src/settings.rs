//! What a session's settings mean for a plan.

use millpond_sql::Dialect;

/// The part of a session's settings that a plan depends on; kept with a persistent query, so that a restart plans the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub dialect: Dialect,
    /// Forward each intermediate update of an aggregate.
    pub emit_every_update: bool,
    /// After how long without a record a source does not hold stream time back. `None`: never.
    pub idle_timeout_ms: Option<i64>,
    /// Where a persistent query starts.
    pub from_earliest: bool,
    /// Part of the names of internal topics.
    pub service_id: String,
    /// Topics can hold columns, so that the format `native` is there, and the default. Only the embedded log's can.
    pub columnar: bool,
}

impl Settings {
    /// As kept with a persistent query.
    pub fn to_pairs(&self) -> Vec<(String, String)> {
        let idle_timeout = self.idle_timeout_ms.map_or_else(|| "off".to_string(), |ms| ms.to_string());
        vec![
            ("emit_every_update".to_string(), self.emit_every_update.to_string()),
            ("idle_timeout".to_string(), idle_timeout),
            ("from_earliest".to_string(), self.from_earliest.to_string()),
            ("service_id".to_string(), self.service_id.clone()),
            ("columnar".to_string(), self.columnar.to_string()),
        ]
    }

    /// What [`Settings::to_pairs`] kept; what it does not know it leaves at the default.
    pub fn from_pairs(dialect: Dialect, pairs: &[(String, String)]) -> Settings {
        let mut settings = Settings { dialect, ..Settings::default() };
        for (name, value) in pairs {
            match name.as_str() {
                "emit_every_update" => settings.emit_every_update = value == "true",
                "idle_timeout" => {
                    settings.idle_timeout_ms = millpond_catalog::properties::idle_timeout(value).unwrap_or(settings.idle_timeout_ms);
                }
                "from_earliest" => settings.from_earliest = value == "true",
                "service_id" => settings.service_id.clone_from(value),
                "columnar" => settings.columnar = value == "true",
                _ => {}
            }
        }
        settings
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            dialect: Dialect::default(),
            emit_every_update: false,
            idle_timeout_ms: Some(30_000),
            from_earliest: true,
            service_id: "default".to_string(),
            columnar: true,
        }
    }
}
