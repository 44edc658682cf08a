//! The project that `cargo sim` was called in.
//!
//! Owns where its root, its target folder and our folder in it are, and how the drop-in gets into it. It must not
//! change any file of the project. Invariant: `sim_dir` is the only folder below which we write (and `real-tokio/`
//! of a repository that asks for it).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml_edit::DocumentMut;

use crate::arguments::Arguments;
use crate::cargo::Cargo;
use crate::error::{Error, Result};

/// How the drop-in gets into the project's graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The root manifest names the drop-in itself; we only put the real tokio of this version in place.
    Repository(String),
    /// The root manifest patches tokio by hand; nothing to put in place.
    Manual,
    /// We unpack the drop-in and pass the patch on the command line.
    Injected,
}

/// A target of a package, for replay lines.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: String,
    /// `lib`, `bin`, `test` …
    pub(crate) kind: Vec<String>,
}

/// A package of the workspace.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// What it builds.
    pub(crate) targets: Vec<Target>,
}

/// The facts about the project.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// `<target>/sim`.
    pub(crate) sim_dir: PathBuf,
    /// How the drop-in gets in.
    pub(crate) entry: Entry,
    /// The workspace's packages.
    pub(crate) members: Vec<Member>,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Member>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, serde_json::Value>>,
}

impl Project {
    /// Asks cargo where we are. Takes `--target-dir` out of the arguments: it names the folder above ours.
    pub(crate) fn find(cargo: &Cargo, arguments: &mut Arguments) -> Result<Project> {
        let mut words = ["metadata", "--no-deps", "--format-version", "1"].map(Into::into).to_vec();
        words.extend(arguments.scope());
        let captured = cargo.ask("find the project", &words)?;
        let metadata: Metadata = serde_json::from_str(&captured.stdout).map_err(|error| {
            Error::NotRunnable { program: "cargo metadata".into(), reason: error.to_string() }
        })?;
        let target = match arguments.take_value(&["--target-dir"])? {
            Some(path) => std::path::absolute(&path).map_err(Error::unwritable(Path::new(&path)))?,
            None => metadata.target_directory,
        };
        let wanted =
            metadata.metadata.as_ref().and_then(|tables| tables.get("shim")?.get("real-tokio")?.as_str());
        let root = metadata.workspace_root;
        let entry = match wanted {
            Some(version) => Entry::Repository(version.to_owned()),
            None if patches_tokio(&root.join("Cargo.toml")) => Entry::Manual,
            None => Entry::Injected,
        };
        Ok(Project { root, sim_dir: target.join("sim"), entry, members: metadata.packages })
    }

    /// The project's lock file.
    pub(crate) fn lock_path(&self) -> PathBuf {
        self.root.join("Cargo.lock")
    }

    /// Where the drop-in's crates are unpacked.
    pub(crate) fn shim_dir(&self) -> PathBuf {
        self.sim_dir.join("shim")
    }

    /// Where the real tokio goes.
    pub(crate) fn real_tokio_dir(&self) -> PathBuf {
        match self.entry {
            Entry::Repository(_) => self.root.join("real-tokio"),
            _ => self.shim_dir().join("real-tokio"),
        }
    }

    /// Makes our folder. It hides itself from git, whatever the project's own ignore file says.
    pub(crate) fn make_sim_dir(&self) -> Result<()> {
        fs::create_dir_all(&self.sim_dir).map_err(Error::unwritable(&self.sim_dir))?;
        let ignore = self.sim_dir.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n").map_err(Error::unwritable(&ignore))?;
        }
        // An existing folder may still be read-only.
        let probe = self.sim_dir.join(format!(".probe-{}", std::process::id()));
        fs::write(&probe, "").map_err(Error::unwritable(&self.sim_dir))?;
        fs::remove_file(&probe).map_err(Error::unwritable(&probe))
    }
}

fn patches_tokio(manifest: &Path) -> bool {
    let text = fs::read_to_string(manifest).unwrap_or_default();
    let Ok(document) = text.parse::<DocumentMut>() else { return false };
    let patch = document.get("patch").and_then(|it| it.get("crates-io"));
    patch.and_then(|it| it.get("tokio")).is_some()
}
