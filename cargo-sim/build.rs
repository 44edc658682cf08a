//! Embeds the sources of the shim crates into the binary, so that `cargo sim` works in any project.
//!
//! Writes one Rust file, a table of (path, bytes), into `OUT_DIR`. Knows nothing of what the files mean.
//! Invariant: the table is sorted by path, and holds only what a build of the drop-in reads.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const CRATES: [&str; 6] = ["shim-fs", "shim-macros", "shim-net", "shim-runtime", "shim-time", "shim-tokio"];

fn main() {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let repository = here.parent().expect("the crate lives in the repository").to_owned();
    let mut files = vec![PathBuf::from("Cargo.toml")];
    for name in CRATES {
        let root = Path::new(name);
        files.push(root.join("Cargo.toml"));
        files.extend(Some(root.join("build.rs")).filter(|path| repository.join(path).exists()));
        collect(&repository, &root.join("src"), &mut files);
    }
    files.sort();

    let mut table = String::from("&[\n");
    for file in files {
        let full = repository.join(&file);
        writeln!(table, "    ({:?}, include_bytes!({full:?}) as &[u8]),", file.display().to_string())
            .expect("a String takes every write");
    }
    table.push_str("]\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    std::fs::write(out.join("shim_files.rs"), table).expect("OUT_DIR can be written");
}

/// Adds every file under `folder`, and asks cargo to come back when the folder's list of files changes.
fn collect(repository: &Path, folder: &Path, files: &mut Vec<PathBuf>) {
    let full = repository.join(folder);
    println!("cargo::rerun-if-changed={}", full.display());
    let Ok(entries) = std::fs::read_dir(&full) else { return };
    for entry in entries.flatten() {
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            collect(repository, &path, files);
        } else {
            files.push(path);
        }
    }
}
