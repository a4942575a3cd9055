//! How many columns a SELECT may have.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Query, Select, Visit, Visitor};

use crate::{Error, Result};

/// PostgreSQL's limit. Names are found for the columns one by one, which takes minutes for a hundred thousand.
const COLUMNS_MAX: usize = 1_664;

/// Refuses a query in which a SELECT has too many.
pub fn check(query: &Query) -> Result<()> {
    struct Wide;
    impl Visitor for Wide {
        type Break = ();

        fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
            if select.projection.len() > COLUMNS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    match query.visit(&mut Wide) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::new("54011", format!("target lists can have at most {COLUMNS_MAX} entries"))),
    }
}
