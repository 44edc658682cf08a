//! The sentinel's file: what it must not forget.
//!
//! Owns `sentinel.conf` in its folder, in the form of Redis's. Must not know connections. Invariant: the file is whole: a new
//! one takes the place of the old one in a single step.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use tokio::fs;
use tokio::io::AsyncWriteExt;

use super::state::{Instance, Kind, Master, State};

/// Where it is kept.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) folder: PathBuf,
}

impl File {
    /// Reads what was written: nothing, if nothing was.
    pub(super) async fn read(&self) -> io::Result<Option<String>> {
        fs::create_dir_all(&self.folder).await?;
        match fs::read_to_string(self.folder.join("sentinel.conf")).await {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes all, and waits until it is safe.
    pub(super) async fn write(&self, state: &State) -> io::Result<()> {
        let temporary = self.folder.join("sentinel.conf.new");
        let mut file = fs::File::create(&temporary).await?;
        file.write_all(text(state).as_bytes()).await?;
        file.sync_all().await?;
        fs::rename(&temporary, self.folder.join("sentinel.conf")).await?;
        fs::File::open(&self.folder).await?.sync_all().await
    }
}

fn text(state: &State) -> String {
    let shared = &state.shared;
    let mut out = format!("port {}\nsentinel myid {}\n", shared.port, shared.id);
    let mut line = |text: String| {
        let _ = writeln!(out, "sentinel {text}");
    };
    line(format!("current-epoch {}", shared.current_epoch));
    if let Some(ip) = shared.announce_ip {
        line(format!("announce-ip {ip}"));
    }
    if let Some(port) = shared.announce_port {
        line(format!("announce-port {port}"));
    }
    for (option, value) in [("user", &shared.sentinel_user), ("pass", &shared.sentinel_password)] {
        if let Some(value) = value {
            line(format!("sentinel-{option} {value}"));
        }
    }
    for master in state.masters.values() {
        let name = &master.name;
        let address = master.current_address();
        line(format!("monitor {name} {} {} {}", address.ip(), address.port(), master.quorum));
        line(format!("down-after-milliseconds {name} {}", master.down_after_ms));
        line(format!("failover-timeout {name} {}", master.failover_timeout_ms));
        line(format!("parallel-syncs {name} {}", master.parallel_syncs));
        for (option, value) in [("user", &master.auth_user), ("pass", &master.auth_password)] {
            if let Some(value) = value {
                line(format!("auth-{option} {name} {value}"));
            }
        }
        line(format!("config-epoch {name} {}", master.config_epoch));
        line(format!("leader-epoch {name} {}", master.leader_epoch));
        let old = (address != master.own.address).then_some(master.own.address);
        for replica in master.replicas.keys().filter(|replica| **replica != address).copied().chain(old) {
            line(format!("known-replica {name} {} {}", replica.ip(), replica.port()));
        }
        for (id, sentinel) in &master.sentinels {
            line(format!("known-sentinel {name} {} {} {id}", sentinel.address.ip(), sentinel.address.port()));
        }
    }
    out
}

/// Takes what a file says into `state`.
///
/// # Errors
/// `InvalidData` with the line that means nothing.
pub(super) fn load(state: &mut State, text: &str) -> io::Result<()> {
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if load_line(state, &words).is_none() {
            let text = format!("sentinel.conf has a line that means nothing: {line}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
    }
    Ok(())
}

fn load_line(state: &mut State, words: &[&str]) -> Option<()> {
    let address =
        |ip: &str, port: &str| Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port.parse::<u16>().ok()?));
    let shared = &mut state.shared;
    match words {
        // Where it listens is said by whoever starts it.
        ["port", _] => {}
        ["sentinel", "myid", id] => shared.id = (*id).to_owned(),
        ["sentinel", "current-epoch", epoch] => shared.current_epoch = epoch.parse().ok()?,
        ["sentinel", "announce-ip", ip] => shared.announce_ip = Some(ip.parse().ok()?),
        ["sentinel", "announce-port", port] => shared.announce_port = Some(port.parse().ok()?),
        ["sentinel", "sentinel-user", user] => shared.sentinel_user = Some((*user).to_owned()),
        ["sentinel", "sentinel-pass", password] => shared.sentinel_password = Some((*password).to_owned()),
        ["sentinel", "monitor", name, ip, port, quorum] => {
            let (address, quorum) = (address(ip, port)?, quorum.parse().ok()?);
            let master = Master::new((*name).to_owned(), address, quorum, shared);
            state.masters.insert(master.name.clone(), master);
        }
        ["sentinel", option, name, values @ ..] => {
            let now = shared.now;
            let master = state.masters.get_mut(*name)?;
            match (*option, values) {
                ("down-after-milliseconds", [ms]) => master.down_after_ms = ms.parse().ok()?,
                ("failover-timeout", [ms]) => master.failover_timeout_ms = ms.parse().ok()?,
                ("parallel-syncs", [count]) => master.parallel_syncs = count.parse().ok()?,
                ("auth-user", [user]) => master.auth_user = Some((*user).to_owned()),
                ("auth-pass", [password]) => master.auth_password = Some((*password).to_owned()),
                ("config-epoch", [epoch]) => master.config_epoch = epoch.parse().ok()?,
                ("leader-epoch", [epoch]) => master.leader_epoch = epoch.parse().ok()?,
                ("known-replica", [ip, port]) => {
                    let address = address(ip, port)?;
                    master.replicas.insert(address, Instance::new(Kind::Replica, address, now));
                }
                ("known-sentinel", [ip, port, id]) => {
                    let mut sentinel = Instance::new(Kind::Sentinel, address(ip, port)?, now);
                    sentinel.run_id = Some((*id).to_owned());
                    master.sentinels.insert((*id).to_owned(), sentinel);
                }
                _ => return None,
            }
        }
        _ => return None,
    }
    Some(())
}
