//! Puts folders of files in place without anybody seeing them half done.
//!
//! Owns unpacking (the drop-in's crates) and copying (the real tokio). It must not know what the files are.
//! Invariant: a file whose content is right is not touched, so nothing is built twice.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml_edit::DocumentMut;

use crate::ShimFiles;
use crate::error::{Error, Result};
use crate::shim_manifest;

/// What registries and vendoring add to a package.
const ADDED: [&str; 3] = [".cargo-ok", ".cargo-checksum.json", "Cargo.lock"];

/// Writes the embedded crates below `folder`.
pub(crate) fn unpack(files: ShimFiles, folder: &Path) -> Result<()> {
    let text = |content: &[u8]| String::from_utf8_lossy(content).into_owned();
    let root = files.iter().find(|(name, _)| *name == "Cargo.toml").map(|(_, content)| text(content));
    let root: DocumentMut = root.unwrap_or_default().parse().unwrap_or_default();
    let mut wanted = BTreeSet::new();
    for (name, content) in files.iter().filter(|(name, _)| *name != "Cargo.toml") {
        let path = folder.join(name);
        let content = if name.ends_with("/Cargo.toml") {
            shim_manifest::stand_alone(&text(content), &root).into_bytes()
        } else {
            content.to_vec()
        };
        if fs::read(&path).ok().as_ref() != Some(&content) {
            write(&path, &content).map_err(Error::unwritable(&path))?;
        }
        wanted.insert(path);
    }
    for top in fs::read_dir(folder).map_err(Error::unwritable(folder))?.flatten() {
        if top.file_name().to_string_lossy().starts_with("shim-") {
            remove_others(&top.path(), &wanted).map_err(Error::unwritable(folder))?;
        }
    }
    Ok(())
}

/// Copies the package at `from` to `to`, in one step as others see it.
pub(crate) fn copy_package(from: &Path, to: &Path, stamp: &str) -> Result<()> {
    let parent = to.parent().expect("invariant: never the root");
    fs::create_dir_all(parent).map_err(Error::unwritable(parent))?;
    // Inside a repository only the final name is sure to be ignored by git, so the rest hides behind a dot.
    let partial = parent.join(format!(".real-tokio-{}.partial", std::process::id()));
    let old = parent.join(format!(".real-tokio-{}.old", std::process::id()));
    let copied = || -> io::Result<()> {
        copy_folder(from, &partial)?;
        fs::write(partial.join(STAMP), format!("{stamp}\n"))?;
        if to.exists() {
            fs::rename(to, &old)?;
        }
        fs::rename(&partial, to)
    };
    let result = copied().map_err(Error::unwritable(to));
    let _ = fs::remove_dir_all(&partial);
    let _ = fs::remove_dir_all(&old);
    result
}

/// The file in a copied package that names its version; written last.
pub(crate) const STAMP: &str = ".cargo-sim-stamp";

/// The version that a copied package says it has.
pub(crate) fn version_of(package: &Path) -> Option<String> {
    if let Ok(stamp) = fs::read_to_string(package.join(STAMP)) {
        return Some(stamp.trim().to_owned());
    }
    let manifest = fs::read_to_string(package.join("Cargo.toml")).ok()?;
    let document: DocumentMut = manifest.parse().ok()?;
    Some(document.get("package")?.get("version")?.as_str()?.to_owned())
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("invariant: below the folder"))?;
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    fs::write(&partial, content)?;
    fs::rename(&partial, path)
}

fn remove_others(folder: &Path, wanted: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if ADDED.iter().any(|added| name == *added) {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            // Not `fs::copy`: a cache may be read-only, and the copy must stay removable.
            fs::write(&target, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}
