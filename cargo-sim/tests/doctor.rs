//! `cargo sim doctor` names what goes around the simulation, and who brings it in.

mod common;

use common::{Fixture, LOCK};

#[test]
fn a_clean_project_is_told_so() {
    let project = Fixture::plain();
    let outcome = project.sim(&["doctor"]).expect(0, "");
    assert!(outcome.stdout.contains("nothing in this project's graph"), "{}", outcome.stdout);
    project.assert_untouched(LOCK);
}

#[test]
fn mio_beside_tokio_is_serious() {
    let dependencies = "tokio = { version = \"1\", features = [\"sync\"] }\nmio = { version = \"1\" }";
    let project = Fixture::new(dependencies, Some(LOCK));
    let outcome = project.sim(&["doctor", "--format", "json"]).expect(68, "");
    let list: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("json");
    assert_eq!(list["findings"][0]["name"], "mio");
    assert_eq!(list["findings"][0]["severity"], "serious");
    assert_eq!(list["findings"][0]["brought_in_by"][0], "app 0.1.0");
    project.assert_untouched(LOCK);
}
