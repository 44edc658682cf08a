//! ORDER BY.
//!
//! Owns what a term means: a column of the result, or an expression. Must not know SELECT. Invariant: NULL is last when ascending and first when descending,
//! unless it is said.

use sqlparser::ast::{Expr, OrderByExpr, OrderBySort, Value};

use super::expression::collation;
use super::names::name_of;
use super::{Output, Planner};
use crate::engine::{Condition, Result, SqlError, SqlType, quote};

impl Planner<'_> {
    /// A term of ORDER BY after a query: a column of its result, by number or name, or an expression.
    pub(crate) fn output_order(&mut self, term: &OrderByExpr, columns: &[Output]) -> Result<String> {
        if let Some(at) = ordinal(&term.expr) {
            let column = at.checked_sub(1).and_then(|at| columns.get(at)).ok_or_else(|| {
                let message = format!("ORDER BY position {at} is not in select list");
                SqlError::new(Condition::InvalidColumnReference, message)
            })?;
            return Ok(self.order_by_output(at, column, term));
        }
        let name = alias_of(&term.expr);
        match name.and_then(|name| columns.iter().position(|column| column.name == name)) {
            Some(at) => Ok(self.order_by_output(at + 1, &columns[at], term)),
            None => self.order_term(term),
        }
    }

    fn order_by_output(&self, number: usize, column: &Output, term: &OrderByExpr) -> String {
        let by_value = matches!(column.ty, SqlType::Enum(..) | SqlType::Interval);
        let sql = if by_value { quote(&column.name) } else { number.to_string() };
        ordered(
            &self.comparable(&sql, &if by_value { column.ty.clone() } else { SqlType::Text }, true),
            &column.ty,
            term,
        )
    }

    pub(crate) fn order_term(&mut self, term: &OrderByExpr) -> Result<String> {
        let part = self.expression(&term.expr)?;
        let part = self.decided(part)?;
        if part.ty == SqlType::Record {
            return Err(SqlError::unsupported("ORDER BY of a row"));
        }
        // A constant would be taken for the number of a column.
        let sql = if part.sql.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("+{}", part.sql)
        } else {
            part.sql
        };
        Ok(ordered(&self.comparable(&sql, &part.ty, true), &part.ty, term))
    }

    pub(crate) fn order_terms(&mut self, terms: &[OrderByExpr]) -> Result<String> {
        let terms = terms.iter().map(|term| self.order_term(term)).collect::<Result<Vec<_>>>()?;
        Ok(terms.join(", "))
    }
}

/// A term with direction and place of NULL: last when ascending, first when descending, unless it is said.
pub(crate) fn ordered(sql: &str, ty: &SqlType, term: &OrderByExpr) -> String {
    let descending = matches!(term.options.sort, Some(OrderBySort::Desc));
    let nulls_first = term.options.nulls_first.unwrap_or(descending);
    let (direction, nulls) =
        (if descending { "DESC" } else { "ASC" }, if nulls_first { "FIRST" } else { "LAST" });
    format!("{sql}{} {direction} NULLS {nulls}", collation(ty))
}

/// The number of a column, where a term is a number.
pub(crate) fn ordinal(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

pub(crate) fn alias_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(ident) => Some(name_of(ident)),
        _ => None,
    }
}
