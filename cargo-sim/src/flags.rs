//! `--cfg sim --cfg rustix_use_libc`, added to whatever flags the user has.
//!
//! Owns the rules by which cargo picks *one* source of flags: the encoded variable, the plain variable, all matching
//! `target.*` tables, `build`. It must not evaluate any cfg expression: the flags are added to every source, so they are
//! in whichever cargo picks. Invariant: the user's own flags stay, in their order.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, Table, value};

const KEYS: [&str; 2] = ["rustflags", "rustdocflags"];

/// What the simulation is built with. rustix (tempfile, async-io) makes system calls by itself unless it is told to call
/// libc, and would go past the simulated machine to the real one.
const FLAGS: [&str; 4] = ["--cfg", "sim", "--cfg", "rustix_use_libc"];

/// What cargo gets: a piece of configuration, and environment variables.
#[derive(Debug, Default)]
pub(crate) struct SimFlags {
    /// `[build]` and `[target.*]` tables.
    pub(crate) config: DocumentMut,
    /// Variables with their new values.
    pub(crate) variables: Vec<(OsString, String)>,
}

/// Reads the configuration that applies in `folder` and adds the flag to each source of flags.
pub(crate) fn sim_flags(folder: &Path, given: &[OsString]) -> SimFlags {
    let mut found = Found::default();
    for argument in given {
        let text = argument.to_string_lossy();
        match text.parse::<DocumentMut>() {
            Ok(document) => found.add(&document),
            Err(_) => found.read(Path::new(text.as_ref()), 0),
        }
    }
    for path in config_files(folder) {
        found.read(&path, 0);
    }
    SimFlags { config: found.into_config(), variables: variables() }
}

/// For each `table.key` that sets flags: the string of the nearest file, or `None` for arrays (which cargo joins).
#[derive(Default)]
struct Found(BTreeMap<(String, String, &'static str), Option<String>>);

impl Found {
    fn read(&mut self, path: &Path, depth: usize) {
        let Ok(text) = fs::read_to_string(path) else { return };
        let Ok(document) = text.parse::<DocumentMut>() else { return };
        self.add(&document);
        let Some(include) = document.get("include").filter(|_| depth < 8) else { return };
        for other in include_paths(include) {
            self.read(&path.parent().unwrap_or(Path::new("")).join(other), depth + 1);
        }
    }

    fn add(&mut self, document: &DocumentMut) {
        if let Some(build) = document.get("build") {
            self.add_table("build", "", build);
        }
        let Some(targets) = document.get("target").and_then(Item::as_table_like) else { return };
        for (name, table) in targets.iter() {
            self.add_table("target", name, table);
        }
    }

    fn add_table(&mut self, top: &str, name: &str, table: &Item) {
        for key in KEYS {
            let Some(flags) = table.get(key) else { continue };
            let place = (top.to_owned(), name.to_owned(), key);
            self.0.entry(place).or_insert_with(|| flags.as_str().map(str::to_owned));
        }
    }

    fn into_config(mut self) -> DocumentMut {
        for key in KEYS {
            self.0.entry(("build".into(), String::new(), key)).or_insert(None);
        }
        let mut config = DocumentMut::new();
        for ((top, name, key), string) in self.0 {
            let flags = match string {
                Some(own) => value(format!("{own} {}", FLAGS.join(" "))),
                None => value(Array::from_iter(FLAGS)),
            };
            let table = config.entry(&top).or_insert_with(|| Item::Table(Table::new()));
            if name.is_empty() {
                table[key] = flags;
            } else {
                let table = table.as_table_mut().expect("invariant: made above");
                table.entry(&name).or_insert_with(|| Item::Table(Table::new()))[key] = flags;
            }
        }
        config
    }
}

/// The variables that carry flags. The two plain ones matter only if they are set: they silence the configuration.
fn variables() -> Vec<(OsString, String)> {
    let mut changed = Vec::new();
    for (name, own) in std::env::vars_os() {
        let (text, own) = (name.to_string_lossy().into_owned(), own.to_string_lossy().into_owned());
        let separator = match text.as_str() {
            "CARGO_ENCODED_RUSTFLAGS" | "CARGO_ENCODED_RUSTDOCFLAGS" => "\u{1f}",
            "RUSTFLAGS" | "RUSTDOCFLAGS" | "CARGO_BUILD_RUSTFLAGS" | "CARGO_BUILD_RUSTDOCFLAGS" => " ",
            _ if text.starts_with("CARGO_TARGET_")
                && (text.ends_with("_RUSTFLAGS") || text.ends_with("_RUSTDOCFLAGS")) =>
            {
                " "
            }
            _ => continue,
        };
        let flags = FLAGS.join(separator);
        changed.push((name, if own.is_empty() { flags } else { format!("{own}{separator}{flags}") }));
    }
    changed
}

/// cargo's configuration files, nearest first.
fn config_files(folder: &Path) -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let above = folder.ancestors().map(|it| it.join(".cargo"));
    let mut files = Vec::new();
    for place in above.chain(home) {
        let named = ["config", "config.toml"].map(|name| place.join(name));
        files.extend(named.into_iter().find(|path| path.is_file()).filter(|path| !files.contains(path)));
    }
    files
}

fn include_paths(include: &Item) -> Vec<String> {
    let path_of = |it: &toml_edit::Value| {
        let table = it.as_inline_table().and_then(|table| table.get("path")?.as_str());
        it.as_str().or(table).map(str::to_owned)
    };
    match include.as_value() {
        Some(toml_edit::Value::Array(list)) => list.iter().filter_map(path_of).collect(),
        Some(single) => path_of(single).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> String {
        let mut found = Found::default();
        found.add(&text.parse().expect("valid"));
        found.into_config().to_string()
    }

    #[test]
    fn build_flags_are_always_there() {
        let flags = r#"["--cfg", "sim", "--cfg", "rustix_use_libc"]"#;
        assert_eq!(config(""), format!("[build]\nrustdocflags = {flags}\nrustflags = {flags}\n"));
    }

    #[test]
    fn each_target_table_gets_the_flag() {
        let text = config("[target.'cfg(unix)']\nrustflags = ['-Copt-level=1']\n[target.a]\nlinker = 'x'");
        assert!(text.contains("[target.\"cfg(unix)\"]\nrustflags = [\"--cfg\", \"sim\","), "{text}");
        assert!(!text.contains("[target.a]"), "{text}");
    }

    #[test]
    fn a_string_is_continued() {
        let text = config("build.rustflags = '-g'");
        assert!(text.contains("rustflags = \"-g --cfg sim --cfg rustix_use_libc\""), "{text}");
    }
}
