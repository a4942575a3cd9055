//! The functions that a statement can call, for SHOW FUNCTIONS and psql's `\df`.

use std::collections::BTreeMap;

use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::logical_expr::Documentation;

use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Scalar,
    Aggregate,
}

#[derive(Debug, Clone)]
pub struct Function {
    pub name: String,
    pub kind: Kind,
    /// As documented, `str, start_pos, length`; empty when it is not.
    pub arguments: String,
}

/// In the order of their names.
pub fn list() -> Result<Vec<Function>> {
    let state = millpond_planner::session_state(Vec::new()).map_err(|error| Error::planned(error, 0))?;
    let mut functions = BTreeMap::new();
    for (name, function) in state.scalar_functions() {
        functions.insert(name.clone(), (Kind::Scalar, arguments(function.documentation())));
    }
    for function in state.aggregate_functions().values().cloned().chain(all_default_aggregate_functions()) {
        functions.insert(function.name().to_string(), (Kind::Aggregate, arguments(function.documentation())));
    }
    Ok(functions.into_iter().map(|(name, (kind, arguments))| Function { name, kind, arguments }).collect())
}

/// What stands between the brackets of the example.
fn arguments(documentation: Option<&Documentation>) -> String {
    let within = |text: &str| Some(text[text.find('(')? + 1..text.rfind(')')?].to_string());
    documentation.and_then(|documentation| within(&documentation.syntax_example)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_their_kind_and_arguments() {
        let functions = list().unwrap();
        let find = |name: &str| functions.iter().find(|function| function.name == name).unwrap();
        assert_eq!((find("count").kind, find("abs").kind), (Kind::Aggregate, Kind::Scalar));
        assert_eq!(find("abs").arguments, "numeric_expression");
        assert!(functions.is_sorted_by(|a, b| a.name < b.name));
    }
}
