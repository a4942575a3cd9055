//! Text ↔ AST: ksqlDB's dialect on top of sqlparser.
//!
//! `sqlparser` parses expressions and queries; this crate adds the streaming clauses and statements around them. Names are folded
//! here, once, by the [`Dialect`]: whoever reads the AST compares names as they are.

pub mod ast;
pub mod dialect;
pub mod error;
pub mod parse;
pub mod types;

pub use ast::Statement;
pub use dialect::Dialect;
pub use error::{Error, Position};
pub use parse::parse;
pub use types::SqlType;
