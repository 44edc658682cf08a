//! What the real world asks of Linux: devices, namespaces, precise waiting. Needs root.
//!
//! Owns [`Device`] and [`Namespaces`]. Must not know the link's rules. Invariant: what was made is removed when the value
//! is dropped.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::Duration;

/// A TUN device: what a namespace sends can be received here, without offloads, so that each packet is one.
pub(crate) struct Device {
    file: File,
}

/// `TUNSETIFF`, and its flags: packets of IP, without a header of its own.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;
const NAME_BYTES: usize = 16;

impl Device {
    fn new(name: &str) -> io::Result<Device> {
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
        let mut request = [0u8; 40];
        request[..name.len().min(NAME_BYTES - 1)].copy_from_slice(name.as_bytes());
        request[NAME_BYTES..][..2].copy_from_slice(&(IFF_TUN | IFF_NO_PI).to_ne_bytes());
        // SAFETY: the request is as large as a `struct ifreq`, and valid to read and write.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(Device { file }) }
    }

    /// The next packet that was sent, if there is one.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.file).read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets a packet arrive.
    pub(crate) fn send(&self, packet: &[u8]) -> io::Result<()> {
        (&self.file).write(packet).map(drop)
    }
}

/// Waits until one of the devices has a packet, or `most` has passed.
pub(crate) fn wait_until(devices: [&Device; 2], most: Duration) {
    let entry =
        |device: &Device| libc::pollfd { fd: device.file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut entries = devices.map(entry);
    let limit = libc::timespec { tv_sec: 0, tv_nsec: i64::from(most.subsec_nanos()) };
    // SAFETY: entries and limit are valid, and there are two entries.
    unsafe { libc::ppoll(entries.as_mut_ptr(), 2, &raw const limit, std::ptr::null()) };
}

/// Lets this thread come before others, and wake without slack.
pub(crate) fn be_precise() {
    let parameters = libc::sched_param { sched_priority: 50 };
    // SAFETY: the parameters are valid to read; the call is about this thread alone.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters);
        libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0);
    }
}

/// Two network namespaces with a device each, 10.77.0.1 and 10.77.0.2.
pub(crate) struct Namespaces {
    names: [String; 2],
    devices: [Device; 2],
}

fn ip(arguments: &str) -> io::Result<()> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("ip {arguments}: {text}")))
}

impl Namespaces {
    /// Makes both, for the run of this number.
    ///
    /// # Errors
    /// What `ip` says, mostly that this needs root.
    pub(crate) fn new(mtu_bytes: usize, run: u64) -> io::Result<Namespaces> {
        let process = format!("{}r{run}", std::process::id());
        let names = [1, 2].map(|end| format!("links{process}-{end}"));
        let interfaces = [1, 2].map(|end| format!("{process}-{end}"));
        let devices = [Device::new(&interfaces[0])?, Device::new(&interfaces[1])?];
        let made = Namespaces { names, devices };
        for (place, interface) in interfaces.iter().enumerate() {
            let (name, end) = (&made.names[place], place + 1);
            ip(&format!("netns add {name}"))?;
            ip(&format!("link set {interface} netns {name}"))?;
            ip(&format!("-n {name} addr add 10.77.0.{end}/24 dev {interface}"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set {interface} mtu {mtu_bytes} txqueuelen 20000 up"))?;
        }
        Ok(made)
    }

    /// Both devices.
    pub(crate) fn devices(&self) -> [&Device; 2] {
        [&self.devices[0], &self.devices[1]]
    }

    /// Moves this thread into the first or the second namespace.
    ///
    /// # Errors
    /// What `setns` says.
    pub(crate) fn enter(&self, place: usize) -> io::Result<()> {
        let file = File::open(format!("/run/netns/{}", self.names[place]))?;
        // SAFETY: the descriptor is open; only this thread moves.
        let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            // What was not made cannot be removed.
            drop(ip(&format!("netns delete {name}")));
        }
    }
}
