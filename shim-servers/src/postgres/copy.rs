//! COPY FROM STDIN and COPY TO STDOUT, as text, as CSV and in binary.
//!
//! Owns both formats of lines. Must not know types but by their text. Invariant: the rows of one COPY are stored all or not at all.

use bytes::Bytes;
use pgwire::messages::copy::{CopyData, CopyDone, CopyInResponse, CopyOutResponse};
use pgwire::messages::{PgWireBackendMessage as Out, PgWireFrontendMessage as In};
use sqlparser::ast::{
    CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource, CopyTarget, Ident, Statement,
};

use super::connection::{Connection, Handled};
use super::copy_binary;
use super::message::Messages;
use super::parsing::parse_text;
use crate::engine::{Condition, Result, SqlError, SqlType, Value, Work, format, parse, quote};
use crate::sql::{name_of, split_name};

/// How lines are written.
struct Form {
    binary: bool,
    csv: bool,
    header: bool,
    delimiter: char,
    null: String,
    quote: char,
    escape: char,
}

impl Form {
    fn of(options: &[CopyOption]) -> Result<Self> {
        let is = |wanted: &str| {
            options.iter().any(
                |option| matches!(option, CopyOption::Format(name) if name.value.eq_ignore_ascii_case(wanted)),
            )
        };
        let (csv, binary) = (is("csv"), is("binary"));
        let (delimiter, null) = if csv { (',', "") } else { ('\t', "\\N") };
        let null = null.to_owned();
        let mut form = Self { binary, csv, header: false, delimiter, null, quote: '"', escape: '"' };
        for option in options {
            match option {
                CopyOption::Format(name)
                    if ["csv", "text", "binary"].contains(&name.value.to_lowercase().as_str()) => {}
                other if binary => {
                    let message = format!("cannot specify {other} in BINARY mode");
                    return Err(SqlError::new(Condition::SyntaxError, message));
                }
                CopyOption::Header(on) => form.header = *on,
                CopyOption::Delimiter(c) => form.delimiter = *c,
                CopyOption::Null(text) => form.null.clone_from(text),
                CopyOption::Quote(c) => form.quote = *c,
                CopyOption::Escape(c) => form.escape = *c,
                other => return Err(SqlError::unsupported(format!("COPY with {other}"))),
            }
        }
        Ok(form)
    }
}

impl Connection {
    /// Does a COPY; its command tag.
    pub(super) async fn copy(
        &mut self,
        messages: &mut Messages,
        statement: &Statement,
        text: &str,
    ) -> Handled<String> {
        let Statement::Copy { source, to, target, options, legacy_options, .. } = statement else {
            return Err(SqlError::internal("no COPY").into());
        };
        let mut all = options.clone();
        for option in legacy_options {
            all.extend(modern(option)?);
        }
        let form = Form::of(&all)?;
        match (to, target) {
            // PostgreSQL takes either word for the client.
            (true, CopyTarget::Stdout | CopyTarget::Stdin) => self.copy_out(messages, source, &form).await,
            (false, CopyTarget::Stdout | CopyTarget::Stdin) => {
                self.copy_in(messages, source, &form, text).await
            }
            _ => Err(SqlError::unsupported("COPY with a file or a program").into()),
        }
    }

    async fn copy_out(
        &mut self,
        messages: &mut Messages,
        source: &CopySource,
        form: &Form,
    ) -> Handled<String> {
        let query = match source {
            CopySource::Query(query) => query.to_string(),
            CopySource::Table { table_name, columns } if columns.is_empty() => {
                format!("SELECT * FROM {table_name}")
            }
            CopySource::Table { table_name, columns } => {
                let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
                format!("SELECT {} FROM {table_name}", columns.join(", "))
            }
        };
        let statements = parse_text(&query)?;
        let statement = statements.first().ok_or_else(|| SqlError::internal("no query to copy"))?;
        let (plan, _) = self.plan(statement, &query, &[])?;
        let access = plan.access;
        let work = Work {
            sql: plan.sql.clone(),
            access,
            target: plan.target.clone(),
            command: "COPY",
            ..Work::default()
        };
        self.session.start(work).await?;
        let (overall, width) = (i8::from(form.binary), plan.columns.len());
        let formats = vec![i16::from(form.binary); width];
        messages.push(&Out::CopyOutResponse(CopyOutResponse::new(overall, width as i16, formats)))?;
        // It comes in one message with what follows it, as clients of PostgreSQL are used to.
        let mut binary = copy_binary::header();
        if form.header {
            let names = plan.columns.iter().map(|column| Some(column.name.clone())).collect();
            send_line(messages, form, names).await?;
        }
        let mut count: u64 = 0;
        while let Ok(batch) = self.session.next_batch().await? {
            for row in batch {
                count += 1;
                if form.binary {
                    let types = plan.columns.iter().map(|column| &column.ty);
                    copy_binary::put_row(types.zip(&row), &mut binary)?;
                    send_data(messages, binary.split().freeze()).await?;
                    continue;
                }
                let mut texts = Vec::new();
                for (value, column) in row.iter().zip(&plan.columns) {
                    texts.push(format(&column.ty, value)?);
                }
                send_line(messages, form, texts).await?;
            }
        }
        if form.binary {
            copy_binary::put_trailer(&mut binary);
            send_data(messages, binary.freeze()).await?;
        }
        messages.push(&Out::CopyDone(CopyDone::new()))?;
        Ok(format!("COPY {count}"))
    }

    async fn copy_in(
        &mut self,
        messages: &mut Messages,
        source: &CopySource,
        form: &Form,
        text: &str,
    ) -> Handled<String> {
        let CopySource::Table { table_name, columns } = source else {
            return Err(SqlError::new(Condition::SyntaxError, "COPY query cannot be used with FROM").into());
        };
        let (schema, table) = split_name(table_name)?;
        let (catalog, path) = (self.session.catalog(), self.search_path());
        let relation = catalog.relation(schema.as_deref(), &table, &path).ok_or_else(|| {
            SqlError::new(Condition::UndefinedTable, format!("relation \"{table}\" does not exist"))
        })?;
        let names: Vec<String> = if columns.is_empty() {
            relation.columns.iter().map(|column| column.name.clone()).collect()
        } else {
            columns.iter().map(name_of).collect()
        };
        let mut types = Vec::new();
        for name in &names {
            let column = relation.column(name).ok_or_else(|| {
                let message = format!("column \"{name}\" of relation \"{table}\" does not exist");
                SqlError::new(Condition::UndefinedColumn, message)
            })?;
            types.push(column.ty.clone());
        }
        let listed: Vec<String> = names.iter().map(|name| quote(name)).collect();
        let places: Vec<String> = (1..=names.len()).map(|at| format!("${at}")).collect();
        let insert =
            format!("INSERT INTO {table_name} ({}) VALUES ({})", listed.join(", "), places.join(", "));
        let statements = parse_text(&insert)?;
        let statement = statements.first().ok_or_else(|| SqlError::internal("no statement to copy with"))?;
        let (plan, _) = self.plan(statement, text, &types)?;
        let formats = vec![i16::from(form.binary); names.len()];
        let response = CopyInResponse::new(i8::from(form.binary), names.len() as i16, formats);
        messages.push(&Out::CopyInResponse(response))?;
        messages.flush().await?;
        let data = self.copied_data(messages).await?;
        let rows = if form.binary {
            copy_binary::rows(data, &types, &catalog)?
        } else {
            parsed(&data, form, &names, &types, &table)?
        };
        let mut count: u64 = 0;
        for params in rows {
            let work = Work {
                sql: plan.sql.clone(),
                params,
                access: plan.access,
                target: plan.target.clone(),
                command: "COPY",
            };
            self.session.execute(work).await?;
            count += 1;
        }
        Ok(format!("COPY {count}"))
    }

    /// All that the client sends until it is done.
    async fn copied_data(&mut self, messages: &mut Messages) -> Handled<Vec<u8>> {
        let mut data = Vec::new();
        loop {
            match messages.read().await? {
                Some(In::CopyData(part)) => data.extend_from_slice(&part.data),
                Some(In::CopyDone(_)) => return Ok(data),
                Some(In::CopyFail(failed)) => {
                    let message = format!("COPY from stdin failed: {}", failed.message);
                    return Err(SqlError::new(Condition::QueryCanceled, message).into());
                }
                Some(In::Flush(_) | In::Sync(_)) => {}
                None => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
                Some(other) => {
                    let message = format!("unexpected message during COPY from stdin: {other:?}");
                    return Err(SqlError::new(Condition::ProtocolViolation, message).into());
                }
            }
        }
    }
}

/// An option of the old syntax as those of the new one.
fn modern(option: &CopyLegacyOption) -> Result<Vec<CopyOption>> {
    let form = |name: &str| CopyOption::Format(Ident::new(name));
    Ok(match option {
        CopyLegacyOption::Binary => vec![form("binary")],
        CopyLegacyOption::Delimiter(c) => vec![CopyOption::Delimiter(*c)],
        CopyLegacyOption::Null(text) => vec![CopyOption::Null(text.clone())],
        CopyLegacyOption::Header => vec![CopyOption::Header(true)],
        CopyLegacyOption::Csv(options) => {
            let mut all = vec![form("csv")];
            for option in options {
                all.push(match option {
                    CopyLegacyCsvOption::Header => CopyOption::Header(true),
                    CopyLegacyCsvOption::Quote(c) => CopyOption::Quote(*c),
                    CopyLegacyCsvOption::Escape(c) => CopyOption::Escape(*c),
                    other => return Err(SqlError::unsupported(format!("COPY with {other}"))),
                });
            }
            all
        }
        other => return Err(SqlError::unsupported(format!("COPY with {other}"))),
    })
}

/// The values of all lines.
fn parsed(
    data: &[u8],
    form: &Form,
    names: &[String],
    types: &[SqlType],
    table: &str,
) -> Result<Vec<Vec<Value>>> {
    let lines = rows(data, form)?.into_iter().enumerate().skip(usize::from(form.header));
    let values = lines.map(|(number, fields)| {
        check_width(&fields, names, table, number + 1)?;
        let value = |(field, ty): (&Option<String>, &SqlType)| {
            field.as_ref().map_or(Ok(Value::Null), |text| parse(ty, text))
        };
        fields.iter().zip(types).map(value).collect()
    });
    values.collect()
}

/// A line has to have one field for each column.
fn check_width(fields: &[Option<String>], names: &[String], table: &str, line: usize) -> Result<()> {
    if fields.len() == names.len() {
        return Ok(());
    }
    let message = match names.get(fields.len()) {
        Some(name) => format!("missing data for column \"{name}\""),
        None => "extra data after last expected column".to_owned(),
    };
    Err(SqlError::new(Condition::BadCopyFileFormat, message).detail(format!("COPY {table}, line {line}")))
}

async fn send_line(messages: &mut Messages, form: &Form, fields: Vec<Option<String>>) -> Handled {
    let fields: Vec<String> = fields.into_iter().map(|field| written(form, field)).collect();
    let line = fields.join(&form.delimiter.to_string()) + "\n";
    send_data(messages, Bytes::from(line)).await
}

async fn send_data(messages: &mut Messages, data: Bytes) -> Handled {
    Ok(messages.send(Out::CopyData(CopyData::new(data))).await?)
}

fn written(form: &Form, field: Option<String>) -> String {
    let Some(field) = field else { return form.null.clone() };
    if form.csv {
        let special = |c: char| c == form.delimiter || c == form.quote || c == '\n' || c == '\r';
        if !field.contains(special) && field != form.null {
            return field;
        }
        let quoted = field.replace(form.quote, &format!("{}{}", form.escape, form.quote));
        return format!("{0}{quoted}{0}", form.quote);
    }
    let mut text = String::new();
    for c in field.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c == form.delimiter => text.extend(['\\', c]),
            c => text.push(c),
        }
    }
    text
}

/// The fields of all lines.
fn rows(data: &[u8], form: &Form) -> Result<Vec<Vec<Option<String>>>> {
    let text = std::str::from_utf8(data).map_err(|_| {
        SqlError::new(Condition::InvalidTextRepresentation, "invalid byte sequence for encoding \"UTF8\"")
    })?;
    if form.csv {
        return csv_rows(text, form);
    }
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let lines = lines.take_while(|line| *line != "\\.");
    let mut lines: Vec<&str> = lines.collect();
    if lines.last() == Some(&"") {
        lines.pop();
    }
    Ok(lines.into_iter().map(|line| text_fields(line, form)).collect())
}

fn text_fields(line: &str, form: &Form) -> Vec<Option<String>> {
    let mut fields = Vec::new();
    let (mut raw, mut field) = (String::new(), String::new());
    let mut letters = line.chars();
    loop {
        match letters.next() {
            Some('\\') => {
                let next = letters.next().unwrap_or('\\');
                raw.extend(['\\', next]);
                field.push(match next {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    other => other,
                });
            }
            Some(c) if c != form.delimiter => {
                raw.push(c);
                field.push(c);
            }
            end => {
                fields.push((raw != form.null).then(|| std::mem::take(&mut field)));
                (raw, field) = (String::new(), String::new());
                if end.is_none() {
                    return fields;
                }
            }
        }
    }
}

fn csv_rows(text: &str, form: &Form) -> Result<Vec<Vec<Option<String>>>> {
    let mut rows = Vec::new();
    let mut letters = text.chars().peekable();
    while letters.peek().is_some() {
        let mut fields = Vec::new();
        let (mut field, mut quoted, mut inside) = (String::new(), false, false);
        loop {
            match letters.next() {
                Some(c) if inside && c == form.escape && letters.peek() == Some(&form.quote) => {
                    field.extend(letters.next());
                }
                Some(c) if c == form.quote => (inside, quoted) = (!inside, true),
                Some(c) if inside => field.push(c),
                None if inside => {
                    return Err(SqlError::new(Condition::BadCopyFileFormat, "unterminated CSV quoted field"));
                }
                Some('\r') if letters.peek() == Some(&'\n') => {}
                Some(c) if c != form.delimiter && c != '\n' => field.push(c),
                end => {
                    fields.push((quoted || field != form.null).then(|| std::mem::take(&mut field)));
                    (field, quoted) = (String::new(), false);
                    if end != Some(form.delimiter) {
                        break;
                    }
                }
            }
        }
        rows.push(fields);
    }
    Ok(rows)
}
