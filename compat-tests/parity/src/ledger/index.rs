//! The documentation of a crate as rustdoc's JSON has it: items by number, and the public names of them.
//!
//! Must not print types. Invariant: an item's name is the first public one, shorter ones before longer ones, so that
//! two runs over one crate find the same.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

/// A crate's items.
pub(crate) struct Index {
    document: Value,
    /// Public names of the crate's own items, without the crate's.
    names: BTreeMap<u64, String>,
    /// Every public name, also those of items of other crates: name, kind.
    pub(crate) listed: BTreeMap<String, (&'static str, Option<u64>)>,
}

/// The kind of an item and what it holds.
pub(crate) fn inner(item: &Value) -> (&str, &Value) {
    match item["inner"].as_object().and_then(|inner| inner.iter().next()) {
        Some((kind, value)) => (kind.as_str(), value),
        None => ("", &Value::Null),
    }
}

impl Index {
    pub(crate) fn new(document: Value) -> Index {
        let mut index = Index { document, names: BTreeMap::new(), listed: BTreeMap::new() };
        index.walk();
        index
    }

    /// The item with a number, if it is the crate's own.
    pub(crate) fn item(&self, id: u64) -> Option<&Value> {
        self.document["index"].get(id.to_string())
    }

    /// All items of the crate, by number.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Value> {
        let items = self.document["index"].as_object().into_iter().flatten();
        let ordered: BTreeMap<u64, &Value> =
            items.filter_map(|(id, item)| Some((id.parse().ok()?, item))).collect();
        ordered.into_values()
    }

    /// The public name of an item of the crate.
    pub(crate) fn name(&self, id: u64) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// The defining path of an item of any crate.
    pub(crate) fn path(&self, id: u64) -> Option<Vec<&str>> {
        let path = self.document["paths"].get(id.to_string())?;
        path["path"].as_array().map(|parts| parts.iter().filter_map(Value::as_str).collect())
    }

    fn walk(&mut self) {
        let root = self.document["root"].as_u64().unwrap_or_default();
        let mut queue = VecDeque::from([(root, String::new())]);
        while let Some((module, prefix)) = queue.pop_front() {
            let Some(item) = self.item(module) else { continue };
            let children = children_of(inner(item).1);
            let mut found = Vec::new();
            for child in children {
                let Some(child) = self.item(child) else { continue };
                let (kind, value) = inner(child);
                if kind == "use" {
                    self.follow(value, &prefix, &mut queue, &mut found);
                } else if child["visibility"] == "public"
                    && let (Some(name), Some(id)) = (child["name"].as_str(), child["id"].as_u64())
                {
                    found.push((format!("{prefix}{name}"), kind_name(kind), Some(id)));
                    if kind == "module" {
                        queue.push_back((id, format!("{prefix}{name}::")));
                    }
                }
            }
            for (name, kind, id) in found {
                if let Some(id) = id {
                    self.names.entry(id).or_insert_with(|| name.clone());
                }
                self.listed.entry(name).or_insert((kind, id));
            }
        }
    }

    fn follow(
        &self,
        used: &Value,
        prefix: &str,
        queue: &mut VecDeque<(u64, String)>,
        found: &mut Vec<(String, &'static str, Option<u64>)>,
    ) {
        let target = used["id"].as_u64();
        if used["is_glob"] == true {
            queue.extend(target.map(|id| (id, prefix.to_owned())));
            return;
        }
        let Some(name) = used["name"].as_str() else { return };
        let name = format!("{prefix}{name}");
        match target.and_then(|id| Some((id, self.item(id)?))) {
            Some((id, item)) => {
                let kind = inner(item).0;
                found.push((name.clone(), kind_name(kind), Some(id)));
                if kind == "module" {
                    queue.push_back((id, format!("{name}::")));
                }
            }
            None => found.push((name, "name", None)),
        }
    }
}

fn children_of(value: &Value) -> Vec<u64> {
    value["items"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

fn kind_name(kind: &str) -> &'static str {
    match kind {
        "module" => "mod",
        "struct" => "struct",
        "enum" => "enum",
        "trait" => "trait",
        "function" => "fn",
        "macro" => "macro",
        "proc_macro" => "macro",
        "constant" => "const",
        "static" => "static",
        "type_alias" => "type",
        _ => "name",
    }
}
