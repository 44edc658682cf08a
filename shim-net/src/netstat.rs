//! The socket table as text: for reports and for tests.
//!
//! Owns the format, which is that of `netstat -an` with the columns that mean something here. Must not
//! change anything. Invariant: equal tables give equal text.

use crate::stack::Stack;
use crate::stack::socket::{Addr, Domain, Inner, Kind, Socket};
use crate::stack::tcp::Tcp;
use crate::stack::unix::Role;

/// One line for each socket of the stack.
pub(crate) fn lines(stack: &Stack) -> Vec<String> {
    stack.table.iter().map(line).collect()
}

/// One socket.
pub(crate) fn line(socket: &Socket) -> String {
    let core = &socket.core;
    let protocol = match (core.domain, core.kind) {
        (Domain::Inet, Kind::Stream) => "tcp",
        (Domain::Inet6, Kind::Stream) => "tcp6",
        (Domain::Inet, Kind::Datagram) => "udp",
        (Domain::Inet6, Kind::Datagram) => "udp6",
        (Domain::Unix, _) => "unix",
        (Domain::Netlink, _) => "netlink",
        (Domain::Pipe, _) => "pipe",
    };
    let local = core.local.map_or_else(|| "*:*".to_owned(), |local| core.show(local).to_string());
    let (received, sent, local, remote, state) = match &socket.inner {
        Inner::Tcp(Tcp::Idle) => (0, 0, local, "*:*".to_owned(), "CLOSE"),
        Inner::Tcp(Tcp::Listener(listener)) => {
            (listener.ready.len(), listener.backlog as usize, local, "*:*".to_owned(), "LISTEN")
        }
        Inner::Tcp(Tcp::Connection(t)) => {
            (t.receive.len(), t.send.len(), local, core.show(t.remote).to_string(), t.state.name())
        }
        Inner::Udp(udp) => {
            let remote = udp.peer.map_or_else(|| "*:*".to_owned(), |peer| core.show(peer).to_string());
            (udp.queue.bytes(), 0, local, remote, if udp.peer.is_some() { "ESTABLISHED" } else { "" })
        }
        Inner::Netlink(netlink) => {
            let Addr::Netlink { port, groups } = netlink.address() else { return String::new() };
            (netlink.held(), 0, format!("port {port} groups {groups:#x}"), String::new(), "")
        }
        Inner::Pipe(end) => {
            let way = if end.reads { "to read" } else { "to write" };
            (0, 0, way.to_owned(), String::new(), "")
        }
        Inner::Unix(unix) => {
            let (held, state) = match &unix.role {
                Role::Idle => (0, ""),
                Role::Listener { ready, .. } => (ready.len(), "LISTENING"),
                Role::Stream { receive, .. } => (receive.len(), "CONNECTED"),
                Role::Datagram { queue, .. } => (queue.len(), ""),
            };
            (held, 0, Stack::unix_name(&unix.name), Stack::unix_name(&unix.peer_name), state)
        }
    };
    let text = format!("{protocol:<4} {received:>7} {sent:>7} {local:<24} {remote:<24} {state}");
    text.trim_end().to_owned()
}

/// The whole table with its heading.
pub(crate) fn table(stack: &Stack) -> String {
    let heading =
        format!("{:<4} {:>7} {:>7} {:<24} {:<24} State", "Proto", "Recv-Q", "Send-Q", "Local", "Peer");
    let mut text = heading + "\n";
    for line in lines(stack) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}
