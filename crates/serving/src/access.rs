//! How the rows of a table's store are reached, decided by the WHERE clause.

use std::fmt;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use millpond_catalog::{Source, WindowType, types};
use millpond_planner::schema::{WINDOWEND, WINDOWSTART};
use millpond_sql::Dialect;

use crate::bounds::{self, Bound};

/// A look-up of more keys than this is a scan.
const KEYS_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq)]
pub struct Access {
    pub keys: Keys,
    pub window: WindowRange,
    columns: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Keys {
    All,
    /// One value for each key column.
    Lookup(Vec<Vec<ScalarValue>>),
    /// The first key columns are `prefix`, and the one behind them lies within the bounds (value, inclusive).
    Range {
        prefix: Vec<ScalarValue>,
        lower: Option<(ScalarValue, bool)>,
        upper: Option<(ScalarValue, bool)>,
    },
}

/// Bounds of windows' ends and starts, ms, inclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowRange {
    pub start_ms: (i64, i64),
    pub end_ms: (i64, i64),
}

impl WindowRange {
    const ALL: WindowRange = WindowRange { start_ms: (i64::MIN, i64::MAX), end_ms: (i64::MIN, i64::MAX) };
}

impl Access {
    /// Nothing is known of the rows that are wanted.
    pub fn all() -> Access {
        Access { keys: Keys::All, window: WindowRange::ALL, columns: Vec::new() }
    }

    /// The rows of `keys`, a value for each key column each.
    pub fn lookup(source: &Source, keys: Vec<Vec<ScalarValue>>) -> Access {
        let columns = source.key_columns().map(|column| column.name.clone()).collect();
        Access { keys: Keys::Lookup(keys), window: WindowRange::ALL, columns }
    }

    pub fn of(source: &Source, dialect: Dialect, filters: &[Expr]) -> Access {
        let bounds: Vec<(&str, Vec<Bound>)> = filters.iter().filter_map(bounds::of).collect();
        let of_column =
            |name: &str| -> Vec<&Bound> { bounds.iter().filter(|(column, _)| *column == name).flat_map(|(_, bounds)| bounds).collect() };
        let mut window = WindowRange::ALL;
        if let Some(kind) = source.window {
            narrow(&mut window.start_ms, &of_column(&dialect.fold(WINDOWSTART)));
            narrow(&mut window.end_ms, &of_column(&dialect.fold(WINDOWEND)));
            relate(&mut window, kind);
        }
        let columns = source.key_columns().map(|column| column.name.clone()).collect();
        Access { keys: keys(source, of_column), window, columns }
    }

    /// Whether `filters` bind all key columns to values, whatever these are.
    pub fn binds_key<'a>(source: &Source, filters: impl Iterator<Item = &'a Expr> + Clone) -> bool {
        let binds = |filter: &Expr, name: &str| {
            bounds::of(filter).is_some_and(|(column, bounds)| column == name && matches!(bounds.as_slice(), [Bound::Among(_)]))
        };
        source.key_columns().all(|column| filters.clone().any(|filter| binds(filter, &column.name)))
    }

    pub fn is_lookup(&self) -> bool {
        matches!(self.keys, Keys::Lookup(_))
    }
}

fn keys<'a>(source: &Source, bounds: impl Fn(&str) -> Vec<&'a Bound>) -> Keys {
    let mut tuples: Vec<Vec<ScalarValue>> = vec![Vec::new()];
    for column in source.key_columns() {
        let data_type = types::to_arrow(&column.sql_type);
        let bounds = bounds(&column.name);
        let among = bounds.iter().find_map(|bound| match bound {
            // Nothing equals null.
            Bound::Among(values) => {
                let values: Vec<ScalarValue> = values.iter().filter(|value| !value.is_null()).cloned().collect();
                bounds::fitting(&values, &data_type)
            }
            _ => None,
        });
        match among {
            Some(mut values) if tuples.len() * values.len() <= KEYS_MAX => {
                values.dedup();
                let mut unique: Vec<ScalarValue> = Vec::with_capacity(values.len());
                for value in values {
                    if !unique.contains(&value) {
                        unique.push(value);
                    }
                }
                tuples = tuples
                    .iter()
                    .flat_map(|tuple| unique.iter().map(|value| [tuple.as_slice(), std::slice::from_ref(value)].concat()))
                    .collect();
            }
            _ => {
                let side = |wanted: fn(&Bound) -> Option<(&ScalarValue, bool)>| {
                    let (value, inclusive) = bounds.iter().find_map(|bound| wanted(bound))?;
                    Some((bounds::fitting(std::slice::from_ref(value), &data_type)?.remove(0), inclusive))
                };
                let lower = side(|bound| match bound {
                    Bound::AtLeast(value, inclusive) => Some((value, *inclusive)),
                    _ => None,
                });
                let upper = side(|bound| match bound {
                    Bound::AtMost(value, inclusive) => Some((value, *inclusive)),
                    _ => None,
                });
                // Several prefixes are not worth several scans: the filter takes what is not wanted.
                let prefix = if tuples.len() == 1 { tuples.remove(0) } else { return Keys::All };
                return if prefix.is_empty() && lower.is_none() && upper.is_none() {
                    Keys::All
                } else {
                    Keys::Range { prefix, lower, upper }
                };
            }
        }
    }
    Keys::Lookup(tuples)
}

fn narrow(range: &mut (i64, i64), bounds: &[&Bound]) {
    for bound in bounds {
        match bound {
            Bound::Among(values) => {
                let values: Option<Vec<i64>> = values.iter().map(bounds::millis).collect();
                if let Some(values) = values
                    && let (Some(first), Some(last)) = (values.iter().min(), values.iter().max())
                {
                    *range = (range.0.max(*first), range.1.min(*last));
                }
            }
            Bound::AtLeast(value, _) => range.0 = range.0.max(bounds::millis(value).unwrap_or(i64::MIN)),
            Bound::AtMost(value, _) => range.1 = range.1.min(bounds::millis(value).unwrap_or(i64::MAX)),
        }
    }
}

/// What the bounds of starts say about ends: windows of a fixed size say it exactly, sessions do not end before they start.
fn relate(window: &mut WindowRange, kind: WindowType) {
    match kind {
        WindowType::Time { size_ms } => {
            if window.start_ms.0 > i64::MIN {
                window.end_ms.0 = window.end_ms.0.max(window.start_ms.0.saturating_add(size_ms));
            }
            if window.start_ms.1 < i64::MAX {
                window.end_ms.1 = window.end_ms.1.min(window.start_ms.1.saturating_add(size_ms));
            }
        }
        WindowType::Session => window.end_ms.0 = window.end_ms.0.max(window.start_ms.0),
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.keys {
            Keys::All => {}
            Keys::Lookup(tuples) => {
                let tuple = |tuple: &Vec<ScalarValue>| {
                    let parts: Vec<String> =
                        self.columns.iter().zip(tuple).map(|(name, value)| format!("{name} = {}", Shown(value))).collect();
                    parts.join(" AND ")
                };
                let shown: Vec<String> = tuples.iter().take(5).map(tuple).collect();
                let rest = if tuples.len() > 5 { format!(" OR … {} more", tuples.len() - 5) } else { String::new() };
                write!(f, " lookup=[{}{rest}]", shown.join(" OR "))?;
            }
            Keys::Range { prefix, lower, upper } => {
                let mut parts: Vec<String> =
                    self.columns.iter().zip(prefix).map(|(name, value)| format!("{name} = {}", Shown(value))).collect();
                let next = self.columns.get(prefix.len()).map_or("", String::as_str);
                let bound = |(value, inclusive): &(ScalarValue, bool), sign: &str| {
                    format!("{next} {sign}{} {}", if *inclusive { "=" } else { "" }, Shown(value))
                };
                parts.extend(lower.as_ref().map(|lower| bound(lower, ">")));
                parts.extend(upper.as_ref().map(|upper| bound(upper, "<")));
                write!(f, " range=[{}]", parts.join(" AND "))?;
            }
        }
        if self.window == WindowRange::ALL {
            return Ok(());
        }
        let mut parts = Vec::new();
        for (name, (least, most)) in [(WINDOWSTART, self.window.start_ms), (WINDOWEND, self.window.end_ms)] {
            if least == most {
                parts.push(format!("{name} = {}", time(least)));
                continue;
            }
            if least > i64::MIN {
                parts.push(format!("{name} >= {}", time(least)));
            }
            if most < i64::MAX {
                parts.push(format!("{name} <= {}", time(most)));
            }
        }
        write!(f, " window=[{}]", parts.join(" AND "))
    }
}

fn time(millis: i64) -> String {
    match arrow::temporal_conversions::timestamp_ms_to_datetime(millis) {
        Some(time) => format!("'{time}'"),
        None => millis.to_string(),
    }
}

/// A value as it is written in SQL.
struct Shown<'a>(&'a ScalarValue);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.data_type().is_numeric() { write!(f, "{}", self.0) } else { write!(f, "'{}'", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};
    use millpond_catalog::{Column, Format, OnDataLoss, OnError, SourceKind};
    use millpond_sql::SqlType;

    use super::*;

    fn table(keys: &[(&str, SqlType)], window: Option<WindowType>) -> Source {
        let mut columns: Vec<Column> = keys
            .iter()
            .map(|(name, sql_type)| Column { name: name.to_string(), sql_type: sql_type.clone(), key: true, header: None })
            .collect();
        columns.push(Column { name: "v".to_string(), sql_type: SqlType::Int, key: false, header: None });
        Source {
            kind: SourceKind::Table,
            name: "t".to_string(),
            columns,
            topic: "t".to_string(),
            partitions: 4,
            key_format: Format::Native,
            value_format: Format::Native,
            timestamp: None,
            window,
            on_error: OnError::Skip,
            on_data_loss: OnDataLoss::Earliest,
            retention_ms: None,
            read_only: false,
            wrap_single_value: None,
            dialect: Dialect::Millpond,
            sql: String::new(),
        }
    }

    fn access(table: &Source, filters: &[Expr]) -> String {
        Access::of(table, Dialect::Millpond, filters).to_string()
    }

    #[test]
    fn all_key_columns_make_a_lookup() {
        let table = table(&[("a", SqlType::Varchar), ("b", SqlType::Int)], None);
        assert_eq!(access(&table, &[col("a").eq(lit("x")), col("b").eq(lit(7i64))]), " lookup=[a = 'x' AND b = 7]");
        assert_eq!(access(&table, &[col("a").eq(lit("x")), col("b").gt(lit(7))]), " range=[a = 'x' AND b > 7]");
        assert_eq!(access(&table, &[col("a").eq(lit("x"))]), " range=[a = 'x']");
        assert_eq!(access(&table, &[col("b").eq(lit(7))]), "");
        assert_eq!(access(&table, &[]), "");
    }

    #[test]
    fn a_start_says_where_a_window_of_known_size_ends() {
        let table = table(&[("k", SqlType::Varchar)], Some(WindowType::Time { size_ms: 86_400_000 }));
        let start = Expr::Literal(ScalarValue::TimestampMillisecond(Some(1_372_896_000_000), None), None);
        assert_eq!(
            access(&table, &[col("k").eq(lit("JFK")), col("windowstart").eq(start)]),
            " lookup=[k = 'JFK'] window=[windowstart = '2013-07-04 00:00:00' AND windowend = '2013-07-05 00:00:00']"
        );
    }
}
