//! EXTRACTJSONFIELD's paths: `$.a.b[0]["c"]`.

use std::borrow::Cow;

use super::read::compact;
use super::scan::{Kind, Scanner};
use crate::column::Reason;

/// A compiled path. A step is a name or an index; which of the two it is, the document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath {
    steps: Vec<String>,
}

impl JsonPath {
    pub fn new(path: &str) -> Result<JsonPath, String> {
        let refuse = |reason: &str| format!("invalid JSON path '{path}': {reason}");
        let mut rest = path.strip_prefix('$').ok_or_else(|| refuse("it must begin with '$'"))?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                if end == 0 {
                    return Err(refuse("a name is empty"));
                }
                steps.push(after[..end].to_string());
                rest = &after[end..];
            } else if let Some(after) = rest.strip_prefix("[\"") {
                let (step, after) = quoted(after).ok_or_else(|| refuse("a quoted name does not end"))?;
                steps.push(step);
                rest = after.strip_prefix(']').ok_or_else(|| refuse("expected ']'"))?;
            } else if let Some(after) = rest.strip_prefix('[') {
                let (step, after) = after.split_once(']').ok_or_else(|| refuse("expected ']'"))?;
                if step.is_empty() || !step.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(refuse("expected a number or a quoted name between '[' and ']'"));
                }
                steps.push(step.to_string());
                rest = after;
            } else {
                return Err(refuse("expected '.' or '['"));
            }
        }
        Ok(JsonPath { steps })
    }

    /// What the path leads to: a text without its quotes, anything else as JSON without blanks. `None` when it leads nowhere; an error
    /// when the document is no JSON.
    pub fn extract<'a>(&self, document: &'a str) -> Result<Option<Cow<'a, str>>, String> {
        let mut scanner = Scanner::new(document);
        let mut found = scanner.skip()?;
        scanner.end()?;
        for step in &self.steps {
            match child(found, step)? {
                Some(raw) => found = raw,
                None => return Ok(None),
            }
        }
        let mut scanner = Scanner::new(found);
        Ok(Some(match scanner.peek()? {
            Kind::Text => scanner.text()?,
            Kind::Object | Kind::Array => Cow::Owned(compact(found)),
            _ => Cow::Borrowed(found),
        }))
    }
}

/// Behind `["`: the name, and what follows its closing quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((name, characters.as_str())),
            '\\' => name.push(characters.next()?),
            character => name.push(character),
        }
    }
}

/// The element or the last property that `step` names.
fn child<'a>(raw: &'a str, step: &str) -> Result<Option<&'a str>, Reason> {
    let mut scanner = Scanner::new(raw);
    let mut found = None;
    match scanner.peek()? {
        Kind::Object => scanner.object(|scanner, name| {
            let value = scanner.skip()?;
            if name == step {
                found = Some(value);
            }
            Ok(())
        })?,
        Kind::Array => {
            let Ok(index) = step.parse::<usize>() else { return Ok(None) };
            let mut at = 0;
            scanner.array(|scanner| {
                let value = scanner.skip()?;
                if at == index {
                    found = Some(value);
                }
                at += 1;
                Ok(())
            })?;
        }
        _ => {}
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let document = r#" {"a": {"b": [1, {"c d": "x\ny"}, null]}, "n": 1.50, "é": true, "o": { "p" : " q " }, "n": 2} "#;
        for (path, value) in [
            ("$.a.b[0]", Some("1")),
            ("$.a.b.0", Some("1")),
            ("$.a.b[1][\"c d\"]", Some("x\ny")),
            ("$[\"a\"].b[2]", Some("null")),
            ("$.n", Some("2")),
            ("$.é", Some("true")),
            ("$.o", Some("{\"p\":\" q \"}")),
            ("$.a.b[3]", None),
            ("$.a.x.y", None),
            ("$.n.y", None),
        ] {
            assert_eq!(JsonPath::new(path).unwrap().extract(document).unwrap().as_deref(), value, "{path}");
        }
        for path in ["", "a", "$a", "$.", "$[", "$[x]", "$[\"a]", "$..a"] {
            assert!(JsonPath::new(path).is_err(), "{path}");
        }
        assert!(JsonPath::new("$.a").unwrap().extract("{\"a\": 1").is_err());
        assert!(JsonPath::new("$.a").unwrap().extract("{\"a\": 1, \"b\": x}").is_err());
    }
}
