//! From a text to its statements, with the forms that the parser does not know.
//!
//! Owns those forms: each is put as one that means the same to this server. Must not plan. Invariant: a text that the parser
//! understands is left as it is.

use regex::Regex;
use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::engine::{Result, SqlError};
use crate::sql::parse_error;

/// Locks of rows that differ from others only in whom else they let in. One transaction writes at a time here, so each is as
/// its stronger neighbour; of the words, these positions are left out.
const LOCKS: [(&[&str], std::ops::Range<usize>); 2] =
    [(&["FOR", "NO", "KEY", "UPDATE"], 1..3), (&["FOR", "KEY", "SHARE"], 1..2)];

/// The statements of a text.
pub(crate) fn parse_text(text: &str) -> Result<Vec<Statement>> {
    let dialect = PostgreSqlDialect {};
    let error = match Parser::parse_sql(&dialect, text) {
        Ok(statements) => return Ok(statements),
        Err(error) => error,
    };
    let again = match (without_deferrable(text)?, with_other_locks(text)) {
        (Some(text), _) => Parser::parse_sql(&dialect, &text),
        (None, Some(tokens)) => statements(tokens),
        (None, None) => Err(error),
    };
    again.map_err(|error| parse_error(&error, text))
}

fn statements(tokens: Vec<TokenWithSpan>) -> std::result::Result<Vec<Statement>, ParserError> {
    Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(tokens).parse_statements()
}

/// The mode changes nothing here: a snapshot never waits, and never fails.
fn without_deferrable(text: &str) -> Result<Option<String>> {
    if !text.to_ascii_uppercase().contains("DEFERRABLE") {
        return Ok(None);
    }
    let pattern =
        r"(?is)^(\s*(?:BEGIN|START\s+TRANSACTION|SET\s+TRANSACTION)\b[^;]*?),?\s+(?:NOT\s+)?DEFERRABLE\b";
    let pattern = Regex::new(pattern).map_err(SqlError::internal)?;
    Ok(Some(pattern.replace(text, "$1").into_owned()))
}

/// `FOR NO KEY UPDATE` as `FOR UPDATE`, `FOR KEY SHARE` as `FOR SHARE`; nothing where there is neither.
fn with_other_locks(text: &str) -> Option<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().ok()?;
    let is_seen = |at: &usize| !matches!(tokens[*at].token, Token::Whitespace(_));
    let seen: Vec<usize> = (0..tokens.len()).filter(is_seen).collect();
    let is_word = |at: usize, word: &str| match &tokens[at].token {
        Token::Word(own) => own.quote_style.is_none() && own.value.eq_ignore_ascii_case(word),
        _ => false,
    };
    let mut left_out = Vec::new();
    for from in 0..seen.len() {
        for (words, rest) in &LOCKS {
            let Some(these) = seen.get(from..from + words.len()) else { continue };
            if these.iter().zip(*words).all(|(at, word)| is_word(*at, word)) {
                left_out.extend_from_slice(&these[rest.clone()]);
            }
        }
    }
    let kept = tokens.into_iter().enumerate().filter(|(at, _)| !left_out.contains(at));
    (!left_out.is_empty()).then(|| kept.map(|(_, token)| token).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        parse_text(text).ok().map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn locks_are_known_by_all_their_names() {
        let plain = "SELECT 'FOR KEY SHARE' FROM t";
        assert_eq!(
            shown(&format!("{plain} for no key update")).as_deref(),
            Some(&*format!("{plain} FOR UPDATE"))
        );
        let two = "SELECT 1 FROM t FOR KEY SHARE NOWAIT; SELECT 2 FROM t FOR NO KEY UPDATE OF t SKIP LOCKED";
        let expected = "SELECT 1 FROM t FOR SHARE NOWAIT; SELECT 2 FROM t FOR UPDATE OF t SKIP LOCKED";
        assert_eq!(shown(two).as_deref(), Some(expected));
        assert_eq!(shown("SELECT 1 FROM t FOR NO UPDATE"), None);
    }

    #[test]
    fn a_transaction_may_be_deferrable() {
        assert!(shown("BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE").is_some());
        assert!(shown("START TRANSACTION NOT DEFERRABLE").is_some());
    }
}
