//! From MySQL's expressions to SQLite's.
//!
//! Owns the names and forms of functions and operators. Must not know tables, nor run anything. Invariant: what is not
//! understood is refused by its name; nothing that SQLite would do otherwise passes unchanged.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    TableFactor, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
};

use super::error::MyError;
use super::information;
use super::json;
use super::names::{PARTS, RENAMED, SAME};
use super::sets::flatten;

/// Rewrites everything below it.
pub(super) struct Rewriter<'a> {
    pub(super) database: &'a str,
    /// Whether `||` joins texts (`PIPES_AS_CONCAT`), or is OR.
    pub(super) pipes_are_concat: bool,
    /// What could not be rewritten.
    pub(super) refused: Option<MyError>,
}

fn number(value: i64) -> Expr {
    Expr::Value(ValueWithSpan {
        value: Value::Number(value.to_string(), false),
        span: sqlparser::tokenizer::Span::empty(),
    })
}

pub(super) fn string(value: &str) -> Expr {
    let value = Value::SingleQuotedString(value.to_owned());
    Expr::Value(ValueWithSpan { value, span: sqlparser::tokenizer::Span::empty() })
}

fn name(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))])
}

/// A call of a function of SQLite's.
pub(super) fn call(function: &str, arguments: Vec<Expr>) -> Expr {
    let args =
        arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect();
    Expr::Function(Function {
        name: name(function),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(sqlparser::ast::FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn taken(expr: &mut Box<Expr>) -> Expr {
    std::mem::replace(expr.as_mut(), number(0))
}

/// The plain arguments of a call; `None` where it has others.
fn plain_arguments(function: &mut Function) -> Option<Vec<Expr>> {
    match &mut function.args {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::List(list) => std::mem::take(&mut list.args)
            .into_iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            })
            .collect(),
        FunctionArguments::Subquery(_) => None,
    }
}

/// The last part of a name: the database before it is dropped where it is the session's own.
pub(super) fn plain_name(name: &ObjectName, database: &str) -> Result<String, MyError> {
    let parts: Vec<&str> =
        name.0.iter().filter_map(|part| part.as_ident()).map(|ident| ident.value.as_str()).collect();
    match parts[..] {
        [table] => Ok(table.to_owned()),
        [schema, table] if schema.eq_ignore_ascii_case(database) => Ok(table.to_owned()),
        [schema, _] if schema.eq_ignore_ascii_case(information::SCHEMA) => {
            Err(MyError::unsupported(format!("this use of {name}")))
        }
        _ => Err(MyError::unsupported(format!("the name {name} in another database"))),
    }
}

impl Rewriter<'_> {
    /// Whether columns may be named with this schema.
    fn is_here(&self, schema: &str) -> bool {
        [self.database, information::SCHEMA].iter().any(|own| own.eq_ignore_ascii_case(schema))
    }

    fn refuse<T>(&mut self, error: MyError) -> Option<T> {
        self.refused.get_or_insert(error);
        None
    }

    fn function(&mut self, function: &mut Function) -> Option<Expr> {
        let upper = function.name.to_string().to_ascii_uppercase();
        if let FunctionArguments::List(list) = &mut function.args {
            for clause in std::mem::take(&mut list.clauses) {
                match clause {
                    FunctionArgumentClause::Separator(separator) => {
                        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(separator))));
                    }
                    other => list.clauses.push(other),
                }
            }
        }
        if SAME.contains(&upper.as_str()) {
            return None;
        }
        if upper == json::SHOWN {
            let [document, path] = <[Expr; 2]>::try_from(plain_arguments(function)?).ok()?;
            let (left, right) = (Box::new(document), Box::new(path));
            let shown = Expr::BinaryOp { left, op: BinaryOperator::Arrow, right };
            return Some(call("my_json", vec![Expr::Nested(Box::new(shown))]));
        }
        if let Some((_, own)) = RENAMED.iter().find(|(theirs, _)| *theirs == upper) {
            function.name = name(own);
            if function.args == FunctionArguments::None {
                return Some(call(own, Vec::new()));
            }
            return None;
        }
        if PARTS.contains(&upper.as_str()) || upper == "DAYOFMONTH" {
            let part = if upper == "DAYOFMONTH" { "DAY" } else { &upper };
            let arguments = plain_arguments(function)?;
            return Some(call("my_part", [vec![string(part)], arguments].concat()));
        }
        let arguments = match upper.as_str() {
            "VALUES" | "UNIX_TIMESTAMP" | "ISNULL" | "LOCATE" | "DATE_ADD" | "DATE_SUB" | "ADDDATE"
            | "SUBDATE" | "TIMESTAMPDIFF" | "TIMESTAMPADD" => plain_arguments(function)?,
            _ => {
                let message = format!("FUNCTION {}.{} does not exist", self.database, function.name);
                return self.refuse(MyError::new(super::numbers::ErrorKind::ER_SP_DOES_NOT_EXIST, message));
            }
        };
        self.with_arguments(&upper, arguments)
    }

    /// A function whose arguments are put elsewhere.
    fn with_arguments(&mut self, upper: &str, mut arguments: Vec<Expr>) -> Option<Expr> {
        match (upper, arguments.len()) {
            ("VALUES", 1) => match arguments.remove(0) {
                Expr::Identifier(column) => {
                    Some(Expr::CompoundIdentifier(vec![Ident::new("excluded"), column]))
                }
                other => self.refuse(MyError::syntax(&format!("VALUES({other})"))),
            },
            ("UNIX_TIMESTAMP", 0) => Some(call("my_unix", arguments)),
            ("UNIX_TIMESTAMP", 1) => Some(call("my_unix_of", arguments)),
            ("ISNULL", 1) => Some(Expr::Nested(Box::new(Expr::IsNull(Box::new(arguments.remove(0)))))),
            ("LOCATE", 2) => {
                arguments.swap(0, 1);
                Some(call("instr", arguments))
            }
            ("DATE_ADD" | "ADDDATE" | "DATE_SUB" | "SUBDATE", 2) => {
                let sign = if upper.contains("SUB") { -1 } else { 1 };
                let (amount, at) = (arguments.remove(1), arguments.remove(0));
                self.moved(at, amount, sign)
            }
            ("TIMESTAMPDIFF", 3) => {
                arguments[0] = string(&arguments[0].to_string().trim_matches('"').to_ascii_uppercase());
                Some(call("my_timestampdiff", arguments))
            }
            ("TIMESTAMPADD", 3) => {
                let unit = string(&arguments[0].to_string().trim_matches('"').to_ascii_uppercase());
                let (at, amount) = (arguments.remove(2), arguments.remove(1));
                Some(call("my_date_move", vec![at, amount, unit]))
            }
            _ => {
                let message = format!("Incorrect parameter count in the call to native function '{upper}'");
                self.refuse(MyError::new(
                    super::numbers::ErrorKind::ER_WRONG_PARAMCOUNT_TO_NATIVE_FCT,
                    message,
                ))
            }
        }
    }

    /// A point in time, moved by an interval.
    fn moved(&mut self, at: Expr, interval: Expr, sign: i64) -> Option<Expr> {
        let Expr::Interval(interval) = interval else {
            return Some(call("my_date_move", vec![at, interval, string("DAY")]));
        };
        let Some(unit) = &interval.leading_field else {
            return self.refuse(MyError::unsupported(interval.to_string()));
        };
        let unit = unit.to_string().to_ascii_uppercase();
        let amount = match sign {
            1 => *interval.value,
            _ => Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr: Box::new(Expr::Nested(Box::new(call("my_number", vec![*interval.value])))),
            },
        };
        Some(call("my_date_move", vec![at, amount, string(&unit)]))
    }

    fn operator(&mut self, left: &mut Box<Expr>, op: &BinaryOperator, right: &mut Box<Expr>) -> Option<Expr> {
        let joined = |left: &mut Box<Expr>, op, right: &mut Box<Expr>| {
            let (left, right) = (Box::new(taken(left)), Box::new(taken(right)));
            Some(Expr::Nested(Box::new(Expr::BinaryOp { left, op, right })))
        };
        match op {
            BinaryOperator::Plus | BinaryOperator::Minus
                if matches!(**right, Expr::Interval(_)) || matches!(**left, Expr::Interval(_)) =>
            {
                let sign = if *op == BinaryOperator::Minus { -1 } else { 1 };
                let (at, interval) = match **left {
                    Expr::Interval(_) => (taken(right), taken(left)),
                    _ => (taken(left), taken(right)),
                };
                self.moved(at, interval, sign)
            }
            BinaryOperator::Divide => {
                let (left, right) = (call("my_number", vec![taken(left)]), taken(right));
                let op = BinaryOperator::Divide;
                Some(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) })
            }
            BinaryOperator::MyIntegerDivide => Some(call("my_div", vec![taken(left), taken(right)])),
            BinaryOperator::Spaceship => {
                let (left, right) = (taken(left), taken(right));
                Some(Expr::Nested(Box::new(Expr::IsNotDistinctFrom(Box::new(left), Box::new(right)))))
            }
            BinaryOperator::StringConcat if self.pipes_are_concat => {
                Some(call("my_concat", vec![taken(left), taken(right)]))
            }
            BinaryOperator::StringConcat => joined(left, BinaryOperator::Or, right),
            BinaryOperator::PGOverlap => joined(left, BinaryOperator::And, right),
            BinaryOperator::Xor => {
                let truth = |expr| Expr::Nested(Box::new(Expr::IsTrue(Box::new(expr))));
                let (left, right) = (truth(taken(left)), truth(taken(right)));
                let op = BinaryOperator::NotEq;
                Some(Expr::Nested(Box::new(Expr::BinaryOp {
                    left: Box::new(left),
                    op,
                    right: Box::new(right),
                })))
            }
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
                if !is_column(left) && !is_column(right) =>
            {
                // Texts that are no column's compare as the connection does.
                let (expr, collation) = (Box::new(taken(right)), name("NOCASE"));
                **right = Expr::Collate { expr, collation };
                None
            }
            BinaryOperator::Arrow => Some(call("json_extract", vec![taken(left), taken(right)])),
            BinaryOperator::BitwiseXor => self.refuse(MyError::unsupported("^")),
            _ => None,
        }
    }

    fn cast(&mut self, expr: Expr, data_type: &DataType) -> Option<Expr> {
        Some(match data_type {
            DataType::Signed | DataType::SignedInteger | DataType::Unsigned | DataType::UnsignedInteger => {
                call("my_signed", vec![expr])
            }
            DataType::Decimal(info) => {
                let scale = match info {
                    ExactNumberInfo::PrecisionAndScale(_, scale) => *scale,
                    _ => 0,
                };
                call("my_decimal", vec![expr, number(scale)])
            }
            DataType::Date => call("my_date", vec![expr]),
            DataType::Time(..) => call("my_time", vec![expr]),
            DataType::Datetime(_) => call("my_datetime", vec![expr]),
            DataType::Float(_) | DataType::Double(_) | DataType::Real => call("my_number", vec![expr]),
            DataType::Char(_) | DataType::JSON => plain_cast(expr, DataType::Text),
            DataType::Binary(_) => plain_cast(expr, DataType::Blob(None)),
            other => return self.refuse(MyError::unsupported(format!("CAST to {other}"))),
        })
    }

    fn rewrite(&mut self, expr: &mut Expr) -> Option<Expr> {
        match expr {
            Expr::Function(function) => self.function(function),
            Expr::BinaryOp { left, op, right } => {
                let op = op.clone();
                self.operator(left, &op, right)
            }
            Expr::UnaryOp { op: UnaryOperator::BangNot, expr } => Some(Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr: Box::new(Expr::Nested(Box::new(taken(expr)))),
            }),
            Expr::Value(ValueWithSpan { value, .. }) => match value {
                Value::DoubleQuotedString(text) | Value::NationalStringLiteral(text) => Some(string(text)),
                Value::Number(text, _) if text.starts_with("0x") => {
                    let hex = format!("{:0>width$}", &text[2..], width = text.len() / 2 * 2);
                    Some(Expr::Value(Value::HexStringLiteral(hex).into()))
                }
                _ => None,
            },
            // SQLite has other words that are no names.
            Expr::Identifier(name) => {
                *name = Ident::with_quote('"', name.value.clone());
                None
            }
            Expr::Prefixed { value, .. } => Some(taken(value)),
            Expr::TypedString(typed) => Some(Expr::Value(typed.value.clone())),
            Expr::Cast { expr, data_type, kind: CastKind::Cast, .. } => {
                let (expr, data_type) = (taken(expr), data_type.clone());
                self.cast(expr, &data_type)
            }
            Expr::Convert { expr, data_type: Some(data_type), .. } => {
                let (expr, data_type) = (taken(expr), data_type.clone());
                self.cast(expr, &data_type)
            }
            Expr::Convert { expr, .. } => Some(taken(expr)),
            Expr::Extract { field, expr, .. } => {
                Some(call("my_part", vec![string(&field.to_string().to_ascii_uppercase()), taken(expr)]))
            }
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                let parts = [
                    Some(taken(expr)),
                    substring_from.as_mut().map(taken),
                    substring_for.as_mut().map(taken),
                ];
                Some(call("substr", parts.into_iter().flatten().collect()))
            }
            Expr::Position { expr, r#in } => Some(call("instr", vec![taken(r#in), taken(expr)])),
            Expr::Collate { expr, collation } => {
                let own = if collation.to_string().ends_with("bin") { "BINARY" } else { "NOCASE" };
                let (expr, collation) = (Box::new(taken(expr)), name(own));
                Some(Expr::Collate { expr, collation })
            }
            Expr::Like { escape_char: escape @ None, .. } => {
                *escape = Some(Box::new(string("\\")));
                None
            }
            Expr::RLike { .. } => self.refuse(MyError::unsupported("REGEXP")),
            Expr::MatchAgainst { .. } => self.refuse(MyError::unsupported("MATCH")),
            Expr::CompoundIdentifier(parts) if parts.len() == 3 => {
                if !self.is_here(&parts[0].value) {
                    return self.refuse(MyError::unsupported("a column of another database"));
                }
                Some(Expr::CompoundIdentifier(quoted(&parts[1..])))
            }
            Expr::CompoundIdentifier(parts) => Some(Expr::CompoundIdentifier(quoted(parts))),
            _ => None,
        }
    }
}

fn quoted(parts: &[Ident]) -> Vec<Ident> {
    parts.iter().map(|part| Ident::with_quote('"', part.value.clone())).collect()
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Collate { .. } => true,
        Expr::Nested(inner) => is_column(inner),
        _ => false,
    }
}

fn plain_cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, format: None }
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(new) = self.rewrite(expr) {
            *expr = new;
        }
        if self.refused.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        // What is locked is the database, by whoever asks for this.
        query.locks.clear();
        flatten(&mut query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        select.optimizer_hints.clear();
        select.select_modifiers = None;
        let is_dual = |factor: &TableFactor| matches!(factor, TableFactor::Table { name, .. } if name.to_string().eq_ignore_ascii_case("dual"));
        select.from.retain(|table| !is_dual(&table.relation));
        for item in &mut select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                *alias = Ident::with_quote('"', alias.value.clone());
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name: table, index_hints, alias, .. } = factor {
            index_hints.clear();
            if let Some(alias) = alias {
                alias.name = Ident::with_quote('"', alias.name.value.clone());
            }
            match plain_name(table, self.database) {
                Ok(plain) => {
                    *table = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', plain))])
                }
                Err(error) => {
                    self.refused.get_or_insert(error);
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// Rewrites one part of a statement.
pub(super) fn rewrite<T: VisitMut>(
    part: &mut T,
    database: &str,
    pipes_are_concat: bool,
) -> Result<(), MyError> {
    let mut rewriter = Rewriter { database, pipes_are_concat, refused: None };
    let _ = part.visit(&mut rewriter);
    rewriter.refused.map_or(Ok(()), Err)
}
