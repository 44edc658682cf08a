//! How MySQL's transactions see others.
//!
//! Owns the names of the levels, and what `START TRANSACTION` and `SET TRANSACTION` say. Must not know sessions.
//! Invariant: a level that is not kept is refused.

use sqlparser::ast::{TransactionAccessMode, TransactionIsolationLevel, TransactionMode};
use sqlparser::tokenizer::{Token, Whitespace};

use super::error::{MyError, Result};
use crate::engine::Isolation;

/// What a statement says of a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Characteristics {
    pub(super) isolation: Option<Isolation>,
    pub(super) read_only: Option<bool>,
}

impl Characteristics {
    pub(super) fn of(modes: &[TransactionMode]) -> Result<Characteristics> {
        let mut all = Characteristics::default();
        for mode in modes {
            match mode {
                TransactionMode::AccessMode(mode) => {
                    all.read_only = Some(*mode == TransactionAccessMode::ReadOnly);
                }
                TransactionMode::IsolationLevel(level) => all.isolation = Some(kept(*level)?),
            }
        }
        Ok(all)
    }
}

fn kept(level: TransactionIsolationLevel) -> Result<Isolation> {
    match level {
        TransactionIsolationLevel::ReadCommitted => Ok(Isolation::ReadCommitted),
        TransactionIsolationLevel::RepeatableRead => Ok(Isolation::ConsistentRead),
        TransactionIsolationLevel::Serializable => Ok(Isolation::Serializable),
        other => Err(MyError::unsupported(format!("ISOLATION LEVEL {other}"))),
    }
}

/// The level that a variable names.
pub(super) fn level(name: &str) -> Result<Isolation> {
    match name.to_ascii_uppercase().as_str() {
        "READ-COMMITTED" => Ok(Isolation::ReadCommitted),
        "REPEATABLE-READ" => Ok(Isolation::ConsistentRead),
        "SERIALIZABLE" => Ok(Isolation::Serializable),
        other => Err(MyError::unsupported(format!("isolation level {other}"))),
    }
}

/// How a variable names it.
pub(super) fn level_name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "READ-COMMITTED",
        Isolation::ConsistentRead | Isolation::RepeatableRead => "REPEATABLE-READ",
        Isolation::Serializable => "SERIALIZABLE",
    }
}

/// Where words follow each other, the first and the last of them.
fn find(tokens: &[Token], said: &[&str]) -> Option<(usize, usize)> {
    let words: Vec<usize> = (0..tokens.len()).filter(|at| matches!(tokens[*at], Token::Word(_))).collect();
    let is = |at: usize, word: &str| matches!(&tokens[at], Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
    let found = words.windows(said.len()).find(|some| some.iter().zip(said).all(|(at, word)| is(*at, word)));
    found.and_then(|some| Some((*some.first()?, *some.last()?)))
}

/// Says `FOR SHARE` for `LOCK IN SHARE MODE`, which the parser does not know.
pub(super) fn modernize_share_mode(tokens: &mut Vec<Token>) {
    if let Some((first, last)) = find(tokens, &["LOCK", "IN", "SHARE", "MODE"]) {
        let said =
            [Token::make_keyword("FOR"), Token::Whitespace(Whitespace::Space), Token::make_keyword("SHARE")];
        tokens.splice(first..=last, said);
    }
}

/// Takes `WITH CONSISTENT SNAPSHOT`, which the parser does not know, out of `START TRANSACTION`: whether it was there.
pub(super) fn take_snapshot_clause(tokens: &mut Vec<Token>) -> bool {
    let Some((first, last)) = find(tokens, &["WITH", "CONSISTENT", "SNAPSHOT"]) else { return false };
    // It is one of several modes: a comma parts it from the next, or from the one before.
    let follows = (last + 1..tokens.len()).find(|at| !matches!(tokens[*at], Token::Whitespace(_)));
    let precedes = (0..first).rfind(|at| !matches!(tokens[*at], Token::Whitespace(_)));
    let is_comma = |at: &usize| tokens[*at] == Token::Comma;
    match (precedes.filter(is_comma), follows.filter(is_comma)) {
        (_, Some(comma)) => drop(tokens.drain(first..=comma)),
        (Some(comma), None) => drop(tokens.drain(comma..=last)),
        (None, None) => drop(tokens.drain(first..=last)),
    }
    true
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::MySqlDialect;
    use sqlparser::tokenizer::Tokenizer;

    use super::*;

    #[test]
    fn the_snapshot_clause_is_one_of_several() {
        for (text, was_there, rest) in [
            ("START TRANSACTION WITH CONSISTENT SNAPSHOT", true, "START TRANSACTION "),
            ("start transaction with consistent snapshot, READ ONLY", true, "start transaction  READ ONLY"),
            ("START TRANSACTION READ ONLY, WITH CONSISTENT SNAPSHOT", true, "START TRANSACTION READ ONLY"),
            ("START TRANSACTION READ ONLY", false, "START TRANSACTION READ ONLY"),
        ] {
            let mut tokens = Tokenizer::new(&MySqlDialect {}, text).tokenize().unwrap();
            assert_eq!(take_snapshot_clause(&mut tokens), was_there, "{text}");
            assert_eq!(tokens.iter().map(ToString::to_string).collect::<String>(), rest);
        }
    }

    #[test]
    fn the_old_words_for_a_shared_lock_are_understood() {
        for (text, modern) in [
            ("SELECT a FROM t LOCK IN SHARE MODE", "SELECT a FROM t FOR SHARE"),
            ("select a from t lock in share mode;", "select a from t FOR SHARE;"),
            ("SELECT 'LOCK IN SHARE MODE'", "SELECT 'LOCK IN SHARE MODE'"),
        ] {
            let mut tokens = Tokenizer::new(&MySqlDialect {}, text).tokenize().unwrap();
            modernize_share_mode(&mut tokens);
            assert_eq!(tokens.iter().map(ToString::to_string).collect::<String>(), modern);
        }
    }

    #[test]
    fn the_names_of_variables_lead_back() {
        for isolation in [Isolation::ReadCommitted, Isolation::ConsistentRead, Isolation::Serializable] {
            assert_eq!(level(level_name(isolation)).ok(), Some(isolation));
        }
        assert!(level("READ-UNCOMMITTED").is_err());
    }
}
