//! The one switch for migrants (`SET dialect`): how unquoted names fold.

use serde::{Deserialize, Serialize};

/// What unquoted names become, and what type the pseudo columns have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// As PostgreSQL: unquoted names fold to lower case; `rowtime`, `windowstart` and `windowend` are TIMESTAMP.
    #[default]
    Millpond,
    /// As ksqlDB: unquoted names fold to upper case; the pseudo columns are BIGINT milliseconds.
    Ksqldb,
}

impl Dialect {
    /// `name` as an unquoted identifier reads in this dialect.
    pub fn fold(self, name: &str) -> String {
        match self {
            Dialect::Millpond => name.to_lowercase(),
            Dialect::Ksqldb => name.to_uppercase(),
        }
    }
}

impl std::str::FromStr for Dialect {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "millpond" => Ok(Dialect::Millpond),
            "ksqldb" => Ok(Dialect::Ksqldb),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Dialect::Millpond => "millpond",
            Dialect::Ksqldb => "ksqldb",
        })
    }
}
