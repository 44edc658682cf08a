//! Captures: packets, as they leave, in a file that Wireshark reads.
//!
//! Owns [`Capture`]: one open file, its interfaces, and whose names it has. Must not decide or draw anything. Invariant: a
//! run is the same with a capture and without.

mod file;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use shim_runtime::clock::SimTime;

use crate::packet::Packet;
use file::PcapNg;

/// The variable that switches captures on.
pub(crate) const VARIABLE: &str = "SIM_PCAP";

/// What happened to a packet, for its comment; nothing where it simply arrives.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Remark {
    pub(crate) fate: Option<&'static str>,
    pub(crate) is_damaged: bool,
    pub(crate) is_marked: bool,
    pub(crate) is_corrupted: bool,
}

impl Remark {
    pub(crate) fn fate(fate: &'static str) -> Remark {
        Remark { fate: Some(fate), ..Remark::default() }
    }

    fn text(self) -> Option<String> {
        let parts = [
            self.fate,
            self.is_marked.then_some("marked by a queue (CE)"),
            self.is_corrupted.then_some("a bit of its data was changed, unnoticed"),
        ];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// One capture that is being written.
pub(crate) struct Capture {
    file: PcapNg,
    path: PathBuf,
    /// What the wall clock shows at the beginning of the run, in nanoseconds.
    epoch_ns: u64,
    /// The interfaces, by the elements at their ends.
    interfaces: BTreeMap<(u32, u32), u32>,
    named: BTreeSet<IpAddr>,
}

impl Capture {
    /// Begins a capture at `path`. What was there is gone.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub(crate) fn create(path: &Path, seed: u64, epoch_ns: u64) -> io::Result<Capture> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let file = PcapNg::create(path, &format!("seed {seed}"))?;
        Ok(Capture {
            file,
            path: path.to_owned(),
            epoch_ns,
            interfaces: BTreeMap::new(),
            named: BTreeSet::new(),
        })
    }

    /// Writes a packet that leaves `from` for `to`. `name` tells the names of elements, `owner` that of who has an address.
    ///
    /// # Panics
    /// Where the file cannot be written.
    pub(crate) fn packet(
        &mut self,
        (from, to): (u32, u32),
        packet: &Packet,
        remark: Remark,
        now: SimTime,
        names: &Names<'_>,
    ) {
        let bytes = wire::bytes(packet, remark.is_damaged);
        let at_ns = self.epoch_ns.saturating_add(now.nanos());
        let done = self.interface((from.min(to), from.max(to)), names).and_then(|interface| {
            self.tell_name(packet.source.ip(), names)?;
            self.tell_name(packet.destination.ip(), names)?;
            self.file.packet(interface, at_ns, &bytes, remark.text().as_deref())
        });
        self.check(done);
    }

    /// The number of the interface between two elements.
    fn interface(&mut self, ends: (u32, u32), names: &Names<'_>) -> io::Result<u32> {
        if let Some(interface) = self.interfaces.get(&ends) {
            return Ok(*interface);
        }
        let name = match ends {
            (own, other) if own == other => format!("{} lo", (names.of)(own)),
            (one, other) => format!("{}-{}", (names.of)(one), (names.of)(other)),
        };
        let interface = self.file.interface(&name)?;
        self.interfaces.insert(ends, interface);
        Ok(interface)
    }

    /// Says whose address `ip` is, when it is seen for the first time.
    fn tell_name(&mut self, ip: IpAddr, names: &Names<'_>) -> io::Result<()> {
        if ip.is_loopback() || !self.named.insert(ip) {
            return Ok(());
        }
        (names.owner)(ip).map_or(Ok(()), |name| self.file.name(ip, &name))
    }

    /// Puts lines of a key log into the capture.
    ///
    /// # Panics
    /// Where the file cannot be written.
    pub(crate) fn secrets(&mut self, key_log: &str) {
        let done = self.file.secrets(key_log);
        self.check(done);
    }

    fn check(&self, done: io::Result<()>) {
        if let Err(error) = done {
            panic!("simulation: the capture {} cannot be written: {error}", self.path.display());
        }
    }
}

/// Whose names a capture may ask for.
pub(crate) struct Names<'a> {
    /// The name of an element.
    pub(crate) of: &'a dyn Fn(u32) -> String,
    /// The name of who has an address.
    pub(crate) owner: &'a dyn Fn(IpAddr) -> Option<String>,
}

/// Where the environment wants a capture of the run with `seed`: a file's name as it is, or a file of the run's own
/// in a folder.
pub(crate) fn path_from_environment(seed: u64) -> Option<PathBuf> {
    let wanted = PathBuf::from(std::env::var_os(VARIABLE).filter(|path| !path.is_empty())?);
    if wanted.extension().is_some_and(|extension| extension == "pcapng") {
        return Some(wanted);
    }
    Some(wanted.join(format!("{}-seed{seed}.pcapng", run_name())))
}

/// What the process runs: its test, else its program.
fn run_name() -> String {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let program = Path::new(&program).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // libtest is told the one test that a process runs before anything else.
    let test = arguments.next().filter(|argument| !argument.starts_with('-'));
    // Cargo adds a hash to the names of test programs.
    let program = match program.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => &program,
    };
    match test {
        Some(test) => format!("{program}-{}", test.replace("::", ".").replace('/', "_")),
        None => program.to_owned(),
    }
}
