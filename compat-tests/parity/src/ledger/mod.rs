//! The ledger: every public item of the real tokio, in files that a person can read and a change shows up in.
//!
//! Owns the order of the checks. Must not know Rust's syntax. Invariant: an item is in the ledger, has a state, and
//! compiles in both worlds unless its state is `absent`.

mod compile;
mod entries;
mod index;
mod names;
mod notes;
mod print;

use std::collections::BTreeSet;
use std::fs;

use entries::Entry;
use notes::Notes;

const FOLDER: &str = "compat-tests/ledger";
const SUPPORT: &str = "SUPPORT.md";

/// The two lists: what is stable, and what only `--cfg tokio_unstable` shows.
struct Ledger {
    stable: Vec<Entry>,
    unstable: Vec<Entry>,
}

fn read_ledger() -> Result<Ledger, String> {
    let stable = entries::all(&index::Index::new(compile::documentation(false)?));
    let known: BTreeSet<&Entry> = stable.iter().collect();
    let all = entries::all(&index::Index::new(compile::documentation(true)?));
    let unstable = all.into_iter().filter(|entry| !known.contains(entry)).collect();
    Ok(Ledger { stable, unstable })
}

fn listed(entries: &[Entry]) -> String {
    entries.iter().map(|entry| format!("{}\t{}\n", entry.name, entry.what)).collect()
}

/// Brings the files up to date.
pub(crate) fn write() -> Result<(), String> {
    let ledger = read_ledger()?;
    let notes = Notes::read()?;
    fs::create_dir_all(FOLDER).map_err(|error| error.to_string())?;
    for (name, entries) in [("stable", &ledger.stable), ("unstable", &ledger.unstable)] {
        let path = format!("{FOLDER}/{name}.txt");
        fs::write(&path, listed(entries)).map_err(|error| format!("{path}: {error}"))?;
        println!("{path}: {} items", entries.len());
    }
    let support = notes.support(&read(SUPPORT)?, &ledger.stable, &ledger.unstable)?;
    fs::write(SUPPORT, support).map_err(|error| format!("{SUPPORT}: {error}"))
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// Checks everything.
pub(crate) fn check() -> Result<(), String> {
    let ledger = read_ledger()?;
    let notes = Notes::read()?;
    let mut wrong = Vec::new();
    for (name, entries) in [("stable", &ledger.stable), ("unstable", &ledger.unstable)] {
        let path = format!("{FOLDER}/{name}.txt");
        differences(&path, &read(&path)?, &listed(entries), &mut wrong);
    }
    let support = read(SUPPORT)?;
    if notes.support(&support, &ledger.stable, &ledger.unstable)? != support {
        wrong.push(format!("{SUPPORT} is not what `parity ledger write` makes of {FOLDER}/notes.txt"));
    }
    for (entries, unstable) in [(&ledger.stable, false), (&ledger.unstable, true)] {
        let (absent, present): (Vec<&Entry>, Vec<&Entry>) =
            entries.iter().partition(|entry| notes.state(entry) == Some("absent"));
        let everything: Vec<&Entry> = entries.iter().collect();
        for (entry, why) in compile::refused(&everything, false, unstable)? {
            wrong.push(format!("on real tokio, {} ({}): {why}", entry.name, entry.what));
        }
        for (entry, why) in compile::refused(&present, true, unstable)? {
            wrong.push(format!("in simulation, {} ({}): {why}", entry.name, entry.what));
        }
        let refused: BTreeSet<&Entry> =
            compile::refused(&absent, true, unstable)?.into_iter().map(|(entry, _)| entry).collect();
        for entry in absent.iter().filter(|entry| !entry.check.is_empty() && !refused.contains(*entry)) {
            wrong.push(format!(
                "in simulation, {} ({}) is there, and noted as absent",
                entry.name, entry.what
            ));
        }
        println!("{} items, {} of them absent", entries.len(), absent.len());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n  ")) }
}

fn differences(path: &str, committed: &str, found: &str, wrong: &mut Vec<String>) {
    let (before, now): (BTreeSet<&str>, BTreeSet<&str>) =
        (committed.lines().collect(), found.lines().collect());
    let mut differs = |lines: Vec<&&str>, what: &str| {
        wrong.extend(lines.into_iter().map(|line| format!("{path}: {what}: {}", line.replace('\t', " | "))));
    };
    differs(now.difference(&before).collect(), "tokio has, and the ledger lacks");
    differs(before.difference(&now).collect(), "the ledger has, and tokio lacks");
}
