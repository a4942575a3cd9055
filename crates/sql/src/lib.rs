//! Text ↔ AST: ksqlDB's dialect on top of sqlparser.
//!
//! `sqlparser` parses expressions and queries; this crate adds the streaming clauses and statements around them. Names are folded
//! here, once, by the [`Dialect`]: whoever reads the AST compares names as they are.

mod alter;
pub mod ast;
mod clauses;
mod column_type;
mod copy;
mod cursor;
mod ddl;
pub mod dialect;
pub mod error;
mod expression;
mod grammar;
mod insert;
mod names;
mod near;
pub mod parse;
pub mod position;
mod properties;
mod query;
mod rewrite;
mod setting;
mod show;
mod tokens;
mod transaction;
pub mod types;
mod unsupported;
mod window;

pub use ast::Statement;
pub use dialect::Dialect;
pub use error::{Error, Position};
pub use parse::parse;
pub use types::SqlType;
