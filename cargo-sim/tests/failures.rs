//! Each failure has a message, a hint and an exit code, and leaves the project as it was.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{Fixture, LOCK, Outcome};

fn with(project: &Fixture, words: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command = project.command(words);
    command.envs(variables.iter().copied());
    Outcome::of(&command.output().expect("runs"))
}

#[test]
fn no_toolchain() {
    let project = Fixture::plain();
    with(&project, &["check"], &[("CARGO", "/nowhere/cargo")]).expect(60, "failed to run `/nowhere/cargo`");
    project.assert_untouched(LOCK);
}

#[test]
fn an_old_compiler() {
    let project = Fixture::plain();
    let script = project.path().join(".git/rustc");
    fs::write(&script, "#!/bin/sh\necho 'rustc 1.70.0 (x)'\n").expect("writable");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
    let path = script.display().to_string();
    with(&project, &["check"], &[("RUSTC", &path)]).expect(61, "failed to use rustc 1.70.0");
    project.assert_untouched(LOCK);
}

#[test]
fn no_network_and_no_cache() {
    let project = Fixture::plain();
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().display().to_string();
    let variables = [("CARGO_HOME", path.as_str()), ("CARGO_NET_OFFLINE", "true")];
    with(&project, &["check"], &variables).expect(62, "failed to fetch tokio 1.52.0");
    project.assert_untouched(LOCK);
}

#[test]
fn an_unwritable_target_folder() {
    let project = Fixture::plain();
    with(&project, &["check"], &[("CARGO_TARGET_DIR", "/proc/nothing")]).expect(65, "failed to write");
    project.assert_untouched(LOCK);
}

#[test]
fn a_version_requirement_that_keeps_the_drop_in_out() {
    let project = Fixture::new("tokio = { version = \"~1.52\", features = [\"sync\"] }", Some(LOCK));
    project.sim(&["check"]).expect(63, "app 0.1.0 requires tokio `~1.52`");
    project.assert_untouched(LOCK);
}

#[test]
fn a_project_without_tokio() {
    let project = Fixture::new("", None);
    project.sim(&["check"]).expect(63, "no package of this project depends on tokio");
    assert!(!project.path().join("Cargo.lock").exists());
}

#[test]
fn a_tokio_that_is_too_old() {
    let lock = LOCK.replace("1.52.0", "1.40.0");
    let project = Fixture::new("tokio = \"1\"", Some(&lock));
    project.sim(&["check"]).expect(64, "failed to simulate tokio 1.40.0");
    project.assert_untouched(&lock);
}

#[test]
fn seeds_that_make_no_sense() {
    let project = Fixture::plain();
    project.sim(&["test", "--seeds", "9..1"]).expect(67, "`9..1` holds no seed");
    project.sim(&["test", "--seed", "1,2"]).expect(2, "takes one seed");
    project.sim(&["build", "--seeds", "1..2"]).expect(2, "takes no seeds");
    project.assert_untouched(LOCK);
}

#[test]
fn cargos_own_code_passes_through() {
    let project = Fixture::plain();
    project.sim(&["tree", "--no-such-flag"]).expect(1, "unexpected argument");
    project.sim(&["no-such-command"]).expect(101, "no such command");
    project.assert_untouched(LOCK);
}

#[test]
fn the_table_is_in_the_help() {
    let help = Fixture::plain().sim(&["--help"]).expect(0, "").stdout;
    for (code, meaning) in cargo_sim::exit_code::TABLE {
        assert!(help.contains(&format!("{code:>3}  {meaning}")), "{help}");
    }
}
