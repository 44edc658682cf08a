//! The repository's own rules, as tests: each says in its failure what to do.
//!
//! Owns the rules that no lint knows. Must not build anything. Invariant: each rule has a test with text that breaks
//! it, so that a rule that finds nothing is known to look.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

/// Where the whole repository begins.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder of the repository").to_owned()
}

/// Path and text of every file of the repository that is text.
fn files() -> Vec<(String, String)> {
    let root = root();
    let git = Command::new("git")
        .current_dir(&root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output();
    let mut paths: Vec<String> = match git {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(str::to_owned).collect()
        }
        _ => walk(&root, &root),
    };
    paths.sort();
    paths.dedup();
    let text = |path: String| fs::read_to_string(root.join(&path)).ok().map(|text| (path, text));
    let files: Vec<_> = paths.into_iter().filter_map(text).collect();
    assert!(files.iter().any(|(path, _)| path == "Cargo.toml"), "no files were found in {}", root.display());
    files
}

/// Where there is no git: every file that is not the result of a build.
fn walk(root: &Path, folder: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if ["target", "real-tokio", ".git", "scratch"].iter().any(|skipped| name == *skipped) {
            continue;
        }
        if path.is_dir() {
            paths.extend(walk(root, &path));
        } else if let Ok(path) = path.strip_prefix(root) {
            paths.push(path.display().to_string());
        }
    }
    paths
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

/// Fails with all complaints of `rule` at once.
fn check(what_to_do: &str, rule: impl Fn(&str, &str) -> Vec<String>) {
    let complaints: Vec<String> = files().iter().flat_map(|(path, text)| rule(path, text)).collect();
    assert!(complaints.is_empty(), "{what_to_do}:\n  {}\n", complaints.join("\n  "));
}

/// The text without comments and without what is inside of literals, line for line as before.
fn code_of(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut code = String::new();
    let mut at = 0;
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| bytes.get(at + i) == Some(&c));
    while at < bytes.len() {
        let end = if starts(at, "//") {
            (at..bytes.len()).find(|i| bytes[*i] == '\n').unwrap_or(bytes.len())
        } else if starts(at, "/*") {
            (at..bytes.len()).find(|i| starts(*i, "*/")).map_or(bytes.len(), |i| i + 2)
        } else if let Some(end) = raw_string_end(&bytes, at) {
            end
        } else if bytes[at] == '"' {
            quoted_end(&bytes, at, '"')
        } else if bytes[at] == '\'' && (bytes.get(at + 1) == Some(&'\\') || bytes.get(at + 2) == Some(&'\''))
        {
            quoted_end(&bytes, at, '\'')
        } else {
            code.push(bytes[at]);
            at += 1;
            continue;
        };
        code.extend(bytes[at..end].iter().filter(|c| **c == '\n'));
        at = end;
    }
    code
}

fn quoted_end(text: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

fn raw_string_end(text: &[char], start: usize) -> Option<usize> {
    let before = start.checked_sub(1).map(|i| text[i]);
    if text[start] != 'r' || before.is_some_and(|c| c.is_alphanumeric() && c != 'b' && c != 'c' || c == '_') {
        return None;
    }
    let hashes = text[start + 1..].iter().take_while(|c| **c == '#').count();
    if text.get(start + 1 + hashes) != Some(&'"') {
        return None;
    }
    let first = start + 2 + hashes;
    let closes = |at: usize| text[at] == '"' && (1..=hashes).all(|i| text.get(at + i) == Some(&'#'));
    Some((first..text.len()).find(|at| closes(*at)).map_or(text.len(), |at| at + 1 + hashes))
}

/// The lines (from 1) of `text` that have `word` as a word.
fn lines_with_word(text: &str, word: &str) -> Vec<usize> {
    let has = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word);
    (1..).zip(text.lines()).filter(|(_, line)| has(line)).map(|(number, _)| number).collect()
}

fn header(path: &str, text: &str) -> Vec<String> {
    if is_rust(path) && !text.starts_with("//! ") { vec![path.to_owned()] } else { Vec::new() }
}

fn stray_unsafe(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) || path.contains("/host/") || path.contains("/tests/host_") {
        return Vec::new();
    }
    let code = code_of(text);
    let lines: Vec<&str> = code.lines().collect();
    // Tests and measurements speak to the system themselves, and set variables before anything else runs.
    let of_a_test = |number: usize| {
        let block = lines[number - 1..].iter().take(5).copied().collect::<Vec<_>>().join("\n");
        (path.contains("/tests/") || path.starts_with("bench/"))
            && ["set_var", "remove_var", "libc::"].iter().any(|call| block.contains(call))
    };
    let stray = lines_with_word(&code, "unsafe").into_iter().filter(|number| !of_a_test(*number));
    stray.map(|number| format!("{path}:{number}")).collect()
}

fn length(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if is_rust(path) && lines > MAX_FILE_LINES { vec![format!("{path}: {lines} lines")] } else { Vec::new() }
}

fn function_lengths(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) {
        return Vec::new();
    }
    let code = code_of(text);
    let lines: Vec<&str> = code.lines().collect();
    let mut complaints = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words: Vec<&str> = line.split_whitespace().take_while(|word| *word != "fn").collect();
        let begins = words.len() < line.split_whitespace().count()
            && words
                .iter()
                .all(|word| ["async", "const", "unsafe", "extern"].contains(word) || word.starts_with("pub"));
        let opens = lines[start..].iter().position(|line| line.contains('{'));
        let ends = lines[start..].iter().position(|line| line.trim_end().ends_with(';'));
        if !begins || opens.is_none() || ends < opens && ends.is_some() || line.trim_end().ends_with('}') {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        let end = lines[start + 1..].iter().position(|line| line.trim_end() == closing);
        let count = end.map_or(0, |end| end + 2);
        if count > MAX_FUNCTION_LINES {
            complaints.push(format!("{path}:{}: {count} lines", start + 1));
        }
    }
    complaints
}

/// Words that promise work; written in halves, so that this file does not have them.
const PROMISES: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("db", "g!"),
];

fn promises(path: &str, text: &str) -> Vec<String> {
    if path.ends_with(".md") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for promise in PROMISES {
        let word = promise.trim_end_matches('!');
        let lines: Vec<&str> = text.lines().collect();
        let numbers =
            lines_with_word(text, word).into_iter().filter(|number| lines[number - 1].contains(promise));
        complaints.extend(numbers.map(|number| format!("{path}:{number}: {promise}")));
    }
    complaints
}

/// What only one machine knows; written in halves, so that this file does not have it.
const OF_A_MACHINE: [&str; 8] = [
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/wo", "rk/"),
    concat!("/tm", "p/"),
    concat!("/Us", "ers/"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("spar", "se+http"),
];

fn machine_names(path: &str, text: &str) -> Vec<String> {
    // In a URL, as in `https://host/home/`, the piece is no path of a machine.
    let is_path = |line: &str, piece: &str| {
        line.match_indices(piece).any(|(at, _)| {
            !piece.starts_with('/')
                || !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.}$".contains(c))
        })
    };
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for piece in OF_A_MACHINE.iter().filter(|piece| is_path(line, piece)) {
            complaints.push(format!("{path}:{number}: {piece}"));
        }
        let source = line.strip_prefix("source = \"");
        if path.ends_with("Cargo.lock")
            && source.is_some_and(|it| it != "registry+https://github.com/rust-lang/crates.io-index\"")
        {
            complaints.push(format!("{path}:{number}: {line}"));
        }
    }
    complaints
}

/// Which crates of ours a package may depend on.
fn may_depend_on(manifest: &str) -> &'static [&'static str] {
    match manifest {
        "shim-time/Cargo.toml" | "shim-fs/Cargo.toml" => &["shim-runtime"],
        "shim-net/Cargo.toml" => &["shim-runtime", "shim-fs"],
        "shim-tokio/Cargo.toml" => &["shim-runtime", "shim-time", "shim-fs", "shim-net", "shim-macros"],
        _ => &[],
    }
}

fn crate_graph(path: &str, text: &str) -> Vec<String> {
    const OURS: [&str; 7] =
        ["shim-runtime", "shim-time", "shim-fs", "shim-net", "shim-tokio", "shim-macros", "cargo-sim"];
    if !path.ends_with("Cargo.toml") || path == "Cargo.toml" {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    let mut section = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line.to_owned();
        }
        if !section.contains("dependencies") {
            continue;
        }
        let named =
            OURS.iter().filter(|name| line.split(['"', '/', ' ', '.', ']', '=']).any(|it| it == **name));
        let forbidden = named.filter(|name| !may_depend_on(path).contains(name));
        complaints.extend(forbidden.map(|name| format!("{path} depends on {name}")));
    }
    complaints
}

/// The features that a manifest declares: its table, and those that its optional dependencies imply.
fn features(manifest: &str) -> BTreeSet<String> {
    let mut declared = BTreeSet::new();
    let mut optional: BTreeMap<String, bool> = BTreeMap::new();
    let mut section = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.trim();
        } else if section == "[features]"
            && let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with(' '))
        {
            declared.insert(name.trim_matches('"').to_owned());
        } else if section.contains("dependencies.") && !section.contains("dev-") && line == "optional = true"
        {
            let name = section.trim_end_matches(']').rsplit('.').next().unwrap_or_default();
            let is_named = manifest.contains(&format!("\"dep:{name}\""));
            optional.insert(name.to_owned(), !is_named);
        }
    }
    declared.extend(optional.into_iter().filter(|(_, implied)| *implied).map(|(name, _)| name));
    declared
}

#[test]
fn every_file_says_what_it_owns() {
    check("begin the file with `//!`: what it owns, what it must not know, one invariant", header);
    assert_eq!(header("a.rs", "use std::fmt;\n"), ["a.rs"]);
    assert_eq!(header("a.rs", "//! A.\n"), [""; 0]);
}

#[test]
fn unsafe_code_stays_in_its_folders() {
    check("move it to a `host/` folder, behind a safe function", stray_unsafe);
    let block = "fn f() {\n    unsafe { g() }\n}\n";
    assert_eq!(stray_unsafe("shim-net/src/sys.rs", block), ["shim-net/src/sys.rs:2"]);
    assert_eq!(stray_unsafe("shim-net/src/host/fd.rs", block), [""; 0]);
    assert_eq!(stray_unsafe("a/src/b.rs", "// unsafe\nlet a = (\"unsafe\", r#\"unsafe\"#, 'u');\n"), [""; 0]);
    assert_eq!(stray_unsafe("a/tests/b.rs", "unsafe { std::env::set_var(\"A\", \"b\") };\n"), [""; 0]);
    assert_eq!(stray_unsafe("a/tests/b.rs", block), ["a/tests/b.rs:2"]);
}

#[test]
fn files_are_short() {
    check("split the file by what its parts own (at most 500 lines)", length);
    assert_eq!(length("a.rs", &"\n".repeat(501)), ["a.rs: 501 lines"]);
}

#[test]
fn functions_are_short() {
    check("split the function (at most 70 lines)", function_lengths);
    let long = format!(
        "impl A {{\n    pub fn f(\n        a: u8,\n    ) {{\n{}    }}\n}}\n",
        "        g();\n".repeat(70)
    );
    assert_eq!(function_lengths("a.rs", &long), ["a.rs:2: 74 lines"]);
    let declared = format!(
        "trait A {{\n    fn f(&self);\n{}    fn g() {{\n    }}\n}}\n",
        "    const A: u8;\n".repeat(80)
    );
    assert_eq!(function_lengths("a.rs", &declared), [""; 0]);
}

#[test]
fn nothing_is_left_for_later_in_a_comment() {
    check("do it now, or write an issue and say its number without the word", promises);
    assert_eq!(promises("a.rs", &format!("// {}: later\n", PROMISES[0])).len(), 1);
    assert_eq!(promises("a.rs", &format!("{}(1);\n", PROMISES[5])).len(), 1);
    assert_eq!(promises("a.rs", "let dbg = 1;\n"), [""; 0]);
}

#[test]
fn no_text_knows_the_machine_that_it_was_written_on() {
    check(
        "use a path from the repository's root, or `env::temp_dir()`; name no registry's host",
        machine_names,
    );
    assert_eq!(machine_names("a.md", &format!("see {}x\n", OF_A_MACHINE[0])).len(), 1);
    assert_eq!(machine_names("a.md", &format!("https://host{}x\n", OF_A_MACHINE[1])), [""; 0]);
    assert_eq!(machine_names("Cargo.lock", "source = \"registry+https://mirror.example/index\"\n").len(), 1);
}

#[test]
fn dependencies_go_one_way() {
    check("see the graph in ARCHITECTURE.md; pass the thing in as a value, or move it down", crate_graph);
    let manifest = "[target.'cfg(sim)'.dependencies]\nshim-time = { path = \"../shim-time\" }\n";
    assert_eq!(crate_graph("shim-net/Cargo.toml", manifest), ["shim-net/Cargo.toml depends on shim-time"]);
    let renamed =
        "[dev-dependencies]\nengine = { package = \"shim-runtime\", path = \"../../shim-runtime\" }\n";
    assert_eq!(
        crate_graph("examples/a/Cargo.toml", renamed),
        ["examples/a/Cargo.toml depends on shim-runtime"]
    );
    assert_eq!(crate_graph("shim-tokio/Cargo.toml", manifest), [""; 0]);
}

#[test]
fn the_drop_in_has_every_feature_of_tokio() {
    let Ok(real) = fs::read_to_string(root().join("real-tokio/Cargo.toml")) else { return };
    let ours = fs::read_to_string(root().join("shim-tokio/Cargo.toml")).expect("the drop-in's manifest");
    let (real, ours) = (features(&real), features(&ours));
    assert!(real.contains("full") && real.contains("bytes"), "tokio's manifest was not understood: {real:?}");
    let missing: Vec<_> = real.difference(&ours).collect();
    assert!(
        missing.is_empty(),
        "add to [features] of shim-tokio/Cargo.toml, as `name = [\"real/name\"]`: {missing:?}"
    );
}

#[test]
fn a_missing_feature_would_be_found() {
    let manifest = "[features]\na = [\n    \"dep:c\",\n]\n\n[dependencies.b]\noptional = true\n\n\
                    [target.'cfg(unix)'.dependencies.c]\noptional = true\n\n[dev-dependencies.d]\noptional = true\n";
    assert_eq!(features(manifest), BTreeSet::from(["a".to_owned(), "b".to_owned()]));
}
