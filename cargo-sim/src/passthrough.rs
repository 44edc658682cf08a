//! Any cargo command, in the simulation configuration.
//!
//! Owns the plain run: prepare, run, give back. It must not know what the command does. Invariant: cargo's exit code
//! is ours.

use crate::ShimFiles;
use crate::arguments::Arguments;
use crate::child;
use crate::error::Result;
use crate::simulation::Simulation;

/// Runs the command and returns cargo's exit code.
pub(crate) fn run(mut arguments: Arguments, files: ShimFiles) -> Result<i32> {
    let simulation = Simulation::prepare(&mut arguments, files)?;
    let mut child = child::spawn(&mut simulation.command(&arguments))?;
    let status = child::wait(&mut child, || ())?;
    simulation.finish()?;
    Ok(child::code_of(status))
}
