//! The text of a `Cargo.lock`: what it says of tokio, and the simulation's version of it.
//!
//! Owns the reading and the one edit. It must not touch the disk. Invariant: `seeded` changes tokio's entry and the
//! names that refer to it, nothing else, so every other dependency keeps its version.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

/// The drop-in's version: above every release, so that no range over 1.x leaves it out.
pub(crate) const DROP_IN_VERSION: &str = "1.999.0";

/// A tokio in a lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockedTokio {
    /// Its version.
    pub(crate) version: String,
    /// Its source; `None` is a path.
    pub(crate) source: Option<String>,
}

impl LockedTokio {
    /// Whether it is a crates-io release of the 1.x series: the slot that the drop-in takes.
    pub(crate) fn is_replaceable(&self) -> bool {
        self.version.starts_with("1.") && self.source.as_ref().is_some_and(|it| it.starts_with("registry+"))
    }
}

/// Every tokio that a lock file names.
pub(crate) fn locked_tokios(text: &str) -> Vec<LockedTokio> {
    let Ok(document) = text.parse::<DocumentMut>() else { return Vec::new() };
    let Some(packages) = document.get("package").and_then(Item::as_array_of_tables) else {
        return Vec::new();
    };
    packages.iter().filter(|it| string(it, "name") == Some("tokio")).map(locked).collect()
}

/// Whether the drop-in took tokio's place in this lock file.
pub(crate) fn takes_drop_in(text: &str) -> bool {
    let tokios = locked_tokios(text);
    tokios.iter().any(|it| it.version == DROP_IN_VERSION && it.source.is_none())
        && !tokios.iter().any(LockedTokio::is_replaceable)
}

/// The project's lock file with the drop-in in the place of the release `replaced`.
pub(crate) fn seeded(text: &str, replaced: &str) -> String {
    let Ok(mut document) = text.parse::<DocumentMut>() else { return text.to_owned() };
    let Some(packages) = document.get_mut("package").and_then(Item::as_array_of_tables_mut) else {
        return text.to_owned();
    };
    for package in packages.iter_mut() {
        let found = locked(package);
        if string(package, "name") == Some("tokio") && found.version == replaced && found.is_replaceable() {
            package["version"] = toml_edit::value(DROP_IN_VERSION);
            package.remove("source");
            package.remove("checksum");
        }
        let Some(names) = package.get_mut("dependencies").and_then(Item::as_array_mut) else { continue };
        for name in names.iter_mut() {
            let old = name.as_str().unwrap_or_default();
            if old == format!("tokio {replaced}") || old.starts_with(&format!("tokio {replaced} (")) {
                *name = format!("tokio {DROP_IN_VERSION}").into();
            }
        }
    }
    document.to_string()
}

/// A lock file with nothing but the entries of the release `version` and of what it needs in any case: it makes a
/// fetch of a release work that was yanked, and keeps the check of its sum.
pub(crate) fn only_tokio(text: &str, version: &str) -> Option<String> {
    let document = text.parse::<DocumentMut>().ok()?;
    let packages = document.get("package")?.as_array_of_tables()?;
    let mut kept = ArrayOfTables::new();
    for package in packages.iter() {
        let name = string(package, "name");
        let is_tokio = name == Some("tokio") && string(package, "version") == Some(version);
        if !is_tokio && name != Some("pin-project-lite") {
            continue;
        }
        let mut package = package.clone();
        if is_tokio {
            package["dependencies"] = toml_edit::value(toml_edit::Array::from_iter(["pin-project-lite"]));
        }
        kept.push(package);
    }
    let mut lock = DocumentMut::new();
    lock["version"] = document.get("version")?.clone();
    lock["package"] = Item::ArrayOfTables(kept);
    Some(lock.to_string())
}

fn locked(package: &Table) -> LockedTokio {
    LockedTokio {
        version: string(package, "version").unwrap_or_default().to_owned(),
        source: string(package, "source").map(str::to_owned),
    }
}

fn string<'a>(package: &'a Table, key: &str) -> Option<&'a str> {
    package.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4

[[package]]
name = \"app\"
version = \"0.1.0\"
dependencies = [\n \"tokio 0.2.25\",\n \"tokio 1.52.0\",\n]

[[package]]
name = \"tokio\"
version = \"0.2.25\"
source = \"registry+x\"

[[package]]
name = \"tokio\"
version = \"1.52.0\"
source = \"registry+x\"
checksum = \"00\"
";

    #[test]
    fn only_the_replaced_release_changes() {
        let seeded = seeded(LOCK, "1.52.0");
        assert!(takes_drop_in(&seeded), "{seeded}");
        assert!(seeded.contains("\"tokio 0.2.25\"") && seeded.contains("\"tokio 1.999.0\""), "{seeded}");
        assert!(!seeded.contains("checksum"), "{seeded}");
        assert_eq!(locked_tokios(&seeded).len(), 2);
    }

    #[test]
    fn a_lock_file_of_the_project_is_no_simulation() {
        assert!(!takes_drop_in(LOCK));
        assert!(!takes_drop_in(""));
    }
}
