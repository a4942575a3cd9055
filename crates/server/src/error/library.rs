//! What the libraries say, in PostgreSQL's words: they give text where a client wants a SQLSTATE.

use super::{Error, invalid_text, lower};

const CASTS: &str = "You might need to add explicit type casts.";

/// `None` for what is not known here.
pub fn translate(text: &str) -> Option<Error> {
    functions(text)
        .or_else(|| operators(text))
        .or_else(|| values(text))
        .or_else(|| groups(text))
        .or_else(|| shapes(text))
        .or_else(|| texts(text))
}

/// Functions that do not take what they are given.
fn functions(text: &str) -> Option<Error> {
    if let Some(signature) = between(text, "No function matches the given name and argument types '", "'") {
        let (name, arguments) = signature.strip_suffix(')')?.split_once('(')?;
        let types: Vec<String> = listed(arguments).into_iter().map(type_name).collect();
        return Some(match (name, types.first()) {
            ("array_element", Some(data_type)) => Error::new("42804", format!("cannot subscript type {data_type}"))
                .hint("Elements of an ARRAY and of a MAP have a subscript, fields of a STRUCT go by name."),
            ("array_has" | "array_min" | "array_max", Some(_)) => Error::new("42809", "op ANY/ALL (array) requires array on right side"),
            _ => Error::new("42883", format!("function {name}({}) does not exist", types.join(", ")))
                .hint(format!("No function matches the given name and argument types. {CASTS}")),
        });
    }
    if text.contains("failed to match any signature") {
        let name = between(text, "unction '", "'")?;
        return Some(Error::new("42883", format!("function {name} does not take arguments of these types")).hint(CASTS));
    }
    if text.contains("ubstring without for/from is not valid") {
        return Some(Error::new("42883", "function substring needs a place to begin at").hint("Write substring(text, from, length)."));
    }
    let name = between(text, "able function '", "' not found")?;
    Some(Error::new("42883", format!("function {name} does not exist")))
}

fn operators(text: &str) -> Option<Error> {
    let missing = |operator: &str| Error::new("42883", format!("operator does not exist: {operator}")).hint(CASTS);
    let boolean = |of: &str, data_type: &str| {
        Error::new("42804", format!("argument of {of} must be type boolean, not type {}", type_name(data_type)))
    };
    if let Some(operation) = between(text, "coerce arithmetic expression ", " to valid types") {
        return Some(missing(&operation_name(operation)));
    }
    if let Some(operation) = after(text, "common argument type for comparison operation ") {
        return Some(missing(&operation_name(operation)));
    }
    if let Some(operation) = after(text, "common argument type for logical boolean operation ") {
        let (left, operator, right) = split(operation)?;
        return Some(boolean(operator, if left == "Boolean" { right } else { left }));
    }
    if let Some(types) = between(text, "common type to coerce ", " in LIKE expression") {
        let (left, right) = types.split_once(" and ")?;
        return Some(missing(&format!("{} LIKE {}", type_name(left), type_name(right))));
    }
    if let Some(data_type) = after(text, "'NOT' requires a boolean expression, got ") {
        return Some(boolean("NOT", data_type));
    }
    if let Some(data_type) = after(text, "filter with non-boolean predicate ").and_then(|rest| after(rest, " returning ")) {
        return Some(boolean("WHERE", data_type));
    }
    text.contains("nary operator '-' only supports").then(|| missing("- of what is no number"))
}

/// Texts and numbers that are no values of their type.
fn values(text: &str) -> Option<Error> {
    let invalid = |data_type: &str, value: &str| {
        let message = format!("invalid input syntax for type {}: \"{value}\"", type_name(data_type));
        Error::new(invalid_text(&message), message)
    };
    if let Some(rest) = after(text, "annot cast string '") {
        let (value, rest) = rest.split_once("' to value of ")?;
        return Some(invalid(rest.split(" type").next()?, value));
    }
    if let Some(rest) = after(text, "annot cast value '") {
        let (value, rest) = rest.split_once("' to value of ")?;
        return Some(invalid(rest.split(" type").next()?, value));
    }
    if let Some(value) = between(text, "rror parsing timestamp from '", "':") {
        return Some(invalid("Timestamp", value));
    }
    if let Some(data_type) = after(text, "an't cast value ").and_then(|rest| after(rest, " to type ")) {
        return Some(Error::new("22003", format!("{} out of range", type_name(data_type))));
    }
    if text.contains("too large to store in a Decimal") || text.contains("too small to store in a Decimal") {
        return Some(Error::new("22003", "numeric field overflow"));
    }
    // As `planner::arithmetic` says it.
    if let Some(out_of_range) = after(text, "rithmetic overflow: ").filter(|rest| rest.ends_with(" out of range")) {
        return Some(Error::new("22003", out_of_range));
    }
    if text.contains("verflow happened on") || text.contains("rithmetic overflow") {
        return Some(Error::new("22003", "value out of range: overflow"));
    }
    if text.contains("ivide by zero") || text.contains("ivision by zero") {
        return Some(Error::new("22012", "division by zero"));
    }
    if text.contains("square root of a negative number") {
        return Some(Error::new("2201F", "cannot take square root of a negative number"));
    }
    if text.contains("regex parse error") || text.contains("egular expression did not compile") {
        let reason = text.lines().rev().find_map(|line| line.strip_prefix("error: "));
        return Some(Error::new(
            "2201B",
            format!("invalid regular expression{}", reason.map_or_else(String::new, |why| format!(": {why}"))),
        ));
    }
    if let Some(unit) = between(text, "ate part '", "' not supported") {
        return Some(Error::new("22023", format!("unit \"{unit}\" not recognized")));
    }
    let (unit, rest) = after(text, "date_trunc granularity: '")?.split_once('\'')?;
    let error = Error::new("22023", format!("unit \"{unit}\" not recognized"));
    Some(match after(rest, "Supported values are: ") {
        Some(units) => error.hint(format!("Units are {}.", units.trim_end_matches('.'))),
        None => error,
    })
}

/// GROUP BY, HAVING, ORDER BY, DISTINCT.
fn groups(text: &str) -> Option<Error> {
    if text.contains("must be in GROUP BY or an aggregate function") {
        let column = between(text, "olumn \"", "\" must appear")?;
        return Some(Error::new(
            "42803",
            format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function"),
        ));
    }
    if text.contains("HAVING clause references") {
        let message = "columns in HAVING must appear in the GROUP BY clause or be used in an aggregate function";
        return Some(Error::new("42803", message));
    }
    if text.contains("ggregate functions are not allowed in the WHERE clause") {
        return Some(Error::new("42803", "aggregate functions are not allowed in WHERE").hint("Use HAVING."));
    }
    if text.contains("ggregate function calls cannot be nested") {
        return Some(Error::new("42803", "aggregate function calls cannot be nested"));
    }
    if text.contains("does not support logical expression WindowFunction") {
        return Some(Error::new("42P20", "window functions are not allowed in WHERE").hint("Filter the rows of a subquery."));
    }
    if text.contains("ORDER BY expressions") && text.contains("SELECT DISTINCT") {
        return Some(Error::new("42P10", "for SELECT DISTINCT, ORDER BY expressions must appear in select list"));
    }
    if let Some(position) = between(text, "rder by column out of bounds, specified: ", ",") {
        return Some(Error::new("42P10", format!("ORDER BY position {position} is not in select list")));
    }
    let position = between(text, "annot find column with position ", " in SELECT clause")?;
    Some(Error::new("42P10", format!("GROUP BY position {position} is not in select list")))
}

/// Rows and columns that are too many.
fn shapes(text: &str) -> Option<Error> {
    if text.contains("rojections require unique expression names") {
        let expression = between(text, "the expression \"", "\" at position")?;
        let name = expression.rsplit(" AS ").next().and_then(|name| name.rsplit('.').next()).unwrap_or(expression);
        return Some(Error::new("42701", format!("column name \"{name}\" is given twice")).hint("Give one of them another name with AS."));
    }
    for operation in ["UNION", "INTERSECT", "EXCEPT"] {
        if text.contains(&format!("{operation} queries have different number of columns")) {
            return Some(Error::new("42601", format!("each {operation} query must have the same number of columns")));
        }
    }
    if text.contains("calar subquery returned more than one row") {
        return Some(Error::new("21000", "more than one row returned by a subquery used as an expression"));
    }
    if text.contains("subquery should only return one column") {
        return Some(Error::new("42601", "subquery must return only one column"));
    }
    if text.contains("nconsistent data length across values list") {
        return Some(Error::new("42601", "VALUES lists must all be the same length"));
    }
    for (clause, negative) in [("LIMIT", "2201W"), ("OFFSET", "2201X")] {
        if text.contains(&format!("{clause} must be >=")) {
            return Some(Error::new(negative, format!("{clause} must not be negative")));
        }
        if let Some(data_type) = after(text, &format!("{clause} to be an integer or null, but got ")) {
            return Some(Error::new("42804", format!("argument of {clause} must be type bigint, not type {}", type_name(data_type))));
        }
    }
    if let Some(name) = between(text, "WITH query name \"", "\" specified more than once") {
        return Some(Error::new("42712", format!("WITH query name \"{name}\" specified more than once")));
    }
    if let Some(name) = between(text, "laceholder '", "' was not provided a value") {
        return Some(Error::new("42P02", format!("there is no parameter {name}")));
    }
    if text.contains("zero is not a valid index: $0") {
        return Some(Error::new("42P02", "there is no parameter $0"));
    }
    if text.contains("ot access not supported for non-string expr") {
        let error = Error::unsupported("a field of an expression in parentheses cannot be selected");
        return Some(error.hint("Write column.field, or expression->field."));
    }
    let field = after(text, "ield ").and_then(|rest| rest.split_once(" not found in struct"))?.0;
    Some(Error::new("42703", format!("field \"{field}\" does not exist in the STRUCT")))
}

/// What does not end.
fn texts(text: &str) -> Option<Error> {
    if text.contains("xpected close delimiter '\"'") {
        return Some(Error::new("42601", "unterminated quoted identifier"));
    }
    text.contains("EOF while in a multi-line comment").then(|| Error::new("42601", "unterminated /* comment"))
}

/// What is left is told as it is, but for the names of the layers it came through.
pub fn plain(text: &str) -> String {
    let mut text = text.trim();
    while let Some(rest) =
        ["Error during planning: ", "Execution error: ", "Arrow error: ", "External error: ", "Compute error: ", "Cast error: "]
            .into_iter()
            .find_map(|prefix| strip_prefix(text, prefix))
    {
        text = rest;
    }
    lower(text).trim_end_matches('.').to_string()
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.get(..prefix.len()).filter(|begin| begin.eq_ignore_ascii_case(prefix)).map(|begin| &text[begin.len()..])
}

fn after<'a>(text: &'a str, begin: &str) -> Option<&'a str> {
    text.split_once(begin).map(|(_, rest)| rest)
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    after(text, begin)?.split_once(end).map(|(found, _)| found)
}

/// `Utf8 + Int64`; types have blanks in brackets only.
fn split(operation: &str) -> Option<(&str, &str, &str)> {
    let parts = separated(operation, ' ');
    match parts.as_slice() {
        [left, operator, right, ..] => Some((left, operator, right)),
        _ => None,
    }
}

fn operation_name(operation: &str) -> String {
    match split(operation) {
        Some((left, operator, right)) => format!("{} {operator} {}", type_name(left), type_name(right)),
        None => operation.to_string(),
    }
}

fn listed(types: &str) -> Vec<&str> {
    separated(types, ',').into_iter().map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// The parts between `separator`s that are in no brackets.
fn separated(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, character) in text.char_indices() {
        match character {
            '(' | '<' | '[' | '{' if character != '<' || depth > 0 => depth += 1,
            ')' | '>' | ']' | '}' if depth > 0 => depth -= 1,
            character if character == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + separator.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// PostgreSQL's name of a type that Arrow has printed.
fn type_name(arrow: &str) -> String {
    let arrow = arrow.trim().trim_end_matches('.');
    let word = arrow.split(['(', ' ']).next().unwrap_or_default();
    let name = match word {
        "Boolean" => "boolean",
        "Int8" | "Int16" | "UInt8" => "smallint",
        "Int32" | "UInt16" => "integer",
        "Int64" | "UInt32" | "UInt64" => "bigint",
        "Float16" | "Float32" => "real",
        "Float64" => "double precision",
        "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => "numeric",
        "Utf8" | "LargeUtf8" | "Utf8View" | "String" => "text",
        "Binary" | "LargeBinary" | "BinaryView" | "FixedSizeBinary" => "bytea",
        "Date32" | "Date64" => "date",
        "Time32" | "Time64" => "time",
        "Timestamp" => "timestamp",
        "Interval" | "Duration" => "interval",
        "Struct" => "record",
        "Map" => "json",
        "Null" => "unknown",
        "List" | "LargeList" | "FixedSizeList" => {
            let item = arrow.strip_prefix(word).and_then(|rest| rest.strip_prefix('(')).and_then(|rest| rest.strip_suffix(')'));
            return format!("{}[]", type_name(item.unwrap_or("String")));
        }
        _ => return arrow.to_string(),
    };
    name.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_postgresqls_names() {
        for (arrow, name) in [
            ("Int32", "integer"),
            ("List(Utf8)", "text[]"),
            ("Decimal128(38, 10)", "numeric"),
            ("Timestamp(ms)", "timestamp"),
            ("Struct(\"a\": Int32)", "record"),
        ] {
            assert_eq!(type_name(arrow), name);
        }
        assert_eq!(listed("Utf8, Decimal128(38, 10), List(Int32)"), ["Utf8", "Decimal128(38, 10)", "List(Int32)"]);
        assert_eq!(operation_name("Decimal128(3, 1) <= Utf8"), "numeric <= text");
    }

    #[test]
    fn classes_are_told_apart() {
        for (text, sqlstate, message) in [
            ("Can't cast value 9999999999 to type Int32", "22003", "integer out of range"),
            ("Arithmetic overflow: bigint out of range", "22003", "bigint out of range"),
            ("Arithmetic overflow: Overflow happened on: 3 * 4", "22003", "value out of range: overflow"),
            ("Cannot cast string '2013-02-30' to value of Date32 type", "22007", "invalid input syntax for type date: \"2013-02-30\""),
            ("Cannot cast string 'x' to value of Int32 type", "22P02", "invalid input syntax for type integer: \"x\""),
            ("Cannot coerce arithmetic expression Utf8 + Int64 to valid types", "42883", "operator does not exist: text + bigint"),
            (
                "regex parse error:\n    [\n    ^\nerror: unclosed character class",
                "2201B",
                "invalid regular expression: unclosed character class",
            ),
        ] {
            let error = translate(text).unwrap();
            assert_eq!((error.sqlstate, error.message.as_str()), (sqlstate, message));
        }
        assert!(translate("something else").is_none());
        assert_eq!(plain("Arrow error: Compute error: Execution error: Something broke."), "something broke");
    }
}
