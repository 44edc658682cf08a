//! The arguments of `#[tokio::test]` that tokio has under `tokio_unstable`, and the runtime's name.
//!
//! Owns what the macro hands on. Invariant: a panic that shuts the runtime down fails the test.
#![cfg(all(sim, feature = "full"))]

#[tokio::test(name = "of the test")]
async fn the_runtime_has_the_name() {
    assert_eq!(tokio::runtime::Handle::current().name(), Some("of the test"));
}

#[cfg(tokio_unstable)]
#[tokio::test(flavor = "current_thread", unhandled_panic = "shutdown_runtime")]
#[should_panic(expected = "the runtime is configured to shut down on unhandled panic")]
async fn a_panic_of_a_task_ends_the_runtime() {
    let _ = tokio::spawn(async { panic!("of a task") }).await;
}

#[cfg(tokio_unstable)]
#[tokio::test(flavor = "current_thread", unhandled_panic = "ignore")]
async fn a_panic_of_a_task_is_its_own() {
    assert!(tokio::spawn(async { panic!("of a task") }).await.unwrap_err().is_panic());
}
