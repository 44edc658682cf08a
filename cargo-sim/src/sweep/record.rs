//! The records that tests append while they sweep.
//!
//! Owns the format (one JSON object a line, files `*.jsonl`, one file per process) and the reading of files that still
//! grow. It must not judge a record. Invariant: a line is read once, and only when it is whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One line.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Record {
    /// A test begins its sweep.
    Plan {
        /// The test's path, as the harness prints it.
        test: String,
        /// The test program.
        binary: String,
        /// How many seeds it will run.
        seeds: u64,
    },
    /// A seed is done.
    Seed(SeedRecord),
    /// A kind that a newer library writes.
    #[serde(other)]
    Other,
}

/// The outcome of one seed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SeedRecord {
    /// The test's path.
    pub(crate) test: String,
    /// The test program.
    pub(crate) binary: String,
    /// The seed.
    pub(crate) seed: u64,
    /// Whether the test passed.
    pub(crate) ok: bool,
    /// The hash over every decision of the run.
    #[serde(default)]
    pub(crate) trace_hash: Option<String>,
    /// Steps of the scheduler.
    #[serde(default)]
    pub(crate) steps: u64,
    /// Simulated time.
    #[serde(default)]
    pub(crate) virtual_ns: u64,
    /// The first line of the panic.
    #[serde(default)]
    pub(crate) message: Option<String>,
}

/// Reads what is new in a folder of growing files.
pub(crate) struct Tail {
    folder: PathBuf,
    offsets: BTreeMap<PathBuf, u64>,
    /// Whole lines that were no record.
    pub(crate) broken_lines: usize,
}

impl Tail {
    /// Starts at the beginning of every file in `folder`.
    pub(crate) fn new(folder: &Path) -> Tail {
        Tail { folder: folder.to_owned(), offsets: BTreeMap::new(), broken_lines: 0 }
    }

    /// The records that became whole since the last call.
    pub(crate) fn read_new(&mut self) -> Vec<Record> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|it| it == "jsonl"));
        paths.sort();
        let mut records = Vec::new();
        for path in paths {
            let offset = self.offsets.entry(path.clone()).or_default();
            let bytes = read_from(&path, *offset).unwrap_or_default();
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            *offset += whole as u64;
            for line in bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match serde_json::from_slice(line) {
                    Ok(record) => records.push(record),
                    Err(_) => self.broken_lines += 1,
                }
            }
        }
        records
    }
}

fn read_from(path: &Path, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    if file.metadata()?.len() > offset {
        file.seek(SeekFrom::Start(offset))?;
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
