//! Makes sure that the drop-in is what the project's graph takes for tokio.
//!
//! Owns the explanation when it is not: who asks for which version or feature. It must not change the graph.
//! Invariant: cargo's "patch was not used" warning never passes unnoticed; it is an error that names a crate.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::arguments::Arguments;
use crate::cargo::Cargo;
use crate::error::{Error, Result};
use crate::lock_guard::LockGuard;
use crate::lockfile::{self, DROP_IN_VERSION, LockedTokio};
use crate::project::Project;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    dependencies: Vec<Dependency>,
    features: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    rename: Option<String>,
    req: String,
    source: Option<String>,
    features: Vec<String>,
}

/// Lets cargo complete the lock file with the patch, downloads nothing but the index, and looks at the outcome.
pub(crate) fn settle(
    cargo: &Cargo,
    arguments: &Arguments,
    project: &Project,
    guard: &LockGuard,
    config: &Path,
) -> Result<()> {
    let mut scope = arguments.scope();
    scope.extend(["--config".into(), config.into()]);
    let mut words: Vec<OsString> = vec!["update".into(), "--workspace".into()];
    words.extend(scope.clone());
    cargo.ask_offline_first("resolve the project with the drop-in", &words, arguments.offline())?;
    let lock = guard.active().unwrap_or_default();
    if lockfile::takes_drop_in(&lock) {
        return Ok(());
    }
    let mut words = ["metadata", "--format-version", "1"].map(OsString::from).to_vec();
    words.extend(scope);
    let captured = cargo.ask_offline_first("ask for the graph", &words, arguments.offline())?;
    let packages =
        serde_json::from_str(&captured.stdout).map_or_else(|_| Vec::new(), |it: Metadata| it.packages);
    let features = drop_in_features(&project.shim_dir().join("shim-tokio/Cargo.toml"));
    Err(explain(&packages, &features, &lockfile::locked_tokios(&lock)))
}

/// For a project that names the drop-in itself: cargo notes an unused patch in the lock file.
pub(crate) fn check_unguarded(project: &Project) -> Result<()> {
    let lock = fs::read_to_string(project.lock_path()).unwrap_or_default();
    let tokios = lockfile::locked_tokios(&lock);
    match tokios.iter().find(|it| it.is_replaceable()) {
        None => Ok(()),
        Some(found) => Err(Error::PatchNotUsed {
            reason: format!("Cargo.lock holds tokio {} of crates-io, so cargo leaves the patch out", found.version),
            hint: "`cargo update -p tokio` lets the patch in; if it does not, the last line of its output says why"
                .into(),
        }),
    }
}

/// The error for a lock file that holds no release of tokio 1.x from crates-io.
pub(crate) fn no_release(tokios: &[LockedTokio]) -> Error {
    let Some(other) = tokios.first() else {
        return Error::PatchNotUsed {
            reason: "no package of this project depends on tokio".into(),
            hint: "`cargo sim` is for programs that use tokio 1.x; plain cargo runs this one".into(),
        };
    };
    let from = other.source.as_deref().unwrap_or("a path");
    Error::PatchNotUsed {
        reason: format!("the project's tokio is {} from {from}", other.version),
        hint: "the drop-in takes the place of crates-io's tokio 1.x only".into(),
    }
}

fn explain(packages: &[Package], known: &BTreeSet<String>, tokios: &[LockedTokio]) -> Error {
    let drop_in = Version::parse(DROP_IN_VERSION).expect("invariant: a version");
    let mut reason = String::new();
    let (mut by_version, mut by_feature) = (false, false);
    for package in packages.iter().filter(|it| it.name != "tokio") {
        for dependency in package.dependencies.iter().filter(|it| it.name == "tokio") {
            let who = format!("{} {}", package.name, package.version);
            let from_registry = dependency.source.as_ref().is_some_and(|it| it.starts_with("registry+"));
            let requirement = VersionReq::parse(&dependency.req).unwrap_or(VersionReq::STAR);
            let one = requirement.comparators.first().is_none_or(|it| it.major == 1);
            if from_registry && one && !requirement.matches(&drop_in) {
                by_version = true;
                let _ = write!(
                    reason,
                    "\n  {who} requires tokio `{}`, which keeps {drop_in} out",
                    dependency.req
                );
            }
            for feature in wanted_features(package, dependency).filter(|it| !known.contains(it)) {
                by_feature = true;
                let _ = write!(
                    reason,
                    "\n  {who} asks for the feature `{feature}`, which the drop-in does not have"
                );
            }
        }
    }
    if reason.is_empty() {
        return no_release(tokios);
    }
    let hint = match (by_version, by_feature) {
        (true, _) => "a caret requirement such as `1.51` takes the drop-in; loosen the one named above",
        _ => "leave the feature out of the simulation build, or use a newer tokio-shim",
    };
    Error::PatchNotUsed { reason: reason.trim_start_matches('\n').replacen("  ", "", 1), hint: hint.into() }
}

/// The features of tokio that a package asks for: with the dependency, or from its own features table.
fn wanted_features<'a>(
    package: &'a Package,
    dependency: &'a Dependency,
) -> impl Iterator<Item = String> + 'a {
    let key = dependency.rename.as_deref().unwrap_or("tokio");
    let forwarded = package.features.values().flatten().filter_map(move |entry| {
        let (name, feature) = entry.split_once('/')?;
        (name.trim_end_matches('?') == key).then(|| feature.to_owned())
    });
    dependency.features.iter().cloned().chain(forwarded).collect::<BTreeSet<_>>().into_iter()
}

fn drop_in_features(manifest: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(manifest).unwrap_or_default();
    let document: toml_edit::DocumentMut = text.parse().unwrap_or_default();
    let features = document.get("features").and_then(|it| it.as_table_like());
    let names = features.into_iter().flat_map(|table| table.iter().map(|(name, _)| name.to_owned()));
    names.chain(["default".to_owned()]).collect()
}
