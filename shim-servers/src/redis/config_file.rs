//! The configuration's file: what CONFIG REWRITE writes, and the next start reads.
//!
//! Owns `redis.conf` in the data folder. Must not know what parameters do. Invariant: the file is whole: a new one takes the
//! place of the old one in a single step, before CONFIG REWRITE is answered.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::config::Config;
use super::state::State;
use super::wire::split_line;

/// The name of the file.
const FILE: &str = "redis.conf";

/// A master's host and port.
pub(crate) type Master = Option<(String, u16)>;

/// Writes it. As in Redis the whole server waits for the disk meanwhile: nothing can change before it is safe.
///
/// # Errors
/// Those of the disk.
pub(crate) fn write(state: &State) -> io::Result<()> {
    let folder = Path::new(state.config.text("dir"));
    let mut text = String::new();
    for (name, value) in state.config.changed() {
        text.push_str(&format!("{name} {}\n", quoted(value)));
    }
    if let Some(master) = state.replication.master.as_ref().filter(|_| state.cluster.is_none()) {
        text.push_str(&format!("replicaof {} {}\n", quoted(&master.host), master.port));
    }
    let temporary = folder.join("redis.conf.new");
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Reads it, if there is one: its values take the place of those in `config`, and its master that of `master`.
///
/// # Errors
/// Those of the disk; `InvalidData` with the line that means nothing.
pub(crate) async fn read(folder: &Path, config: &mut Config, master: Master) -> io::Result<Master> {
    let text = match tokio::fs::read_to_string(folder.join(FILE)).await {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(master),
        Err(error) => return Err(error),
    };
    let mut master = None;
    for line in text.lines() {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("redis.conf: {line}"));
        let words = split_line(line.as_bytes()).ok_or_else(wrong)?;
        let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        match &words[..] {
            [name, host, port] if name == "replicaof" => {
                master = Some((host.clone(), port.parse().map_err(|_| wrong())?));
            }
            [name, value] => config.set(name, value).map_err(|_| wrong())?,
            _ => return Err(wrong()),
        }
    }
    Ok(master)
}
