//! Puts the real tokio in place.
//!
//! Owns the scratch package through which cargo fetches a release, so that mirrors, vendored sources and offline
//! caches work as they do for the project. It must not know where registries keep things. Invariant: the copy is
//! complete or absent.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::arguments::Arguments;
use crate::cargo::Cargo;
use crate::error::{Error, Result};
use crate::lockfile;
use crate::place;
use crate::project::Project;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

/// Makes sure that the unchanged sources of `version` are where the drop-in looks for them.
pub(crate) fn put_in_place(
    cargo: &Cargo,
    project: &Project,
    arguments: &Arguments,
    version: &str,
    lock: Option<&str>,
) -> Result<PathBuf> {
    let folder = project.real_tokio_dir();
    if place::version_of(&folder).as_deref() == Some(version) {
        return Ok(folder);
    }
    let scratch = project.sim_dir.join("fetch");
    write_scratch(&scratch, version, lock)?;
    let source = locate(cargo, arguments, &scratch, version)?;
    place::copy_package(&source, &folder, version)?;
    let _ = fs::remove_dir_all(&scratch);
    Ok(folder)
}

/// A package with one dependency. It keeps to the project's lock, so a yanked release and the sum are as there.
fn write_scratch(scratch: &Path, version: &str, lock: Option<&str>) -> Result<()> {
    let fail = Error::unwritable(scratch);
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n\
         [dependencies]\ntokio = {{ version = \"={version}\", default-features = false }}\n"
    );
    let written = || -> std::io::Result<()> {
        let _ = fs::remove_dir_all(scratch);
        fs::create_dir_all(scratch.join("src"))?;
        fs::write(scratch.join("src/lib.rs"), "")?;
        fs::write(scratch.join("Cargo.toml"), manifest)?;
        match lock.and_then(|text| lockfile::only_tokio(text, version)) {
            Some(lock) => fs::write(scratch.join("Cargo.lock"), lock),
            None => Ok(()),
        }
    };
    written().map_err(fail)
}

/// Has cargo say where it unpacked the release. cargo runs in the user's folder: its configuration applies.
fn locate(cargo: &Cargo, arguments: &Arguments, scratch: &Path, version: &str) -> Result<PathBuf> {
    let manifest = scratch.join("Cargo.toml");
    let words = |offline: bool| {
        let mut words = vec!["metadata".into(), "--format-version".into(), "1".into()];
        words.extend(["--manifest-path".into(), manifest.clone().into()]);
        words.extend(arguments.values("--config").into_iter().flat_map(|value| ["--config".into(), value]));
        words.extend(offline.then(|| "--offline".into()));
        words
    };
    let answer = match cargo.ask("find tokio", &words(true)) {
        Err(Error::CargoSaid { .. }) if !arguments.offline() => {
            eprintln!("fetching tokio {version} …");
            cargo.ask("fetch tokio", &words(false))
        }
        answer => answer,
    };
    let captured = answer.map_err(|error| match error {
        Error::CargoSaid { said, .. } => Error::Fetch { version: version.to_owned(), said },
        other => other,
    })?;
    let fail = |said: String| Error::Fetch { version: version.to_owned(), said };
    let metadata: Metadata =
        serde_json::from_str(&captured.stdout).map_err(|error| fail(error.to_string()))?;
    let mut packages = metadata.packages.into_iter();
    let package = packages
        .find(|it| it.name == "tokio" && it.version == version)
        .ok_or_else(|| fail("the answer of `cargo metadata` does not name it".into()))?;
    Ok(package.manifest_path.parent().expect("invariant: a manifest lies in a folder").to_owned())
}
