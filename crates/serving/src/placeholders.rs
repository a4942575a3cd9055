//! Parameters in plans: their types, and their values where a plan is kept without them.
//!
//! DataFusion leaves some types open: `$1` of `x = ANY ($1)` is an array of what `x` is, that of `$1::int` an int.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

/// What `= ANY`, `<> ALL` and their like become.
const MEMBERSHIP: &[&str] = &["array_has", "array_position", "array_min", "array_max"];

/// `plan` with the types that can be told; the first place that tells one counts.
pub fn infer(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut types: BTreeMap<String, FieldRef> = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                if let Some((id, data_type)) = told(inner, &schema) {
                    types.entry(id.to_string()).or_insert_with(|| Arc::new(Field::new(id, data_type, true)));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if types.is_empty() {
        return Ok(plan);
    }
    let filled = plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expression| {
            expression.transform_up(|inner| match inner {
                Expr::Placeholder(Placeholder { id, field: None }) if types.contains_key(&id) => {
                    let field = types.get(&id).cloned();
                    Ok(Transformed::yes(Expr::Placeholder(Placeholder { id, field })))
                }
                other => Ok(Transformed::no(other)),
            })
        })
    })?;
    Ok(filled.data)
}

/// The types of `$1`, `$2`, … of a plan, as far as they are known. A gap in the numbers is a parameter nobody uses.
pub fn types(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>> {
    let mut types = Vec::new();
    for (id, data_type) in plan.get_parameter_types()? {
        let Some(place) = place(&id) else { continue };
        if types.len() <= place {
            types.resize(place + 1, None);
        }
        types[place] = data_type;
    }
    Ok(types)
}

/// `$1` has the first place, which is 0.
fn place(id: &str) -> Option<usize> {
    id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// Whether all parameters of an optimized plan are in the filters of its scans, so that it can be kept without their values.
pub fn only_in_scans(plan: &LogicalPlan) -> Result<bool> {
    let mut only = true;
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::TableScan(_)) {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expression| {
            only &= !has_any(expression)?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(only)
}

pub fn has_any(expression: &Expr) -> Result<bool> {
    expression.exists(|inner| Ok(matches!(inner, Expr::Placeholder(_))))
}

/// `expression` with the values in the parameters' places.
pub fn fill(expression: &Expr, values: &[ScalarValue]) -> Result<Expr> {
    replace(expression, |id, _| values.get(place(id)?).cloned())
}

/// `expression` with nulls in the parameters' places: what can be said of it before they are known.
pub fn without_values(expression: &Expr) -> Result<Expr> {
    replace(expression, |_, data_type| ScalarValue::try_from(data_type).ok())
}

fn replace(expression: &Expr, value: impl Fn(&str, &DataType) -> Option<ScalarValue>) -> Result<Expr> {
    let replaced = expression.clone().transform_up(|inner| match &inner {
        Expr::Placeholder(Placeholder { id, field: Some(field) }) => match value(id, field.data_type()) {
            Some(value) => Ok(Transformed::yes(Expr::Literal(value, None))),
            None => plan_err!("there is no value for parameter {id}"),
        },
        _ => Ok(Transformed::no(inner)),
    })?;
    Ok(replaced.data)
}

/// The parameter that `expression` tells the type of.
fn told<'a>(expression: &'a Expr, schema: &DFSchema) -> Option<(&'a str, DataType)> {
    match expression {
        Expr::Cast(cast) => Some((open(&cast.expr)?, cast.field.data_type().clone())),
        Expr::ScalarFunction(call) if call.func.name() == "array_has" => {
            let [array, item] = call.args.as_slice() else { return None };
            Some((open(array)?, list_of(item, schema)?))
        }
        // `x > ANY ($1)` compares with the least of the array.
        Expr::BinaryExpr(comparison) if comparison.op.supports_propagation() => {
            let (left, right) = (comparison.left.as_ref(), comparison.right.as_ref());
            let bound = |bound: &'a Expr, other: &Expr| Some((member(bound)?, list_of(other, schema)?));
            bound(left, right).or_else(|| bound(right, left))
        }
        _ => None,
    }
}

/// A parameter without a type.
fn open(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Placeholder(Placeholder { id, field: None }) => Some(id),
        _ => None,
    }
}

fn member(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::ScalarFunction(call) if MEMBERSHIP.contains(&call.func.name()) => open(call.args.first()?),
        _ => None,
    }
}

fn list_of(item: &Expr, schema: &DFSchema) -> Option<DataType> {
    match item.get_type(schema).ok()? {
        DataType::Null => None,
        data_type => Some(DataType::new_list(data_type, true)),
    }
}
