//! Variables of a session: those that change something, those that are only kept, and those of the user.
//!
//! Owns SET and SHOW VARIABLES. Must not know the wire. Invariant: a variable that would change what this server does
//! otherwise, and cannot, is refused.

use super::numbers::ErrorKind;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::error::{MyError, Result};
use super::functions;
use super::isolation::{self, Characteristics};
use super::plan::Plan;
use super::result::{like, rows};
use super::session::{Answer, Session};
use crate::engine::Value;

/// Whether the variable that follows is set, and not read: it is after SET, or after a comma that no parenthesis surrounds.
pub(super) fn is_target(before: &[Token]) -> bool {
    let mut depth = 0;
    let mut tokens = before.iter().filter(|token| !matches!(token, Token::Whitespace(_)));
    let Some(Token::Word(first)) = tokens.next() else { return false };
    if first.keyword != Keyword::SET {
        return false;
    }
    let mut last = None;
    for token in tokens {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        last = Some(token);
    }
    last.is_none_or(|last| depth == 0 && *last == Token::Comma)
}

impl Session {
    /// Sets a variable to the value of an expression.
    pub(super) async fn set(&mut self, name: &str, expression: &str) -> Result<()> {
        let plain = name.trim_start_matches("@@").trim_start_matches("session.").trim_start_matches("local.");
        let is_word = expression.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let value = match expression.to_ascii_uppercase().as_str() {
            "ON" | "TRUE" => Some("1".to_owned()),
            "OFF" | "FALSE" => Some("0".to_owned()),
            "NULL" | "DEFAULT" => None,
            _ if is_word && !expression.starts_with(|c: char| c.is_ascii_digit()) => {
                Some(expression.to_owned())
            }
            _ => self.evaluate(expression).await?,
        };
        match (plain, value.as_deref()) {
            ("autocommit", Some("1")) => self.commit().await?,
            ("transaction_isolation" | "tx_isolation", Some(level)) => {
                let isolation = Some(isolation::level(level)?);
                self.set_characteristics(Characteristics { isolation, read_only: None });
                return Ok(());
            }
            ("transaction_read_only" | "tx_read_only", Some(on)) => {
                let read_only = Some(on == "1");
                self.set_characteristics(Characteristics { isolation: None, read_only });
                return Ok(());
            }
            ("innodb_lock_wait_timeout", Some(seconds)) => {
                let seconds = seconds.parse().unwrap_or(50);
                self.engine.lock_timeout = Some(std::time::Duration::from_secs(seconds));
            }
            ("max_execution_time", Some(millis)) => {
                let millis = millis.parse().unwrap_or(0);
                self.engine.statement_timeout =
                    (millis > 0).then(|| std::time::Duration::from_millis(millis));
            }
            ("time_zone", Some(zone)) if !matches!(zone, "+00:00" | "UTC" | "SYSTEM") => {
                return Err(MyError::unsupported(format!("time_zone = '{zone}'")));
            }
            (name, _) if !name.starts_with('@') && !self.variables.contains_key(name) => {
                let message = format!("Unknown system variable '{name}'");
                return Err(MyError::new(ErrorKind::ER_UNKNOWN_SYSTEM_VARIABLE, message));
            }
            _ => {}
        }
        self.variables.insert(plain.to_owned(), value);
        Ok(())
    }

    /// What all transactions from the next one on are, unless they say.
    pub(super) fn set_characteristics(&mut self, said: Characteristics) {
        if let Some(isolation) = said.isolation {
            self.engine.default_isolation = isolation;
            for name in ["transaction_isolation", "tx_isolation"] {
                self.variables.insert(name.to_owned(), Some(isolation::level_name(isolation).to_owned()));
            }
        }
        if let Some(read_only) = said.read_only {
            self.engine.default_read_only = read_only;
            for name in ["transaction_read_only", "tx_read_only"] {
                self.variables.insert(name.to_owned(), Some(u8::from(read_only).to_string()));
            }
        }
    }

    /// The value of an expression.
    async fn evaluate(&mut self, expression: &str) -> Result<Option<String>> {
        let text = format!("SELECT {expression}");
        let tokens = self.planner(|planner| planner.tokens(&text))?;
        let Plan::Run(run) = self.planner(|planner| planner.plan(tokens, &text))? else {
            return Err(MyError::syntax(expression));
        };
        let sql = run.sql;
        let value = self
            .engine
            .inspect(move |connection| connection.query_row(&sql, [], |row| row.get::<_, Value>(0)));
        let value = value.await.map_err(|error| self.failure(&error, false))?;
        Ok(if value == Value::Null { None } else { Some(functions::text(&value)) })
    }

    /// SHOW VARIABLES
    pub(super) fn show_variables(&self, pattern: Option<&str>) -> Answer {
        let fits = |name: &str| pattern.is_none_or(|pattern| like(pattern, name));
        let own = self.variables.iter().filter(|(name, _)| !name.starts_with('@') && fits(name));
        let all = own.map(|(name, value)| vec![Some(name.clone()), Some(value.clone().unwrap_or_default())]);
        rows(&["Variable_name", "Value"], all.collect())
    }
}
