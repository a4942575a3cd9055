//! The last pass over sqlparser's trees: names that DataFusion would fold once more get quotes, and ksqlDB's type names are translated.

use std::convert::Infallible;
use std::ops::ControlFlow;

use sqlparser::ast::{
    DataType, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, TableAlias, TableFactor, VisitMut, VisitorMut,
};

use crate::Dialect;

/// Names are folded when they get here. DataFusion folds unquoted ones to lower case, so those that would change get quotes: then the tree
/// means the same with `enable_ident_normalization` on or off. Names of functions stay bare: they are found in any case.
pub(crate) fn finish<T: VisitMut>(dialect: Dialect, tree: &mut T) {
    let mut quoter = Quoter { quotes: dialect == Dialect::Ksqldb };
    let _: ControlFlow<Infallible> = tree.visit(&mut quoter);
}

struct Quoter {
    quotes: bool,
}

impl Quoter {
    fn ident(&self, ident: &mut Ident) {
        if self.quotes && ident.quote_style.is_none() && ident.value.chars().any(char::is_uppercase) {
            ident.quote_style = Some('"');
        }
    }

    fn object(&self, name: &mut ObjectName) {
        for part in &mut name.0 {
            if let ObjectNamePart::Identifier(ident) = part {
                self.ident(ident);
            }
        }
    }

    fn alias(&self, alias: Option<&mut TableAlias>) {
        if let Some(alias) = alias {
            self.ident(&mut alias.name);
            alias.columns.iter_mut().for_each(|column| self.ident(&mut column.name));
        }
    }

    fn join(&self, operator: &mut JoinOperator) {
        let (JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)) = operator
        else {
            return;
        };
        if let JoinConstraint::Using(columns) = constraint {
            columns.iter_mut().for_each(|column| self.object(column));
        }
    }
}

impl VisitorMut for Quoter {
    type Break = Infallible;

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<Infallible> {
        self.object(relation);
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Infallible> {
        for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            self.alias(Some(&mut cte.alias));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        for item in &mut select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => self.ident(alias),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => self.object(name),
                _ => {}
            }
        }
        for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
            self.join(&mut join.join_operator);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Infallible> {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias } => {
                table_with_joins.joins.iter_mut().for_each(|join| self.join(&mut join.join_operator));
                self.alias(alias.as_mut());
            }
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => self.alias(alias.as_mut()),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        match expr {
            Expr::Identifier(ident) => self.ident(ident),
            Expr::CompoundIdentifier(parts) => parts.iter_mut().for_each(|part| self.ident(part)),
            Expr::QualifiedWildcard(name, _) => self.object(name),
            // DataFusion knows BYTES only by its PostgreSQL name.
            Expr::Cast { data_type: data_type @ (DataType::Bytes(_) | DataType::Binary(_) | DataType::Varbinary(_)), .. } => {
                *data_type = DataType::Bytea;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
