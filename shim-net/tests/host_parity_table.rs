//! Named sequences of socket calls, on the operating system and in the simulation: what comes of each is compared.
//!
//! Owns the table. Must not know the stack. Invariant: nothing is said here about what is right; the system is.
#![cfg(sim)]

#[path = "host/both.rs"]
mod both;
#[path = "host/calls.rs"]
mod calls;

use both::{differs, on_the_system, simulated};
use calls::Call::{
    Accept, Bind, Close, Connect, Dup, Get, Hear, Linger, Listen, Name, Pair, Peer, Pipe, Poll, Read, Recv,
    Send, SendTo, Set, Shutdown, Socket, Tell, Unlink, Unread, Write,
};
use calls::Place::{Abstract, AnyPort, Loopback6, Mapped, Of, Path, Port};
use calls::{Call, Extra, Shape};

const TCP: Shape = (libc::AF_INET, libc::SOCK_STREAM);
const TCP6: Shape = (libc::AF_INET6, libc::SOCK_STREAM);
const UDP: Shape = (libc::AF_INET, libc::SOCK_DGRAM);
const UDP6: Shape = (libc::AF_INET6, libc::SOCK_DGRAM);
const UNIX: Shape = (libc::AF_UNIX, libc::SOCK_STREAM);
const UNIX_DATAGRAM: Shape = (libc::AF_UNIX, libc::SOCK_DGRAM);
const REUSE: (libc::c_int, libc::c_int) = (libc::SOL_SOCKET, libc::SO_REUSEADDR);
const REUSE_PORT: (libc::c_int, libc::c_int) = (libc::SOL_SOCKET, libc::SO_REUSEPORT);
const ERROR: (libc::c_int, libc::c_int) = (libc::SOL_SOCKET, libc::SO_ERROR);
const ONLY_V6: (libc::c_int, libc::c_int) = (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY);
const PACKET_INFO: (libc::c_int, libc::c_int) = (libc::IPPROTO_IP, libc::IP_PKTINFO);
const RECEIVE_TOS: (libc::c_int, libc::c_int) = (libc::IPPROTO_IP, libc::IP_RECVTOS);
const RECEIVE_BATCHES: (libc::c_int, libc::c_int) = (libc::SOL_UDP, libc::UDP_GRO);
const CREDENTIALS: (libc::c_int, libc::c_int) = (libc::SOL_SOCKET, libc::SO_PEERCRED);

/// A listener at 0 and a connection: 1 is the near end, 2 the far one.
const CONNECTED: [Call; 6] =
    [Socket(TCP), Socket(TCP), Bind(0, Port(7001)), Listen(0, 5), Connect(1, Port(7001)), Accept(0)];
/// The same of Unix.
const CONNECTED_UNIX: [Call; 6] =
    [Socket(UNIX), Socket(UNIX), Bind(0, Path(0)), Listen(0, 5), Connect(1, Path(0)), Accept(0)];

#[rustfmt::skip]
fn table() -> Vec<(&'static str, Vec<Call>)> {
    let tcp = |calls: &[Call]| [&CONNECTED[..], calls].concat();
    let unix = |calls: &[Call]| [&CONNECTED_UNIX[..], calls].concat();
    let told = |calls: &[Call]| [&[Socket(UDP), Socket(UDP), Bind(0, Port(7001))], calls].concat();
    let everywhere = [Poll(0), Poll(1), Poll(2)];
    vec![
        ("connect and accept", tcp(&[Name(1), Peer(1), Name(2), Peer(2), Poll(0), Poll(1), Poll(2), Connect(1, Port(7001))])),
        ("connect twice", tcp(&[Connect(1, Port(7001)), Connect(1, Port(7001)), Bind(1, AnyPort), Listen(1, 1)])),
        ("refused", vec![Socket(TCP), Connect(0, Port(7009)), Poll(0), Get(0, ERROR), Get(0, ERROR), Poll(0), Recv(0, 9, 0), Send(0, 9, 0)]),
        ("half-close", tcp(&[Send(1, 10, 0), Shutdown(1, libc::SHUT_WR), Poll(1), Poll(2), Recv(2, 100, 0), Recv(2, 100, 0), Send(2, 10, 0), Recv(1, 100, 0), Send(1, 1, 0), Poll(1), Close(2), Poll(1)])),
        ("reading is shut down", tcp(&[Shutdown(1, libc::SHUT_RD), Poll(1), Recv(1, 9, 0), Send(2, 10, 0), Poll(1), Recv(1, 9, 0), Poll(2)])),
        ("both are shut down", tcp(&[Shutdown(1, libc::SHUT_RDWR), Poll(1), Poll(2), Recv(2, 9, 0), Send(2, 9, 0), Poll(2), Get(2, ERROR), Peer(1), Peer(2)])),
        ("unread data reset", tcp(&[Send(1, 10, 0), Close(2), Poll(1), Recv(1, 9, 0), Recv(1, 9, 0), Send(1, 9, 0), Get(1, ERROR)])),
        ("linger resets", tcp(&[Linger(1, 0), Close(1), Poll(2), Recv(2, 9, 0), Recv(2, 9, 0), Send(2, 1, 0)])),
        ("writing to a closed peer", tcp(&[Close(2), Poll(1), Send(1, 1, 0), Poll(1), Send(1, 1, 0), Recv(1, 9, 0), Get(1, ERROR)])),
        ("peeks", tcp(&[Send(1, 10, 0), Recv(2, 4, libc::MSG_PEEK), Recv(2, 100, libc::MSG_PEEK), Unread(2), Recv(2, 4, 0), Unread(2), Recv(2, 100, 0), Recv(2, 1, libc::MSG_PEEK)])),
        ("nothing is asked for", tcp(&[Recv(2, 0, 0), Read(2, 0), Send(1, 0, 0), Write(1, 0), Send(1, 5, 0), Recv(2, 0, 0), Read(2, 0), Recv(2, 9, 0)])),
        ("a listener is closed", tcp(&[Socket(TCP), Connect(3, Port(7001)), Close(0), Poll(3), Recv(3, 1, 0), Send(1, 1, 0), Recv(2, 1, 0)])),
        ("a listener is shut down", tcp(&[Shutdown(0, libc::SHUT_RD), Poll(0), Accept(0), Socket(TCP), Connect(4, Port(7001)), Get(4, ERROR), Listen(0, 1), Poll(0)])),
        ("a listener is no stream", tcp(&[Send(0, 1, 0), Recv(0, 1, 0), Peer(0), Connect(0, Port(7002)), Unread(0), Shutdown(0, libc::SHUT_WR), Poll(0)])),
        ("an address is taken", vec![Socket(TCP), Socket(TCP), Bind(0, Port(7001)), Bind(1, Port(7001)), Set(0, REUSE, 1), Bind(1, Port(7001)), Set(1, REUSE, 1), Bind(1, Port(7001)), Listen(0, 1), Listen(1, 1)]),
        ("a listener's address is taken", vec![Socket(TCP), Socket(TCP), Set(0, REUSE, 1), Set(1, REUSE, 1), Bind(0, Port(7001)), Listen(0, 1), Bind(1, Port(7001))]),
        ("a port is shared", vec![Socket(TCP), Socket(TCP), Socket(TCP), Set(0, REUSE_PORT, 1), Set(1, REUSE_PORT, 1), Bind(0, Port(7001)), Bind(1, Port(7001)), Bind(2, Port(7001)), Listen(0, 1), Listen(1, 1)]),
        ("TIME_WAIT", tcp(&[Close(0), Shutdown(2, libc::SHUT_WR), Shutdown(1, libc::SHUT_WR), Close(2), Close(1), Socket(TCP), Bind(3, Port(7001)), Set(3, REUSE, 1), Bind(3, Port(7001)), Listen(3, 1)])),
        ("a port of its own", vec![Socket(TCP), Bind(0, AnyPort), Name(0), Bind(0, AnyPort), Listen(0, 1), Socket(TCP), Connect(1, Of(0)), Accept(0), Peer(2), Name(2)]),
        ("both families", vec![Socket(TCP6), Set(0, ONLY_V6, 0), Listen(0, 1), Name(0), Get(0, ONLY_V6), Socket(TCP6), Connect(1, Loopback6), Socket(TCP), Bind(2, Mapped(7001))]),
        ("one family", vec![Socket(TCP6), Bind(0, Loopback6), Get(0, ONLY_V6), Set(0, ONLY_V6, 0), Connect(0, Mapped(7001)), Socket(TCP6), Set(1, ONLY_V6, 1), Bind(1, Mapped(7001)), Connect(1, Mapped(7001))]),
        ("datagrams are cut", vec![Socket(UDP), Socket(UDP), Bind(0, Port(7001)), SendTo(1, 100, Port(7001)), Recv(0, 10, libc::MSG_PEEK), Recv(0, 10, libc::MSG_TRUNC), Recv(0, 10, 0), SendTo(1, 0, Port(7001)), Poll(0), Unread(0), Recv(0, 10, 0)]),
        ("a datagram is refused", vec![Socket(UDP), Connect(0, Port(7009)), Send(0, 10, 0), Poll(0), Send(0, 10, 0), Send(0, 10, 0), Recv(0, 10, 0), Recv(0, 10, 0), Poll(0)]),
        ("a connected socket hears its peer alone", vec![Socket(UDP), Socket(UDP), Socket(UDP), Bind(0, Port(7001)), Bind(1, Port(7002)), Connect(0, Port(7002)), SendTo(2, 9, Port(7001)), Recv(0, 9, 0), SendTo(1, 8, Port(7001)), Recv(0, 9, 0), SendTo(0, 7, Of(2)), Recv(2, 9, 0)]),
        ("datagrams are shut down", vec![Socket(UDP), Socket(UDP), Bind(0, Port(7001)), Shutdown(0, libc::SHUT_RD), Poll(0), Recv(0, 9, 0), Connect(1, Port(7001)), Shutdown(1, libc::SHUT_WR), Send(1, 1, 0), Poll(1), Accept(0), Listen(0, 1)]),
        ("datagrams of both families", vec![Socket(UDP6), Socket(UDP), Bind(1, Port(7001)), SendTo(0, 9, Mapped(7001)), Recv(1, 9, 0), SendTo(0, 9, Port(7001)), Recv(1, 9, 0), Connect(0, Port(7001)), Peer(0), Name(0)]),
        ("datagrams say more", told(&[Set(0, PACKET_INFO, 1), Set(0, RECEIVE_TOS, 1), Tell(1, 9, Of(0), [Extra::Tos(2), Extra::Info(true)], 1), Tell(1, 9, Of(0), [Extra::TosByte(3), Extra::Ttl(9)], 2), Hear(0, 99, 200), Tell(1, 9, Of(0), [Extra::Class(1), Extra::Nothing], 1), Hear(0, 99, 20), Tell(1, 9, Of(0), [Extra::Info(false), Extra::Nothing], 1), Tell(1, 9, Of(0), [Extra::ShortInfo, Extra::Nothing], 1), Tell(1, 9, Of(0), [Extra::Unknown(libc::SOL_UDP, 99), Extra::Nothing], 1)])),
        ("batches of datagrams", told(&[Tell(1, 250, Of(0), [Extra::Segment(100), Extra::Nothing], 1), Hear(0, 99, 99), Set(0, RECEIVE_BATCHES, 1), Tell(1, 250, Of(0), [Extra::Segment(100), Extra::Nothing], 1), Unread(0), Recv(0, 9, libc::MSG_PEEK), Hear(0, 999, 99), Tell(1, 9, Of(0), [Extra::WideSegment(100), Extra::Nothing], 1), Tell(1, 129, Of(0), [Extra::Segment(1), Extra::Nothing], 1), Tell(1, 65_507, Of(0), [Extra::Segment(1400), Extra::Nothing], 1), Hear(0, 70_000, 99)])),
        ("a path exists", vec![Socket(UNIX), Socket(UNIX), Bind(0, Path(0)), Bind(1, Path(0)), Close(0), Bind(1, Path(0)), Connect(1, Path(0)), Unlink(0), Connect(1, Path(0)), Bind(1, Path(0)), Unlink(0), Unlink(0)]),
        ("a path is unlinked", unix(&[Unlink(0), Socket(UNIX), Connect(3, Path(0)), Send(1, 9, 0), Recv(2, 9, 0), Name(0), Bind(3, Path(0))])),
        ("names that are no files", vec![Socket(UNIX), Socket(UNIX), Socket(UNIX_DATAGRAM), Bind(0, Abstract(0)), Bind(1, Abstract(0)), Bind(2, Abstract(0)), Connect(1, Abstract(0)), Listen(0, 1), Connect(1, Abstract(0)), Close(0), Recv(1, 1, 0), Connect(2, Abstract(1)), Bind(1, Abstract(0))]),
        ("nobody listens", vec![Socket(UNIX), Socket(UNIX), Socket(UNIX_DATAGRAM), Bind(0, Path(0)), Connect(1, Path(0)), Connect(2, Path(0)), SendTo(2, 1, Path(0)), Connect(1, Path(1)), Listen(1, 1), Accept(1), Accept(0)]),
        ("a backlog is full", vec![Socket(UNIX), Bind(0, Path(0)), Listen(0, 1), Socket(UNIX), Connect(1, Path(0)), Socket(UNIX), Connect(2, Path(0)), Socket(UNIX), Connect(3, Path(0)), Poll(3), Accept(0), Connect(3, Path(0)), Poll(0)]),
        ("Unix half-close", unix(&[Send(1, 10, 0), Shutdown(1, libc::SHUT_WR), Poll(1), Poll(2), Recv(2, 100, 0), Recv(2, 100, 0), Send(2, 9, 0), Close(2), Poll(1), Recv(1, 9, 0), Recv(1, 9, 0), Send(1, 1, 0)])),
        ("Unix unread data reset", unix(&[Send(1, 10, 0), Close(2), Poll(1), Recv(1, 9, 0), Recv(1, 9, 0), Send(1, 1, 0), Peer(1)])),
        ("Unix names", unix(&[Name(1), Peer(1), Name(2), Peer(2), Get(1, (libc::SOL_SOCKET, libc::SO_DOMAIN)), everywhere[1], everywhere[2], Recv(2, 0, 0), Read(2, 0)])),
        ("Unix datagrams", vec![Socket(UNIX_DATAGRAM), Socket(UNIX_DATAGRAM), Bind(0, Path(0)), SendTo(1, 100, Path(0)), Recv(0, 10, libc::MSG_TRUNC), Bind(1, Path(1)), Connect(1, Path(0)), Send(1, 5, 0), Recv(0, 9, 0), Close(0), Send(1, 5, 0), Send(1, 5, 0), Poll(1)]),
        ("a pair", vec![Pair(libc::SOCK_STREAM), Name(0), Peer(0), Send(0, 9, 0), Dup(1), Close(1), Recv(2, 9, 0), Send(0, 9, 0), Close(2), Poll(0), Send(0, 9, 0), Recv(0, 9, 0)]),
        ("a pair of datagrams", vec![Pair(libc::SOCK_DGRAM), Send(0, 9, 0), Send(0, 0, 0), Recv(1, 4, 0), Poll(1), Recv(1, 4, 0), Recv(1, 4, 0), Close(1), Send(0, 1, 0), Send(0, 1, 0), Recv(0, 1, 0)]),
        ("a pipe", vec![Pipe, Poll(0), Poll(1), Read(0, 9), Write(1, 9), Poll(0), Unread(0), Read(0, 4), Read(0, 0), Read(0, 9), Write(0, 1), Read(1, 1), Send(1, 1, 0), Name(0), Close(1), Poll(0), Read(0, 9)]),
        ("a pipe that nobody reads", vec![Pipe, Dup(0), Close(0), Write(1, 9), Close(2), Poll(1), Write(1, 0), Accept(1), Get(1, ERROR)]),
        ("a full pipe", [&[Pipe][..], &[Write(1, 3000); 20], &[Poll(1), Read(0, 100), Poll(1), Read(0, 3000), Poll(1), Write(1, 70_000), Write(1, 70_000), Unread(0), Read(0, 100_000)]] .concat()),
        ("credentials", vec![Socket(TCP), Get(0, CREDENTIALS)]),
    ]
}

#[test]
fn the_table_is_as_on_the_system() {
    calls::salt();
    let folder = std::env::temp_dir().join(format!("tab{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.to_str().unwrap();
    let numbered = || (3_000_000u32..).zip(table());
    let work: Vec<_> = numbered().map(|(number, (_, calls))| (number, calls)).collect();
    let ours = simulated(work, path);
    let mut reports = String::new();
    for ((number, (name, calls)), ours) in numbered().zip(ours) {
        let real = on_the_system(number, path, &calls);
        if differs(&calls, &real, &ours).is_none() {
            continue;
        }
        reports += &format!("{name} (system | simulation):\n");
        for (call, (real, ours)) in calls.iter().zip(real.iter().zip(&ours)) {
            let mark = if real == ours { "  " } else { "≠ " };
            reports += &format!("{mark}{call:?}: {real} | {ours}\n");
        }
    }
    drop(std::fs::remove_dir_all(&folder));
    assert!(reports.is_empty(), "{reports}");
}
