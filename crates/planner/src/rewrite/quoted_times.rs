//! `WINDOWSTART >= '2020-02-23T23:45'` in the dialect `ksqldb`: a pseudo column that counts milliseconds, compared with a time in quotes.
//!
//! The time becomes the number it stands for (ISO 8601, whole or cut short, UTC unless it says another zone), so that scans find the
//! bounds of windows in the WHERE clause.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Query, UnaryOperator, Value, VisitMut, VisitorMut};
use millpond_formats::timestamp::parse_iso_timestamp;
use millpond_sql::Dialect;

use crate::schema::{ROWTIME, WINDOWEND, WINDOWSTART};
use crate::{Error, Result};

/// Reads the times that `query` compares with ROWTIME, WINDOWSTART and WINDOWEND.
pub(super) fn read(query: &mut Query) -> Result<()> {
    match query.visit(&mut Comparisons) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Comparisons;

impl VisitorMut for Comparisons {
    type Break = Error;

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        let read = match expression {
            Expr::BinaryOp { left, op, right } if is_comparison(op) => pair(left, right),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => pair(left, right),
            Expr::Between { expr, low, high, .. } if is_time(expr) => number(low).and_then(|()| number(high)),
            Expr::InList { expr, list, .. } if is_time(expr) => list.iter_mut().try_for_each(number),
            _ => Ok(()),
        };
        match read {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn is_comparison(operator: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn pair(left: &mut Expr, right: &mut Expr) -> Result<()> {
    if is_time(left) {
        number(right)
    } else if is_time(right) {
        number(left)
    } else {
        Ok(())
    }
}

fn is_time(expression: &Expr) -> bool {
    let name = match expression {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        Expr::Nested(inner) => return is_time(inner),
        _ => None,
    };
    name.is_some_and(|name| [ROWTIME, WINDOWSTART, WINDOWEND].iter().any(|time| name.value == Dialect::Ksqldb.fold(time)))
}

/// Makes a text a number of milliseconds; leaves everything else as it is.
fn number(expression: &mut Expr) -> Result<()> {
    if let Expr::Nested(inner) = expression {
        return number(inner);
    }
    let Expr::Value(value) = expression else { return Ok(()) };
    let Value::SingleQuotedString(text) = &value.value else { return Ok(()) };
    let ms = parse_iso_timestamp(text).map_err(|_| {
        Error::new("22007", format!("invalid input syntax for type timestamp: \"{text}\""))
            .hint("Write it like '2020-02-23T23:45:00.000'; what is left out is the least there is.")
    })?;
    value.value = Value::Number(ms.unsigned_abs().to_string(), true);
    if ms < 0 {
        let positive = std::mem::replace(expression, Expr::Tuple(Vec::new()));
        *expression = Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(positive) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::Statement;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn condition(text: &str) -> Result<String> {
        let sql = format!("SELECT * FROM t WHERE {text}");
        let Statement::Query(mut query) = Parser::parse_sql(&GenericDialect {}, &sql).unwrap().remove(0) else { panic!("{sql}") };
        read(&mut query)?;
        Ok(query.to_string().replace("SELECT * FROM t WHERE ", ""))
    }

    #[test]
    fn times_become_milliseconds() {
        assert_eq!(condition("WINDOWSTART >= '1970-01-02'").unwrap(), "WINDOWSTART >= 86400000L");
        assert_eq!(condition("'1970-01-01T00:00:01.5' < t.ROWTIME").unwrap(), "1500L < t.ROWTIME");
        assert_eq!(condition("WINDOWEND BETWEEN '1969-12-31' AND '1970'").unwrap(), "WINDOWEND BETWEEN -86400000L AND 0L");
        assert_eq!(condition("ROWTIME IN ('1970', 5, x)").unwrap(), "ROWTIME IN (0L, 5, x)");
        assert_eq!(condition("ROWTIME = '1970-01-01T02:00+0200'").unwrap(), "ROWTIME = 0L");
    }

    #[test]
    fn everything_else_stays() {
        for text in ["name = '1970'", "ROWTIME > 5", "ROWTIME + '1970' > 1", "\"rowtime\" = '1970'"] {
            assert_eq!(condition(text).unwrap(), text);
        }
        assert_eq!(condition("ROWTIME > 'yesterday'").unwrap_err().sqlstate, "22007");
    }
}
