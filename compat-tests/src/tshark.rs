//! Wireshark's command-line tool, as a judge of captures. Must not know how they are made. Invariant: where it is not
//! installed, that is said, and nothing is judged.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file for a capture, below the machine's folder for such things.
pub fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("tokio-shim-{}-{name}.pcapng", std::process::id()))
}

/// A capture that is deleted when the test has passed.
#[derive(Debug)]
pub struct Judged {
    path: PathBuf,
}

impl Judged {
    /// The capture at `path`; `None`, and a line on standard error, where there is no tshark.
    #[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
    #[expect(clippy::disallowed_macros, reason = "a test that is skipped must say so")]
    pub fn new(path: &Path) -> Option<Judged> {
        if Command::new("tshark").arg("--version").output().is_err() {
            eprintln!("skipped: tshark is not installed (apt-get install tshark)");
            return None;
        }
        Some(Judged { path: path.to_owned() })
    }

    /// The lines that tshark prints of the packets that `filter` finds: these fields of each.
    ///
    /// # Panics
    /// Where tshark complains.
    pub fn fields(&self, filter: &str, fields: &[&str]) -> Vec<String> {
        let mut command = Command::new("tshark");
        // Checksums are looked at, and large segments are no mistakes.
        for option in ["ip.check_checksum", "tcp.check_checksum", "udp.check_checksum"] {
            command.args(["-o", &format!("{option}:TRUE")]);
        }
        command.arg("-r").arg(&self.path).args(["-Y", filter, "-T", "fields"]);
        fields.iter().for_each(|field| {
            command.args(["-e", field]);
        });
        let output = command.output().expect("tshark runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        let is_fine = |line: &str| line.is_empty() || line.starts_with("Running as user");
        assert!(output.status.success() && complaint.lines().all(is_fine), "tshark: {complaint}");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// How many packets `filter` finds.
    pub fn count(&self, filter: &str) -> usize {
        self.fields(filter, &["frame.number"]).len()
    }

    /// Fails where a packet is malformed, has a wrong checksum, or is an error to Wireshark's experts.
    ///
    /// # Panics
    /// With these packets.
    pub fn assert_sound(&self) {
        // Severities: a note is 0x400000, a warning 0x600000, an error 0x800000.
        let filter = "_ws.malformed || _ws.expert.severity >= 0x800000 || ip.checksum.status == 0 || \
                      tcp.checksum.status == 0 || udp.checksum.status == 0 || icmp.checksum.status == 0 || \
                      icmpv6.checksum.status == 0";
        let bad = self.fields(filter, &["frame.number", "frame.protocols", "_ws.expert.message"]);
        assert!(bad.is_empty(), "{}: {bad:#?}", self.path.display());
        assert!(self.count("frame") > 0, "{} is empty", self.path.display());
    }

    /// The test is over: the capture is not needed any more.
    pub fn delete(self) {
        // Where it is gone already, that is fine.
        drop(std::fs::remove_file(self.path));
    }
}
