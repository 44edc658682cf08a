//! Datagrams with control messages, on the operating system and in the simulation: what comes of each call is compared.
//!
//! Owns the generator of sequences. Must not know the stack. Invariant: the system is the oracle.

use super::both::{differs, on_the_system, simulated};
use super::calls::{self, Call, Extra, Place, Shape};
use super::numbers::{Numbers, number};

const V4: Shape = (libc::AF_INET, libc::SOCK_DGRAM);
const V6: Shape = (libc::AF_INET6, libc::SOCK_DGRAM);
const SWITCHES: [(i32, i32); 6] = [
    (libc::IPPROTO_IP, libc::IP_PKTINFO),
    (libc::IPPROTO_IP, libc::IP_RECVTOS),
    (libc::SOL_UDP, libc::UDP_GRO),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
];
const LENGTHS: [usize; 10] = [0, 1, 99, 100, 101, 250, 1000, 3000, 12_900, 65_507];

fn extra(numbers: &mut Numbers) -> Extra {
    match numbers.below(12) {
        0..3 => Extra::Nothing,
        3 => Extra::Tos(numbers.pick(&[0, 1, 2, 3, -1, 256])),
        4 => Extra::TosByte(numbers.pick(&[0, 2, 3])),
        5 => Extra::Class(numbers.pick(&[0, 1, 3, -2, 256])),
        6 => Extra::Ttl(numbers.pick(&[0, 1, 64, 256])),
        7..10 => Extra::Segment(numbers.pick(&[0, 1, 99, 100, 101, 1000, 1400])),
        10 => numbers.pick(&[Extra::WideSegment(100), Extra::ShortInfo, Extra::Info(true)]),
        _ => numbers.pick(&[Extra::Info(true), Extra::Unknown(libc::SOL_UDP, 99), Extra::Info(false)]),
    }
}

/// Two or three sockets, of which the first is bound, with options; then messages in both directions.
fn sequence(seed: u64) -> Vec<Call> {
    let mut numbers = Numbers(seed);
    let (first, at) =
        numbers.pick(&[(V4, Place::Port(7001)), (V6, Place::Mapped(7001)), (V6, Place::Loopback6)]);
    let mut calls = vec![Call::Socket(first), Call::Bind(0, at), Call::Socket(numbers.pick(&[V4, V6]))];
    for _ in 0..numbers.below(5) {
        calls.push(Call::Set(numbers.below(2), numbers.pick(&SWITCHES), numbers.pick(&[1, 1, 1, 0])));
    }
    let (mut sent, mut many) = (0, false);
    for _ in 0..3 + numbers.below(12) {
        let fd = numbers.below(2);
        let call = match numbers.below(20) {
            0..10 => {
                let extras = [extra(&mut numbers), extra(&mut numbers)];
                let len = numbers.pick(&LENGTHS);
                // What a full buffer takes is not compared: how much memory a packet has is Linux' own.
                let small = extras.iter().any(|extra| matches!(extra, Extra::Segment(1)));
                many |= small;
                let times = if small || len > 10_000 { 1 } else { numbers.pick(&[1, 1, 1, 3]) };
                let parts = if small { len.min(128) } else { len / 90 };
                let cost = (2 * len + 1000 * (1 + parts)) * times;
                if sent + cost > 150_000 {
                    sent = 0;
                    drain(&mut calls, many);
                }
                sent += cost;
                Call::Tell(fd, len, Place::Of(1 - fd), extras, times)
            }
            10..17 => Call::Hear(
                1 - fd,
                numbers.pick(&[0, 100, 1500, 65_536]),
                numbers.pick(&[0, 20, 40, 200, 200]),
            ),
            17 => Call::Unread(fd),
            18 => Call::Set(fd, (libc::SOL_UDP, libc::UDP_SEGMENT), numbers.pick(&[0, 100, -1, 65_536])),
            _ => Call::Poll(fd),
        };
        calls.push(call);
    }
    // Nothing is left unread.
    drain(&mut calls, many);
    calls.extend([Call::Poll(0), Call::Poll(1)]);
    calls
}

/// Reads all that is there, which may be one datagram, or one for each byte that was sent.
fn drain(calls: &mut Vec<Call>, many: bool) {
    let times = if many { 18 } else { 5 };
    (0..2).for_each(|fd| calls.extend(std::iter::repeat_n(Call::Hear(fd, 65_536, 200), times)));
}

#[test]
fn messages_are_as_on_the_system() {
    calls::salt();
    let folder = std::env::temp_dir().join(format!("msg{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.to_str().unwrap();
    let (first, count) = (number("SIM_PARITY_FIRST", 0), number("SIM_PARITY_SEQUENCES", 500));
    let work: Vec<_> = (first..first + count).map(|number| (number, sequence(number.into()))).collect();
    let ours = simulated(work.clone(), path);
    let mut reports = String::new();
    let mut heard = 0;
    for ((number, calls), ours) in work.into_iter().zip(ours) {
        let real = on_the_system(number, path, &calls);
        heard += real.iter().filter(|text| text.contains(" from ")).count();
        let Some(place) = differs(&calls, &real, &ours) else { continue };
        if reports.len() < 4000 {
            reports += &format!("sequence {number}:\n");
            let quiet = |place: &usize| matches!(calls[*place], Call::Hear(..) | Call::Poll(_));
            for place in (0..place).filter(|place| !quiet(place)).chain([place]) {
                reports += &format!("  {:?}: {} | {}\n", calls[place], real[place], ours[place]);
            }
        }
    }
    drop(std::fs::remove_dir_all(&folder));
    assert!(reports.is_empty(), "differences (system | simulation)\n{reports}");
    assert!(heard as u32 > count, "only {heard} messages were heard");
}
