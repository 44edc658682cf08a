//! The binary: hands the embedded shim sources and the command line to the library.
//!
//! Owns nothing else, so that an edit of a shim crate rebuilds only this file. It must not know any command.
//! Invariant: the process ends with a code from `cargo_sim::exit_code`, or with cargo's own.

static SHIM_FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/shim_files.rs"));

fn main() {
    std::process::exit(cargo_sim::run(std::env::args_os(), SHIM_FILES));
}
