//! Functions of JSON and of arrays, which are kept as JSON.
//!
//! Owns paths, containment and building. Must not know operators' names. Invariant: a `jsonb` result is in its normal form.

use serde_json::Value as Json;

use super::super::error::{Condition, Result, SqlError};
use super::super::text;
use super::super::types::{SqlType, Value};
use super::{Arguments, Pure};

pub(super) const STRICT: &[(&str, Pure)] = &[
    ("x_json_get", get),
    ("x_json_path", path),
    ("x_json_contains", |a| Ok(truth(contains(&parse(a, 0)?, &parse(a, 1)?)))),
    ("x_json_exists", exists),
    ("x_json_concat", concat),
    ("x_json_remove", remove),
    ("x_json_set", set),
    ("x_json_length", length),
    ("x_json_typeof", type_of),
    ("x_jsonb", |a| Ok(text::jsonb(&parse(a, 0)?).into())),
    ("x_array_contains", array_contains),
    ("x_array_overlaps", array_overlaps),
    ("x_array_get", array_get),
    ("x_array_position", array_position),
    ("x_array_join", array_join),
    ("x_array_text", |a| Ok(text::format(&a.ty(0)?, a.value(1))?.into())),
];

pub(super) const LENIENT: &[(&str, Pure)] = &[
    ("x_to_json", |a| Ok(render(a, 1, a.text(0)? == "jsonb")?.into())),
    ("x_json_object", object),
    ("x_json_array", array),
    ("x_array", build_array),
    ("x_array_append", array_append),
];

fn truth(value: bool) -> Value {
    Value::Integer(i64::from(value))
}

fn parse(arguments: &Arguments, at: usize) -> Result<Json> {
    serde_json::from_str(arguments.text(at)?).map_err(|error| {
        SqlError::new(Condition::InvalidTextRepresentation, "invalid input syntax for type json")
            .detail(error.to_string())
    })
}

/// A part of JSON as text or as JSON; a JSON null as text is NULL.
fn result(found: Option<&Json>, as_text: bool, normal: bool) -> Value {
    match found {
        None => Value::Null,
        Some(Json::Null) if as_text => Value::Null,
        Some(Json::String(text)) if as_text => Value::Text(text.clone()),
        Some(found) => Value::Text(if normal { text::jsonb(found) } else { found.to_string() }),
    }
}

fn step<'a>(json: &'a Json, key: &str) -> Option<&'a Json> {
    match json {
        Json::Array(items) => {
            let at: i64 = key.parse().ok()?;
            let at = if at < 0 { at + items.len() as i64 } else { at };
            items.get(usize::try_from(at).ok()?)
        }
        Json::Object(fields) => fields.get(key),
        _ => None,
    }
}

/// `x_json_get(json, key or place, as text, normal form)`
fn get(arguments: &Arguments) -> Result<Value> {
    let json = parse(arguments, 0)?;
    let found = match (arguments.value(1), &json) {
        (Value::Integer(at), Json::Array(_)) => step(&json, &at.to_string()),
        (Value::Text(key), Json::Object(_)) => step(&json, key),
        _ => None,
    };
    Ok(result(found, arguments.integer(2)? != 0, arguments.integer(3)? != 0))
}

/// `x_json_path(json, array of keys, as text, normal form)`
fn path(arguments: &Arguments) -> Result<Value> {
    let json = parse(arguments, 0)?;
    let mut found = Some(&json);
    for key in keys(arguments, 1)? {
        found = found.and_then(|json| step(json, &key));
    }
    Ok(result(found, arguments.integer(2)? != 0, arguments.integer(3)? != 0))
}

fn keys(arguments: &Arguments, at: usize) -> Result<Vec<String>> {
    let items = text::elements(arguments.text(at)?)?;
    Ok(items.into_iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
}

fn contains(whole: &Json, part: &Json) -> bool {
    match (whole, part) {
        (Json::Object(whole), Json::Object(part)) => part.iter().all(|(key, value)| {
            whole.get(key).is_some_and(|found| same_kind(found, value) && contains(found, value))
        }),
        (Json::Array(whole), Json::Array(part)) => part
            .iter()
            .all(|value| whole.iter().any(|found| same_kind(found, value) && contains(found, value))),
        (Json::Array(whole), value) => whole.contains(value),
        (Json::Number(whole), Json::Number(part)) => whole.as_f64() == part.as_f64(),
        (whole, part) => whole == part,
    }
}

fn same_kind(left: &Json, right: &Json) -> bool {
    left.is_array() == right.is_array() && left.is_object() == right.is_object()
}

/// `x_json_exists(json, keys as an array, all)`
fn exists(arguments: &Arguments) -> Result<Value> {
    let json = parse(arguments, 0)?;
    let has = |key: &String| match &json {
        Json::Object(fields) => fields.contains_key(key),
        Json::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
        other => other.as_str() == Some(key),
    };
    let keys = keys(arguments, 1)?;
    Ok(truth(if arguments.integer(2)? != 0 { keys.iter().all(has) } else { keys.iter().any(has) }))
}

fn concat(arguments: &Arguments) -> Result<Value> {
    let as_list = |json: Json| match json {
        Json::Array(items) => items,
        other => vec![other],
    };
    let joined = match (parse(arguments, 0)?, parse(arguments, 1)?) {
        (Json::Object(mut left), Json::Object(right)) => {
            left.extend(right);
            Json::Object(left)
        }
        (left, right) => {
            let mut items = as_list(left);
            items.extend(as_list(right));
            Json::Array(items)
        }
    };
    Ok(text::jsonb(&joined).into())
}

/// `x_json_remove(json, key or place)`
fn remove(arguments: &Arguments) -> Result<Value> {
    let mut json = parse(arguments, 0)?;
    match (&mut json, arguments.value(1)) {
        (Json::Object(fields), Value::Text(key)) => drop(fields.shift_remove(key)),
        (Json::Array(items), Value::Text(key)) => items.retain(|item| item.as_str() != Some(key)),
        (Json::Array(items), Value::Integer(at)) => {
            let at = if *at < 0 { *at + items.len() as i64 } else { *at };
            if let Some(at) = usize::try_from(at).ok().filter(|at| *at < items.len()) {
                items.remove(at);
            }
        }
        _ => {}
    }
    Ok(text::jsonb(&json).into())
}

/// `x_json_set(json, path as an array, value, create)`
fn set(arguments: &Arguments) -> Result<Value> {
    let mut json = parse(arguments, 0)?;
    let (path, value, create) = (keys(arguments, 1)?, parse(arguments, 2)?, arguments.integer(3)? != 0);
    if let Some((last, parents)) = path.split_last() {
        let mut place = Some(&mut json);
        for key in parents {
            place = place.and_then(|json| match json {
                Json::Object(fields) => fields.get_mut(key),
                Json::Array(items) => key.parse::<usize>().ok().and_then(|at| items.get_mut(at)),
                _ => None,
            });
        }
        match place {
            Some(Json::Object(fields)) if create || fields.contains_key(last) => {
                fields.insert(last.clone(), value);
            }
            Some(Json::Array(items)) => match last.parse::<usize>().ok() {
                Some(at) if at < items.len() => items[at] = value,
                Some(_) if create => items.push(value),
                _ => {}
            },
            _ => {}
        }
    }
    Ok(text::jsonb(&json).into())
}

fn length(arguments: &Arguments) -> Result<Value> {
    match parse(arguments, 0)? {
        Json::Array(items) => Ok(Value::Integer(items.len() as i64)),
        _ => Err(SqlError::new(Condition::InvalidParameterValue, "cannot get array length of a non-array")),
    }
}

fn type_of(arguments: &Arguments) -> Result<Value> {
    let name = match parse(arguments, 0)? {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    Ok(name.to_owned().into())
}

/// A value of a type as JSON: `at` is the type's code, `at + 1` the value.
fn json_of(ty: &SqlType, value: &Value) -> Result<Json> {
    Ok(match (ty, value) {
        (_, Value::Null) => Json::Null,
        (SqlType::Bool, Value::Integer(truth)) => Json::Bool(*truth != 0),
        (SqlType::Json | SqlType::Jsonb, Value::Text(text)) => {
            serde_json::from_str(text).map_err(SqlError::internal)?
        }
        (SqlType::Array(element), Value::Text(json)) => {
            let items = text::elements(json)?;
            let items = items.iter().map(|item| json_of(element, &text::from_element(element, item)));
            Json::Array(items.collect::<Result<_>>()?)
        }
        (ty, Value::Integer(number)) if ty.is_integer() => (*number).into(),
        (_, Value::Real(number)) => (*number).into(),
        (SqlType::Numeric(_), Value::Text(number)) => {
            serde_json::from_str(number).map_err(SqlError::internal)?
        }
        (SqlType::Timestamp | SqlType::Timestamptz, value) => {
            let text = text::format(ty, value)?.unwrap_or_default().replacen(' ', "T", 1);
            Json::String(if *ty == SqlType::Timestamptz { text.replace("+00", "+00:00") } else { text })
        }
        (ty, value) => text::format(ty, value)?.into(),
    })
}

fn render(arguments: &Arguments, at: usize, normal: bool) -> Result<String> {
    let json = json_of(&arguments.ty(at)?, arguments.value(at + 1))?;
    Ok(if normal { text::jsonb(&json) } else { json.to_string() })
}

/// `x_json_object(normal form, type, key, type, value, …)`
fn object(arguments: &Arguments) -> Result<Value> {
    let normal = arguments.text(0)? == "jsonb";
    let mut fields = serde_json::Map::new();
    for at in (1..arguments.len()).step_by(4) {
        let key = text::format(&arguments.ty(at)?, arguments.value(at + 1))?.ok_or_else(|| {
            SqlError::new(Condition::NullValueNotAllowed, "argument 1: key must not be null")
        })?;
        fields.insert(key, json_of(&arguments.ty(at + 2)?, arguments.value(at + 3))?);
    }
    let json = Json::Object(fields);
    Ok(if normal { text::jsonb(&json) } else { json.to_string() }.into())
}

/// `x_json_array(normal form, type, value, …)`
fn array(arguments: &Arguments) -> Result<Value> {
    let items =
        (1..arguments.len()).step_by(2).map(|at| json_of(&arguments.ty(at)?, arguments.value(at + 1)));
    let json = Json::Array(items.collect::<Result<_>>()?);
    Ok(if arguments.text(0)? == "jsonb" { text::jsonb(&json) } else { json.to_string() }.into())
}

/// `x_array(value, …)`
fn build_array(arguments: &Arguments) -> Result<Value> {
    let items = (0..arguments.len()).map(|at| text::to_element(arguments.value(at)));
    Ok(Json::Array(items.collect()).to_string().into())
}

/// `x_array_append(array or NULL, array or NULL)`
fn array_append(arguments: &Arguments) -> Result<Value> {
    if arguments.is_null(0) && arguments.is_null(1) {
        return Ok(Value::Null);
    }
    let mut items = Vec::new();
    for at in (0..2).filter(|at| !arguments.is_null(*at)) {
        items.extend(text::elements(arguments.text(at)?)?);
    }
    Ok(Json::Array(items).to_string().into())
}

fn array_contains(arguments: &Arguments) -> Result<Value> {
    let (whole, part) = (text::elements(arguments.text(0)?)?, text::elements(arguments.text(1)?)?);
    Ok(truth(part.iter().all(|item| whole.contains(item))))
}

fn array_overlaps(arguments: &Arguments) -> Result<Value> {
    let (left, right) = (text::elements(arguments.text(0)?)?, text::elements(arguments.text(1)?)?);
    Ok(truth(left.iter().any(|item| right.contains(item))))
}

/// `x_array_get(element type, array, place)`, from 1.
fn array_get(arguments: &Arguments) -> Result<Value> {
    let items = text::elements(arguments.text(1)?)?;
    let at = usize::try_from(arguments.integer(2)? - 1).ok();
    let ty = arguments.ty(0)?;
    Ok(at.and_then(|at| items.get(at)).map_or(Value::Null, |item| text::from_element(&ty, item)))
}

fn array_position(arguments: &Arguments) -> Result<Value> {
    let wanted = text::to_element(arguments.value(1));
    let at = text::elements(arguments.text(0)?)?.iter().position(|item| *item == wanted);
    Ok(at.map_or(Value::Null, |at| Value::Integer(at as i64 + 1)))
}

/// `x_array_join(element type, array, separator)`
fn array_join(arguments: &Arguments) -> Result<Value> {
    let ty = arguments.ty(0)?;
    let mut parts = Vec::new();
    for item in text::elements(arguments.text(1)?)? {
        parts.extend(text::format(&ty, &text::from_element(&ty, &item))?);
    }
    Ok(parts.join(arguments.text(2)?).into())
}
