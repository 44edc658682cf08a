//! Random requests: whatever an application sends, the kernel answers with messages that can be read.
//!
//! Owns the generator. The library's own reader is not trusted with its writer: lengths are checked by hand.

use std::net::IpAddr;

use shim_runtime::rng::Stream;

use super::view::View;
use super::*;
use crate::stack::routes::Subnet;

fn node() -> Stack {
    let addresses: Vec<IpAddr> = vec!["192.168.1.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    Stack::new(3, addresses)
}

fn send(stack: &mut Stack, id: SocketId, data: &[u8]) -> Result<usize> {
    stack.netlink_send(id, Bytes::copy_from_slice(data), None)
}

fn read(stack: &mut Stack, id: SocketId) -> Result<Vec<u8>> {
    let mut room = vec![0; 1 << 16];
    let (core, netlink, fx) = stack.netlink(id).unwrap();
    let received = netlink.recv(core, &mut &mut room[..], false, fx)?;
    room.truncate(received.len);
    Ok(room)
}

/// Types and first bytes of the messages in a datagram.
fn messages(datagram: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let len = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
        assert!(
            len >= 16 && len <= rest.len() && len.is_multiple_of(4),
            "a message of {len} in {}",
            rest.len()
        );
        found.push((u16::from_ne_bytes([rest[4], rest[5]]), rest[16..len].to_vec()));
        rest = &rest[len..];
    }
    found
}

/// Everything that waits.
fn drain(stack: &mut Stack, id: SocketId) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        match read(stack, id) {
            Ok(datagram) => all.extend(messages(&datagram)),
            Err(Errno::ENOBUFS) => {}
            Err(errno) => {
                assert_eq!(errno, Errno::EAGAIN);
                return all;
            }
        }
    }
}

/// A request that is mostly right.
fn random_request(rng: &mut Stream) -> Vec<u8> {
    let kinds = [18, 22, 26, 30, 34, 20, 16, 200, 3, rng.next_u32() as u16];
    let kind = kinds[rng.below(10) as usize];
    let flags = [0x301, 1, 5, 0x305, 0, rng.next_u32() as u16][rng.below(6) as usize];
    let mut payload = vec![0; rng.below(48) as usize];
    rng.fill(&mut payload);
    if let Some(family) = payload.first_mut() {
        *family = [0, 2, 10, 7, *family][rng.below(5) as usize];
    }
    if rng.chance(0.5) {
        // Numbers of links, and empty fields.
        payload.iter_mut().skip(1).for_each(|byte| *byte = rng.chance(0.2).into());
    }
    let len = (16 + payload.len()) as u32 + if rng.chance(0.1) { rng.below(9) } else { 0 };
    let mut request = len.to_ne_bytes().to_vec();
    request.extend(u16::to_ne_bytes(kind));
    request.extend(u16::to_ne_bytes(flags));
    request.extend([7, 0, 0, 0, 0, 0, 0, 0]);
    request.extend(payload);
    request.resize(request.len().next_multiple_of(4), 0);
    request
}

#[test]
fn random_bytes_are_answered_or_passed_over() {
    for seed in 0..2_000 {
        let mut rng = Stream::new(seed, "netlink", 0);
        let mut stack = node();
        let id = stack.netlink_socket(rng.chance(0.5), 7).unwrap();
        if rng.chance(0.3) {
            stack.netlink(id).unwrap().1.set_option(Name::NetlinkStrictCheck, &Value::Int(1)).unwrap();
        }
        for _ in 0..8 {
            let mut data = random_request(&mut rng);
            if rng.chance(0.3) {
                data.extend(random_request(&mut rng));
            }
            if rng.chance(0.2) {
                rng.fill(&mut data);
            }
            assert_eq!(send(&mut stack, id, &data), Ok(data.len()));
            for (kind, payload) in drain(&mut stack, id) {
                assert!([2, 3, 16, 20, 24].contains(&kind), "seed {seed}: {kind}");
                assert!(payload.len() >= 4, "seed {seed}");
            }
        }
        // It is as good as new.
        let request = [&[20, 0, 0, 0, 22, 0, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0][..], &[0; 4]].concat();
        let strict = stack.netlink(id).unwrap().1.is_strict;
        send(&mut stack, id, &request).unwrap();
        let kinds: Vec<u16> = drain(&mut stack, id).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, if strict { vec![3] } else { vec![20, 20, 20, 20, 3] }, "seed {seed}");
    }
}

#[test]
fn a_list_is_the_sum_of_the_changes() {
    let mut stack = node();
    let id = stack.netlink_socket(true, 7).unwrap();
    stack.netlink_bind(id, 0, u32::MAX).unwrap();
    let mut rng = Stream::new(1, "changes", 0);
    let mut known = View::of(&stack);
    for step in 0..200_u32 {
        let segment = 1 + rng.below(4);
        stack.change_routes(|routes| match rng.below(4) {
            0 => drop(routes.unplug(segment)),
            1 => drop(routes.prefer(segment)),
            2 => routes.set_gateway(segment, &[IpAddr::from([10, 0, segment as u8, 254])]),
            _ => {
                let ip = IpAddr::from([10, 0, segment as u8, rng.below(3) as u8]);
                routes.plug_in(segment, vec![Subnet { ip, prefix_len: 24 }]);
            }
        });
        let now = View::of(&stack);
        let expected = |from: &View, to: &View, kinds: [u16; 3]| {
            let links = from.links.iter().filter(|one| !to.links.contains(one)).count();
            let addresses = from.addresses.iter().filter(|one| !to.addresses.contains(one)).count();
            let routes = from.routes.iter().filter(|one| !to.routes.contains(one)).count();
            [(kinds[0], links), (kinds[1], addresses), (kinds[2], routes)]
        };
        let told = drain(&mut stack, id);
        for (kind, count) in
            expected(&known, &now, [17, 21, 25]).into_iter().chain(expected(&now, &known, [16, 20, 24]))
        {
            assert_eq!(
                told.iter().filter(|(own, _)| *own == kind).count(),
                count,
                "step {step}: type {kind}"
            );
        }
        known = now;
    }
}

#[test]
fn a_full_queue_is_told_once() {
    let mut stack = node();
    let id = stack.netlink_socket(true, 7).unwrap();
    stack.netlink_bind(id, 0, 1).unwrap();
    let flap = |stack: &mut Stack| {
        stack.change_routes(|routes| routes.plug_in(9, Vec::new()));
        stack.change_routes(|routes| routes.unplug(9));
    };
    for _ in 0..1_000 {
        flap(&mut stack);
    }
    assert!(stack.events(id).unwrap().error);
    assert_eq!(read(&mut stack, id).unwrap_err(), Errno::ENOBUFS);
    let first = messages(&read(&mut stack, id).unwrap());
    assert_eq!(first[0].0, 16);
    // As long as it has not read everything, it is told nothing more.
    flap(&mut stack);
    let all = drain(&mut stack, id);
    assert!(all.len() > 100 && all.len() < 1_000, "{}", all.len());
    flap(&mut stack);
    assert_eq!(drain(&mut stack, id).iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [16, 17]);
}

#[test]
fn long_lists_come_in_pieces_and_one_at_a_time() {
    let mut stack = node();
    for segment in 1..60 {
        let ip = IpAddr::from([10, 0, segment as u8, 1]);
        stack.change_routes(|routes| routes.plug_in(segment, vec![Subnet { ip, prefix_len: 24 }]));
    }
    let id = stack.netlink_socket(true, 7).unwrap();
    let request = [&[32, 0, 0, 0, 18, 0, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0][..], &[0; 16]].concat();
    send(&mut stack, id, &request).unwrap();
    send(&mut stack, id, &request).unwrap();
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let datagram = read(&mut stack, id).unwrap();
        assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
        kinds.extend(messages(&datagram).into_iter().map(|(kind, payload)| (kind, payload[..4].to_vec())));
    }
    let busy = (2, (-libc::EBUSY).to_ne_bytes().to_vec());
    assert_eq!(kinds.iter().filter(|one| **one == busy).count(), 1);
    kinds.extend(drain(&mut stack, id).into_iter().map(|(kind, payload)| (kind, payload[..4].to_vec())));
    assert_eq!(kinds.iter().filter(|(kind, _)| *kind == 16).count(), 61);
    assert_eq!(kinds.last(), Some(&(3, vec![0; 4])));
}
