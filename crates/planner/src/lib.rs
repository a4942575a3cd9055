//! AST to logical plan to topology; EXPLAIN.
