//! The edges tables: commit, compact, roll up, expire, query.
