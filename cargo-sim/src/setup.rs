//! `cargo sim setup`: everything in place, nothing run.
//!
//! Owns the text that tells how to go on by hand. It must not change the project. Invariant: the lines it prints can be
//! pasted as they are.

use std::ffi::OsString;

use crate::ShimFiles;
use crate::arguments::Arguments;
use crate::error::Result;
use crate::project::Entry;
use crate::simulation::Simulation;

/// Puts the drop-in and the real tokio in place and says where.
pub(crate) fn run(mut words: Vec<OsString>, files: ShimFiles) -> Result<i32> {
    words.insert(0, "setup".into());
    let mut arguments = Arguments::new(words)?;
    let simulation = Simulation::prepare(&mut arguments, files)?;
    if let Some((folder, version)) = &simulation.real_tokio {
        println!("tokio {version} is in {}", folder.display());
    }
    match simulation.project.entry {
        Entry::Injected => {
            let drop_in = simulation.project.shim_dir().join("shim-tokio");
            println!("the drop-in is in {}", drop_in.display());
            println!("\nby hand, without `cargo sim`: in the root Cargo.toml\n");
            println!("    [patch.crates-io]\n    tokio = {{ path = {:?} }}\n", drop_in.display().to_string());
            println!("then\n\n    cargo update -p tokio");
            println!("    RUSTFLAGS=\"--cfg sim --cfg rustix_use_libc\" cargo test --target-dir target/sim");
        }
        Entry::Repository(_) | Entry::Manual => {
            println!("the root Cargo.toml names the drop-in\n\nby hand, without `cargo sim`:\n");
            println!("    RUSTFLAGS=\"--cfg sim --cfg rustix_use_libc\" cargo test --target-dir target/sim");
        }
    }
    simulation.finish()?;
    Ok(0)
}
