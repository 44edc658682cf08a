//! README's words on a machine that is a database, as a program.
//!
//! Owns nothing. Must not know more than README tells. Invariant: each line of README's block stands in this file.
#![cfg(sim)]

use std::error::Error;

use tokio::sim;

#[tokio::test]
async fn a_machine_is_a_database() -> Result<(), Box<dyn Error>> {
    sim::host("db", shim_servers::Postgres::new().data_dir("/var/lib/postgresql").host());
    let pool = sqlx::PgPool::connect("postgres://postgres@db/postgres").await?;
    sqlx::query("CREATE TABLE marks (n INT)").execute(&pool).await?;
    sqlx::query("INSERT INTO marks VALUES (7)").execute(&pool).await?;
    sim::power_off("db"); // what was acknowledged is there after `sim::start("db")`
    sim::start("db");
    pool.close().await;
    let pool = sqlx::PgPool::connect("postgres://postgres@db/postgres").await?;
    let marks: Vec<i32> = sqlx::query_scalar("SELECT n FROM marks").fetch_all(&pool).await?;
    assert_eq!(marks, [7]);
    Ok(())
}

#[test]
fn these_are_readmes_lines() {
    let readme = include_str!("../../../README.md");
    let (_, block) = readme.split_once("```rust,ignore\n").expect("a block that is not run as it stands");
    let (block, rest) = block.split_once("\n```").expect("its end");
    assert!(!rest.contains("```rust,ignore"), "the other blocks are run by CI");
    let own = include_str!("sim_readme.rs");
    for line in block.lines() {
        assert!(own.contains(&format!("\n    {line}\n")), "this line is not tried: {line}");
    }
}
