//! Parameters whose types the client declared: what rows a query has then.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{Expr, Value, visit_expressions_mut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use millpond_serving::Pull;
use millpond_sql::ast::Query;
use pgwire::api::Type;

use super::parameters::wire_type;
use super::types::pg_type;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::session::Session;

/// The columns of `query` with parameters of the types `given`, when those are other ones than `plan` has found by itself.
pub async fn schema(
    session: &Session,
    interrupt: &mut Interrupt<'_>,
    query: &Query,
    plan: &Pull,
    given: &[Option<Type>],
) -> Result<Option<SchemaRef>> {
    let wanted = plan.parameters();
    let other = given.iter().enumerate().any(|(index, given)| {
        let wanted = wanted.get(index).and_then(Option::as_ref);
        given.as_ref().is_some_and(|given| sql_type(given).is_some() && (wanted.is_none() || *given != wire_type(wanted)))
    });
    if !other {
        return Ok(None);
    }
    let query = typed(query, given);
    let settings = session.plan_settings();
    let prepared = async { Ok::<_, Error>(session.shared.serving.prepare(&query, &settings).await.ok()) };
    let Some(typed) = interrupt.guard(prepared).await? else { return Ok(None) };
    Ok(renamed(plan.schema(), typed.schema()))
}

/// No type is wanted of the parameters whose types were declared.
pub fn forget(wanted: &mut [Option<DataType>], given: &[Option<Type>]) {
    for (wanted, given) in wanted.iter_mut().zip(given) {
        if given.as_ref().is_some_and(|given| sql_type(given).is_some()) {
            *wanted = None;
        }
    }
}

/// The types of `typed` under the names of `plain`; `None` when a client sees no difference.
fn renamed(plain: &Schema, typed: &Schema) -> Option<SchemaRef> {
    let (left, right) = (plain.fields(), typed.fields());
    let same = left.iter().map(pg_type).eq(right.iter().map(pg_type));
    if same || left.len() != right.len() {
        return None;
    }
    let fields: Vec<Field> = left.iter().zip(right).map(|(plain, typed)| typed.as_ref().clone().with_name(plain.name())).collect();
    Some(Arc::new(Schema::new(fields)))
}

/// `$1` becomes `CAST($1 AS …)`.
fn typed(query: &Query, given: &[Option<Type>]) -> Query {
    let mut query = query.clone();
    let _: ControlFlow<()> = visit_expressions_mut(query.body.as_mut(), |expression| {
        if let Some(cast) = cast(expression, given) {
            *expression = cast;
        }
        ControlFlow::Continue(())
    });
    query
}

fn cast(expression: &Expr, given: &[Option<Type>]) -> Option<Expr> {
    let Expr::Value(value) = expression else { return None };
    let Value::Placeholder(name) = &value.value else { return None };
    let number: usize = name.strip_prefix('$')?.parse().ok()?;
    let declared = sql_type(given.get(number.checked_sub(1)?)?.as_ref()?)?;
    Parser::new(&PostgreSqlDialect {}).try_with_sql(&format!("CAST(${number} AS {declared})")).ok()?.parse_expr().ok()
}

/// Texts are read as what is wanted of them.
fn sql_type(given: &Type) -> Option<&'static str> {
    Some(match *given {
        Type::BOOL => "BOOLEAN",
        Type::INT2 | Type::INT4 => "INT",
        Type::INT8 | Type::OID => "BIGINT",
        Type::FLOAT4 | Type::FLOAT8 => "DOUBLE PRECISION",
        Type::NUMERIC => "DECIMAL(38, 10)",
        Type::DATE => "DATE",
        Type::TIME => "TIME",
        Type::TIMESTAMP | Type::TIMESTAMPTZ => "TIMESTAMP",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_parameters_are_cast_and_others_left_alone() {
        let of = |sql: &str| Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap();
        let given = [Some(Type::FLOAT8), None, Some(Type::TEXT)];
        assert_eq!(cast(&of("$1"), &given).unwrap().to_string(), "CAST($1 AS DOUBLE PRECISION)");
        for sql in ["$2", "$3", "$4", "v", "1"] {
            assert!(cast(&of(sql), &given).is_none(), "{sql}");
        }
    }

    #[test]
    fn types_change_and_names_stay() {
        let schema = |name: &str, data_type: DataType| Schema::new(vec![Field::new(name, data_type, true)]);
        let found = renamed(&schema("a", DataType::Int32), &schema("b", DataType::Float64)).unwrap();
        assert_eq!((found.field(0).name().as_str(), found.field(0).data_type()), ("a", &DataType::Float64));
        assert!(renamed(&schema("a", DataType::Int32), &schema("b", DataType::Int32)).is_none());
    }
}
