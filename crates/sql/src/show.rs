//! SHOW, DESCRIBE, EXPLAIN, PRINT, and TERMINATE, PAUSE, RESUME: looking at what runs, and stopping it.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::ast::{Action, Kind, Show};
use crate::cursor::Cursor;
use crate::error::{FEATURE_NOT_SUPPORTED, SYNTAX_ERROR};
use crate::{Error, Position, parse, setting};

const LISTS: &[(&str, Show)] = &[
    ("STREAMS", Show::Streams),
    ("TABLES", Show::Tables),
    ("QUERIES", Show::Queries),
    ("TOPICS", Show::Topics),
    ("FUNCTIONS", Show::Functions),
    ("PROPERTIES", Show::Properties),
];

pub(crate) fn show(cursor: &mut Cursor) -> Result<Kind, Error> {
    let verb = cursor.expect_one(&["SHOW", "LIST"])?;
    let ahead = usize::from(cursor.sees(&["ALL"]));
    let list = cursor.word(ahead).and_then(|word| LISTS.iter().find(|(name, _)| word.value.eq_ignore_ascii_case(name)));
    if let Some((_, show)) = list {
        cursor.skip(ahead + 1);
        cursor.accept(&["EXTENDED"]);
        return Ok(Kind::Show(*show));
    }
    if verb == "LIST" {
        let names: Vec<_> = LISTS.iter().map(|(name, _)| *name).collect();
        return Err(cursor.unexpected_among(&names));
    }
    if cursor.accept(&["ALL"]) {
        return Ok(Kind::Show(Show::Properties));
    }
    for refused in ["TYPES", "VARIABLES", "CONNECTORS", "DATABASES", "SCHEMAS", "COLUMNS", "CREATE", "SOURCE", "SINK", "CONNECTOR"] {
        if cursor.sees(&[refused]) {
            let lists =
                "SHOW knows STREAMS, TABLES, QUERIES, TOPICS, FUNCTIONS, PROPERTIES and settings; DESCRIBE shows one stream or table.";
            return Err(cursor.unsupported(format!("SHOW {refused}")).hint(lists));
        }
    }
    Ok(Kind::ShowSetting(setting::name(cursor)?))
}

pub(crate) fn describe(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect_one(&["DESCRIBE", "DESC"])?;
    if cursor.sees(&["FUNCTION"]) && cursor.nth(1).is_some() {
        return Err(cursor.unsupported("DESCRIBE FUNCTION").hint("Write SHOW FUNCTIONS."));
    }
    let before = cursor.sees(&["EXTENDED"]) && cursor.nth(1).is_some();
    if before {
        cursor.skip(1);
    }
    let mut name = cursor.name()?;
    while cursor.accept_token(&Token::Period) {
        // A stream in "public" goes by its plain name; system tables keep their schema.
        let part = cursor.name()?;
        name = if name.eq_ignore_ascii_case("public") { part } else { format!("{name}.{part}") };
    }
    let extended = before || cursor.accept(&["EXTENDED"]);
    Ok(Kind::Describe { name, extended })
}

pub(crate) fn explain(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect(&["EXPLAIN"])?;
    if cursor.nth(1).is_none()
        && let Some(id) = accept_query_id(cursor)
    {
        return Ok(Kind::ExplainQuery(id));
    }
    const OPTIONS: &[&str] = &[
        "ANALYZE",
        "VERBOSE",
        "COSTS",
        "BUFFERS",
        "TIMING",
        "SUMMARY",
        "SETTINGS",
        "WAL",
        "GENERIC_PLAN",
        "MEMORY",
        "SERIALIZE",
        "FORMAT",
    ];
    let bracket = cursor.sees_token(0, &Token::LParen);
    if bracket && cursor.word(1).is_some_and(|word| OPTIONS.iter().any(|option| word.value.eq_ignore_ascii_case(option))) {
        let mut inside = cursor.bracketed()?;
        loop {
            let start = inside.position();
            let option = inside.expect_one(OPTIONS)?;
            let position = inside.position();
            let word = inside.word(0).map(|word| word.value.to_lowercase());
            inside.skip(usize::from(word.is_some()));
            let value = word.or_else(|| inside.accept_signed());
            match (option, value.as_deref()) {
                ("FORMAT", Some("text")) => {}
                ("FORMAT", _) => {
                    return Err(Error::new(FEATURE_NOT_SUPPORTED, "EXPLAIN prints text only", position).hint("Leave FORMAT out."));
                }
                ("ANALYZE", Some("false" | "off" | "0")) => {}
                ("ANALYZE", _) => return Err(analyze(start)),
                _ => {}
            }
            if !inside.accept_token(&Token::Comma) {
                break;
            }
        }
        inside.finish()?;
    } else {
        if cursor.sees(&["ANALYZE"]) || cursor.sees(&["ANALYSE"]) {
            return Err(analyze(cursor.position()));
        }
        cursor.accept(&["VERBOSE"]);
    }
    // One level only: otherwise a long row of EXPLAINs would recurse as deep.
    if cursor.done() || cursor.sees(&["EXPLAIN"]) {
        return Err(cursor.unexpected());
    }
    let end = cursor.end;
    let statement = parse::statement(cursor.source, cursor.rest(), end)?;
    Ok(Kind::Explain { statement: Box::new(statement) })
}

fn analyze(position: Position) -> Error {
    Error::new(FEATURE_NOT_SUPPORTED, "EXPLAIN ANALYZE is not supported", position)
        .hint("Write EXPLAIN: it shows the plan and does not run the statement.")
}

pub(crate) fn lifecycle(cursor: &mut Cursor) -> Result<Kind, Error> {
    let action = match cursor.expect_one(&["TERMINATE", "PAUSE", "RESUME"])? {
        "TERMINATE" => Action::Terminate,
        "PAUSE" => Action::Pause,
        _ => Action::Resume,
    };
    if cursor.nth(1).is_some() {
        cursor.accept(&["QUERY"]);
    }
    if cursor.accept(&["ALL"]) {
        return Ok(Kind::Lifecycle { action, query: None });
    }
    match accept_query_id(cursor) {
        Some(id) => Ok(Kind::Lifecycle { action, query: Some(id) }),
        None => Err(cursor.unexpected().hint("Write the id of a query, as SHOW QUERIES shows it, or ALL.")),
    }
}

pub(crate) fn accept_query_id(cursor: &mut Cursor) -> Option<String> {
    cursor.accept_string().or_else(|| cursor.name().ok())
}

pub(crate) fn print(cursor: &mut Cursor) -> Result<Kind, Error> {
    cursor.expect(&["PRINT"])?;
    let topic = match cursor.peek() {
        // Names of topics are Kafka's: they know case, so an unquoted one is taken as it is written.
        Some(token @ TokenWithSpan { token: Token::Word(word), .. }) => {
            cursor.skip(1);
            if word.quote_style.is_some() { word.value.clone() } else { cursor.source.written(token).to_string() }
        }
        _ => cursor.string()?,
    };
    if cursor.sees_token(0, &Token::Minus) || cursor.sees_token(0, &Token::Period) {
        return Err(cursor.unexpected().hint("Put the topic's name in quotes: PRINT 'my-topic'."));
    }
    let from_beginning = cursor.accept(&["FROM", "BEGINNING"]);
    for sampled in ["INTERVAL", "SAMPLE"] {
        if cursor.sees(&[sampled]) {
            return Err(cursor.unsupported(format!("PRINT … {sampled}")).hint("Leave it out, and end with LIMIT n."));
        }
    }
    let limit = if cursor.accept(&["LIMIT"]) { Some(cursor.number()?) } else { None };
    if !cursor.done() && limit.is_some() && cursor.sees(&["FROM"]) {
        return Err(
            Error::new(SYNTAX_ERROR, "syntax error at or near \"FROM\"", cursor.position()).hint("FROM BEGINNING stands before LIMIT.")
        );
    }
    Ok(Kind::Print { topic, from_beginning, limit })
}
