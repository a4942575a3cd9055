//! Functions that make several rows of one, PostgreSQL's and ksqlDB's: what DataFusion makes of them does not stream.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Query, TableFactor, Visit, Visitor};

use crate::{Error, Result};

const NAMES: [&str; 3] = ["unnest", "explode", "cube_explode"];

/// Refuses them wherever they stand.
pub(super) fn refuse(query: &Query) -> Result<()> {
    match query.visit(&mut Calls) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(name) => Err(Error::unsupported(format!("{} cannot stream yet", name.to_uppercase()))
            .hint("Select the array as it is, and UNNEST it where you read the result: a pull query can.")),
    }
}

struct Calls;

impl Visitor for Calls {
    type Break = &'static str;

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<&'static str> {
        match expression {
            Expr::Function(call) => named(&call.name),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<&'static str> {
        match factor {
            TableFactor::UNNEST { .. } => ControlFlow::Break("unnest"),
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => named(name),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn named(name: &ObjectName) -> ControlFlow<&'static str> {
    let last = name.0.last().and_then(|part| part.as_ident());
    let found = last.and_then(|last| NAMES.into_iter().find(|name| last.value.eq_ignore_ascii_case(name)));
    found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}
