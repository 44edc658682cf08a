//! Sequences of socket calls, on the operating system and in the simulation: what comes of each call is compared.
//!
//! Owns the generator of sequences and how a difference is made small. Must not know the stack. Invariant: the
//! system is the oracle; what may differ is in `Machine::call`, with its reason in docs/design/parity.md.
//!
//! `SIM_PARITY_SEQUENCES` is how many sequences are tried, `SIM_PARITY_FIRST` the number of the first.
#![cfg(sim)]

#[path = "host/both.rs"]
mod both;
#[path = "host/calls.rs"]
mod calls;
#[path = "host/message_sequences.rs"]
mod message_sequences;
#[path = "host/numbers.rs"]
mod numbers;

use std::collections::BTreeMap;

use both::{differs, on_the_system, simulated};
use calls::{Call, Place, Shape};
use numbers::{Numbers, number};

const INET_STREAM: Shape = (libc::AF_INET, libc::SOCK_STREAM);
const INET_DATAGRAM: Shape = (libc::AF_INET, libc::SOCK_DGRAM);
const INET6_STREAM: Shape = (libc::AF_INET6, libc::SOCK_STREAM);
const INET6_DATAGRAM: Shape = (libc::AF_INET6, libc::SOCK_DGRAM);
const UNIX_STREAM: Shape = (libc::AF_UNIX, libc::SOCK_STREAM);
const UNIX_DATAGRAM: Shape = (libc::AF_UNIX, libc::SOCK_DGRAM);

/// What a sequence is about: shapes of its sockets, and the places that they may have.
const THEMES: [(&[Shape], &[Place]); 6] = [
    (&[INET_STREAM], &[Place::Port(7001), Place::Port(7002), Place::AnyPort]),
    (&[INET_DATAGRAM], &[Place::Port(7001), Place::Port(7002), Place::AnyPort]),
    (&[UNIX_STREAM], &[Place::Abstract(0), Place::Path(0), Place::Path(1)]),
    (&[UNIX_DATAGRAM], &[Place::Abstract(0), Place::Path(0), Place::Path(1)]),
    (
        &[INET_STREAM, INET6_STREAM, INET_DATAGRAM, INET6_DATAGRAM],
        &[Place::Port(7001), Place::Mapped(7001), Place::AnyPort, Place::Loopback6],
    ),
    (
        &[INET_STREAM, INET_DATAGRAM, UNIX_STREAM, UNIX_DATAGRAM],
        &[Place::Port(7001), Place::AnyPort, Place::Abstract(0), Place::Path(0)],
    ),
];

const OPTIONS: [(libc::c_int, libc::c_int); 10] = [
    (libc::SOL_SOCKET, libc::SO_ERROR),
    (libc::SOL_SOCKET, libc::SO_TYPE),
    (libc::SOL_SOCKET, libc::SO_ACCEPTCONN),
    (libc::SOL_SOCKET, libc::SO_DOMAIN),
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_PROTOCOL),
];

/// A sequence of calls. It keeps no model of what they do: descriptors that do not exist are asked for, too.
fn sequence(seed: u64) -> Vec<Call> {
    let mut numbers = Numbers(seed);
    let (shapes, places) = THEMES[numbers.below(THEMES.len())];
    let mut calls = vec![Call::Socket(numbers.pick(shapes)), Call::Socket(numbers.pick(shapes))];
    let mut made = 2;
    for _ in 0..numbers.below(30) {
        let fd = numbers.below(made);
        let place = if numbers.below(3) == 0 { Place::Of(numbers.below(made)) } else { numbers.pick(places) };
        let len = numbers.pick(&[0, 1, 10, 100]);
        let call = match numbers.below(100) {
            0..5 => Call::Socket(numbers.pick(shapes)),
            5..7 => Call::Pair(numbers.pick(&[libc::SOCK_STREAM, libc::SOCK_DGRAM])),
            7..8 => Call::Pipe,
            8..18 => Call::Bind(fd, place),
            18..26 => Call::Listen(fd, numbers.pick(&[0, 1, 5])),
            26..38 => Call::Connect(fd, place),
            38..46 => Call::Accept(fd),
            46..55 => Call::Send(fd, len, 0),
            55..60 => Call::SendTo(fd, len, place),
            60..69 => Call::Recv(fd, len, numbers.pick(&[0, 0, libc::MSG_PEEK])),
            69..71 => Call::Read(fd, len),
            71..73 => Call::Write(fd, len),
            73..78 => Call::Shutdown(fd, numbers.pick(&[libc::SHUT_RD, libc::SHUT_WR, libc::SHUT_RDWR])),
            78..83 => Call::Close(fd),
            83..85 => Call::Set(fd, (libc::SOL_SOCKET, libc::SO_REUSEADDR), 1),
            85..86 => Call::Linger(fd, 0),
            86..90 => Call::Get(fd, numbers.pick(&OPTIONS)),
            90..92 => Call::Name(fd),
            92..93 => Call::Peer(fd),
            93..97 => Call::Poll(fd),
            97..98 => Call::Dup(fd),
            98..99 => Call::Unread(fd),
            _ => Call::Unlink(numbers.below(2) as u8),
        };
        made += match call {
            Call::Socket(_) | Call::Accept(_) | Call::Dup(_) => 1,
            Call::Pair(_) | Call::Pipe => 2,
            _ => 0,
        };
        calls.push(call);
    }
    // At the end each descriptor is looked at.
    calls.extend((0..made).map(Call::Poll));
    calls
}

/// Leaves out calls for as long as a difference is left.
fn shrink(mut calls: Vec<Call>, fresh: &mut u32, folder: &str) -> Vec<Call> {
    let mut try_out = |calls: &[Call]| {
        *fresh += 1;
        let real = on_the_system(*fresh, folder, calls);
        let ours = simulated(vec![(*fresh, calls.to_vec())], folder).remove(0);
        differs(calls, &real, &ours).is_some()
    };
    let mut place = calls.len();
    while place > 0 {
        place -= 1;
        // What makes a descriptor stays, or all the places would mean others.
        if matches!(
            calls[place],
            Call::Socket(_) | Call::Pair(_) | Call::Pipe | Call::Accept(_) | Call::Dup(_)
        ) {
            continue;
        }
        let left_out = calls.remove(place);
        if !try_out(&calls) {
            calls.insert(place, left_out);
        }
    }
    calls
}

fn report(number: u32, calls: &[Call], folder: &str) -> String {
    let real = on_the_system(number, folder, calls);
    let ours = simulated(vec![(number, calls.to_vec())], folder).remove(0);
    let mut text = String::new();
    for (place, call) in calls.iter().enumerate() {
        let mark = if real[place] == ours[place] { "  " } else { "≠ " };
        text += &format!("{mark}{call:?}: {} | {}\n", real[place], ours[place]);
    }
    text
}

#[test]
fn random_sequences_are_as_on_the_system() {
    const BATCH: u32 = 250;
    calls::salt();
    let folder = std::env::temp_dir().join(format!("par{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.to_str().unwrap();
    let (first, count) = (number("SIM_PARITY_FIRST", 0), number("SIM_PARITY_SEQUENCES", 2000));
    let most = number("SIM_PARITY_REPORTS", 1) as usize;
    // One example of each kind of difference, and how often there was one.
    let mut kinds: BTreeMap<String, (usize, u32, Vec<Call>)> = BTreeMap::new();
    for batch in (first..first + count).step_by(BATCH as usize) {
        let numbers = batch..(batch + BATCH).min(first + count);
        let work: Vec<_> = numbers.map(|number| (number, sequence(number.into()))).collect();
        let real: Vec<_> = work.iter().map(|(number, calls)| on_the_system(*number, path, calls)).collect();
        let ours = simulated(work.clone(), path);
        for ((number, calls), (real, ours)) in work.into_iter().zip(real.into_iter().zip(ours)) {
            let Some(place) = differs(&calls, &real, &ours) else { continue };
            // Once more, at an address of its own: another process may have had the port.
            let again = 2_000_000 + number;
            let second = on_the_system(again, path, &calls);
            let ours_again = simulated(vec![(again, calls.clone())], path).remove(0);
            if differs(&calls, &second, &ours_again).is_none() {
                continue;
            }
            let call = format!("{:?}", calls[place]);
            let name = call.split('(').next().unwrap_or_default();
            let kind = format!("{name}: {} | {}", real[place], ours[place]);
            kinds.entry(kind).or_insert((0, number, calls)).0 += 1;
        }
    }
    let mut reports: Vec<String> =
        kinds.iter().map(|(kind, (times, number, _))| format!("{times} × {kind}, as in {number}")).collect();
    for (_, number, calls) in kinds.into_values().take(most) {
        // Numbers that no sequence has, so that nothing is left over from others.
        let mut fresh = 1_000_000 + 200 * reports.len() as u32;
        let small = shrink(calls, &mut fresh, path);
        reports.push(format!("\nsequence {number}:\n{}", report(fresh + 1, &small, path)));
    }
    drop(std::fs::remove_dir_all(&folder));
    assert!(reports.is_empty(), "differences (system | simulation)\n{}", reports.join("\n"));
}
