//! Aggregates and window functions.
//!
//! Owns which SQLite aggregate stands for each. Must not know plain functions. Invariant: an aggregate of no rows is NULL, but for counts.

use sqlparser::ast::{Expr, Function, OrderByExpr, WindowFrameBound, WindowSpec, WindowType};

use super::calls::joined;
use super::{Planner, Typed};
use crate::engine::{Condition, Result, SqlError, SqlType};
use SqlType as T;

/// All of them.
const NAMES: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "bool_and",
    "bool_or",
    "every",
    "string_agg",
    "array_agg",
    "json_agg",
    "jsonb_agg",
    "json_object_agg",
    "jsonb_object_agg",
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

impl Planner<'_> {
    /// Aggregates and window functions.
    pub(crate) fn aggregate(
        &mut self,
        name: &str,
        function: &Function,
        written: &[&Expr],
        distinct: bool,
        order_by: &[OrderByExpr],
    ) -> Result<Option<Typed>> {
        let star = written.is_empty() && function.args.to_string() == "(*)";
        let mut parts = Vec::new();
        if !NAMES.contains(&name) {
            return Ok(None);
        }
        for argument in written {
            let part = self.expression(argument)?;
            parts.push(self.decided(part)?);
        }
        let unique = if distinct { "DISTINCT " } else { "" };
        let order = if order_by.is_empty() {
            String::new()
        } else {
            format!(" ORDER BY {}", self.order_terms(order_by)?)
        };
        let (call, wrap, ty) = self.aggregate_call(name, parts, star, unique, &order)?;
        let mut sql = call;
        if let Some(filter) = &function.filter {
            let filter = self.expression(filter)?;
            sql = format!("{sql} FILTER (WHERE {})", self.boolean(filter, "FILTER")?.sql);
        }
        if let Some(over) = &function.over {
            if sql.starts_with("x_") {
                return Err(SqlError::unsupported(format!(
                    "{name} of {} as a window function",
                    ty.display_name()
                )));
            }
            sql = format!("{sql} OVER ({})", self.window(over)?);
        }
        Ok(Some(Typed::new(wrap.replacen('@', &sql, 1), ty)))
    }

    /// SQLite's call, what is done with its result (`@`), and the type.
    fn aggregate_call(
        &mut self,
        name: &str,
        parts: Vec<Typed>,
        star: bool,
        unique: &str,
        order: &str,
    ) -> Result<(String, &'static str, SqlType)> {
        let first = parts.first().cloned().unwrap_or_else(|| Typed::new("", T::Unknown));
        let code = first.ty.base().code();
        Ok(match (name, parts.len()) {
            ("count", 0) if star => ("count(*)".to_owned(), "@", T::Int8),
            ("count", 1) => (format!("count({unique}{})", first.sql), "@", T::Int8),
            ("sum", 1) if matches!(first.ty, T::Int2 | T::Int4) => {
                (format!("sum({unique}{})", first.sql), "@", T::Int8)
            }
            ("sum", 1) if first.ty.is_float() => {
                (format!("sum({unique}{})", first.sql), "@", first.ty.base())
            }
            ("sum" | "avg", 1) if first.ty.is_integer() || matches!(first.ty, T::Numeric(_)) => {
                (format!("x_{name}({unique}{})", first.sql), "@", T::Numeric(None))
            }
            ("avg", 1) if first.ty.is_float() => (format!("avg({unique}{})", first.sql), "@", T::Float8),
            ("min" | "max", 1) => {
                let value = format!("{}{}", first.sql, super::expression::collation(&first.ty));
                (format!("{name}({value})"), "@", first.ty.base())
            }
            ("bool_and" | "every", 1) => (format!("min({})", first.sql), "@", T::Bool),
            ("bool_or", 1) => (format!("max({})", first.sql), "@", T::Bool),
            ("string_agg", 2) => (format!("group_concat({unique}{}{order})", joined(&parts)), "@", T::Text),
            ("array_agg", 1) => {
                let value = if first.ty == T::Bytea {
                    format!("lower(hex({}))", first.sql)
                } else {
                    first.sql.clone()
                };
                (
                    format!("json_group_array({unique}{value}{order})"),
                    "nullif(@, '[]')",
                    first.ty.base().array(),
                )
            }
            ("json_agg" | "jsonb_agg", 1) => {
                let value = format!("json(x_to_json('json', '{code}', {}))", first.sql);
                let ty = if name == "jsonb_agg" { T::Jsonb } else { T::Json };
                (format!("json_group_array({unique}{value}{order})"), "x_jsonb(nullif(@, '[]'))", ty)
            }
            ("json_object_agg" | "jsonb_object_agg", 2) => {
                let value = format!("json(x_to_json('json', '{}', {}))", parts[1].ty.code(), parts[1].sql);
                let key = self.as_text(first)?;
                let ty = if name.starts_with("jsonb") { T::Jsonb } else { T::Json };
                (format!("json_group_object({}, {value})", key.sql), "x_jsonb(nullif(@, '{}'))", ty)
            }
            ("row_number" | "rank" | "dense_rank", 0) => (format!("{name}()"), "@", T::Int8),
            ("percent_rank" | "cume_dist", 0) => (format!("{name}()"), "@", T::Float8),
            ("ntile", 1) => (format!("ntile({})", first.sql), "@", T::Int4),
            ("lag" | "lead", 1..=3) | ("first_value" | "last_value", 1) | ("nth_value", 2) => {
                (format!("{name}({})", joined(&parts)), "@", first.ty.base())
            }
            _ => {
                let types: Vec<String> = parts.iter().map(|part| part.ty.display_name()).collect();
                let message = format!("function {name}({}) does not exist", types.join(", "));
                return Err(SqlError::new(Condition::UndefinedFunction, message));
            }
        })
    }

    fn window(&mut self, over: &WindowType) -> Result<String> {
        let WindowType::WindowSpec(WindowSpec { window_name: None, partition_by, order_by, window_frame }) =
            over
        else {
            return Err(SqlError::unsupported("a named window"));
        };
        let mut sql = String::new();
        if !partition_by.is_empty() {
            let mut parts = Vec::new();
            for part in partition_by {
                let part = self.expression(part)?;
                parts.push(self.decided(part)?.sql);
            }
            sql.push_str(&format!("PARTITION BY {} ", parts.join(", ")));
        }
        if !order_by.is_empty() {
            sql.push_str(&format!("ORDER BY {} ", self.order_terms(order_by)?));
        }
        if let Some(frame) = window_frame {
            let mut bound = |bound: &WindowFrameBound| -> Result<String> {
                Ok(match bound {
                    WindowFrameBound::CurrentRow => "CURRENT ROW".to_owned(),
                    WindowFrameBound::Preceding(None) => "UNBOUNDED PRECEDING".to_owned(),
                    WindowFrameBound::Following(None) => "UNBOUNDED FOLLOWING".to_owned(),
                    WindowFrameBound::Preceding(Some(count)) => {
                        format!("{} PRECEDING", self.expression(count)?.sql)
                    }
                    WindowFrameBound::Following(Some(count)) => {
                        format!("{} FOLLOWING", self.expression(count)?.sql)
                    }
                })
            };
            let start = bound(&frame.start_bound)?;
            let end = frame.end_bound.as_ref().map(&mut bound).transpose()?;
            sql.push_str(&match end {
                Some(end) => format!("{} BETWEEN {start} AND {end}", frame.units),
                None => format!("{} {start}", frame.units),
            });
        }
        Ok(sql)
    }
}
