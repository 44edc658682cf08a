//! Results: the types of their columns, and rows that no table has.
//!
//! Owns what is announced before rows. Must not run anything. Invariant: a column has the type that all its values have.

use super::plan::Hint;
use super::session::{Answer, ResultColumn};
use super::types::{ColumnType, Kind};
use crate::engine::{Batch, Value};

pub(super) fn text_column(name: &str) -> ResultColumn {
    let ty = ColumnType::of_value(&Value::Null);
    ResultColumn { wire: ty.column("", name, false), ty }
}

/// Expressions get the type that is known of them, or that of their first value.
pub(super) fn typed(
    mut columns: Vec<ResultColumn>,
    rows: &Batch,
    hints: &[Option<Hint>],
) -> Vec<ResultColumn> {
    let has_all = hints.len() == columns.len();
    for (at, column) in
        columns.iter_mut().enumerate().filter(|(_, column)| column.wire.table_ref().is_empty())
    {
        let Some(value) = rows.iter().map(|row| &row[at]).find(|value| **value != Value::Null) else {
            continue;
        };
        let is_real = rows.iter().any(|row| matches!(row[at], Value::Real(_)));
        column.ty = match hints.get(at).filter(|_| has_all).and_then(Option::as_ref) {
            Some(Hint::Is(ty)) => ty.clone(),
            Some(Hint::Sum { is_average, scale }) => {
                let scale = scale.or((!is_real).then_some(0));
                scale.map_or_else(
                    || ColumnType::of_value(&Value::Real(0.0)),
                    |scale| {
                        let scale = if *is_average { scale + 4 } else { scale };
                        let text = format!("decimal(65,{scale})");
                        ColumnType { kind: Kind::Decimal { precision: 65, scale }, text }
                    },
                )
            }
            None if is_real => ColumnType::of_value(&Value::Real(0.0)),
            None => ColumnType::of_value(value),
        };
        column.wire = column.ty.column("", &column.wire.name_str(), false);
    }
    columns
}

pub(super) fn rows(names: &[&str], all: Vec<Vec<Option<String>>>) -> Answer {
    let value = |value: Option<String>| value.map_or(Value::Null, Value::Text);
    let first = all.into_iter().map(|row| row.into_iter().map(value).collect()).collect();
    Answer::Rows { columns: names.iter().map(|name| text_column(name)).collect(), first }
}

/// LIKE with `%` and `_`, for names.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let (mut pattern_chars, mut text_chars) = (pattern.chars(), text.chars());
    match pattern_chars.next() {
        None => text.is_empty(),
        Some('%') => {
            let rest = pattern_chars.as_str();
            (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| like(rest, &text[at..]))
        }
        Some(own) => text_chars.next().is_some_and(|c| {
            (own == '_' || own.eq_ignore_ascii_case(&c)) && like(pattern_chars.as_str(), text_chars.as_str())
        }),
    }
}
