//! The query that another member is asked, as text.
//!
//! Of the filters go along those that surely mean there what they mean here: comparisons of columns with literals whose types are written
//! out. Others are left out, since whoever asked applies all of them.

use arrow::datatypes::{Decimal128Type, DecimalType};
use arrow::temporal_conversions::{date32_to_datetime, timestamp_ms_to_datetime};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Like, Operator};

/// Times from the year 1 to 9999, which are written in four digits.
const TIMES_MS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;
const DAY_MS: i64 = 86_400_000;

/// `limit` goes along when all filters do.
pub fn select<'a>(table: &str, columns: impl Iterator<Item = &'a str>, filters: &[Expr], limit: Option<usize>) -> String {
    let columns: Vec<String> = columns.map(quoted).collect();
    let mut text = format!("SELECT {} FROM {table}", columns.join(", "));
    let written: Vec<String> = filters.iter().filter_map(expression).collect();
    if !written.is_empty() {
        text = format!("{text} WHERE {}", written.join(" AND "));
    }
    match limit {
        Some(limit) if written.len() == filters.len() => format!("{text} LIMIT {limit}"),
        _ => text,
    }
}

pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether it can go along.
pub fn can_go_along(filter: &Expr) -> bool {
    expression(filter).is_some()
}

fn expression(expr: &Expr) -> Option<String> {
    use Operator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    let not = |negated: bool| if negated { "NOT " } else { "" };
    Some(match expr {
        Expr::Alias(alias) => expression(&alias.expr)?,
        Expr::Column(column) => quoted(&column.name),
        Expr::Literal(value, _) => literal(value)?,
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq), right }) => {
            format!("({} {op} {})", expression(left)?, expression(right)?)
        }
        Expr::Not(inner) => format!("(NOT {})", expression(inner)?),
        Expr::IsNull(inner) => format!("({} IS NULL)", expression(inner)?),
        Expr::IsNotNull(inner) => format!("({} IS NOT NULL)", expression(inner)?),
        Expr::InList(InList { expr, list, negated }) if !list.is_empty() => {
            let list: Vec<String> = list.iter().map(expression).collect::<Option<_>>()?;
            format!("({} {}IN ({}))", expression(expr)?, not(*negated), list.join(", "))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            format!("({} {}BETWEEN {} AND {})", expression(expr)?, not(*negated), expression(low)?, expression(high)?)
        }
        Expr::Like(Like { negated, expr, pattern, escape_char: None, case_insensitive: false }) => {
            format!("({} {}LIKE {})", expression(expr)?, not(*negated), expression(pattern)?)
        }
        _ => return None,
    })
}

fn literal(value: &ScalarValue) -> Option<String> {
    Some(match value {
        ScalarValue::Boolean(Some(value)) => if *value { "TRUE" } else { "FALSE" }.to_string(),
        ScalarValue::Int8(Some(value)) => value.to_string(),
        ScalarValue::Int16(Some(value)) => value.to_string(),
        ScalarValue::Int32(Some(value)) => value.to_string(),
        // The least is a negated number that is too large.
        ScalarValue::Int64(Some(value)) if *value > i64::MIN => value.to_string(),
        // With an exponent a number has few digits and is the same when it is read.
        ScalarValue::Float64(Some(value)) if value.is_finite() => format!("CAST('{value:e}' AS DOUBLE)"),
        ScalarValue::Decimal128(Some(value), precision, scale) if *scale >= 0 => {
            format!("CAST('{}' AS DECIMAL({precision}, {scale}))", Decimal128Type::format_decimal(*value, *precision, *scale))
        }
        ScalarValue::Utf8(Some(value)) | ScalarValue::LargeUtf8(Some(value)) | ScalarValue::Utf8View(Some(value)) => {
            // A message ends at a zero byte.
            if value.contains('\0') {
                return None;
            }
            format!("'{}'", value.replace('\'', "''"))
        }
        ScalarValue::Date32(Some(days)) if TIMES_MS.contains(&(i64::from(*days) * DAY_MS)) => {
            format!("CAST('{}' AS DATE)", date32_to_datetime(*days)?.format("%Y-%m-%d"))
        }
        ScalarValue::TimestampMillisecond(Some(millis), None) if TIMES_MS.contains(millis) => {
            format!("CAST('{}' AS TIMESTAMP)", timestamp_ms_to_datetime(*millis)?.format("%Y-%m-%d %H:%M:%S%.3f"))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use datafusion::functions::expr_fn::upper;
    use datafusion::prelude::{col, ident, lit};

    use super::*;

    fn asked(filters: &[Expr], limit: Option<usize>) -> String {
        select("\"t\"", ["k", "a \"b\""].into_iter(), filters, limit)
    }

    #[test]
    fn names_and_texts_are_quoted() {
        let filter = ident("K").eq(lit("it''s \\' \"so\""));
        assert_eq!(asked(&[filter], Some(3)), r#"SELECT "k", "a ""b""" FROM "t" WHERE ("K" = 'it''''s \'' "so"') LIMIT 3"#);
    }

    #[test]
    fn what_is_not_sure_stays_and_the_limit_with_it() {
        let filters = [col("k").eq(lit(1i64)), upper(col("s")).eq(lit("X"))];
        assert_eq!(asked(&filters, Some(3)), r#"SELECT "k", "a ""b""" FROM "t" WHERE ("k" = 1)"#);
        assert!(!can_go_along(&col("s").eq(lit("a\0b"))));
        assert!(!can_go_along(&col("k").eq(lit(ScalarValue::Int64(None)))));
        assert!(!can_go_along(&col("k").eq(lit(f64::NAN))));
        assert!(!can_go_along(&(col("k") + lit(1)).gt(lit(2))));
    }

    #[test]
    fn literals_have_their_types() {
        for (value, text) in [
            (ScalarValue::from(-7i32), "-7"),
            (ScalarValue::from(0.1), "CAST('1e-1' AS DOUBLE)"),
            (ScalarValue::Decimal128(Some(-150), 10, 2), "CAST('-1.50' AS DECIMAL(10, 2))"),
            (ScalarValue::TimestampMillisecond(Some(-1), None), "CAST('1969-12-31 23:59:59.999' AS TIMESTAMP)"),
            (ScalarValue::Date32(Some(1)), "CAST('1970-01-02' AS DATE)"),
            (ScalarValue::from(true), "TRUE"),
        ] {
            assert_eq!(literal(&value).as_deref(), Some(text));
        }
        let either = col("k").in_list(vec![lit(1), lit(2)], true).or(col("s").is_null()).and(col("v").between(lit(1), lit(2)));
        assert_eq!(expression(&either).unwrap(), r#"((("k" NOT IN (1, 2)) OR ("s" IS NULL)) AND ("v" BETWEEN 1 AND 2))"#);
    }
}
