//! Whether a SELECT aggregates, which it does without a GROUP BY, too.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Query, Select, Visit, Visitor};
use millpond_functions::aggregate_functions;

/// The names of all aggregate functions, in lower case.
static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let functions = all_default_aggregate_functions().into_iter().chain(aggregate_functions());
    functions.flat_map(|function| [&[function.name().to_string()], function.aliases()].concat()).map(|name| name.to_lowercase()).collect()
});

/// Whether `select` has HAVING or calls an aggregate function. Those of its subqueries are theirs.
pub(super) fn are_in(select: &Select) -> bool {
    select.having.is_some() || select.projection.visit(&mut Calls { subqueries: 0 }).is_break()
}

struct Calls {
    /// How many subqueries the visit is in.
    subqueries: usize,
}

impl Visitor for Calls {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.subqueries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.subqueries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            // With OVER it gives a value for each row.
            Expr::Function(call) if self.subqueries == 0 && call.over.is_none() && is_aggregate(&call.name) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn is_aggregate(name: &ObjectName) -> bool {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|name| NAMES.contains(&name.value.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::{SetExpr, Statement};
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn calls_are_found_wherever_they_stand_in_the_select() {
        for (sql, wanted) in [
            ("SELECT a FROM t", false),
            ("SELECT count(*) FROM t", true),
            ("SELECT 1 + abs(SUM(a)) AS x FROM t", true),
            ("SELECT collect_list(a), stddev_sample(a) FROM t", true),
            ("SELECT 1 FROM t HAVING true", true),
            ("SELECT sum(a) OVER () FROM t", false),
            ("SELECT sum(count(*)) OVER () FROM t", true),
            ("SELECT (SELECT max(b) FROM u) FROM t", false),
            ("SELECT (SELECT max(b) FROM u), min(a) FROM t", true),
            ("SELECT a FROM (SELECT count(*) AS a FROM t) x", false),
            ("SELECT abs(a), upper(b) FROM t", false),
        ] {
            let Statement::Query(query) = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0) else { panic!("{sql}") };
            let SetExpr::Select(select) = *query.body else { panic!("{sql}") };
            assert_eq!(are_in(&select), wanted, "{sql}");
        }
    }
}
