//! The manifests of the unpacked crates: made to stand alone.
//!
//! Owns what the repository's workspace would have given them. It must not touch the disk. Invariant: no `workspace = true`
//! is left: below a project that is a workspace itself, cargo would look for the values there.

use toml_edit::{DocumentMut, Item, TableLike, value};

/// `manifest` with every inherited value written out. Warnings of these crates are not the user's business.
pub(crate) fn stand_alone(manifest: &str, root: &DocumentMut) -> String {
    let Ok(mut document) = manifest.parse::<DocumentMut>() else { return manifest.to_owned() };
    let inherited = |table: &str| root.get("workspace").and_then(|it| it.get(table));
    if let (Some(package), Some(values)) = (document.get_mut("package"), inherited("package")) {
        fill_in(package.as_table_like_mut(), Some(values));
    }
    for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
        fill_in(document.get_mut(kind).and_then(Item::as_table_like_mut), inherited("dependencies"));
        let Some(targets) = document.get_mut("target").and_then(Item::as_table_like_mut) else { continue };
        for (_, target) in targets.iter_mut() {
            fill_in(target.get_mut(kind).and_then(Item::as_table_like_mut), inherited("dependencies"));
        }
    }
    document.remove("lints");
    document["lints"]["rust"]["warnings"] = value("allow");
    document.to_string()
}

/// Replaces each entry that says `workspace = true` by the workspace's; what it says besides that is kept.
fn fill_in(table: Option<&mut dyn TableLike>, values: Option<&Item>) {
    let (Some(table), Some(values)) = (table, values) else { return };
    for (name, item) in table.iter_mut() {
        let Some(own) = item.as_table_like().filter(|own| own.contains_key("workspace")) else { continue };
        let Some(found) = values.get(name.get()) else { continue };
        let mut whole = match found.as_value() {
            Some(text @ toml_edit::Value::String(_)) if own.len() > 1 => {
                let mut table = toml_edit::InlineTable::new();
                table.insert("version", text.clone());
                value(table)
            }
            _ => found.clone(),
        };
        for (key, setting) in own.iter().filter(|(key, _)| *key != "workspace") {
            whole[key] = setting.clone();
        }
        *item = whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_inherit() {
        let root = "[workspace.package]\nedition = '2024'\n[workspace.dependencies]\na = '1'\nb = { version = '2' }\n";
        let manifest = "[package]\nname = 'x'\nedition.workspace = true\n[dependencies]\na = { workspace = true, \
                        features = ['f'] }\n[target.'cfg(sim)'.dependencies]\nb.workspace = true\n\
                        [lints]\nworkspace = true\n";
        let text = stand_alone(manifest, &root.parse().expect("valid"));
        let document: DocumentMut = text.parse().expect("valid");
        assert!(!text.contains("workspace"), "{text}");
        assert_eq!(document["package"]["edition"].as_str(), Some("2024"), "{text}");
        assert_eq!(document["dependencies"]["a"]["version"].as_str(), Some("1"), "{text}");
        assert_eq!(
            document["target"]["cfg(sim)"]["dependencies"]["b"]["version"].as_str(),
            Some("2"),
            "{text}"
        );
    }
}
