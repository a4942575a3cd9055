//! Types of columns, as ksqlDB and PostgreSQL write them.

use sqlparser::tokenizer::Token;

use crate::cursor::{Cursor, perhaps};
use crate::error::{INVALID_PARAMETER_VALUE, SYNTAX_ERROR, UNDEFINED_OBJECT};
use crate::{Error, SqlType, near};

/// Arrow's 128-bit decimals hold as many digits.
const PRECISION_MAX: u64 = 38;
/// Types inside of types; brackets of the `<…>` kind are not counted before.
const NESTING_MAX: usize = 50;

const NAMES: &[&str] = &[
    "BOOLEAN",
    "BOOL",
    "INT",
    "INTEGER",
    "SMALLINT",
    "TINYINT",
    "BIGINT",
    "DOUBLE",
    "REAL",
    "FLOAT",
    "DECIMAL",
    "NUMERIC",
    "VARCHAR",
    "STRING",
    "TEXT",
    "CHARACTER",
    "BYTES",
    "BYTEA",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "ARRAY",
    "MAP",
    "STRUCT",
];

/// The type that comes next.
pub(crate) fn column_type(cursor: &mut Cursor) -> Result<SqlType, Error> {
    Types { cursor, half_closed: 0, depth: 0 }.outer()
}

struct Types<'c, 's, 't> {
    cursor: &'c mut Cursor<'s, 't>,
    /// Of a `>>` or `>>>`, which the tokenizer takes for an operator, so many brackets are still to be closed.
    half_closed: usize,
    depth: usize,
}

impl Types<'_, '_, '_> {
    fn outer(&mut self) -> Result<SqlType, Error> {
        let position = self.cursor.position();
        let found = self.any()?;
        if self.half_closed > 0 {
            return Err(Error::new(SYNTAX_ERROR, "a type has more closing brackets than opening ones", position));
        }
        Ok(found)
    }

    fn any(&mut self) -> Result<SqlType, Error> {
        if self.depth >= NESTING_MAX {
            return Err(Error::new(SYNTAX_ERROR, "the type is nested too deeply", self.cursor.position()));
        }
        self.depth += 1;
        let mut found = self.simple()?;
        while self.half_closed == 0 {
            // `t[]`, `t[3]`, `t ARRAY`, `t ARRAY[3]`: the length means nothing, as in PostgreSQL.
            let word = self.cursor.accept(&["ARRAY"]);
            let bracket = self.cursor.accept_token(&Token::LBracket);
            if bracket {
                if !self.cursor.sees_token(0, &Token::RBracket) {
                    self.cursor.number()?;
                }
                self.cursor.expect_token(&Token::RBracket)?;
            }
            if !word && !bracket {
                break;
            }
            self.depth += 1;
            if self.depth >= NESTING_MAX {
                return Err(Error::new(SYNTAX_ERROR, "the type is nested too deeply", self.cursor.position()));
            }
            found = SqlType::Array(Box::new(found));
        }
        self.depth -= 1;
        Ok(found)
    }

    fn simple(&mut self) -> Result<SqlType, Error> {
        let Some(word) = self.cursor.word(0) else { return Err(self.cursor.unexpected()) };
        let position = self.cursor.position();
        let name = word.value.to_uppercase();
        self.cursor.skip(1);
        let found = match name.as_str() {
            "BOOLEAN" | "BOOL" => SqlType::Boolean,
            "INT" | "INTEGER" | "INT4" | "SMALLINT" | "INT2" | "TINYINT" => SqlType::Int,
            "BIGINT" | "INT8" => SqlType::Bigint,
            "DOUBLE" => {
                self.cursor.accept(&["PRECISION"]);
                SqlType::Double
            }
            "REAL" | "FLOAT4" | "FLOAT8" => SqlType::Double,
            "FLOAT" => {
                self.ignored_length()?;
                SqlType::Double
            }
            "DECIMAL" | "NUMERIC" | "DEC" => self.decimal(position)?,
            "VARCHAR" | "STRING" | "TEXT" => {
                self.ignored_length()?;
                SqlType::Varchar
            }
            "CHARACTER" if self.cursor.accept(&["VARYING"]) => {
                self.ignored_length()?;
                SqlType::Varchar
            }
            "BYTES" | "BYTEA" => SqlType::Bytes,
            "DATE" => SqlType::Date,
            "TIME" | "TIMESTAMP" => {
                self.ignored_length()?;
                if self.cursor.sees(&["WITH", "TIME", "ZONE"]) {
                    return Err(self.cursor.unsupported(format!("{name} WITH TIME ZONE")).hint(format!("Use {name}: all times are UTC.")));
                }
                self.cursor.accept(&["WITHOUT", "TIME", "ZONE"]);
                if name == "TIME" { SqlType::Time } else { SqlType::Timestamp }
            }
            "ARRAY" => {
                self.open()?;
                let element = self.any()?;
                self.close()?;
                SqlType::Array(Box::new(element))
            }
            "MAP" => {
                self.open()?;
                let key = self.any()?;
                self.cursor.expect_token(&Token::Comma)?;
                let value = self.any()?;
                self.close()?;
                SqlType::Map(Box::new(key), Box::new(value))
            }
            "STRUCT" => self.fields()?,
            _ => {
                let error = Error::new(UNDEFINED_OBJECT, format!("type \"{}\" does not exist", word.value), position);
                let hint = match name.as_str() {
                    "TIMESTAMPTZ" | "DATETIME" => "Use TIMESTAMP: all times are UTC.".to_string(),
                    "TIMETZ" => "Use TIME: all times are UTC.".to_string(),
                    "JSON" | "JSONB" | "UUID" | "CHAR" | "CHARACTER" | "NCHAR" | "CLOB" => "Use VARCHAR.".to_string(),
                    "BLOB" | "BINARY" | "VARBINARY" => "Use BYTES.".to_string(),
                    "SERIAL" | "BIGSERIAL" => "Use BIGINT: there are no sequences.".to_string(),
                    _ => match near::miss(&name, NAMES.iter().copied()) {
                        Some(meant) => perhaps(meant),
                        None => "Types are BOOLEAN, INT, BIGINT, DOUBLE, DECIMAL(p, s), VARCHAR, BYTES, DATE, TIME, TIMESTAMP, ARRAY<t>, MAP<k, v>, \
                                 STRUCT<name t, …>."
                            .to_string(),
                    },
                };
                return Err(error.hint(hint));
            }
        };
        Ok(found)
    }

    fn decimal(&mut self, position: crate::Position) -> Result<SqlType, Error> {
        if !self.cursor.sees_token(0, &Token::LParen) {
            return Err(Error::new(SYNTAX_ERROR, "DECIMAL needs a precision and a scale", position).hint("For example DECIMAL(10, 2)."));
        }
        let mut inside = self.cursor.bracketed()?;
        let position = inside.position();
        let precision = inside.number()?;
        let scale = if inside.accept_token(&Token::Comma) { inside.number()? } else { 0 };
        inside.finish()?;
        match (u8::try_from(precision), i8::try_from(scale)) {
            (Ok(digits @ 1..), Ok(decimals)) if precision <= PRECISION_MAX && scale <= precision => {
                Ok(SqlType::Decimal { precision: digits, scale: decimals })
            }
            _ => Err(Error::new(INVALID_PARAMETER_VALUE, format!("DECIMAL({precision}, {scale}) is out of range"), position)
                .hint(format!("The precision is 1 to {PRECISION_MAX}, the scale 0 to the precision."))),
        }
    }

    fn fields(&mut self) -> Result<SqlType, Error> {
        self.open()?;
        let mut fields: Vec<(String, SqlType)> = Vec::new();
        loop {
            let position = self.cursor.position();
            let name = self.cursor.name()?;
            if fields.iter().any(|(other, _)| *other == name) {
                return Err(Error::new(SYNTAX_ERROR, format!("field \"{name}\" is in the struct twice"), position));
            }
            let kind = self.any()?;
            fields.push((name, kind));
            if self.half_closed > 0 || !self.cursor.accept_token(&Token::Comma) {
                break;
            }
        }
        self.close()?;
        Ok(SqlType::Struct(fields))
    }

    fn open(&mut self) -> Result<(), Error> {
        self.cursor.expect_token(&Token::Lt)
    }

    fn close(&mut self) -> Result<(), Error> {
        if self.half_closed == 0 {
            self.half_closed = match self.cursor.peek().map(|token| &token.token) {
                Some(Token::Gt) => 1,
                Some(Token::ShiftRight) => 2,
                Some(Token::CustomBinaryOperator(operator)) if operator.chars().all(|c| c == '>') => operator.len(),
                _ => return Err(self.cursor.unexpected()),
            };
            self.cursor.skip(1);
        }
        self.half_closed -= 1;
        Ok(())
    }

    /// `(n)`, which a type may have and which means nothing.
    fn ignored_length(&mut self) -> Result<(), Error> {
        if self.cursor.sees_token(0, &Token::LParen) {
            let mut inside = self.cursor.bracketed()?;
            inside.number()?;
            inside.finish()?;
        }
        Ok(())
    }
}
