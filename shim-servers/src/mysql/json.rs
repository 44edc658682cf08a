//! JSON that a query shows. In MySQL a part of a document is JSON, and compares with plain values all the same; in SQLite it is
//! one or the other.
//!
//! Owns where it is which: JSON in the list of what a query shows, a plain value elsewhere. Must not run anything. Invariant: no user can write
//! the name of [`SHOWN`].

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArguments, Ident, ObjectName, ObjectNamePart, SelectItem, SetExpr,
};

use super::rewrite::call;

/// The function that is put in the place of `JSON_EXTRACT`, until the rewriter comes to it.
pub(super) const SHOWN: &str = "\u{1}JSON";

/// Marks what a query shows as JSON: `JSON_EXTRACT` with one path, and `->`.
pub(super) fn show(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                    mark(expr);
                }
            }
        }
        SetExpr::Query(query) => show(&mut query.body),
        SetExpr::SetOperation { left, right, .. } => {
            show(left);
            show(right);
        }
        _ => {}
    }
}

fn mark(expr: &mut Expr) {
    match expr {
        Expr::Function(function) if is_extract(function) => {
            function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(SHOWN))]);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Arrow, right } => {
            *expr = call(SHOWN, vec![left.as_ref().clone(), right.as_ref().clone()]);
        }
        Expr::Nested(inner) => mark(inner),
        _ => {}
    }
}

fn is_extract(function: &Function) -> bool {
    let has_one_path = matches!(&function.args, FunctionArguments::List(list) if list.args.len() == 2);
    has_one_path && function.name.to_string().eq_ignore_ascii_case("JSON_EXTRACT")
}
