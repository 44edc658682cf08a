//! The way into a simulation build: any project, any place in it, no change of it.
//!
//! Owns what must work. Failures are in `failures.rs`, interrupted runs in `lock_file.rs`.

mod common;

use std::fs;

use common::{Fixture, LOCK, manifest};

#[test]
fn another_project_gets_its_own_tokio() {
    let project = Fixture::plain();
    let tree = project.sim(&["tree"]).expect(0, "").stdout;
    assert!(tree.contains("tokio v1.999.0"), "{tree}");
    assert!(tree.contains("tokio v1.52.0"), "{tree}");
    assert!(tree.contains("pin-project-lite v0.2.17"), "{tree}");
    project.assert_untouched(LOCK);

    let again = project.sim(&["tree"]).expect(0, "");
    assert_eq!(again.stdout, tree);
    assert!(!again.stderr.contains("fetching"), "the second run fetches nothing: {}", again.stderr);
}

#[test]
fn the_time_of_the_lock_file_stays() {
    let project = Fixture::plain();
    let modified =
        || fs::metadata(project.path().join("Cargo.lock")).and_then(|it| it.modified()).expect("there");
    let before = modified();
    project.sim(&["tree"]).expect(0, "");
    assert_eq!(modified(), before);
}

#[test]
fn a_project_without_a_lock_file_still_has_none() {
    let project = Fixture::new("tokio = { version = \"1\", features = [\"sync\"] }", None);
    for _ in 0..2 {
        let tree = project.sim(&["tree"]).expect(0, "").stdout;
        assert!(tree.contains("tokio v1.999.0"), "{tree}");
        assert!(!project.path().join("Cargo.lock").exists());
    }
    assert_eq!(project.git(&["status", "--short", "-uall"]), "");
}

#[test]
fn a_member_of_a_workspace_from_its_own_folder_and_by_manifest_path() {
    let project = Fixture::plain();
    project.write("Cargo.toml", "[workspace]\nmembers = [\"app\"]\nresolver = \"2\"\n");
    let member = manifest("tokio = { version = \"1\", features = [\"sync\"] }").replace("[workspace]\n", "");
    project.write("app/Cargo.toml", &member);
    project.write("app/src/lib.rs", "");
    project.commit();
    let mut inside = project.command(&["tree"]);
    let output = inside.current_dir(project.path().join("app/src")).output().expect("runs");
    common::Outcome::of(&output).expect(0, "");
    let path = project.path().join("app/Cargo.toml").display().to_string();
    let mut outside = project.command(&["tree", "--manifest-path", &path]);
    let output = outside.current_dir(std::env::temp_dir()).output().expect("runs");
    let tree = common::Outcome::of(&output).expect(0, "").stdout;
    assert!(tree.contains("tokio v1.999.0"), "{tree}");
    project.assert_untouched(LOCK);
}

#[test]
fn the_target_folder_is_the_projects_own() {
    let project = Fixture::plain();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let path = elsewhere.path().join("a").display().to_string();
    project.sim(&["tree", "--target-dir", &path]).expect(0, "");
    assert!(elsewhere.path().join("a/sim/shim/shim-tokio/Cargo.toml").exists());
    let variable = elsewhere.path().join("b");
    project.command(&["tree"]).env("CARGO_TARGET_DIR", &variable).output().expect("runs");
    assert!(variable.join("sim/shim/real-tokio/Cargo.toml").exists());
    assert!(!project.path().join("target").exists());
}

#[test]
fn the_users_flags_stay() {
    let project = Fixture::plain();
    project.write(
        "src/lib.rs",
        "//! Flags.\n#[cfg(not(sim))]\ncompile_error!(\"no sim\");\n#[cfg(not(own))]\ncompile_error!(\"no own\");\n",
    );
    project.write(".cargo/config.toml", "[target.'cfg(unix)']\nrustflags = [\"--cfg\", \"own\"]\n");
    project.commit();
    let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/flags");
    let check = |name: &str, value: &str| {
        let mut command = project.command(&["check", "--quiet"]);
        let output = command.env("CARGO_TARGET_DIR", target).env(name, value).output().expect("runs");
        common::Outcome::of(&output).expect(0, "");
    };
    check("UNRELATED", "");
    check("RUSTFLAGS", "--cfg own");
    check("CARGO_ENCODED_RUSTFLAGS", "--cfg\u{1f}own");
    project.write(".cargo/config.toml", "[build]\nrustflags = \"--cfg own\"\n");
    check("UNRELATED", "");
    project.write(".cargo/config.toml", "");
    check("CARGO_BUILD_RUSTFLAGS", "--cfg own");
    project.write(".cargo/config.toml", "[build]\nrustflags = [\"--cfg\", \"own\"]\n");
    project.write("src/lib.rs", "//! ```\n//! #[cfg(not(sim))]\n//! compile_error!(\"no sim\");\n//! ```\n");
    let mut command = project.command(&["test", "--doc", "--quiet"]);
    let output = command.env("CARGO_TARGET_DIR", target).output().expect("runs");
    common::Outcome::of(&output).expect(0, "");
    assert_eq!(project.read("Cargo.lock"), LOCK);
}

#[test]
fn a_repository_that_asks_for_it_gets_real_tokio_beside_its_crates() {
    let project = Fixture::new("", None);
    let manifest = manifest("") + "\n[workspace.metadata.shim]\nreal-tokio = \"1.52.0\"\n";
    project.write("Cargo.toml", &manifest);
    let stdout = project.sim(&["setup"]).expect(0, "").stdout;
    assert!(stdout.contains("tokio 1.52.0 is in"), "{stdout}");
    let copied = project.read("real-tokio/Cargo.toml");
    assert!(copied.contains("version = \"1.52.0\""), "{copied}");
    assert!(!project.path().join("real-tokio/.cargo-ok").exists());
    assert!(!project.path().join("real-tokio/Cargo.lock").exists());
}
