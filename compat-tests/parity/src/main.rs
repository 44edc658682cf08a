//! Holds the drop-in against the real tokio. Run it from the repository's root:
//!
//! * `parity ledger check`: the public items of the real tokio are those of `compat-tests/ledger/`, each compiles in both
//!   worlds or is listed as absent, and SUPPORT.md says so; `parity ledger write` brings the files up to date;
//! * `parity upstream`: the test suites of tokio, tokio-util and tokio-stream, against lists of expected passes.
//!
//! Must not be part of the workspace: it runs cargo on it. Invariant: what it finds wrong it prints, and ends with 1.

mod ledger;
mod upstream;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["ledger", "check"] => ledger::check(),
        ["ledger", "write"] => ledger::write(),
        ["upstream", rest @ ..] => upstream::run(rest),
        _ => Err("usage: parity ledger check|write, or parity upstream [suite…] [options]".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
