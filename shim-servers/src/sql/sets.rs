//! Functions that give rows, where they stand in a select list.
//!
//! Owns how they come to FROM, where rows are made. Must not know what they give. Invariant: several of them go on side by side, and the shorter ones
//! end in NULL, or the statement is refused.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, ObjectName,
    Select, SelectItem, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins,
};

use super::names::split_name;
use crate::engine::{Result, SqlError};

const NAMES: &[&str] = &[
    "generate_series",
    "unnest",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "json_array_elements",
    "json_array_elements_text",
];

/// The table that they become; no name of a user begins so.
const TABLE: &str = "__rows";

/// The select with such functions in its FROM, or nothing where it has none.
pub(crate) fn moved(select: &Select) -> Result<Option<Select>> {
    let found: Vec<(usize, Function, String)> = select
        .projection
        .iter()
        .enumerate()
        .filter_map(|(at, item)| {
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
                return None;
            };
            let Expr::Function(function) = expr else { return None };
            let name = split_name(&function.name).ok()?.1;
            NAMES.contains(&name.as_str()).then(|| (at, function.clone(), name))
        })
        .collect();
    let Some((_, first, name)) = found.first() else { return Ok(None) };
    if found.len() > 1 && found.iter().any(|(_, _, name)| name != "unnest") {
        return Err(SqlError::unsupported("several functions that give rows in one select list"));
    }
    if !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty()) {
        return Err(SqlError::unsupported(format!("{name} in a select list with GROUP BY")));
    }
    let mut arguments = Vec::new();
    for (_, function, _) in &found {
        arguments.extend(plain_arguments(function)?);
    }
    let mut moved = select.clone();
    let column = |at: usize| Ident::with_quote('"', format!("__{at}"));
    for (number, (at, _, name)) in found.iter().enumerate() {
        let expr = Expr::CompoundIdentifier(vec![Ident::new(TABLE), column(number)]);
        let alias = match &select.projection[*at] {
            SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
            _ => Ident::with_quote('"', name),
        };
        moved.projection[*at] = SelectItem::ExprWithAlias { expr, alias };
    }
    let columns = (0..found.len()).map(column).map(|name| TableAliasColumnDef { name, data_type: None });
    let alias = TableAlias { explicit: true, name: Ident::new(TABLE), columns: columns.collect(), at: None };
    moved.from.push(TableWithJoins {
        relation: TableFactor::Function {
            lateral: true,
            name: ObjectName::clone(&first.name),
            args: arguments,
            with_ordinality: false,
            alias: Some(alias),
        },
        joins: Vec::new(),
    });
    Ok(Some(moved))
}

fn plain_arguments(function: &Function) -> Result<Vec<FunctionArg>> {
    match &function.args {
        FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses })
            if clauses.is_empty() =>
        {
            Ok(args.clone())
        }
        _ => Err(SqlError::unsupported(format!("the arguments of {}", function.name))),
    }
}
