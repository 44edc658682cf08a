//! Calls of libc's socket interface as data, and what comes of them as text.
//!
//! Owns [`Call`] and [`Machine`], which makes calls on descriptors that it knows by the order in which they were
//! made. Must not know which world it is in. Invariant: the text has nothing in it that differs between two
//! machines: no numbers of descriptors, no ephemeral ports.

#[path = "messages.rs"]
mod messages;

use std::ffi::CString;
use std::fmt::Write as _;
use std::sync::OnceLock;

use libc::{c_int, c_void, sockaddr, socklen_t};
pub(crate) use messages::Extra;

/// A kind of socket.
pub(crate) type Shape = (c_int, c_int);

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// 127.x.y.z of the sequence, at a port that is as good as the sequence's own.
    Port(u16),
    /// The same at port 0.
    AnyPort,
    /// An IPv6 address, `::ffff:` and the sequence's own.
    Mapped(u16),
    /// `::1` at port 0.
    Loopback6,
    /// What the descriptor at this place is bound to.
    Of(usize),
    /// A name in the abstract name space.
    Abstract(u8),
    /// A path.
    Path(u8),
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Socket(Shape),
    Pair(c_int),
    Pipe,
    Bind(usize, Place),
    Listen(usize, c_int),
    Connect(usize, Place),
    Accept(usize),
    Send(usize, usize, c_int),
    SendTo(usize, usize, Place),
    /// By `sendmsg`, or `sendmmsg` where it is several times the same.
    Tell(usize, usize, Place, [Extra; 2], usize),
    /// By `recvmmsg`, with so much room for each, and so much for control messages.
    Hear(usize, usize, usize),
    Recv(usize, usize, c_int),
    Read(usize, usize),
    Write(usize, usize),
    Shutdown(usize, c_int),
    Close(usize),
    Set(usize, (c_int, c_int), c_int),
    Linger(usize, c_int),
    Get(usize, (c_int, c_int)),
    Name(usize),
    Peer(usize),
    Poll(usize),
    Dup(usize),
    Unread(usize),
    Unlink(u8),
}

/// The descriptors of a sequence of calls.
pub(crate) struct Machine {
    sequence: u32,
    folder: String,
    fds: Vec<c_int>,
    ports: Vec<u16>,
    sent: u8,
    /// Whether a difference is known from here on.
    beyond: bool,
    was_mapped: bool,
}

/// A number of the process, the same inside the simulation, where a process has another one.
pub(crate) fn salt() -> u32 {
    static SALT: OnceLock<u32> = OnceLock::new();
    *SALT.get_or_init(std::process::id)
}

const NONBLOCK: c_int = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

impl Machine {
    pub(crate) fn new(sequence: u32, folder: &str) -> Machine {
        Machine {
            sequence,
            folder: folder.to_owned(),
            fds: Vec::new(),
            ports: Vec::new(),
            sent: 0,
            beyond: false,
            was_mapped: false,
        }
    }

    /// Makes one call; what came of it. Past what docs/design/parity.md has as a difference that stays, nothing more
    /// is told.
    pub(crate) fn call(&mut self, call: Call) -> String {
        let Call::Connect(fd, place) = call else {
            let outcome = self.make(call);
            return if self.beyond { "beyond".to_owned() } else { outcome };
        };
        let to = self.address(place);
        self.beyond |= self.was_mapped && is_v6_alone(&to);
        self.was_mapped |= matches!(place, Place::Mapped(_));
        let outcome = self.make(call);
        let own = self.bound(fd, libc::getsockname);
        let peer = self.bound(fd, libc::getpeername);
        let is_inet = own.as_ref().is_some_and(|own| i32::from(own[0]) != libc::AF_UNIX);
        // A TCP socket that met itself, or has tried to.
        self.beyond |= is_inet && own.is_some_and(|own| Some(&own) == peer.as_ref() || is_same(&own, &to));
        if self.beyond { "beyond".to_owned() } else { outcome }
    }

    fn make(&mut self, call: Call) -> String {
        match call {
            Call::Socket((domain, kind)) => {
                // SAFETY: no pointers.
                let fd = unsafe { libc::socket(domain, kind | NONBLOCK, 0) };
                self.made(fd)
            }
            Call::Pair(kind) => {
                let mut pair = [-1; 2];
                // SAFETY: the pair is valid to write.
                let result =
                    unsafe { libc::socketpair(libc::AF_UNIX, kind | NONBLOCK, 0, pair.as_mut_ptr()) };
                self.made_pair(result, pair)
            }
            Call::Pipe => {
                let mut pair = [-1; 2];
                // SAFETY: the pair is valid to write.
                let result = unsafe { libc::pipe2(pair.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) };
                self.made_pair(result, pair)
            }
            Call::Bind(fd, place) => self.with_place(fd, place, |fd, at, len| {
                // SAFETY: the address is valid for its length.
                unsafe { libc::bind(fd, at, len) }
            }),
            Call::Connect(fd, place) => self.with_place(fd, place, |fd, at, len| {
                // SAFETY: the address is valid for its length.
                unsafe { libc::connect(fd, at, len) }
            }),
            Call::Listen(fd, backlog) => {
                // SAFETY: no pointers.
                shown(unsafe { libc::listen(self.fd(fd), backlog) } as isize)
            }
            Call::Accept(fd) => self.accept(fd),
            Call::Shutdown(fd, how) => {
                // SAFETY: no pointers.
                shown(unsafe { libc::shutdown(self.fd(fd), how) } as isize)
            }
            Call::Close(fd) => {
                // SAFETY: no pointers; the number is not used again.
                let result = unsafe { libc::close(self.fd(fd)) };
                if let Some(fd) = self.fds.get_mut(fd) {
                    *fd = -1;
                }
                shown(result as isize)
            }
            Call::Dup(fd) => {
                // SAFETY: no pointers.
                let fd = unsafe { libc::dup(self.fd(fd)) };
                self.made(fd)
            }
            call => self.move_data(call),
        }
    }

    fn move_data(&mut self, call: Call) -> String {
        match call {
            Call::Send(fd, len, flags) => {
                let data = self.data(len);
                // SAFETY: the data are valid for their length.
                shown(unsafe {
                    libc::send(self.fd(fd), data.as_ptr().cast(), len, flags | libc::MSG_NOSIGNAL)
                })
            }
            Call::SendTo(fd, len, place) => {
                let data = self.data(len);
                self.with_place(fd, place, |fd, at, at_len| {
                    let flags = libc::MSG_NOSIGNAL;
                    // SAFETY: data and address are valid for their lengths.
                    unsafe { libc::sendto(fd, data.as_ptr().cast(), len, flags, at, at_len) as c_int }
                })
            }
            Call::Recv(fd, len, flags) => self.receive(fd, len, flags),
            Call::Tell(fd, len, place, extra, times) => self.tell(fd, len, place, extra, times),
            Call::Hear(fd, len, control_bytes) => self.hear(fd, len, control_bytes),
            Call::Read(fd, len) => {
                let mut space = vec![0u8; len];
                // SAFETY: the space is valid for its length.
                let result = unsafe { libc::read(self.fd(fd), space.as_mut_ptr().cast(), len) };
                format!("{} {}", shown(result), contents(&space, result))
            }
            Call::Write(fd, len) => {
                let data = self.data(len);
                // SAFETY: the data are valid for their length.
                shown(unsafe { libc::write(self.fd(fd), data.as_ptr().cast(), len) })
            }
            call => self.look(call),
        }
    }

    fn look(&mut self, call: Call) -> String {
        match call {
            Call::Set(fd, option, value) => self.set(fd, option, &value.to_ne_bytes()),
            Call::Linger(fd, seconds) => {
                let value = [1i32.to_ne_bytes(), seconds.to_ne_bytes()].concat();
                self.set(fd, (libc::SOL_SOCKET, libc::SO_LINGER), &value)
            }
            Call::Get(fd, option) => self.get(fd, option),
            Call::Name(fd) => self.name(fd, libc::getsockname),
            Call::Peer(fd) => self.name(fd, libc::getpeername),
            Call::Poll(fd) => {
                let events = libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP;
                let mut entry = libc::pollfd { fd: self.fd(fd), events, revents: 0 };
                // SAFETY: the entry is valid to write.
                let result = unsafe { libc::poll(&raw mut entry, 1, 0) };
                format!("{} {}", shown(result as isize), bits(entry.revents))
            }
            Call::Unread(fd) => {
                let mut count: c_int = 0;
                // SAFETY: the number is valid to write.
                let result = unsafe { libc::ioctl(self.fd(fd), libc::FIONREAD, &raw mut count) };
                format!("{} {}", shown(result as isize), if result < 0 { 0 } else { count })
            }
            Call::Unlink(number) => {
                // SAFETY: the path is a C string.
                shown(unsafe { libc::unlink(self.path(number).as_ptr()) } as isize)
            }
            call => unreachable!("{call:?} was made already"),
        }
    }

    fn fd(&self, place: usize) -> c_int {
        self.fds.get(place).copied().unwrap_or(-1)
    }

    fn made(&mut self, fd: c_int) -> String {
        let text = if fd < 0 { shown(-1) } else { format!("fd {}", self.fds.len()) };
        self.fds.push(fd);
        text
    }

    fn made_pair(&mut self, result: c_int, pair: [c_int; 2]) -> String {
        let text = shown(result as isize);
        self.fds.extend(pair);
        text
    }

    fn data(&mut self, len: usize) -> Vec<u8> {
        (0..len)
            .map(|_| {
                self.sent = self.sent.wrapping_add(1);
                self.sent
            })
            .collect()
    }

    fn path(&self, number: u8) -> CString {
        CString::new(format!("{}/{}-{number}", self.folder, self.sequence)).unwrap()
    }

    fn own_ip(&self) -> [u8; 4] {
        // Of the process, too: the system remembers connections of the run before for a minute.
        let number = self.sequence.wrapping_add(salt().wrapping_mul(104_729)) & 0x00ff_ffff;
        let [_, a, b, c] = number.to_be_bytes();
        [127, a, b, c.max(2)]
    }

    /// The address in the kernel's form.
    fn address(&self, place: Place) -> Vec<u8> {
        let v4 = |ip: [u8; 4], port: u16| {
            let mut bytes = (libc::AF_INET as u16).to_ne_bytes().to_vec();
            bytes.extend(port.to_be_bytes());
            bytes.extend(ip);
            bytes.resize(size_of::<libc::sockaddr_in>(), 0);
            bytes
        };
        let v6 = |ip: [u8; 16], port: u16| {
            let mut bytes = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
            bytes.extend(port.to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(ip);
            bytes.resize(size_of::<libc::sockaddr_in6>(), 0);
            bytes
        };
        let unix = |name: &[u8]| {
            let mut bytes = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
            bytes.extend(name);
            bytes
        };
        match place {
            Place::Port(port) => v4(self.own_ip(), port),
            Place::AnyPort => v4(self.own_ip(), 0),
            Place::Mapped(port) => {
                let mut ip = [0; 16];
                ip[10..12].fill(0xff);
                ip[12..].copy_from_slice(&self.own_ip());
                v6(ip, port)
            }
            Place::Loopback6 => {
                let mut ip = [0; 16];
                ip[15] = 1;
                v6(ip, 0)
            }
            Place::Of(fd) => self.bound(fd, libc::getsockname).unwrap_or_else(|| unix(b"")),
            Place::Abstract(number) => unix(format!("\0par-{}-{number}", self.sequence).as_bytes()),
            Place::Path(number) => unix(self.path(number).as_bytes_with_nul()),
        }
    }

    fn with_place(
        &mut self,
        fd: usize,
        place: Place,
        call: impl FnOnce(c_int, *const sockaddr, socklen_t) -> c_int,
    ) -> String {
        let address = self.address(place);
        // As in a `sockaddr_storage`, so that nothing is read past.
        let mut storage = [0u64; 32];
        for (place, byte) in address.iter().enumerate() {
            storage[place / 8] |= u64::from(*byte) << (8 * (place % 8));
        }
        let result = call(self.fd(fd), storage.as_ptr().cast(), address.len() as socklen_t);
        shown(result as isize)
    }

    fn accept(&mut self, fd: usize) -> String {
        let (mut from, mut len) = ([0u64; 32], 128);
        // SAFETY: the address is valid to write.
        let made = unsafe { libc::accept4(self.fd(fd), from.as_mut_ptr().cast(), &raw mut len, NONBLOCK) };
        let text = self.made(made);
        if made < 0 { text } else { format!("{text} from {}", self.show_address(&from, len)) }
    }

    fn receive(&mut self, fd: usize, len: usize, flags: c_int) -> String {
        let mut space = vec![0u8; len];
        let (mut from, mut from_len) = ([0u64; 32], 128);
        // SAFETY: buffer and address are valid to write.
        let result = unsafe {
            let place: *mut c_void = space.as_mut_ptr().cast();
            libc::recvfrom(self.fd(fd), place, len, flags, from.as_mut_ptr().cast(), &raw mut from_len)
        };
        if result < 0 {
            return shown(result);
        }
        let from = self.show_address(&from, from_len);
        format!("{} {} from {from}", shown(result), contents(&space, result))
    }

    fn set(&mut self, fd: usize, (level, option): (c_int, c_int), value: &[u8]) -> String {
        let len = value.len() as socklen_t;
        // SAFETY: the value is valid for its length.
        shown(unsafe { libc::setsockopt(self.fd(fd), level, option, value.as_ptr().cast(), len) } as isize)
    }

    fn get(&mut self, fd: usize, (level, option): (c_int, c_int)) -> String {
        let mut value = [0u8; 16];
        let mut len = 16;
        // SAFETY: the value is valid for its length.
        let result =
            unsafe { libc::getsockopt(self.fd(fd), level, option, value.as_mut_ptr().cast(), &raw mut len) };
        if result < 0 { shown(-1) } else { format!("{:?}", &value[..len as usize]) }
    }

    fn bound(
        &self,
        fd: usize,
        call: unsafe extern "C" fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int,
    ) -> Option<Vec<u8>> {
        let (mut name, mut len) = ([0u64; 32], 128);
        // SAFETY: the address is valid to write.
        let result = unsafe { call(self.fd(fd), name.as_mut_ptr().cast(), &raw mut len) };
        (result >= 0).then(|| bytes_of(&name, len))
    }

    fn name(
        &mut self,
        fd: usize,
        call: unsafe extern "C" fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int,
    ) -> String {
        let (mut name, mut len) = ([0u64; 32], 128);
        // SAFETY: the address is valid to write.
        let result = unsafe { call(self.fd(fd), name.as_mut_ptr().cast(), &raw mut len) };
        if result < 0 { shown(-1) } else { self.show_address(&name, len) }
    }

    /// An address, with a port that the kernel chose by the order in which it was first seen.
    fn show_address(&mut self, address: &[u64; 32], len: socklen_t) -> String {
        let bytes = bytes_of(address, len);
        let family = bytes.first().map(|low| c_int::from(*low));
        match family {
            Some(libc::AF_INET) => format!("{:?}:{}", &bytes[4..8], self.show_port(&bytes)),
            Some(libc::AF_INET6) => format!("{:?}:{}", &bytes[8..24], self.show_port(&bytes)),
            Some(libc::AF_UNIX) if bytes.get(2) == Some(&0) && bytes.len() == 8 => "unix chosen".to_owned(),
            Some(libc::AF_UNIX) => format!("unix {:?}", String::from_utf8_lossy(&bytes[2..])),
            _ => format!("family {family:?}"),
        }
    }

    fn show_port(&mut self, bytes: &[u8]) -> String {
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        if port < 10_000 {
            return port.to_string();
        }
        let place = self.ports.iter().position(|known| *known == port).unwrap_or_else(|| {
            self.ports.push(port);
            self.ports.len() - 1
        });
        format!("chosen {place}")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for fd in self.fds.iter().filter(|fd| **fd >= 0) {
            // SAFETY: the descriptors are this machine's.
            unsafe { libc::close(*fd) };
        }
        for number in 0..4 {
            // SAFETY: the path is a C string.
            unsafe { libc::unlink(self.path(number).as_ptr()) };
        }
    }
}

fn bytes_of(address: &[u64; 32], len: socklen_t) -> Vec<u8> {
    address.iter().flat_map(|word| word.to_ne_bytes()).take(len as usize).collect()
}

/// Whether an address is one of IPv6 that is no IPv4 address in another form.
fn is_v6_alone(address: &[u8]) -> bool {
    i32::from(address[0]) == libc::AF_INET6 && address.get(18..20) != Some(&[0xff; 2])
}

/// Whether what is at `own` would be reached at `to`.
fn is_same(own: &[u8], to: &[u8]) -> bool {
    let ip = if i32::from(own[0]) == libc::AF_INET { 4..8 } else { 8..24 };
    let (here, there) = (own.get(ip.clone()), to.get(ip));
    let any = there.is_some_and(|ip| ip.iter().all(|byte| *byte == 0));
    own[0] == to[0] && own.get(2..4) == to.get(2..4) && (here == there || any)
}

/// A result, or the text of the error.
fn shown(result: isize) -> String {
    if result >= 0 {
        return result.to_string();
    }
    let error = std::io::Error::last_os_error();
    let text = error.to_string();
    text.split(" (os").next().unwrap_or_default().to_owned()
}

fn contents(space: &[u8], result: isize) -> String {
    let len = usize::try_from(result).unwrap_or(0).min(space.len());
    match space[..len] {
        [] => "nothing".to_owned(),
        [first, .., last] => format!("{first}..{last}"),
        [only] => only.to_string(),
    }
}

fn bits(events: i16) -> String {
    let names = [
        (libc::POLLIN, "IN"),
        (libc::POLLPRI, "PRI"),
        (libc::POLLOUT, "OUT"),
        (libc::POLLERR, "ERR"),
        (libc::POLLHUP, "HUP"),
        (libc::POLLRDHUP, "RDHUP"),
        (libc::POLLNVAL, "NVAL"),
    ];
    let mut text = String::new();
    for (_, name) in names.iter().filter(|(bit, _)| events & bit != 0) {
        write!(text, "{name} ").unwrap();
    }
    text
}
