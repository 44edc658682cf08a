//! The simple protocol: a text of statements, answered in text.
//!
//! Owns their order, and that those outside of a transaction are one together. Must not know plans. Invariant: the first failure ends the text.

use pgwire::messages::PgWireBackendMessage as Out;
use pgwire::messages::response::EmptyQueryResponse;
use sqlparser::ast::Statement;

use super::connection::{Connection, Handled};
use super::extended::{describe_rows, is_planned, send_row};
use super::message::Messages;
use super::parsing::parse_text;
use super::utility::ends_transaction;
use crate::engine::Value;

impl Connection {
    /// Runs all statements of a text; a failure is reported, and only the socket's comes back.
    pub(crate) async fn simple_query(&mut self, messages: &mut Messages, text: &str) -> Handled {
        self.portals.remove("");
        let result = match self.statements_of(messages, text).await {
            Ok(()) => self.finish_implicit(messages).await,
            failed => failed,
        };
        match result {
            Ok(()) => Ok(()),
            Err(failure) => self.report(messages, failure).await,
        }
    }

    async fn statements_of(&mut self, messages: &mut Messages, text: &str) -> Handled {
        let statements = parse_text(text)?;
        if statements.is_empty() {
            return Ok(messages.push(&Out::EmptyQueryResponse(EmptyQueryResponse::new()))?);
        }
        for statement in &statements {
            if !ends_transaction(statement) {
                self.session.check_not_failed()?;
            }
            if is_planned(statement) {
                self.planned(messages, statement, text).await?;
            } else {
                self.park_running().await?;
                self.utility(messages, statement, text, None).await?;
            }
        }
        Ok(())
    }

    async fn planned(&mut self, messages: &mut Messages, statement: &Statement, text: &str) -> Handled {
        let (plan, _) = self.plan(statement, text, &[])?;
        self.start(&plan, Vec::<Value>::new(), text).await?;
        if !plan.columns.is_empty() {
            describe_rows(messages, &plan.columns, &[])?;
        }
        let mut sent = 0;
        let changed = loop {
            match self.session.next_batch().await? {
                Ok(batch) => {
                    for row in batch.iter().filter(|_| !plan.columns.is_empty()) {
                        send_row(messages, row, &plan.columns, &[]).await?;
                    }
                    sent += batch.len() as u64;
                }
                Err(changed) => break changed,
            }
        };
        let counted = plan.command == "SELECT" || !plan.columns.is_empty();
        self.complete(messages, &plan, if counted { sent } else { changed })
    }
}
