//! Types, bounds and generics as Rust text, with names that a user of the crate can write.
//!
//! Must not know what is compared. Invariant: what is printed means the same outside of the crate; what cannot be
//! said there (a private type) is refused with `None`.

use serde_json::Value;

use super::index::Index;
use super::names::std_path;

/// Prints what belongs to one item.
pub(crate) struct Printer<'a> {
    pub(crate) index: &'a Index,
    /// What `Self` stands for.
    pub(crate) own: Option<String>,
    /// The lifetime that elided ones stand for.
    pub(crate) elided: Option<&'static str>,
}

impl Printer<'_> {
    /// A type.
    pub(crate) fn ty(&self, ty: &Value) -> Option<String> {
        let (kind, value) = ty.as_object()?.iter().next()?;
        Some(match kind.as_str() {
            "resolved_path" => self.path(value)?,
            "generic" => match (value.as_str()?, &self.own) {
                ("Self", Some(own)) => own.clone(),
                (name, _) => name.to_owned(),
            },
            "primitive" => match value.as_str()? {
                "never" => "!".to_owned(),
                "unit" => "()".to_owned(),
                name => name.to_owned(),
            },
            "tuple" => {
                let parts = self.types(value)?;
                if parts.len() == 1 { format!("({},)", parts[0]) } else { format!("({})", parts.join(", ")) }
            }
            "slice" => format!("[{}]", self.ty(value)?),
            "array" => format!("[{}; {}]", self.ty(&value["type"])?, value["len"].as_str()?),
            "borrowed_ref" => {
                let lifetime = value["lifetime"].as_str().or(self.elided).map(|name| format!("{name} "));
                let mutable = if value["is_mutable"] == true { "mut " } else { "" };
                format!("&{}{mutable}{}", lifetime.unwrap_or_default(), self.ty(&value["type"])?)
            }
            "raw_pointer" => {
                let mutable = if value["is_mutable"] == true { "mut" } else { "const" };
                format!("*{mutable} {}", self.ty(&value["type"])?)
            }
            "impl_trait" => format!("impl {}", self.bounds(value)?),
            "dyn_trait" => self.dynamic(value)?,
            "function_pointer" => {
                let inputs = value["sig"]["inputs"].as_array()?;
                let inputs: Option<Vec<String>> = inputs.iter().map(|input| self.ty(&input[1])).collect();
                let output = self.output(&value["sig"]["output"])?;
                format!("fn({}){output}", inputs?.join(", "))
            }
            "qualified_path" => {
                let own = self.ty(&value["self_type"])?;
                let name = value["name"].as_str()?;
                match self.path(&value["trait"]) {
                    Some(of) => format!("<{own} as {of}>::{name}"),
                    None => format!("{own}::{name}"),
                }
            }
            _ => return None,
        })
    }

    fn types(&self, types: &Value) -> Option<Vec<String>> {
        types.as_array()?.iter().map(|ty| self.ty(ty)).collect()
    }

    /// ` -> T`, or nothing.
    pub(crate) fn output(&self, output: &Value) -> Option<String> {
        if output.is_null() { Some(String::new()) } else { Some(format!(" -> {}", self.ty(output)?)) }
    }

    fn dynamic(&self, value: &Value) -> Option<String> {
        let traits = value["traits"].as_array()?.iter().map(|one| {
            let higher = self.params(&one["generic_params"])?;
            let higher = if higher.is_empty() { higher } else { format!("for<{higher}> ") };
            Some(format!("{higher}{}", self.path(&one["trait"])?))
        });
        let mut traits: Vec<String> = traits.collect::<Option<_>>()?;
        traits.extend(value["lifetime"].as_str().map(str::to_owned));
        Some(format!("(dyn {})", traits.join(" + ")))
    }

    /// A path with its arguments.
    pub(crate) fn path(&self, path: &Value) -> Option<String> {
        let id = path["id"].as_u64()?;
        let name = match (self.index.name(id), self.index.path(id)) {
            (Some(name), _) => format!("tokio::{name}"),
            (None, Some(defined)) => std_path(&defined)?,
            (None, None) => return None,
        };
        Some(format!("{name}{}", self.arguments(&path["args"])?))
    }

    fn arguments(&self, arguments: &Value) -> Option<String> {
        if let Some(list) = arguments.get("angle_bracketed") {
            let plain = list["args"].as_array()?.iter().map(|argument| {
                if let Some(lifetime) = argument["lifetime"].as_str() {
                    let elided = self.elided.filter(|_| lifetime == "'_");
                    return Some(elided.unwrap_or(lifetime).to_owned());
                }
                match argument.get("type") {
                    Some(ty) => self.ty(ty),
                    None => argument["const"]["expr"].as_str().map(str::to_owned),
                }
            });
            let bound = list["constraints"].as_array()?.iter().map(|constraint| {
                let name = constraint["name"].as_str()?;
                match constraint["binding"].get("equality") {
                    Some(term) => Some(format!("{name} = {}", self.ty(&term["type"])?)),
                    None => Some(format!("{name}: {}", self.bounds(&constraint["binding"]["constraint"])?)),
                }
            });
            let all: Vec<String> = plain.chain(bound).collect::<Option<_>>()?;
            return Some(if all.is_empty() { String::new() } else { format!("<{}>", all.join(", ")) });
        }
        if let Some(list) = arguments.get("parenthesized") {
            let inputs = self.types(&list["inputs"])?.join(", ");
            return Some(format!("({inputs}){}", self.output(&list["output"])?));
        }
        Some(String::new())
    }

    /// Bounds, joined by `+`.
    pub(crate) fn bounds(&self, bounds: &Value) -> Option<String> {
        let bounds = bounds.as_array()?.iter().filter_map(|bound| {
            if let Some(lifetime) = bound["outlives"].as_str() {
                return Some(Some(lifetime.to_owned()));
            }
            let bound = bound.get("trait_bound")?;
            let maybe = if bound["modifier"] == "maybe" { "?" } else { "" };
            Some(self.params(&bound["generic_params"]).and_then(|higher| {
                let higher = if higher.is_empty() { higher } else { format!("for<{higher}> ") };
                Some(format!("{maybe}{higher}{}", self.path(&bound["trait"])?))
            }))
        });
        let bounds: Vec<String> = bounds.collect::<Option<_>>()?;
        Some(bounds.join(" + "))
    }

    /// Generic parameters with their bounds; `impl Trait` arguments are left out.
    pub(crate) fn params(&self, params: &Value) -> Option<String> {
        let mut printed = Vec::new();
        for param in params.as_array()? {
            let name = param["name"].as_str()?;
            if let Some(lifetime) = param["kind"].get("lifetime") {
                let outlives = lifetime["outlives"].as_array()?;
                let outlives: Vec<&str> = outlives.iter().filter_map(Value::as_str).collect();
                printed.push(join_bound(name, &outlives.join(" + ")));
            } else if let Some(ty) = param["kind"].get("type") {
                if ty["is_synthetic"] != true {
                    printed.push(join_bound(name, &self.bounds(&ty["bounds"])?));
                }
            } else if let Some(constant) = param["kind"].get("const") {
                printed.push(format!("const {name}: {}", self.ty(&constant["type"])?));
            }
        }
        Some(printed.join(", "))
    }

    /// The predicates of a `where` clause.
    pub(crate) fn predicates(&self, generics: &Value) -> Option<Vec<String>> {
        let mut printed = Vec::new();
        for predicate in generics["where_predicates"].as_array()? {
            if let Some(bound) = predicate.get("bound_predicate") {
                let higher = self.params(&bound["generic_params"])?;
                let higher = if higher.is_empty() { higher } else { format!("for<{higher}> ") };
                printed.push(format!(
                    "{higher}{}: {}",
                    self.ty(&bound["type"])?,
                    self.bounds(&bound["bounds"])?
                ));
            } else if let Some(lifetime) = predicate.get("lifetime_predicate") {
                let outlives = lifetime["outlives"].as_array()?;
                let outlives: Vec<&str> = outlives.iter().filter_map(Value::as_str).collect();
                printed.push(format!("{}: {}", lifetime["lifetime"].as_str()?, outlives.join(" + ")));
            }
        }
        Some(printed)
    }
}

fn join_bound(name: &str, bounds: &str) -> String {
    if bounds.is_empty() { name.to_owned() } else { format!("{name}: {bounds}") }
}
