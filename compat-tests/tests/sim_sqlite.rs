//! SQLite on simulated disks: a C library that nobody changed, and whose promise is known.
//!
//! Owns no rule of its own. Must not know how disks are made. Invariants: with the syncs that SQLite asks for
//! nothing that was acknowledged is lost and no database is damaged; without, something is, or the fault is not real.
#![cfg(sim)]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::sim::{self, PowerLoss};
use tokio::time::sleep;

const PATH: &str = "data/db.sqlite";

/// What clients of the databases know.
#[derive(Default)]
struct Ledger {
    /// The last row of each node whose commit was acknowledged.
    acknowledged: BTreeMap<String, i64>,
    /// What was wrong with databases when they were opened.
    damage: Vec<String>,
    commits: u64,
}

type Shared = Arc<Mutex<Ledger>>;

fn with<R>(ledger: &Shared, f: impl FnOnce(&mut Ledger) -> R) -> R {
    f(&mut ledger.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What is wrong with the database as it is found.
fn check(database: &Connection, acknowledged: i64) -> rusqlite::Result<Option<String>> {
    let verdict: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Ok(Some(verdict));
    }
    let (last, count): (i64, i64) =
        database.query_row("SELECT coalesce(max(id), 0), count(*) FROM entries", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let lost = last < acknowledged || last != count;
    Ok(lost.then(|| format!("{acknowledged} rows were acknowledged, {count} are there, up to {last}")))
}

fn open(journal: &str, synchronous: &str) -> rusqlite::Result<Connection> {
    let database = Connection::open(PATH)?;
    database.pragma_update(None, "journal_mode", journal)?;
    database.pragma_update(None, "synchronous", synchronous)?;
    database.pragma_update(None, "wal_autocheckpoint", 20)?;
    database.execute("CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, data BLOB)", [])?;
    Ok(database)
}

/// Opens the database, looks whether it is whole, and inserts rows for ever.
fn work(node: &str, journal: &str, synchronous: &str, ledger: &Shared) -> rusqlite::Result<()> {
    let acknowledged = with(ledger, |ledger| ledger.acknowledged.get(node).copied().unwrap_or(0));
    let found =
        open(journal, synchronous).and_then(|database| Ok((check(&database, acknowledged)?, database)));
    let mut database = match found {
        Ok((None, database)) => database,
        Ok((Some(damage), _)) => {
            with(ledger, |ledger| ledger.damage.push(format!("{node}: {damage}")));
            return Ok(());
        }
        Err(error) => {
            with(ledger, |ledger| ledger.damage.push(format!("{node}: {error}")));
            return Ok(());
        }
    };
    let mut next: i64 =
        database.query_row("SELECT coalesce(max(id), 0) + 1 FROM entries", [], |row| row.get(0))?;
    loop {
        let transaction = database.transaction()?;
        for id in next..next + 3 {
            transaction.execute("INSERT INTO entries VALUES (?1, ?2)", params![id, vec![id as u8; 700]])?;
        }
        transaction.commit()?;
        next += 3;
        with(ledger, |ledger| {
            ledger.acknowledged.insert(node.to_owned(), next - 1);
            ledger.commits += 1;
        });
    }
}

/// Runs databases on several nodes, takes them down at random, and starts them again.
async fn run(journal: &'static str, synchronous: &'static str, nodes: usize, rounds: usize) -> Ledger {
    let ledger = Shared::default();
    let names: Vec<String> = (0..nodes).map(|number| format!("db{number}")).collect();
    for name in &names {
        let (ledger, own) = (Arc::clone(&ledger), name.clone());
        sim::host(name.as_str(), move || {
            let (ledger, own) = (Arc::clone(&ledger), own.clone());
            async move {
                std::fs::create_dir_all("data")?;
                std::fs::File::open(".")?.sync_all()?;
                let worker = tokio::task::spawn_blocking(move || work(&own, journal, synchronous, &ledger));
                worker.await?.map_err(|error| Box::new(error) as Box<dyn Error>)?;
                std::future::pending().await
            }
        });
        sim::disk(name)
            .power_loss(PowerLoss::Torn)
            .latency(Duration::from_micros(10), Duration::from_micros(300));
    }
    for _ in 0..rounds {
        for name in &names {
            sleep(Duration::from_micros(sim::random_in(500..20_000))).await;
            if sim::random_u64().is_multiple_of(3) { sim::crash(name) } else { sim::power_off(name) }
        }
        sleep(Duration::from_millis(1)).await;
        names.iter().for_each(|name| sim::start(name.as_str()));
        sleep(Duration::from_millis(100)).await;
    }
    let losses: u64 = names.iter().map(|name| sim::disk(name).stats().power_losses).sum();
    assert!(losses > 0, "no power was lost");
    let mut found = with(&ledger, std::mem::take);
    found.damage.sort();
    found
}

#[tokio::test]
async fn with_a_log_nothing_acknowledged_is_lost() {
    let ledger = run("WAL", "FULL", 4, 4).await;
    assert!(ledger.damage.is_empty(), "{:#?}", ledger.damage);
    assert!(ledger.commits > 50, "{}", ledger.commits);
}

#[tokio::test]
async fn with_a_rollback_journal_nothing_acknowledged_is_lost() {
    let ledger = run("DELETE", "EXTRA", 4, 4).await;
    assert!(ledger.damage.is_empty(), "{:#?}", ledger.damage);
    assert!(ledger.commits > 50, "{}", ledger.commits);
}

/// As SQLite's manual says of `FULL` in this mode: the journal's removal is the commit, and is not synced, so that
/// the last transaction can be lost, and nothing else.
#[tokio::test]
async fn a_removal_that_is_not_synced_can_lose_the_last_transaction() {
    let ledger = run("DELETE", "FULL", 4, 4).await;
    for damage in &ledger.damage {
        let mut words = damage.split(|letter: char| !letter.is_ascii_digit()).filter(|word| !word.is_empty());
        let mut number = || words.next().and_then(|word| word.parse::<i64>().ok());
        let (_, acknowledged, count) = (number(), number(), number());
        assert_eq!(acknowledged.zip(count).map(|(before, after)| before - after), Some(3), "{damage}");
    }
}

#[tokio::test]
async fn without_syncs_a_log_loses_something() {
    let ledger = run("WAL", "OFF", 6, 3).await;
    assert!(!ledger.damage.is_empty(), "no loss of power took anything of {} commits", ledger.commits);
}

#[tokio::test]
async fn without_syncs_a_rollback_journal_loses_something() {
    let ledger = run("DELETE", "OFF", 6, 3).await;
    assert!(!ledger.damage.is_empty(), "no loss of power took anything of {} commits", ledger.commits);
}
