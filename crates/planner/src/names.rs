//! Names of result columns that the statement does not name.
//!
//! | item | persistent or push query | pull query |
//! |---|---|---|
//! | column | its name; in a join `alias_name` where another source has it, too | its name |
//! | field of a struct | the field's, `_1`, `_2` … where that is taken | the field's |
//! | anything else | `ksql_col_0`, `ksql_col_1` … | as PostgreSQL has it: a function's name, a cast's column, `?column?` |

use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, Ident, ObjectName, SelectItem, Subscript, Value};
use millpond_sql::Dialect;

const GENERATED: &str = "ksql_col_";

/// A source of the FROM clause: its alias, and the names of its columns.
pub struct Named<'a> {
    pub alias: &'a str,
    pub columns: Vec<&'a str>,
}

/// Gives each item a name of its own, but for columns that have theirs.
pub fn streaming(projection: &mut [SelectItem], from: &[Named<'_>], dialect: Dialect) {
    let mut taken: Vec<String> = projection.iter().filter_map(given).collect();
    let mut generated = 0;
    for item in projection {
        let SelectItem::UnnamedExpr(expression) = item else { continue };
        let name = match column(expression) {
            Some(_) if from.len() < 2 => continue,
            Some((alias, name)) => match source_of(alias, name, from) {
                Some(source) if is_elsewhere(name, source, from) => format!("{source}_{name}"),
                _ => continue,
            },
            None => match field(expression) {
                Some(field) => free(&field, '_', &taken),
                None => loop {
                    let name = dialect.fold(&format!("{GENERATED}{generated}"));
                    generated += 1;
                    if !taken.contains(&name) {
                        break name;
                    }
                },
            },
        };
        taken.push(name.clone());
        set(item, &name);
    }
}

/// Gives each item a name that no other has, as DataFusion demands; returns those that the client is to see instead. `None`: the
/// names are right as they are, or a `*` hides how many there are.
pub fn pull(projection: &mut [SelectItem]) -> Option<Vec<String>> {
    let mut shown = Vec::with_capacity(projection.len());
    let mut taken: Vec<String> = Vec::new();
    let mut hidden = false;
    for item in projection.iter_mut() {
        let name = match item {
            SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
            SelectItem::UnnamedExpr(expression) => {
                let name = displayed(expression);
                let unique = free(&name, '$', &taken);
                hidden |= unique != name;
                // A column that is selected once keeps its qualifier.
                if unique != name || column(expression).is_none() {
                    set(item, &unique);
                }
                taken.push(unique);
                name
            }
            _ => return None,
        };
        shown.push(name);
    }
    hidden.then_some(shown)
}

fn set(item: &mut SelectItem, name: &str) {
    if let SelectItem::UnnamedExpr(expression) = item {
        let expr = std::mem::replace(expression, Expr::Identifier(Ident::new("")));
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
    }
}

/// The name that the statement gives.
fn given(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        SelectItem::UnnamedExpr(expression) => column(expression).map(|(_, name)| name.to_string()),
        _ => None,
    }
}

/// `name` or `alias.name`.
fn column(expression: &Expr) -> Option<(Option<&str>, &str)> {
    match expression {
        Expr::Identifier(name) => Some((None, &name.value)),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., alias, name] => Some((Some(&alias.value), &name.value)),
            _ => None,
        },
        _ => None,
    }
}

fn source_of<'a>(alias: Option<&str>, name: &str, from: &'a [Named<'_>]) -> Option<&'a str> {
    let source = match alias {
        Some(alias) => from.iter().find(|source| source.alias == alias),
        None => from.iter().find(|source| source.columns.contains(&name)),
    };
    source.map(|source| source.alias)
}

fn is_elsewhere(name: &str, source: &str, from: &[Named<'_>]) -> bool {
    from.iter().any(|other| other.alias != source && other.columns.contains(&name))
}

/// The last field of `s->f`.
fn field(expression: &Expr) -> Option<String> {
    let Expr::CompoundFieldAccess { access_chain, .. } = expression else { return None };
    match access_chain.last()? {
        AccessExpr::Dot(Expr::Identifier(name)) => Some(name.value.clone()),
        AccessExpr::Subscript(Subscript::Index { index: Expr::Value(value) }) => match &value.value {
            Value::SingleQuotedString(name) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// `name`, or its first copy that is not taken.
fn free(name: &str, separator: char, taken: &[String]) -> String {
    let mut free = name.to_string();
    let mut copy = 1;
    while taken.contains(&free) {
        free = format!("{name}{separator}{copy}");
        copy += 1;
    }
    free
}

/// What PostgreSQL calls the column.
fn displayed(expression: &Expr) -> String {
    let last = |name: &ObjectName| name.0.last().and_then(|part| part.as_ident()).map(|name| name.value.to_lowercase());
    let name = match expression {
        Expr::Function(function) => last(&function.name),
        Expr::Cast { expr, .. } => Some(displayed(expr)).filter(|name| name != UNNAMED),
        Expr::Nested(inner) => Some(displayed(inner)),
        Expr::Case { .. } => Some("case".to_string()),
        Expr::Exists { .. } => Some("exists".to_string()),
        Expr::Array(_) => Some("array".to_string()),
        Expr::Extract { .. } => Some("extract".to_string()),
        Expr::Substring { .. } => Some("substring".to_string()),
        Expr::Trim { .. } => Some("btrim".to_string()),
        Expr::Position { .. } => Some("position".to_string()),
        Expr::Ceil { .. } => Some("ceil".to_string()),
        Expr::Floor { .. } => Some("floor".to_string()),
        other => column(other).map(|(_, name)| name.to_string()).or_else(|| field(other)),
    };
    name.unwrap_or_else(|| UNNAMED.to_string())
}

const UNNAMED: &str = "?column?";

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::{SetExpr, Statement};
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn items(sql: &str) -> Vec<SelectItem> {
        let Statement::Query(query) = Parser::parse_sql(&GenericDialect {}, sql).unwrap().remove(0) else { panic!("{sql}") };
        let SetExpr::Select(select) = *query.body else { panic!("{sql}") };
        select.projection
    }

    fn names(items: &[SelectItem]) -> Vec<String> {
        items.iter().map(|item| given(item).unwrap()).collect()
    }

    #[test]
    fn streaming_items_have_ksqldb_s_names() {
        let from = [Named { alias: "l", columns: vec!["id", "a", "rowtime"] }, Named { alias: "r", columns: vec!["id", "b", "rowtime"] }];
        let mut join = items("SELECT l.id, r.id, a, l.rowtime, a + 1, 2 AS ksql_col_1, b * 3, s['x'], t['x'] FROM l");
        streaming(&mut join, &from, Dialect::Millpond);
        assert_eq!(names(&join), ["l_id", "r_id", "a", "l_rowtime", "ksql_col_0", "ksql_col_1", "ksql_col_2", "x", "x_1"]);
    }

    #[test]
    fn pulled_items_have_postgresql_s_names() {
        let mut select = items("SELECT a, t.a, count(*), count(*), 1, CAST(b AS INT), CAST(1 AS INT), CASE WHEN a THEN 1 END FROM t");
        let shown = pull(&mut select).unwrap();
        assert_eq!(shown, ["a", "a", "count", "count", "?column?", "b", "?column?", "case"]);
        assert_eq!(names(&select), ["a", "a$1", "count", "count$1", "?column?", "b", "?column?$1", "case"]);
        assert_eq!(pull(&mut items("SELECT a, b, lower(c) FROM t")), None);
    }
}
