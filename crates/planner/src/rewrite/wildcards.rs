//! What `*` stands for: the declared columns, without pseudo columns.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, VisitMut, VisitorMut, WildcardAdditionalOptions,
};
use millpond_catalog::Snapshot;

use super::{From, column, from_sources, item, source_name};
use crate::Result;
use crate::schema::{WINDOWEND, WINDOWSTART};

/// Expands `*` in every SELECT whose FROM has nothing but sources.
pub(super) fn expand_all(query: &mut Query, snapshot: &Snapshot) -> Result<()> {
    struct Expander<'a> {
        snapshot: &'a Snapshot,
        /// Names of the CTEs in scope: they hide sources.
        hidden: Vec<String>,
    }
    impl VisitorMut for Expander<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            if let Some(with) = &query.with {
                self.hidden.extend(with.cte_tables.iter().map(|cte| cte.alias.name.value.clone()));
            }
            expand_set(query.body.as_mut(), self.snapshot, &self.hidden);
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Expander { snapshot, hidden: Vec::new() });
    Ok(())
}

fn expand_set(body: &mut SetExpr, snapshot: &Snapshot, hidden: &[String]) {
    match body {
        SetExpr::Select(select) => {
            if let Some(from) = from_sources(&select.from, snapshot)
                && !from.iter().any(|from| hidden.contains(&from.source.name))
            {
                expand_select(select, &from, false);
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            expand_set(left, snapshot, hidden);
            expand_set(right, snapshot, hidden);
        }
        _ => {}
    }
}

/// `streaming`: windows stay out (they are part of the key), and a join's columns are named `alias_column`.
pub(super) fn expand_select(select: &mut Select, from: &[From], streaming: bool) {
    let prefix = streaming && from.len() > 1;
    let mut projection = Vec::with_capacity(select.projection.len());
    for item in select.projection.drain(..) {
        match &item {
            SelectItem::Wildcard(options) if plain(options) => {
                for from in from {
                    expand_source(from, prefix, streaming, &mut projection);
                }
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) if plain(options) => {
                match from.iter().find(|from| source_name(name).is_some_and(|name| [&from.alias, &from.source.name].contains(&&name))) {
                    Some(from) => expand_source(from, prefix, streaming, &mut projection),
                    None => projection.push(item),
                }
            }
            _ => projection.push(item),
        }
    }
    select.projection = projection;
}

fn plain(options: &WildcardAdditionalOptions) -> bool {
    options.opt_except.is_none() && options.opt_exclude.is_none() && options.opt_rename.is_none() && options.opt_replace.is_none()
}

fn expand_source(from: &From, prefix: bool, streaming: bool, into: &mut Vec<SelectItem>) {
    let keys = from.source.key_columns().count();
    let mut names: Vec<String> = from.source.columns.iter().map(|column| column.name.clone()).collect();
    if from.source.window.is_some() && !streaming {
        let dialect = from.source.dialect;
        names.splice(keys..keys, [dialect.fold(WINDOWSTART), dialect.fold(WINDOWEND)]);
    }
    for name in names {
        let expression = column(&from.alias, &name);
        into.push(match prefix {
            true => item(expression, &format!("{}_{name}", from.alias)),
            false => SelectItem::UnnamedExpr(expression),
        });
    }
}
