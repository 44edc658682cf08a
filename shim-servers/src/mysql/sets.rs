//! UNION and its kin, whose members MySQL lets be in parentheses, and SQLite does not.
//!
//! Owns the form of members. Must not look into them. Invariant: what belonged together by parentheses or precedence still does.

use sqlparser::ast::{Query, SetExpr, Statement};
use sqlparser::dialect::SQLiteDialect;
use sqlparser::parser::Parser;

/// Takes parentheses off, or makes queries of their own of what needs them.
pub(super) fn flatten(body: &mut SetExpr) {
    match body {
        SetExpr::Query(query) => match plain(query) {
            Some(inner) => {
                *body = inner;
                flatten(body);
            }
            None => *body = selected(body),
        },
        SetExpr::SetOperation { left, right, .. } => {
            flatten(left);
            // SQLite reads from left to right, whatever the operators are.
            match right.as_mut() {
                SetExpr::Query(query) => {
                    let single = plain(query).filter(|inner| matches!(inner, SetExpr::Select(_)));
                    **right = single.unwrap_or_else(|| selected(right));
                }
                SetExpr::SetOperation { .. } => **right = selected(right),
                _ => {}
            }
        }
        _ => {}
    }
}

/// The body of a query that is nothing but its body.
fn plain(query: &Query) -> Option<SetExpr> {
    let has_more = query.with.is_some() || query.order_by.is_some() || query.limit_clause.is_some();
    (!has_more).then(|| query.body.as_ref().clone())
}

/// `SELECT * FROM (body)`
fn selected(body: &SetExpr) -> SetExpr {
    let text = match body {
        SetExpr::Query(_) => format!("SELECT * FROM {body}"),
        body => format!("SELECT * FROM ({body})"),
    };
    let mut read = Parser::parse_sql(&SQLiteDialect {}, &text).unwrap_or_default();
    match read.pop() {
        Some(Statement::Query(query)) => *query.body,
        // It is refused by SQLite then.
        _ => body.clone(),
    }
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::MySqlDialect;

    use super::*;

    fn flat(text: &str) -> String {
        let mut read = Parser::parse_sql(&MySqlDialect {}, text).expect("a statement");
        let Some(Statement::Query(mut query)) = read.pop() else { panic!("{text}") };
        flatten(&mut query.body);
        query.to_string()
    }

    #[test]
    fn members_lose_their_parentheses() {
        assert_eq!(flat("(SELECT 1) UNION ALL (SELECT 2)"), "SELECT 1 UNION ALL SELECT 2");
        assert_eq!(flat("((SELECT 1))"), "SELECT 1");
        assert_eq!(flat("(SELECT 1) UNION (SELECT 2) ORDER BY 1"), "SELECT 1 UNION SELECT 2 ORDER BY 1");
        assert_eq!(
            flat("(SELECT 1 UNION SELECT 2) EXCEPT SELECT 3"),
            "SELECT 1 UNION SELECT 2 EXCEPT SELECT 3"
        );
    }

    #[test]
    fn what_needs_them_becomes_a_query() {
        let limited = "SELECT * FROM (SELECT a FROM t ORDER BY a LIMIT 1)";
        assert_eq!(
            flat("(SELECT a FROM t ORDER BY a LIMIT 1) UNION ALL (SELECT a FROM t ORDER BY a LIMIT 1)"),
            format!("{limited} UNION ALL {limited}")
        );
        let expected = "SELECT 1 UNION ALL SELECT * FROM (SELECT 2 INTERSECT SELECT 3)";
        assert_eq!(flat("SELECT 1 UNION ALL SELECT 2 INTERSECT SELECT 3"), expected);
        assert_eq!(flat("SELECT 1 UNION ALL (SELECT 2 INTERSECT SELECT 3)"), expected);
    }
}
