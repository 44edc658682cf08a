//! The append-only file.
//!
//! Owns the file: reading it at the start, appending, and writing it anew when it has grown. Must not know commands. Invariant:
//! what is told to be safe is in the file that the next start reads.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::replication::replica::replay;
use super::server::Server;
use super::state::State;

/// The name of the file.
const FILE: &str = "appendonly.aof";

/// Writes the journal into its file.
pub(crate) struct Writer {
    folder: PathBuf,
    file: File,
    bytes: u64,
    /// How long the file was when it was written anew.
    base_bytes: u64,
    synced: Instant,
    is_synced: bool,
}

/// Reads what is there, and makes ready to append.
///
/// # Errors
/// Those of the folder; `InvalidData` where the file is damaged before its end.
pub(crate) async fn open(state: &mut State, folder: &Path) -> io::Result<Writer> {
    fs::create_dir_all(folder).await?;
    let path = folder.join(FILE);
    let mut whole = 0;
    match fs::read(&path).await {
        Ok(bytes) => {
            let mut records = BytesMut::from(&bytes[..]);
            let read = replay(state, &mut records);
            whole = read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = OpenOptions::new().create(true).append(true).open(&path).await?;
    // What was cut off in the middle by a crash was never answered.
    file.set_len(whole as u64).await?;
    file.sync_all().await?;
    sync_folder(folder).await?;
    state.journal.is_kept = true;
    let bytes = whole as u64;
    Ok(Writer {
        folder: folder.to_owned(),
        file,
        bytes,
        base_bytes: bytes,
        synced: Instant::now(),
        is_synced: true,
    })
}

/// A file that is new is only safe when its folder is.
async fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder).await?.sync_all().await
}

impl Writer {
    /// Writes for ever.
    ///
    /// # Errors
    /// Those of the disk. A server that cannot keep its promises ends, as Redis does with `appendfsync always`.
    pub(crate) async fn run(mut self, server: Arc<Server>) -> io::Result<()> {
        let ready = server.with(|state| Arc::clone(&state.journal.ready));
        loop {
            let wants_rewrite = server.with(|state| self.wants_rewrite(state));
            if wants_rewrite {
                self.rewrite(&server).await?;
            }
            let (records, end, policy) = server.with(|state| {
                let policy = state.config.text("appendfsync").to_owned();
                (state.journal.pending.split(), state.journal.appended, policy)
            });
            if !records.is_empty() {
                self.append(&records, &policy).await?;
                server.safe.send_replace(end);
                continue;
            }
            tokio::select! {
                () = ready.notified() => {}
                () = tokio::time::sleep_until(self.synced + Duration::from_secs(1)), if !self.is_synced => {
                    self.sync().await?;
                }
            }
        }
    }

    async fn append(&mut self, records: &[u8], policy: &str) -> io::Result<()> {
        self.file.write_all(records).await?;
        self.file.flush().await?;
        self.bytes += records.len() as u64;
        self.is_synced = policy == "no";
        let is_due = policy == "everysec" && self.synced.elapsed() >= Duration::from_secs(1);
        if policy == "always" || is_due {
            self.sync().await?;
        }
        Ok(())
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data().await?;
        self.is_synced = true;
        self.synced = Instant::now();
        Ok(())
    }

    fn wants_rewrite(&self, state: &State) -> bool {
        let growth = state.config.number("auto-aof-rewrite-percentage") as u64;
        let least = state.config.number("auto-aof-rewrite-min-size") as u64;
        let limit = self.base_bytes.max(1) + self.base_bytes * growth / 100;
        state.journal.wants_rewrite || (growth > 0 && self.bytes > least && self.bytes >= limit)
    }

    /// Puts the data as they are in place of the story of how they came.
    async fn rewrite(&mut self, server: &Server) -> io::Result<()> {
        let (snapshot, end) = server.with(|state| {
            state.journal.wants_rewrite = false;
            state.stats.rewrites += 1;
            // What is pending is in the snapshot.
            state.journal.pending.clear();
            (state.snapshot(), state.journal.appended)
        });
        let temporary = self.folder.join(format!("temp-{FILE}"));
        let mut file = File::create(&temporary).await?;
        file.write_all(&snapshot).await?;
        file.flush().await?;
        file.sync_all().await?;
        fs::rename(&temporary, self.folder.join(FILE)).await?;
        sync_folder(&self.folder).await?;
        self.file = file;
        self.bytes = snapshot.len() as u64;
        self.base_bytes = self.bytes;
        self.is_synced = true;
        self.synced = Instant::now();
        server.safe.send_replace(end);
        Ok(())
    }
}
