//! What a crate offers, one entry for each item: its name, its kind, its signature, and a line of Rust that compiles
//! only where the item is there with that signature.
//!
//! Must not know of which crate. Invariant: entries are ordered by name and signature, and equal crates have equal
//! entries.

use serde_json::Value;

use super::index::{Index, inner};
use super::print::Printer;

/// One public item.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Its name below `tokio::`.
    pub(crate) name: String,
    /// What it is, with its signature.
    pub(crate) what: String,
    /// A line that compiles only where it is there.
    pub(crate) check: String,
}

/// Every public item of `index`.
pub(crate) fn all(index: &Index) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (name, (kind, id)) in &index.listed {
        // Names behind another name of the same item are names all the same.
        let check = format!("const _: () = {{ #[allow(unused_imports)] use tokio::{name} as _Item; }};");
        let item = id.and_then(|id| index.item(id));
        if *kind == "fn" {
            let printed = item.and_then(|item| function(index, item, None, &format!("tokio::{name}")));
            let (what, check) = printed.unwrap_or_else(|| ("fn".to_owned(), check));
            entries.push(Entry { name: name.clone(), what, check });
            continue;
        }
        entries.push(Entry { name: name.clone(), what: (*kind).to_owned(), check });
        if let Some(item) = item {
            members(index, item, name, &mut entries);
        }
    }
    for item in index.items() {
        if inner(item).0 == "impl" {
            implementation(index, inner(item).1, &mut entries);
        }
    }
    entries.sort();
    entries.dedup_by(|a, b| a.name == b.name && a.what == b.what);
    entries
}

/// Variants and public fields.
fn members(index: &Index, item: &Value, name: &str, entries: &mut Vec<Entry>) {
    let (kind, value) = inner(item);
    if kind == "enum" {
        for id in value["variants"].as_array().into_iter().flatten().filter_map(Value::as_u64) {
            let Some(variant) = index.item(id).and_then(|variant| variant["name"].as_str()) else { continue };
            let check = format!(
                "const _: () = {{ #[allow(unused_imports)] use tokio::{name}::{variant} as _Item; }};"
            );
            entries.push(Entry { name: format!("{name}::{variant}"), what: "variant".to_owned(), check });
        }
    }
    if kind == "struct" {
        let fields = value["kind"]["plain"]["fields"].as_array().into_iter().flatten();
        for field in fields.filter_map(Value::as_u64).filter_map(|id| index.item(id)) {
            let printer = Printer { index, own: None, elided: None };
            let (Some(field_name), Some(ty)) = (field["name"].as_str(), printer.ty(inner(field).1)) else {
                continue;
            };
            if field["visibility"] == "public" {
                let check = format!("fn _item(own: tokio::{name}) -> {ty} {{ own.{field_name} }}");
                entries.push(Entry {
                    name: format!("{name}.{field_name}"),
                    what: format!("field {ty}"),
                    check,
                });
            }
        }
    }
}

fn implementation(index: &Index, value: &Value, entries: &mut Vec<Entry>) {
    let Some(id) = value["for"]["resolved_path"]["id"].as_u64() else { return };
    // A destructor is nobody's interface; an implementation for everybody is not the type's.
    let is_drop =
        value["trait"]["path"].as_str().is_some_and(|path| path.rsplit("::").next() == Some("Drop"));
    if !value["blanket_impl"].is_null() || is_drop {
        return;
    }
    let printer = Printer { index, own: None, elided: None };
    let (Some(name), Some(own)) = (index.name(id), printer.ty(&value["for"])) else { return };
    if value["trait"].is_null() {
        for id in value["items"].as_array().into_iter().flatten().filter_map(Value::as_u64) {
            let Some(item) = index.item(id) else { continue };
            let Some(method) = item["name"].as_str() else { continue };
            if item["visibility"] != "public" {
                continue;
            }
            let place = format!("<{own}>::{method}");
            if inner(item).0 == "function" {
                let printed = function(index, item, Some((&own, &value["generics"])), &place);
                let (what, check) = printed.unwrap_or_else(|| ("fn".to_owned(), String::new()));
                entries.push(Entry { name: format!("{name}::{method}"), what, check });
            } else {
                let check = format!("fn _item() {{ let _ = <{own}>::{method}; }}");
                entries.push(Entry { name: format!("{name}::{method}"), what: "const".to_owned(), check });
            }
        }
        return;
    }
    if let Some((what, check)) = of_trait(&printer, value, &own) {
        entries.push(Entry { name: name.to_owned(), what, check });
    }
}

/// That a type implements a trait, or must not.
fn of_trait(printer: &Printer<'_>, value: &Value, own: &str) -> Option<(String, String)> {
    let of = printer.path(&value["trait"])?;
    let mut generics = generics(printer, &[&value["generics"]])?;
    if value["is_synthetic"] == true
        && let Some(item) = value["for"]["resolved_path"]["id"].as_u64().and_then(|id| printer.index.item(id))
    {
        // rustdoc leaves out what the type itself asks of its parameters.
        let asked = asked_of_params(printer, &inner(item).1["generics"])?;
        if !asked.is_empty() && !generics.0.is_empty() {
            let join = if generics.1.is_empty() { " where " } else { ", " };
            generics.1 = format!("{}{join}{}", generics.1, asked.join(", "));
        }
    }
    if value["is_negative"] == true {
        let what = format!("impl !{of} for {own}");
        if !generics.0.is_empty() {
            return Some((what, String::new()));
        }
        let check = format!(
            "const _: () = {{ trait Neither<A> {{ fn at() {{}} }} impl<T: ?Sized> Neither<()> for T {{}} \
             impl<T: ?Sized + {of}> Neither<u8> for T {{}} fn _item() {{ <{own} as Neither<_>>::at() }} }};"
        );
        return Some((what, check));
    }
    let (params, clause) = &generics;
    let what = format!("impl{params} {of} for {own}{clause}");
    // A function inside another cannot use its parameters: where the trait does, it has some of the same names.
    let names = if of.contains('<') { type_names(&value["generics"]) } else { Vec::new() };
    let (names, inside) = match names.as_slice() {
        [] => (String::new(), String::new()),
        names => (format!("{}, ", names.join(", ")), clause.clone()),
    };
    // The right side of an operator is the type itself, which must then have a size.
    let has_size = ["Bit", "Add", "Sub"].iter().any(|name| of.starts_with(&format!("::std::ops::{name}")));
    let sized = if has_size { "" } else { " + ?Sized" };
    let clause = outlived(&value["generics"], clause);
    let bounds = params.trim_start_matches('<').trim_end_matches('>');
    let bounds = if names.is_empty() { String::new() } else { format!("{bounds}, ") };
    let check = format!(
        "fn _item{params}(){clause} {{ fn is<{bounds}IsT: {of}{sized}>(){inside} {{}} is::<{names}{own}>() }}"
    );
    Some((what, check))
}

/// The bounds of type parameters, as predicates.
fn asked_of_params(printer: &Printer<'_>, generics: &Value) -> Option<Vec<String>> {
    let mut asked = printer.predicates(generics)?;
    for param in generics["params"].as_array()? {
        let bounds = &param["kind"]["type"]["bounds"];
        if bounds.as_array().is_some_and(|bounds| !bounds.is_empty()) {
            let bounds = printer.bounds(bounds)?;
            // `?Sized` is said on every implementation already.
            if !bounds.starts_with('?') {
                asked.push(format!("{}: {bounds}", param["name"].as_str()?));
            }
        }
    }
    Some(asked)
}

/// A `where` clause by which the type parameters outlive the lifetimes, as a reference to them implies.
fn outlived(generics: &Value, clause: &str) -> String {
    let names = |kind: &'static str| {
        let params = generics["params"].as_array().into_iter().flatten();
        params
            .filter(move |param| param["kind"].get(kind).is_some())
            .filter_map(|param| param["name"].as_str())
    };
    let mut clause = clause.to_owned();
    for lifetime in names("lifetime").filter(|name| *name != "'_") {
        for ty in names("type") {
            let join = if clause.is_empty() { " where " } else { ", " };
            clause = format!("{clause}{join}{ty}: {lifetime}");
        }
    }
    clause
}

/// The names of the type parameters, where there are no others.
fn type_names(generics: &Value) -> Vec<&str> {
    let params = || generics["params"].as_array().into_iter().flatten();
    if params().any(|param| param["kind"].get("type").is_none()) {
        return Vec::new();
    }
    params().filter_map(|param| param["name"].as_str()).collect()
}

/// `<…>` and ` where …` of several generics together.
fn generics(printer: &Printer<'_>, all: &[&Value]) -> Option<(String, String)> {
    let mut lifetimes = Vec::new();
    let mut params = Vec::new();
    let mut predicates = Vec::new();
    for generics in all {
        for param in generics["params"].as_array()? {
            let one = printer.params(&Value::Array(vec![param.clone()]))?;
            let list = if one.starts_with('\'') { &mut lifetimes } else { &mut params };
            if !one.is_empty() && !one.starts_with("'_") {
                list.push(one);
            }
        }
        predicates.extend(printer.predicates(generics)?);
    }
    lifetimes.append(&mut params);
    let params = if lifetimes.is_empty() { String::new() } else { format!("<{}>", lifetimes.join(", ")) };
    let clause =
        if predicates.is_empty() { String::new() } else { format!(" where {}", predicates.join(", ")) };
    Some((params, clause))
}

/// A function's signature, and a function of the same signature that calls it.
fn function(
    index: &Index,
    item: &Value,
    of: Option<(&str, &Value)>,
    place: &str,
) -> Option<(String, String)> {
    let value = inner(item).1;
    let signature = &value["sig"];
    let inputs = signature["inputs"].as_array()?;
    let by_self = inputs.first().is_some_and(|input| input[0] == "self");
    let own = of.map(|(own, _)| own.to_owned());
    let plain = Printer { index, own: own.clone(), elided: None };
    let named = Printer { index, own, elided: Some("'own") };
    let mut arguments = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        let printer = if by_self && number == 0 { &named } else { &plain };
        arguments.push(format!("a{number}: {}", printer.ty(&input[1])?));
    }
    let output =
        if by_self { named.output(&signature["output"])? } else { plain.output(&signature["output"])? };
    let needs_own = arguments.first().is_some_and(|first| first.contains("'own")) || output.contains("'own");
    let both: Vec<&Value> =
        of.map(|(_, generics)| generics).into_iter().chain([&value["generics"]]).collect();
    let (mut params, clause) = generics(&plain, &both)?;
    if needs_own {
        params = if params.is_empty() { "<'own>".to_owned() } else { params.replacen('<', "<'own, ", 1) };
    }
    let header = &value["header"];
    let flag = |name: &str, word: &'static str| if header[name] == true { word } else { "" };
    let (is_async, is_unsafe) = (flag("is_async", "async "), flag("is_unsafe", "unsafe "));
    let what = format!(
        "{}{is_async}{is_unsafe}fn{params}({}){output}{clause}",
        flag("is_const", "const "),
        arguments.join(", ")
    );
    let passed: Vec<String> = (0..arguments.len()).map(|number| format!("a{number}")).collect();
    let call = format!("{place}({})", passed.join(", "));
    let call = if is_unsafe.is_empty() { call } else { format!("unsafe {{ {call} }}") };
    let awaited = if is_async.is_empty() { "" } else { ".await" };
    let check =
        format!("{is_async}fn _item{params}({}){output}{clause} {{ {call}{awaited} }}", arguments.join(", "));
    Some((what, check))
}
