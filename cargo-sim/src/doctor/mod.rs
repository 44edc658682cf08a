//! `cargo sim doctor`: what in the project's graph goes around the simulation.
//!
//! Owns the walk over the graph and the printed list. It must not know why a crate is listed (see `table`). Invariant:
//! a finding names who brings it in, so that it can be acted upon.

mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::ShimFiles;
use crate::arguments::Arguments;
use crate::cli::Format;
use crate::error::{Error, Result};
use crate::exit_code;
use crate::simulation::Simulation;
use table::{Severity, TABLE};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
    features: Vec<String>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

/// One line of the list.
#[derive(Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    severity: Severity,
    name: String,
    version: String,
    /// From a member of the workspace down to the crate.
    brought_in_by: Vec<String>,
    means: String,
    advice: String,
}

/// Prints the list; the code tells whether something serious is in it.
pub(crate) fn run(mut format: Format, mut words: Vec<OsString>, files: ShimFiles) -> Result<i32> {
    words.insert(0, "doctor".into());
    let mut arguments = Arguments::new(words)?;
    if let Some(value) = arguments.take_value(&["--format"])? {
        format = if value == "json" { Format::Json } else { Format::Human };
    }
    let simulation = Simulation::prepare(&mut arguments, files)?;
    let graph = simulation.graph(&arguments)?;
    simulation.finish()?;
    let metadata: Metadata = serde_json::from_str(&graph).map_err(|error| Error::NotRunnable {
        program: "cargo metadata".into(),
        reason: error.to_string(),
    })?;
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let findings = examine(&metadata, &flags);
    let serious = findings.iter().any(|it| it.severity == Severity::Serious);
    match format {
        Format::Json => {
            let list = serde_json::json!({ "findings": findings, "serious": serious });
            println!("{list}");
        }
        Format::Human => print(&findings),
    }
    Ok(if serious { exit_code::DOCTOR } else { exit_code::OK })
}

/// Looks at every crate that a program of the workspace is built from. What hangs below tokio itself is simulated.
fn examine(metadata: &Metadata, flags: &str) -> Vec<Finding> {
    let names: BTreeMap<&str, &Package> = metadata.packages.iter().map(|it| (it.id.as_str(), it)).collect();
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|it| (it.id.as_str(), it)).collect();
    let paths = paths(metadata, &nodes, &names);
    let mut findings = Vec::new();
    for (id, path) in &paths {
        let (Some(package), Some(node)) = (names.get(id), nodes.get(id)) else { continue };
        let mut add = |severity, means: &str, advice: &str| {
            findings.push(Finding {
                severity,
                name: package.name.clone(),
                version: package.version.clone(),
                brought_in_by: path.clone(),
                means: means.to_owned(),
                advice: advice.to_owned(),
            });
        };
        for known in TABLE.iter().filter(|it| it.name == package.name) {
            let on = |feature: &&str| node.features.iter().any(|it| it == feature);
            if known.features.is_empty() || known.features.iter().any(on) {
                add(known.severity, known.means, known.advice);
            }
        }
        if package.name == "tokio" && !package.version.starts_with("1.") {
            add(Severity::Serious, "another series of tokio, which stays the real one", "move to tokio 1.x");
        }
        if package.name == "getrandom" && flags.contains("linux_raw") {
            add(
                Severity::Serious,
                "the `linux_raw` backend asks the kernel directly, so its bytes come from no seed",
                "leave `getrandom_backend` out of RUSTFLAGS in simulation builds",
            );
        }
    }
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.cmp(b)));
    findings
}

/// For each crate that is linked into a program: the shortest way to it.
fn paths<'a>(
    metadata: &'a Metadata,
    nodes: &BTreeMap<&str, &'a Node>,
    names: &BTreeMap<&str, &'a Package>,
) -> BTreeMap<&'a str, Vec<String>> {
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut queue: VecDeque<(&str, Vec<String>)> =
        metadata.workspace_members.iter().map(|id| (id.as_str(), Vec::new())).collect();
    let members: BTreeSet<&str> = metadata.workspace_members.iter().map(String::as_str).collect();
    while let Some((id, path)) = queue.pop_front() {
        if found.contains_key(id) {
            continue;
        }
        found.insert(id, path.clone());
        let (Some(node), Some(package)) = (nodes.get(id), names.get(id)) else { continue };
        if package.name == "tokio" && package.version.starts_with("1.") {
            continue;
        }
        let mut path = path;
        path.push(format!("{} {}", package.name, package.version));
        for edge in &node.deps {
            let linked = |kind: &EdgeKind| match kind.kind.as_deref() {
                None => true,
                Some("dev") => members.contains(id),
                _ => false,
            };
            if edge.dep_kinds.iter().any(linked) {
                queue.push_back((edge.pkg.as_str(), path.clone()));
            }
        }
    }
    found
}

fn print(findings: &[Finding]) {
    if findings.is_empty() {
        println!("nothing in this project's graph is known to go around the simulation");
    }
    for finding in findings {
        let severity = match finding.severity {
            Severity::Serious => "serious",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        println!("{severity}: {} {}", finding.name, finding.version);
        println!("    from    {}", finding.brought_in_by.join(" → "));
        println!("    means   {}", finding.means);
        println!("    do      {}\n", finding.advice);
    }
}
