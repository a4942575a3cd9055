//! What a query becomes before DataFusion sees it.
//!
//! The streaming clauses become ordinary columns, so that names and types are bound in one place:
//! - `*` becomes the declared columns (pseudo columns stay out of it; over a join each is named `alias_column`);
//! - `WINDOW` adds `windowstart` and `windowend` to the GROUP BY;
//! - what will be the key of the result, and its window, is selected once more under a name no user can have ([`HIDDEN`]).

mod aggregates;
mod quoted_times;
mod table_functions;
mod width;
mod wildcards;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, LimitClause, ObjectName, Query, Select, SelectItem,
    SetExpr, TableFactor, TableWithJoins, Value,
};
use millpond_catalog::{Snapshot, Source, SourceKind, dead_letters};
use millpond_sql::{Dialect, ast};
use std::sync::Arc;

use self::wildcards::{expand_all, expand_select};
use crate::integers;
use crate::names::{self, Named};
use crate::schema::{ROWOFFSET, ROWPARTITION, ROWTIME, WINDOWEND, WINDOWSTART};
use crate::{Error, Result, Settings};

/// The first character of hidden columns' names.
pub const HIDDEN: char = '$';

/// A query ready to be bound.
#[derive(Debug)]
pub struct Rewritten {
    pub query: Query,
    /// For each key column of the result, the hidden columns that would do: the first that is selected visibly becomes the key.
    /// `None`: the result has no key.
    pub keys: Option<Vec<Vec<String>>>,
    /// The hidden columns with the window's bounds.
    pub window: Option<(String, String)>,
    pub limit: Option<u64>,
    /// The sources it reads, left-most first.
    pub reads: Vec<String>,
    /// What the key is, for messages.
    pub key_texts: Vec<String>,
}

/// A source of a FROM clause.
#[derive(Debug, Clone)]
struct From {
    alias: String,
    source: Arc<Source>,
}

/// Rewrites a query that will be lowered to a topology.
pub fn streaming(query: &ast::Query, snapshot: &Snapshot, settings: &Settings) -> Result<Rewritten> {
    width::check(&query.body)?;
    table_functions::refuse(&query.body)?;
    let mut body = Query::clone(&query.body);
    if settings.dialect == Dialect::Ksqldb {
        quoted_times::read(&mut body)?;
    }
    let limit = take_limit(&mut body)?;
    if body.order_by.is_some() {
        return Err(
            Error::unsupported("ORDER BY cannot stream").hint("Order the rows where you read them: a query without EMIT CHANGES can.")
        );
    }
    if query.within.iter().any(Option::is_some) {
        return Err(Error::unsupported("WITHIN: joins of two streams are not supported yet").hint("Join a stream with a table."));
    }
    let mut reads = Vec::new();
    sources_of(&body, snapshot, &mut reads)?;
    let mut rewritten = Rewritten { query: body, keys: None, window: None, limit, reads, key_texts: Vec::new() };
    match rewritten.query.body.as_mut() {
        SetExpr::Select(select) => {
            let mut select = std::mem::replace(select, Box::new(empty_select()));
            streaming_select(query, &mut select, &mut rewritten, snapshot, settings)?;
            *rewritten.query.body = SetExpr::Select(select);
            // Those of subqueries: the outermost are columns by now.
            expand_all(&mut rewritten.query, snapshot)?;
        }
        SetExpr::SetOperation { .. } if query.window.is_none() && query.partition_by.is_none() => {
            expand_all(&mut rewritten.query, snapshot)?;
        }
        SetExpr::SetOperation { .. } => {
            return Err(Error::unsupported("WINDOW and PARTITION BY cannot follow a UNION")
                .hint("Make the UNION a stream of its own, or use INSERT INTO … SELECT for each part."));
        }
        _ => return Err(Error::unsupported("only a SELECT can stream")),
    }
    integers::cast_literals(&mut rewritten.query);
    Ok(rewritten)
}

/// Rewrites a pull query: `*` leaves pseudo columns out. With it come the columns' names where the query has others ([`names::pull`]).
pub fn pull(query: &ast::Query, snapshot: &Snapshot, dialect: Dialect) -> Result<(Query, Option<Vec<String>>)> {
    if let Some(window) = &query.window {
        return Err(Error::unsupported("WINDOW needs a persistent query or EMIT CHANGES")
            .hint("Add EMIT CHANGES, or CREATE TABLE … AS SELECT … WINDOW … and select from that.")
            .at(window.position));
    }
    if query.partition_by.is_some() {
        return Err(Error::unsupported("PARTITION BY needs a persistent query").hint("Use CREATE STREAM … AS SELECT … PARTITION BY …."));
    }
    width::check(&query.body)?;
    let mut body = Query::clone(&query.body);
    if dialect == Dialect::Ksqldb {
        quoted_times::read(&mut body)?;
    }
    expand_all(&mut body, snapshot)?;
    let shown = match body.body.as_mut() {
        SetExpr::Select(select) => names::pull(&mut select.projection),
        _ => None,
    };
    integers::cast_literals(&mut body);
    Ok((body, shown))
}

fn streaming_select(
    query: &ast::Query,
    select: &mut Select,
    rewritten: &mut Rewritten,
    snapshot: &Snapshot,
    settings: &Settings,
) -> Result<()> {
    if select.distinct.is_some() {
        return Err(Error::unsupported("SELECT DISTINCT cannot stream").hint("GROUP BY the columns and count them."));
    }
    let from = from_sources(&select.from, snapshot);
    if let Some(from) = &from {
        expand_select(select, from, true);
    }
    name_items(select, from.as_deref().unwrap_or_default(), settings.dialect);
    let groups = group_expressions(select)?;
    let aggregates = aggregates::are_in(select);
    let keys: Option<Vec<Vec<Expr>>> = if !groups.is_empty() {
        if query.partition_by.is_some() {
            return Err(Error::new("42601", "PARTITION BY and GROUP BY exclude each other"));
        }
        Some(groups.into_iter().map(|group| vec![group]).collect())
    } else if aggregates {
        // Without a group it is refused: over the columns that it names, or as a shape that cannot stream.
        None
    } else if let Some(partition_by) = &query.partition_by {
        partition_keys(partition_by)
    } else {
        from.as_deref().and_then(|from| natural_keys(from, &select.from))
    };
    if let Some(keys) = keys {
        rewritten.key_texts = keys.iter().map(|alternatives| alternatives[0].to_string()).collect();
        let mut names = Vec::new();
        for (i, alternatives) in keys.into_iter().enumerate() {
            let mut hidden = Vec::new();
            for (j, expression) in alternatives.into_iter().enumerate() {
                let name = format!("{HIDDEN}key{i}_{j}");
                select.projection.push(item(expression, &name));
                hidden.push(name);
            }
            names.push(hidden);
        }
        rewritten.keys = Some(names);
    }
    if aggregates && !is_grouped(select) && query.window.is_none() {
        return Ok(());
    }
    window_columns(query, select, rewritten, from.as_deref(), settings)
}

fn name_items(select: &mut Select, from: &[From], dialect: Dialect) {
    let pseudo = [ROWTIME, ROWPARTITION, ROWOFFSET].map(|name| dialect.fold(name));
    let named: Vec<Named<'_>> = from
        .iter()
        .map(|from| {
            let columns = from.source.columns.iter().map(|column| column.name.as_str()).chain(pseudo.iter().map(String::as_str));
            Named { alias: &from.alias, columns: columns.collect() }
        })
        .collect();
    names::streaming(&mut select.projection, &named, dialect);
}

/// The window's bounds: in the GROUP BY of a windowed aggregation; carried along from a windowed source.
fn window_columns(
    query: &ast::Query,
    select: &mut Select,
    rewritten: &mut Rewritten,
    from: Option<&[From]>,
    settings: &Settings,
) -> Result<()> {
    let grouped = is_grouped(select);
    let first = from.and_then(|from| from.first());
    let (start, end) = (settings.dialect.fold(WINDOWSTART), settings.dialect.fold(WINDOWEND));
    if let Some(window) = &query.window {
        if !grouped {
            return Err(Error::new("42803", "WINDOW needs a GROUP BY").hint("Add GROUP BY and an aggregate.").at(window.position));
        }
        let Some(first) = first else {
            return Err(Error::unsupported("WINDOW needs a stream in FROM")
                .hint("Make the subquery a stream of its own.")
                .at(window.position));
        };
        if first.source.kind == SourceKind::Table {
            return Err(Error::unsupported("WINDOW cannot be used over a table")
                .hint("Tables have no event time to cut; group by a time column instead.")
                .at(window.position));
        }
        if first.source.window.is_some() {
            return Err(Error::unsupported("WINDOW cannot be used over a windowed stream").at(window.position));
        }
        let bounds = [column(&first.alias, &start), column(&first.alias, &end)];
        if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
            expressions.extend(bounds.iter().cloned());
        }
    } else if grouped || query.partition_by.is_some() || first.is_none_or(|first| first.source.window.is_none()) {
        return Ok(());
    }
    let first = first.expect("checked above");
    let names = (format!("{HIDDEN}windowstart"), format!("{HIDDEN}windowend"));
    select.projection.push(item(column(&first.alias, &start), &names.0));
    select.projection.push(item(column(&first.alias, &end), &names.1));
    rewritten.window = Some(names);
    Ok(())
}

fn is_grouped(select: &Select) -> bool {
    !matches!(&select.group_by, GroupByExpr::Expressions(expressions, _) if expressions.is_empty())
}

/// The GROUP BY's expressions, ordinals and aliases resolved.
fn group_expressions(select: &mut Select) -> Result<Vec<Expr>> {
    let GroupByExpr::Expressions(expressions, modifiers) = &mut select.group_by else {
        return Err(Error::unsupported("GROUP BY ALL cannot stream").hint("Name the columns."));
    };
    if !modifiers.is_empty() {
        return Err(Error::unsupported("GROUP BY with ROLLUP, CUBE or TOTALS cannot stream"));
    }
    let mut flat = Vec::new();
    for expression in expressions.drain(..) {
        match expression {
            Expr::Tuple(parts) => flat.extend(parts),
            Expr::Nested(inner) => flat.push(*inner),
            Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) => {
                return Err(Error::unsupported("GROUPING SETS, CUBE and ROLLUP cannot stream").hint("Start a query for each set."));
            }
            other => flat.push(other),
        }
    }
    for expression in &mut flat {
        if let Some(selected) = ordinal_or_alias(expression, &select.projection)? {
            *expression = selected;
        }
    }
    for (i, expression) in flat.iter().enumerate() {
        if flat[..i].contains(expression) {
            return Err(Error::new("42803", format!("GROUP BY has {expression} twice")));
        }
    }
    *expressions = flat.clone();
    Ok(flat)
}

fn ordinal_or_alias(expression: &Expr, projection: &[SelectItem]) -> Result<Option<Expr>> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => {
                let ordinal: usize = text.parse().unwrap_or(0);
                match ordinal.checked_sub(1).and_then(|i| projection.get(i)) {
                    Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => Ok(Some(expr.clone())),
                    _ => Err(Error::new("42P10", format!("GROUP BY position {text} is not in the SELECT list"))),
                }
            }
            _ => Ok(None),
        },
        Expr::Identifier(name) => Ok(projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias }
                if alias.value == name.value && !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) =>
            {
                Some(expr.clone())
            }
            _ => None,
        })),
        _ => Ok(None),
    }
}

/// `PARTITION BY NULL` takes the key away.
fn partition_keys(partition_by: &[Expr]) -> Option<Vec<Vec<Expr>>> {
    if let [Expr::Value(value)] = partition_by
        && matches!(value.value, Value::Null)
    {
        return None;
    }
    Some(partition_by.iter().map(|expression| vec![expression.clone()]).collect())
}

/// The key a query has without GROUP BY or PARTITION BY: its source's, or the columns a join compares.
fn natural_keys(from: &[From], tables: &[TableWithJoins]) -> Option<Vec<Vec<Expr>>> {
    let joins = &tables.first()?.joins;
    if let Some(join) = joins.last() {
        return join_keys(join);
    }
    let only = from.first()?;
    let keys: Vec<Vec<Expr>> = only.source.key_columns().map(|key| vec![column(&only.alias, &key.name)]).collect();
    (!keys.is_empty()).then_some(keys)
}

fn join_keys(join: &Join) -> Option<Vec<Vec<Expr>>> {
    let (JoinOperator::Join(JoinConstraint::On(on))
    | JoinOperator::Inner(JoinConstraint::On(on))
    | JoinOperator::Left(JoinConstraint::On(on))
    | JoinOperator::LeftOuter(JoinConstraint::On(on))) = &join.join_operator
    else {
        return None;
    };
    let mut equalities = Vec::new();
    conjuncts(on, &mut equalities);
    let keys: Vec<Vec<Expr>> = equalities
        .into_iter()
        .filter_map(|conjunct| match conjunct {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                let sides: Vec<Expr> = [left, right].into_iter().filter(|side| is_column(side)).map(|side| Expr::clone(side)).collect();
                (!sides.is_empty()).then_some(sides)
            }
            _ => None,
        })
        .collect();
    (!keys.is_empty()).then_some(keys)
}

fn conjuncts<'a>(expression: &'a Expr, into: &mut Vec<&'a Expr>) {
    match expression {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(left, into);
            conjuncts(right, into);
        }
        Expr::Nested(inner) => conjuncts(inner, into),
        other => into.push(other),
    }
}

fn is_column(expression: &Expr) -> bool {
    matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

/// The FROM clause's sources in order, if it has nothing but sources.
fn from_sources(tables: &[TableWithJoins], snapshot: &Snapshot) -> Option<Vec<From>> {
    let mut from = Vec::new();
    for table in tables {
        from.push(from_source(&table.relation, snapshot)?);
        for join in &table.joins {
            from.push(from_source(&join.relation, snapshot)?);
        }
    }
    Some(from)
}

fn from_source(factor: &TableFactor, snapshot: &Snapshot) -> Option<From> {
    let TableFactor::Table { name, alias, args: None, .. } = factor else { return None };
    let source = snapshot.find(&source_name(name)?)?;
    let own = name.0.last()?.as_ident()?;
    let alias = alias.as_ref().map_or(own, |alias| &alias.name).value.clone();
    Some(From { alias, source: Arc::clone(source) })
}

/// `name` or `public.name`; of what stands in schema `millpond`, with it. What stands in other schemas is no source.
fn source_name(name: &ObjectName) -> Option<String> {
    let parts: Vec<&str> = name.0.iter().filter_map(|part| part.as_ident()).map(|ident| ident.value.as_str()).collect();
    match parts.as_slice() {
        [name] => Some((*name).to_string()),
        [schema, name] if schema.eq_ignore_ascii_case("public") => Some((*name).to_string()),
        [schema, name] if schema.eq_ignore_ascii_case(dead_letters::SCHEMA) => Some(format!("{schema}.{name}")),
        _ => None,
    }
}

/// Names of the sources in a query, left-most first; one twice is refused.
fn sources_of(query: &Query, snapshot: &Snapshot, into: &mut Vec<String>) -> Result<()> {
    use datafusion::sql::sqlparser::ast::Visit;
    use std::ops::ControlFlow;
    let mut names: Vec<String> = Vec::new();
    let _ = query.visit(&mut RelationVisitor(&mut |name: &ObjectName| {
        if let Some(name) = source_name(name)
            && snapshot.find(&name).is_some()
            && !names.contains(&name)
        {
            names.push(name);
        }
        ControlFlow::<()>::Continue(())
    }));
    into.extend(names);
    Ok(())
}

struct RelationVisitor<'a>(&'a mut dyn FnMut(&ObjectName) -> std::ops::ControlFlow<()>);

impl datafusion::sql::sqlparser::ast::Visitor for RelationVisitor<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> std::ops::ControlFlow<()> {
        (self.0)(relation)
    }
}

fn take_limit(query: &mut Query) -> Result<Option<u64>> {
    let unsupported = || Error::unsupported("a streaming query takes LIMIT with a number only, and no OFFSET");
    if query.fetch.is_some() {
        return Err(unsupported());
    }
    match query.limit_clause.take() {
        None => Ok(None),
        Some(LimitClause::LimitOffset { limit: Some(Expr::Value(value)), offset: None, limit_by }) if limit_by.is_empty() => {
            match value.value {
                Value::Number(text, _) => text.parse().map(Some).map_err(|_| unsupported()),
                _ => Err(unsupported()),
            }
        }
        Some(LimitClause::LimitOffset { limit: None, offset: None, .. }) => Ok(None),
        Some(_) => Err(unsupported()),
    }
}

fn column(alias: &str, name: &str) -> Expr {
    Expr::CompoundIdentifier(vec![Ident::with_quote('"', alias), Ident::with_quote('"', name)])
}

fn item(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) }
}

fn empty_select() -> Select {
    use datafusion::sql::sqlparser::ast::SelectFlavor;
    use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: vec![],
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: vec![],
        exclude: None,
        into: None,
        from: vec![],
        lateral_views: vec![],
        prewhere: None,
        selection: None,
        connect_by: vec![],
        group_by: GroupByExpr::Expressions(vec![], vec![]),
        cluster_by: vec![],
        distribute_by: vec![],
        sort_by: vec![],
        having: None,
        named_window: vec![],
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}
