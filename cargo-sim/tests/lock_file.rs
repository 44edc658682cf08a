//! The project's lock file survives interruption, murder and company.
//!
//! These are about cargo before 1.97, where the file is swapped; with a newer one they hold trivially.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use common::{Fixture, LOCK, Outcome};

fn start_slow(project: &Fixture) -> Child {
    let mut command = project.command(&["tree"]);
    command.env("CARGO", project.slow_cargo()).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.spawn().expect("runs");
    project.wait_until_started();
    child
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill runs");
    assert!(status.success());
}

#[test]
fn an_interrupted_run_gives_it_back() {
    for name in ["-INT", "-TERM"] {
        let project = Fixture::plain();
        let mut child = start_slow(&project);
        signal(&child, name);
        assert_eq!(child.wait().expect("ends").code(), Some(130));
        project.assert_untouched(LOCK);
    }
}

#[test]
fn a_killed_run_is_made_good_by_the_next() {
    let project = Fixture::plain();
    let mut child = start_slow(&project);
    signal(&child, "-KILL");
    assert_eq!(child.wait().expect("ends").signal(), Some(9));
    if project.read("Cargo.lock") == LOCK {
        return; // this cargo needs no swap
    }
    project.sim(&["tree"]).expect(0, "an earlier run was killed");
    project.assert_untouched(LOCK);
}

#[test]
fn runs_beside_each_other_do_no_harm() {
    let project = Fixture::plain();
    let mut slow = start_slow(&project);
    let children: Vec<Child> = (0..4)
        .map(|_| {
            project.command(&["tree"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs")
        })
        .collect();
    for child in children {
        let outcome = Outcome::of(&child.wait_with_output().expect("ends")).expect(0, "");
        assert!(outcome.stdout.contains("tokio v1.999.0"), "{}", outcome.stdout);
    }
    signal(&slow, "-INT");
    assert_eq!(slow.wait().expect("ends").code(), Some(130));
    project.assert_untouched(LOCK);
}

#[test]
fn another_target_folder_cannot_mix_it_up() {
    let project = Fixture::plain();
    let mut slow = start_slow(&project);
    if project.read("Cargo.lock") != LOCK {
        let elsewhere = tempfile::tempdir().expect("a folder");
        let mut command = project.command(&["tree"]);
        let output = command.env("CARGO_TARGET_DIR", elsewhere.path()).output().expect("runs");
        Outcome::of(&output).expect(66, "another target folder");
    }
    signal(&slow, "-INT");
    slow.wait().expect("ends");
    project.assert_untouched(LOCK);
}

#[test]
fn what_another_program_wrote_meanwhile_is_kept() {
    let project = Fixture::plain();
    let mut slow = start_slow(&project);
    if project.read("Cargo.lock") != LOCK {
        project.write("Cargo.lock", "version = 4\n");
        signal(&slow, "-INT");
        slow.wait().expect("ends");
        assert_eq!(project.read("target/sim/lock/Cargo.lock.changed-meanwhile"), "version = 4\n");
    } else {
        signal(&slow, "-INT");
        slow.wait().expect("ends");
    }
    project.assert_untouched(LOCK);
}
