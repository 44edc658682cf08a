//! Cargo, run on scratch packages: rustdoc's JSON of the real tokio, and lines of Rust that must compile.
//!
//! Must not know what the lines say. Invariant: nothing is written but below `target/parity/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::entries::Entry;

const STABLE: &str = r#"["full", "test-util"]"#;
const UNSTABLE: &str = r#"["full", "test-util", "schedule-latency", "tracing", "io-uring", "taskdump"]"#;

fn root() -> Result<PathBuf, String> {
    std::env::current_dir().map_err(|error| error.to_string())
}

/// A package below `target/parity/` that depends on the tokio at `tokio`.
fn package(name: &str, tokio: &Path, features: &str, source: &str) -> Result<PathBuf, String> {
    let folder = root()?.join("target/parity").join(name);
    let text = format!(
        "[package]\nname = \"parity-scratch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n\
         [dependencies]\ntokio = {{ path = {tokio:?}, features = {features} }}\nbytes = \"1\"\n"
    );
    let write = || {
        fs::create_dir_all(folder.join("src"))?;
        fs::write(folder.join("Cargo.toml"), text)?;
        fs::copy(root().unwrap_or_default().join("Cargo.lock"), folder.join("Cargo.lock"))?;
        fs::write(folder.join("src/lib.rs"), source)
    };
    write().map_err(|error: std::io::Error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

fn cargo(folder: &Path, target: &str, flags: &str) -> Result<Command, String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).env("RUSTFLAGS", flags).env("RUSTDOCFLAGS", flags);
    command.env("CARGO_TARGET_DIR", root()?.join("target/parity").join(target));
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").stderr(Stdio::piped());
    Ok(command)
}

/// rustdoc's JSON of the real tokio.
pub(crate) fn documentation(unstable: bool) -> Result<Value, String> {
    let (name, features, flags) =
        if unstable { ("doc-unstable", UNSTABLE, "--cfg tokio_unstable") } else { ("doc", STABLE, "") };
    let folder = package(name, &root()?.join("real-tokio"), features, "")?;
    let mut command = cargo(&folder, name, flags)?;
    // The JSON is unstable in rustdoc; the ledger holds none of its form.
    command.env("RUSTC_BOOTSTRAP", "1").args(["rustdoc", "-p", "tokio", "--lib", "--"]);
    command.args(["-Z", "unstable-options", "--output-format", "json"]);
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("rustdoc failed:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    let path = root()?.join("target/parity").join(name).join("doc/tokio.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Which of `entries` do not compile, and why.
pub(crate) fn refused<'a>(
    entries: &[&'a Entry],
    simulated: bool,
    unstable: bool,
) -> Result<Vec<(&'a Entry, String)>, String> {
    let mut flags = Vec::new();
    flags.extend(simulated.then_some("--cfg sim"));
    flags.extend(unstable.then_some("--cfg tokio_unstable"));
    let flags = flags.join(" ");
    // What only these features show is absent in a simulation: see the notes.
    let features = if unstable && !simulated { UNSTABLE } else { STABLE };
    let target = format!("check-{}-{}", if simulated { "sim" } else { "real" }, u8::from(unstable));
    let mut refused: BTreeMap<usize, String> = BTreeMap::new();
    // What a compiler finds in its first passes hides the rest: again, without what was found.
    loop {
        let mut source = String::from("#![allow(warnings)]\n");
        for (number, entry) in entries.iter().enumerate() {
            if !refused.contains_key(&number) {
                source.push_str(&entry.check.replacen("_item", &format!("_item_{number}"), 1));
            }
            source.push('\n');
        }
        let folder = package(&target, &root()?.join("shim-tokio"), features, &source)?;
        let mut command = cargo(&folder, &format!("{target}-target"), &flags)?;
        let output = command.args(["check", "--message-format=json"]).output();
        let output = output.map_err(|error| error.to_string())?;
        let found = errors(&String::from_utf8_lossy(&output.stdout));
        let new: Vec<(usize, String)> =
            found.into_iter().filter(|(number, _)| !refused.contains_key(number)).collect();
        if new.is_empty() {
            if !output.status.success() {
                return Err(format!("cargo check failed:\n{}", String::from_utf8_lossy(&output.stderr)));
            }
            return Ok(refused.into_iter().map(|(number, why)| (entries[number], why)).collect());
        }
        refused.extend(new);
    }
}

/// The entries that rustc complains about, by the lines of the scratch package.
fn errors(output: &str) -> BTreeMap<usize, String> {
    let mut errors = BTreeMap::new();
    for line in output.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        if message["reason"] != "compiler-message" || message["message"]["level"] != "error" {
            continue;
        }
        let text = message["message"]["message"].as_str().unwrap_or_default();
        let spans = message["message"]["spans"].as_array().into_iter().flatten();
        let lines: BTreeSet<u64> = spans
            .filter(|span| span["is_primary"] == true && span["file_name"] == "src/lib.rs")
            .filter_map(|span| span["line_start"].as_u64())
            .collect();
        for line in lines.into_iter().filter(|line| *line >= 2) {
            errors
                .entry(line as usize - 2)
                .or_insert_with(|| text.lines().next().unwrap_or_default().to_owned());
        }
    }
    errors
}
