//! The command line.
//!
//! Owns the choice of the command, `--help`, and the way errors are shown. It must not do any work itself. Invariant:
//! every error leaves through `report`, with its hint and its exit code.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::ShimFiles;
use crate::arguments::Arguments;
use crate::child;
use crate::doctor;
use crate::error::{Error, Result};
use crate::exit_code;
use crate::passthrough;
use crate::setup;
use crate::sweep;

/// Run any cargo command in a simulation: the same program on a deterministic tokio, in virtual time.
#[derive(Parser)]
#[command(name = "cargo sim", bin_name = "cargo sim", version, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: SimCommand,
}

#[derive(Subcommand)]
enum SimCommand {
    /// Put the drop-in and the real tokio in place, and say where they are
    Setup {
        /// `--manifest-path`, `--target-dir`, `--offline` … as for cargo
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        cargo: Vec<OsString>,
    },
    /// List what in the project's graph goes around the simulation
    Doctor {
        /// How to print the list
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// `--manifest-path`, `--offline` … as for cargo
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        cargo: Vec<OsString>,
    },
    /// Run one test again with the seed that failed: `cargo sim replay 17 my::test [cargo test options]`
    Replay {
        /// The seed
        seed: String,
        /// The full name of the test, then options for `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    #[command(external_subcommand)]
    Cargo(Vec<OsString>),
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Human,
    /// For programs
    Json,
}

/// Runs `cargo sim` with the words of its command line (the program's name first); returns the exit code.
pub fn run(words: impl IntoIterator<Item = OsString>, files: ShimFiles) -> i32 {
    let mut words: Vec<OsString> = words.into_iter().collect();
    // cargo calls a subcommand with its name as first word.
    if words.get(1).is_some_and(|word| word == "sim") {
        words.remove(1);
    }
    let matches = match CommandLine::command().after_help(after_help()).try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return error.exit_code();
        }
    };
    child::take_signals();
    let result = CommandLine::from_arg_matches(&matches)
        .map_err(|error| Error::Usage(error.to_string()))
        .and_then(|line| dispatch(line.command, files));
    result.unwrap_or_else(|error| report(&error))
}

fn dispatch(command: SimCommand, files: ShimFiles) -> Result<i32> {
    match command {
        SimCommand::Setup { cargo } => setup::run(cargo, files),
        SimCommand::Doctor { format, cargo } => doctor::run(format, cargo, files),
        SimCommand::Replay { seed, words } => sweep::replay(seed, words, files),
        SimCommand::Cargo(words) => {
            let mut arguments = Arguments::new(words)?;
            match sweep::Plan::take(&mut arguments)? {
                Some(plan) => sweep::run(plan, arguments, files),
                None => passthrough::run(arguments, files),
            }
        }
    }
}

fn report(error: &Error) -> i32 {
    eprintln!("error: {error}");
    if let Some(hint) = error.hint() {
        eprintln!("  hint: {hint}");
    }
    error.exit_code()
}

fn after_help() -> String {
    let mut text = String::from(
        "Everything else is a cargo command, run in the simulation configuration:\n  \
         cargo sim test|run|build|check|clippy|bench|doc|tree|nextest run … [cargo's options]\n\n\
         Sweeps (test, nextest run):\n  \
         --seeds <SEEDS>     run each #[tokio::test] once per seed: `7`, `0..200`, `0..=199`, `1,5,10-20`\n  \
         --seed <SEED>       run with one seed (also with run and bench)\n  \
         --jobs <N>          with --seeds: seeds run at the same time [default: all cores]\n  \
         --build-jobs <N>    with --seeds: cargo's own --jobs\n  \
         --keep-going        with --seeds: go on after a failing seed\n  \
         --format <FORMAT>   with --seeds or --seed: `human` or `json` (the summary, on standard output)\n\n\
         Exit codes:\n",
    );
    for (code, meaning) in exit_code::TABLE {
        text.push_str(&format!("  {code:>3}  {meaning}\n"));
    }
    text
}
