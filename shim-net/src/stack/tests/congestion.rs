//! Congestion: losses found by time, probes for lost tails, marks, algorithms, and what `TCP_INFO` tells of it all.

use std::time::Duration;

use super::*;
use crate::packet::Flags;
use crate::stack::options::{Name, Value};
use crate::stack::tcp::ecn::TcpEcn;

const MSS: usize = 1460;

/// A pair whose packets are single, at an MTU of 1500, and a connection with a window of some size.
fn warm() -> (Pair, SocketId, SocketId) {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    pair.single = true;
    let data = pattern(200_000);
    assert!(pair.transfer((Client, client), (Server, server), &data) == data);
    pair.run_millis(100);
    (pair, client, server)
}

/// A number of `struct tcp_info`, in four bytes.
fn info(pair: &mut Pair, id: SocketId, at: usize) -> u32 {
    let value = pair.at(Client, |stack, now| stack.option(id, Name::TcpInfo, now)).unwrap();
    let Value::Bytes(bytes) = value else { panic!("{value:?}") };
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

const RTT: usize = 68;
const THRESHOLD: usize = 76;
const WINDOW: usize = 80;
const RESENT: usize = 100;
const LOST: usize = 32;
const SINCE_SENT: usize = 44;

#[test]
fn a_connection_that_has_not_sent_anything_is_as_old_as_its_handshake() {
    let mut pair = Pair::new();
    let (client, _) = pair.connect();
    assert_eq!(info(&mut pair, client, SINCE_SENT), 80);
}

#[test]
fn the_kernel_tells_of_a_connection() {
    let (mut pair, client, _) = warm();
    assert!((20_000..30_000).contains(&info(&mut pair, client, RTT)), "{}", info(&mut pair, client, RTT));
    assert!(info(&mut pair, client, WINDOW) > 30);
    assert_eq!((info(&mut pair, client, RESENT), info(&mut pair, client, LOST)), (0, 0));
    assert_eq!(info(&mut pair, client, 120), 200_000, "acknowledged");
}

#[test]
fn a_lost_tail_of_several_segments_is_probed_for() {
    let (mut pair, client, server) = warm();
    let start = pair.now;
    assert_eq!(pair.send(Client, client, &[1; 3 * MSS]), Ok(3 * MSS));
    pair.deaf = Some(Server);
    assert_eq!(pair.send(Client, client, &[2; 2 * MSS]), Ok(2 * MSS));
    pair.deaf = None;
    let mut got = 0;
    while got < 5 * MSS {
        pair.run_millis(1);
        got += pair.recv(Server, server, 1 << 20).map_or(0, |part| part.len());
    }
    // The third segment's acknowledgement is put off by 40 ms. Then two round trips until the probe, one until what it
    // tells, half of one for the rest; the time-out would come after 260 ms.
    let took = pair.now - start;
    assert!((100..180).contains(&took.as_millis()), "{took:?}");
    pair.run_millis(100);
    assert_eq!(info(&mut pair, client, RESENT), 2);
}

#[test]
fn what_is_lost_twice_needs_no_time_out() {
    let (mut pair, client, server) = warm();
    let window = info(&mut pair, client, WINDOW) as usize;
    let data = pattern(window * MSS / 2);
    let start = pair.now;
    pair.deaf = Some(Server);
    assert_eq!(pair.send(Client, client, &data[..MSS]), Ok(MSS));
    pair.deaf = None;
    assert_eq!(pair.send(Client, client, &data[MSS..]), Ok(data.len() - MSS));
    // The repetition is lost, too.
    pair.run_millis(19);
    pair.deaf = Some(Server);
    pair.run_millis(2);
    pair.deaf = None;
    let more = pattern(100 * MSS);
    assert_eq!(pair.send(Client, client, &more), Ok(more.len()));
    let mut got = 0;
    while got < data.len() + more.len() {
        pair.run_millis(1);
        got += pair.recv(Server, server, 1 << 20).map_or(0, |part| part.len());
    }
    let took = pair.now - start;
    assert!(took < Duration::from_millis(200), "{took:?}");
    assert_eq!(info(&mut pair, client, RESENT), 2);
}

#[test]
fn a_changed_order_is_no_loss() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    // Each packet by itself, anything up to 4 ms late.
    pair.jitter = Duration::from_millis(4);
    for round in 0..3 {
        let data = pattern(300_000);
        assert!(pair.transfer((Client, client), (Server, server), &data) == data);
        let resent = info(&mut pair, client, RESENT);
        if round == 0 {
            continue;
        }
        // Once order is known to change, a quarter of the round trip is waited.
        assert!(pair.transfer((Client, client), (Server, server), &data) == data);
        assert_eq!(info(&mut pair, client, RESENT), resent);
    }
    assert_eq!(info(&mut pair, client, 220), 1);
}

#[test]
fn marks_come_back_and_halve_the_window_once_for_each_round_trip() {
    for modes in [[TcpEcn::Passive; 2], [TcpEcn::Active, TcpEcn::Off], [TcpEcn::Active, TcpEcn::Passive]] {
        let mut pair = Pair::new();
        for (stack, mode) in pair.stacks.iter_mut().zip(modes) {
            stack.tcp_ecn = mode;
        }
        let (client, server) = pair.connect();
        pair.single = true;
        let data = pattern(400_000);
        assert!(pair.transfer((Client, client), (Server, server), &data) == data);
        let agreed = modes == [TcpEcn::Active, TcpEcn::Passive];
        let capable = |packet: &Packet| {
            matches!(&packet.body, Body::Tcp(segment) if !segment.payload.is_empty()) && packet.ecn == 2
        };
        assert_eq!(pair.log.iter().any(|(_, _, packet)| capable(packet)), agreed);
        pair.run_millis(100);
        pair.marks = true;
        let before = info(&mut pair, client, WINDOW);
        let start = pair.now;
        assert_eq!(pair.send(Client, client, &data[..20 * MSS]), Ok(20 * MSS));
        pair.run_millis(30);
        pair.marks = false;
        assert!(pair.recv(Server, server, 1 << 20).is_ok());
        assert!(pair.transfer((Client, client), (Server, server), &data[..MSS]) == data[..MSS]);
        pair.run_millis(100);
        let flags = |flag: Flags| {
            let carries =
                |packet: &Packet| matches!(&packet.body, Body::Tcp(segment) if segment.flags.has(flag));
            pair.log.iter().filter(|(_, at, packet)| *at > start && carries(packet)).count()
        };
        assert_eq!((flags(Flags::ECE) > 0, flags(Flags::CWR)), (agreed, usize::from(agreed)));
        let (after, resent) = (info(&mut pair, client, WINDOW), info(&mut pair, client, RESENT));
        assert_eq!((after <= before * 7 / 10 + 1, resent), (agreed, 0), "{before} → {after}");
        let threshold = info(&mut pair, client, THRESHOLD);
        assert_eq!(threshold <= before, agreed, "{threshold} of {before}, then {after}");
    }
}

#[test]
fn algorithms_have_names() {
    let (mut pair, client, _) = warm();
    let mut set = |name: &[u8]| {
        let value = Value::Bytes(name.to_vec());
        pair.at(Client, |stack, now| stack.set_option(client, Name::Congestion, value, now))
    };
    assert_eq!(set(b"vegas"), Err(Errno::ENOENT));
    assert_eq!(set(b"reno"), Ok(()));
    let name = pair.at(Client, |stack, now| stack.option(client, Name::Congestion, now));
    assert_eq!(name, Ok(Value::Bytes(b"reno".to_vec())));
}
