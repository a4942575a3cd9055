//! CREATE and DROP of streams and tables.

use sqlparser::tokenizer::Token;

use crate::Error;
use crate::ast::{ColumnDef, CreateAs, CreateSource, Drop, HeaderMark, KeyMark, Kind, SourceKind};
use crate::column_type::column_type;
use crate::cursor::Cursor;
use crate::error::{SYNTAX_ERROR, UNDEFINED_COLUMN};
use crate::properties::properties;
use crate::{query, unsupported};

pub(crate) fn create(cursor: &mut Cursor) -> Result<Kind, Error> {
    unsupported::create(cursor)?;
    cursor.expect(&["CREATE"])?;
    let or_replace = cursor.accept(&["OR", "REPLACE"]);
    let source = cursor.position();
    let read_only = cursor.accept(&["SOURCE"]);
    let kind = match cursor.expect_one(&["STREAM", "TABLE"])? {
        "STREAM" => SourceKind::Stream,
        _ => SourceKind::Table,
    };
    let if_not_exists = cursor.accept(&["IF", "NOT", "EXISTS"]);
    let name = cursor.object_name()?;
    let columns_at = cursor.position();
    let columns = if cursor.sees_token(0, &Token::LParen) { columns(cursor)? } else { Vec::new() };
    let properties = properties(cursor)?;
    if !cursor.accept(&["AS"]) {
        cursor.finish().map_err(|error| match cursor.sees(&["SELECT"]) {
            true => error.hint("Write AS before the query."),
            false => error,
        })?;
        return Ok(Kind::CreateSource(CreateSource { kind, name, or_replace, if_not_exists, read_only, columns, properties }));
    }
    if !columns.is_empty() {
        return Err(Error::new(SYNTAX_ERROR, "columns and a query cannot both be given", columns_at)
            .hint("The query says what the columns are: rename them with AS, and change their types with CAST."));
    }
    if read_only {
        return Err(Error::new(SYNTAX_ERROR, "what a query writes cannot be a read-only SOURCE", source).hint("Leave SOURCE out."));
    }
    if !query::begins(cursor) {
        return Err(cursor.unexpected_among(&["SELECT", "WITH", "VALUES"]));
    }
    let query = query::query(cursor)?;
    Ok(Kind::CreateAs(CreateAs { kind, name, or_replace, if_not_exists, properties, query }))
}

pub(crate) fn drop(cursor: &mut Cursor) -> Result<Kind, Error> {
    unsupported::drop(cursor)?;
    cursor.expect(&["DROP"])?;
    let kind = match cursor.expect_one(&["STREAM", "TABLE"])? {
        "STREAM" => SourceKind::Stream,
        _ => SourceKind::Table,
    };
    let if_exists = cursor.accept(&["IF", "EXISTS"]);
    let name = cursor.object_name()?;
    if cursor.sees_token(0, &Token::Comma) {
        return Err(cursor.unsupported("dropping several at once").hint("Write one DROP for each."));
    }
    if cursor.sees(&["CASCADE"]) {
        return Err(cursor.unsupported("CASCADE").hint("Drop what reads it first: DESCRIBE shows its queries."));
    }
    cursor.accept(&["RESTRICT"]);
    let delete_topic = cursor.accept(&["DELETE", "TOPIC"]);
    Ok(Kind::Drop(Drop { kind, name, if_exists, delete_topic }))
}

/// `(name type [KEY | PRIMARY KEY | HEADERS | HEADER('key')], …[, PRIMARY KEY (name, …)])`
fn columns(cursor: &mut Cursor) -> Result<Vec<ColumnDef>, Error> {
    let mut inside = cursor.bracketed()?;
    let mut columns: Vec<ColumnDef> = Vec::new();
    while !inside.done() || !columns.is_empty() {
        if inside.accept(&["CONSTRAINT"]) {
            inside.name()?;
        }
        if inside.sees(&["PRIMARY", "KEY"]) && inside.sees_token(2, &Token::LParen) {
            inside.skip(2);
            primary_key(&mut inside, &mut columns)?;
        } else {
            columns.push(column(&mut inside)?);
        }
        if !inside.accept_token(&Token::Comma) {
            break;
        }
    }
    inside.finish()?;
    Ok(columns)
}

fn primary_key(cursor: &mut Cursor, columns: &mut [ColumnDef]) -> Result<(), Error> {
    let position = cursor.position();
    for name in cursor.names_in_brackets()? {
        let Some(column) = columns.iter_mut().find(|column| column.name == name) else {
            let message = format!("column \"{name}\" of the primary key does not exist");
            return Err(Error::new(UNDEFINED_COLUMN, message, position).hint("PRIMARY KEY (…) stands after the columns that it names."));
        };
        column.key = KeyMark::PrimaryKey;
    }
    Ok(())
}

fn column(cursor: &mut Cursor) -> Result<ColumnDef, Error> {
    unsupported::table_constraint(cursor)?;
    let position = cursor.offset();
    let name = cursor.name()?;
    let sql_type = column_type(cursor)?;
    let key = match cursor.accept_one(&["KEY", "PRIMARY"]) {
        Some("KEY") => KeyMark::Key,
        Some(_) => {
            cursor.expect(&["KEY"])?;
            KeyMark::PrimaryKey
        }
        None => KeyMark::None,
    };
    let header = header(cursor)?;
    unsupported::column_constraint(cursor)?;
    Ok(ColumnDef { name, sql_type, key, header, position })
}

fn header(cursor: &mut Cursor) -> Result<Option<HeaderMark>, Error> {
    if cursor.accept(&["HEADERS"]) {
        return Ok(Some(HeaderMark::All));
    }
    if !cursor.accept(&["HEADER"]) {
        return Ok(None);
    }
    let mut inside = cursor.bracketed()?;
    let key = inside.string()?;
    inside.finish()?;
    Ok(Some(HeaderMark::Last(key)))
}
