//! Netlink sockets by libc's calls, inside a simulation and outside: the same questions have the same kind of answers.
//!
//! Owns what holds on every Linux. Must not know the stack. Invariant: outside, nothing of the machine is changed.
#![cfg(sim)]
#![expect(clippy::disallowed_methods, reason = "the thread and its pause are the simulation's")]

#[path = "host/netlink_calls.rs"]
mod calls;
mod common;

use std::net::IpAddr;
use std::time::Duration;

use calls::{Reply, Socket, address_info, attribute, link_info, request, route_info};
use common::simulate;
use shim_net::control;
use shim_net::control::topology;
use shim_runtime::node::current_node;

const GET_LINK: u16 = libc::RTM_GETLINK;
const GET_ADDRESS: u16 = libc::RTM_GETADDR;
const GET_ROUTE: u16 = libc::RTM_GETROUTE;
const DUMP: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
const ONE: u16 = libc::NLM_F_REQUEST as u16;
const ACKNOWLEDGED: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
const MULTI: u16 = libc::NLM_F_MULTI as u16;
const DONE: u16 = libc::NLMSG_DONE as u16;
const ERROR: u16 = libc::NLMSG_ERROR as u16;

/// A question, and its list.
fn list(socket: &Socket, kind: u16, payload: &[u8]) -> Vec<Reply> {
    socket.send(&request(kind, DUMP, 9, payload)).unwrap();
    let (port, _) = socket.name();
    let mut all = Vec::new();
    loop {
        for reply in socket.read().unwrap() {
            assert_eq!((reply.sequence, reply.port, reply.flags & MULTI), (9, port, MULTI), "{reply:?}");
            if reply.kind == DONE {
                assert_eq!(reply.payload, [0; 4]);
                return all;
            }
            all.push(reply);
        }
    }
}

/// The number of the error that a request is answered with, and what is repeated of it.
fn refusal(socket: &Socket, sent: &[u8]) -> (i32, Vec<u8>, u16) {
    socket.send(sent).unwrap();
    let [reply] = &socket.read().unwrap()[..] else { panic!("one answer") };
    assert_eq!(reply.kind, ERROR);
    let number = i32::from_ne_bytes(reply.payload[..4].try_into().unwrap());
    (-number, reply.payload[4..].to_vec(), reply.flags)
}

fn both(look: impl Fn()) {
    look();
    simulate(look);
}

#[test]
fn sockets_have_linux_addresses_and_options() {
    both(|| {
        let (first, second) = (Socket::new(libc::SOCK_RAW), Socket::new(libc::SOCK_DGRAM));
        assert_eq!(first.name(), (0, 0));
        assert_eq!(first.peer(), (0, 0));
        assert_eq!(first.option(libc::SOL_SOCKET, libc::SO_DOMAIN), Ok(libc::AF_NETLINK));
        assert_eq!(first.option(libc::SOL_SOCKET, libc::SO_PROTOCOL), Ok(0));
        assert_eq!(first.option(libc::SOL_SOCKET, libc::SO_TYPE), Ok(libc::SOCK_RAW));
        assert_eq!(second.option(libc::SOL_SOCKET, libc::SO_TYPE), Ok(libc::SOCK_DGRAM));
        // The tests of this file run in one process outside, so that another may have its number.
        first.bind(0, 0x11).unwrap();
        second.bind(0, 0).unwrap();
        let (one, two) = (first.name(), second.name());
        assert_eq!((one.1, two.1), (0x11, 0));
        assert!(one.0 != 0 && two.0 != 0 && one.0 != two.0, "{one:?} {two:?}");
        assert_eq!(first.bind(one.0 ^ 1, 0), Err(libc::EINVAL));
        assert_eq!(Socket::new(libc::SOCK_RAW).bind(one.0, 0), Err(libc::EADDRINUSE));
        first.bind(one.0, 1).unwrap();
        assert_eq!(first.name(), (one.0, 1));
        for option in [libc::NETLINK_PKTINFO, libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            assert_eq!(first.option(libc::SOL_NETLINK, option), Ok(0));
            first.set_option(libc::SOL_NETLINK, option, 7).unwrap();
            assert_eq!(first.option(libc::SOL_NETLINK, option), Ok(1));
        }
        first.set_option(libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, 5).unwrap();
        assert_eq!(first.name().1, 0x11);
        assert_eq!(first.option(libc::SOL_NETLINK, libc::NETLINK_LIST_MEMBERSHIPS), Ok(0x11));
        first.set_option(libc::SOL_NETLINK, libc::NETLINK_DROP_MEMBERSHIP, 1).unwrap();
        assert_eq!(first.name().1, 0x10);
        for group in [0, -1, 2000] {
            let joined = first.set_option(libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group);
            assert_eq!(joined, Err(libc::EINVAL));
        }
        assert_eq!(first.option(libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP), Err(libc::ENOPROTOOPT));
        assert_eq!(first.option(libc::IPPROTO_TCP, libc::TCP_NODELAY), Err(libc::ENOPROTOOPT));
        assert_eq!(first.listen(), Err(libc::EOPNOTSUPP));
        assert_eq!(first.shutdown(), Err(libc::EOPNOTSUPP));
        assert_eq!(second.send(&[]), Err(libc::ENODATA));
        assert_eq!(second.send(&vec![0; 1 << 20]), Err(libc::EMSGSIZE));
        assert_eq!(Socket::open(libc::SOCK_STREAM, 0).err(), Some(libc::ESOCKTNOSUPPORT));
        assert_eq!(Socket::open(libc::SOCK_RAW, 31).err(), Some(libc::EPROTONOSUPPORT));
    });
}

#[test]
fn the_first_socket_has_the_number_of_its_process() {
    let (first, second) = simulate(|| {
        let (first, second) = (Socket::new(libc::SOCK_RAW), Socket::new(libc::SOCK_RAW));
        first.connect(0, 0).unwrap();
        second.connect(0, 0).unwrap();
        assert_eq!(first.name().0, std::process::id());
        (first.name(), second.name())
    });
    assert_eq!(second, ((-4097_i32) as u32, 0));
    assert_ne!(first, second);
}

#[test]
fn links_are_told() {
    both(|| {
        let socket = Socket::new(libc::SOCK_RAW);
        let links = list(&socket, GET_LINK, &link_info(0));
        let lo = links.iter().find(|link| link.text(libc::IFLA_IFNAME) == "lo").unwrap();
        assert_eq!((lo.kind, lo.number_at(4)), (libc::RTM_NEWLINK, 1));
        assert_eq!(lo.payload[2..4], 772_u16.to_ne_bytes());
        let up = libc::IFF_UP | libc::IFF_LOOPBACK | libc::IFF_RUNNING;
        assert_eq!(lo.number_at(8) as i32 & up, up);
        assert_eq!(lo.number(libc::IFLA_MTU), 65_536);
        assert_eq!(lo.attribute(libc::IFLA_ADDRESS), Some(vec![0; 6]));
        assert_eq!(lo.attribute(libc::IFLA_BROADCAST), Some(vec![0; 6]));
        assert_eq!(lo.attribute(libc::IFLA_OPERSTATE), Some(vec![0]));

        let by_name = [link_info(0), attribute(libc::IFLA_IFNAME, b"lo\0")].concat();
        for payload in [link_info(1), by_name] {
            socket.send(&request(GET_LINK, ONE, 3, &payload)).unwrap();
            let [one] = &socket.read().unwrap()[..] else { panic!("one answer") };
            assert_eq!((one.kind, one.flags, one.sequence), (libc::RTM_NEWLINK, 0, 3));
            assert_eq!(one.text(libc::IFLA_IFNAME), "lo");
        }
        // An acknowledgement comes after the answer.
        socket.send(&request(GET_LINK, ACKNOWLEDGED, 4, &link_info(1))).unwrap();
        assert_eq!(socket.read().unwrap()[0].kind, libc::RTM_NEWLINK);
        let acknowledged = &socket.read().unwrap()[0];
        assert_eq!((acknowledged.kind, acknowledged.flags), (ERROR, libc::NLM_F_CAPPED as u16));
        assert_eq!((acknowledged.payload.len(), acknowledged.number_at(0)), (20, 0));
    });
}

#[test]
fn addresses_are_told() {
    both(|| {
        let socket = Socket::new(libc::SOCK_DGRAM);
        let all = list(&socket, GET_ADDRESS, &address_info(0, 0));
        let lo =
            all.iter().find(|own| own.ip(libc::IFA_LOCAL) == Some(IpAddr::from([127, 0, 0, 1]))).unwrap();
        // Family, prefix, flags, scope, link.
        assert_eq!(lo.payload[..4], [libc::AF_INET as u8, 8, 0x80, 254]);
        assert_eq!((lo.kind, lo.number_at(4)), (libc::RTM_NEWADDR, 1));
        assert_eq!(lo.ip(libc::IFA_ADDRESS), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(lo.text(libc::IFA_LABEL), "lo");
        assert_eq!(lo.number(libc::IFA_FLAGS), 0x80);
        assert_eq!(lo.attribute(libc::IFA_BROADCAST), None);
        for family in [libc::AF_INET, libc::AF_INET6] {
            let some = list(&socket, GET_ADDRESS, &address_info(family, 0));
            assert!(some.iter().all(|own| i32::from(own.payload[0]) == family));
            let of = all.iter().filter(|own| i32::from(own.payload[0]) == family).count();
            assert_eq!(some.len(), of);
        }
        // Without strict checks the link is not looked at.
        assert_eq!(list(&socket, GET_ADDRESS, &address_info(0, 1)).len(), all.len());
        socket.set_option(libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, 1).unwrap();
        let chosen = list(&socket, GET_ADDRESS, &address_info(libc::AF_INET, 1));
        assert!(chosen.iter().all(|own| own.number_at(4) == 1 && own.flags & 0x20 != 0), "{chosen:?}");
        assert!(!chosen.is_empty());
    });
}

#[test]
fn routes_are_told_and_looked_up() {
    both(|| {
        let socket = Socket::new(libc::SOCK_RAW);
        let all = list(&socket, GET_ROUTE, &route_info(libc::AF_INET, 0));
        let lo = all.iter().find(|route| {
            route.ip(libc::RTA_DST) == Some(IpAddr::from([127, 0, 0, 1])) && route.payload[1] == 32
        });
        let lo = lo.unwrap();
        assert_eq!(lo.kind, libc::RTM_NEWROUTE);
        // Table, protocol, scope, type.
        assert_eq!(lo.payload[4..8], [255, 2, 254, 2]);
        assert_eq!((lo.number(libc::RTA_TABLE), lo.number(libc::RTA_OIF)), (255, 1));
        assert_eq!(lo.ip(libc::RTA_PREFSRC), Some(IpAddr::from([127, 0, 0, 1])));

        let to = [route_info(libc::AF_INET, 32), attribute(libc::RTA_DST, &[127, 0, 0, 1])].concat();
        socket.send(&request(GET_ROUTE, ONE, 5, &to)).unwrap();
        let way = &socket.read().unwrap()[0];
        assert_eq!(way.payload[..2], [libc::AF_INET as u8, 32]);
        assert_eq!((way.payload[7], way.number_at(8)), (2, 0x8000_0200));
        assert_eq!((way.number(libc::RTA_TABLE), way.number(libc::RTA_OIF)), (254, 1));
        assert_eq!(way.ip(libc::RTA_DST), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(way.ip(libc::RTA_PREFSRC), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(way.attribute(libc::RTA_GATEWAY), None);
    });
}

#[test]
fn what_is_wrong_is_refused_as_linux_does() {
    both(|| {
        let socket = Socket::new(libc::SOCK_RAW);
        let cases = [
            (request(GET_LINK, ONE, 1, &link_info(0)), libc::EINVAL),
            (request(GET_LINK, ONE, 1, &link_info(4_000_000)), libc::ENODEV),
            (request(GET_LINK, ONE, 1, &[0]), libc::EINVAL),
            (request(GET_ADDRESS, ONE, 1, &address_info(libc::AF_INET, 1)), libc::EOPNOTSUPP),
            (request(GET_ROUTE, ONE, 1, &route_info(0, 0)), libc::EOPNOTSUPP),
            (request(GET_ROUTE, ONE, 1, &[2]), libc::EINVAL),
            (request(200, ONE, 1, &link_info(0)), libc::EOPNOTSUPP),
            (request(17_000, DUMP, 1, &link_info(0)), libc::EOPNOTSUPP),
        ];
        for (sent, number) in &cases {
            let (found, repeated, flags) = refusal(&socket, sent);
            assert_eq!((found, flags), (*number, 0));
            assert_eq!(repeated[..sent.len()], sent[..]);
            assert!(repeated[sent.len()..].iter().all(|byte| *byte == 0) && repeated.len() % 4 == 0);
        }
        // Where one is wrong, the next is answered all the same.
        let two = [cases[1].0.clone(), request(GET_LINK, ONE, 2, &link_info(1))].concat();
        socket.send(&two).unwrap();
        assert_eq!(socket.read().unwrap()[0].kind, ERROR);
        assert_eq!(socket.read().unwrap()[0].kind, libc::RTM_NEWLINK);
        // Bytes that are no request have no answer, nor has one without the flag.
        let mut cut = request(GET_LINK, DUMP, 1, &link_info(0));
        cut[0] = 100;
        for silent in [b"abc".to_vec(), cut, request(GET_LINK, 0x300, 1, &link_info(0))] {
            socket.send(&silent).unwrap();
            assert_eq!(socket.read_now().err(), Some(libc::EAGAIN));
        }
        socket.send(&request(GET_LINK, libc::NLM_F_ACK as u16, 1, &link_info(0))).unwrap();
        assert_eq!(socket.read().unwrap()[0].number_at(0), 0);
        socket.set_option(libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1).unwrap();
        let (_, repeated, flags) = refusal(&socket, &cases[1].0);
        assert_eq!((repeated.len(), flags), (16, libc::NLM_F_CAPPED as u16));
        socket.set_option(libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, 1).unwrap();
        socket.send(&request(GET_LINK, DUMP, 1, &link_info(1))).unwrap();
        let ended = &socket.read().unwrap()[0];
        assert_eq!((ended.kind, ended.number_at(0) as i32), (DONE, -libc::EINVAL));
    });
}

#[test]
fn messages_are_peeked_and_cut() {
    both(|| {
        let socket = Socket::new(libc::SOCK_RAW);
        assert_eq!(socket.poll(), libc::POLLOUT);
        socket.send(&request(GET_LINK, ONE, 1, &link_info(1))).unwrap();
        assert_eq!(socket.poll(), libc::POLLIN | libc::POLLOUT);
        let full = socket.receive(8, libc::MSG_PEEK | libc::MSG_TRUNC).unwrap();
        assert!(full.len > 100 && full.was_cut);
        assert_eq!((full.from_port, full.from_groups), (0, 0));
        assert_eq!(full.bytes[..4], (full.len as u32).to_ne_bytes());
        let cut = socket.receive(20, 0).unwrap();
        assert!(cut.len == 20 && cut.was_cut);
        assert_eq!(socket.read_now().err(), Some(libc::EAGAIN));
    });
}

#[test]
fn a_change_is_not_for_everybody() {
    simulate(|| {
        let socket = Socket::new(libc::SOCK_RAW);
        let address = attribute(libc::IFA_LOCAL, &[10, 9, 9, 9]);
        let payload = [address_info(libc::AF_INET, 2), address].concat();
        for kind in [libc::RTM_NEWADDR, libc::RTM_DELADDR, libc::RTM_NEWLINK, libc::RTM_DELROUTE] {
            assert_eq!(refusal(&socket, &request(kind, ACKNOWLEDGED, 1, &payload)).0, libc::EPERM);
        }
        assert_eq!(socket.connect(77, 0), Err(libc::EPERM));
    });
}

/// `(type, interface, address)` of what a socket hears, and the group that it came to.
fn heard(socket: &Socket) -> Vec<(u16, u32, Option<IpAddr>, u32)> {
    let mut all = Vec::new();
    while let Ok(datagram) = socket.receive(8192, libc::MSG_DONTWAIT) {
        assert_eq!(datagram.from_port, 0);
        let group = datagram.from_groups.trailing_zeros() + 1;
        assert_eq!(datagram.packet_info, Some(group));
        for reply in calls::parse(&datagram.bytes) {
            assert_eq!((reply.sequence, reply.port, reply.flags), (0, 0, 0));
            let place = if reply.kind < 24 { reply.number_at(4) } else { reply.number(libc::RTA_OIF) };
            let ip = if reply.kind < 20 { None } else { reply.ip(libc::IFA_ADDRESS) };
            all.push((reply.kind, place, ip, group));
        }
    }
    all
}

#[test]
fn who_listens_hears_of_a_cable() {
    simulate(|| {
        let (links, all) = (Socket::new(libc::SOCK_RAW), Socket::new(libc::SOCK_RAW));
        links.bind(0, libc::RTMGRP_LINK as u32).unwrap();
        for group in [1, 5, 7, 9, 11] {
            all.set_option(libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group).unwrap();
        }
        for socket in [&links, &all] {
            socket.set_option(libc::SOL_NETLINK, libc::NETLINK_PKTINFO, 1).unwrap();
        }
        let deaf = Socket::new(libc::SOCK_RAW);
        deaf.bind(0, 0).unwrap();
        let home = topology::add_switch("home", vec!["192.168.178.0/24".parse().unwrap()]);
        let ip = IpAddr::from([192, 168, 178, 7]);
        topology::connect(current_node(), home, vec![ip]);
        assert_eq!(heard(&links), [(libc::RTM_NEWLINK, 3, None, 1)]);
        let told = heard(&all);
        assert_eq!(told[..2], [(libc::RTM_NEWLINK, 3, None, 1), (libc::RTM_NEWADDR, 3, Some(ip), 5)]);
        let net = Some(IpAddr::from([192, 168, 178, 0]));
        assert!(told.contains(&(libc::RTM_NEWROUTE, 3, net, 7)), "{told:?}");
        assert!(told.contains(&(libc::RTM_NEWROUTE, 3, None, 7)), "a default route: {told:?}");

        // The default routes change places.
        assert!(topology::set_default_route(current_node(), home));
        let told: Vec<_> = heard(&all).into_iter().map(|one| (one.0, one.1)).collect();
        let mut sorted = told.clone();
        sorted.sort();
        assert_eq!(
            sorted,
            [
                (libc::RTM_NEWROUTE, 2),
                (libc::RTM_NEWROUTE, 3),
                (libc::RTM_DELROUTE, 2),
                (libc::RTM_DELROUTE, 3)
            ]
        );
        assert_eq!(told[0].0, libc::RTM_DELROUTE);
        let metric = |route: &Reply| (route.number(libc::RTA_PRIORITY), route.number(libc::RTA_OIF));
        let routes = list(&deaf, GET_ROUTE, &route_info(libc::AF_INET, 0));
        assert_eq!(routes[..2].iter().map(metric).collect::<Vec<_>>(), [(100, 3), (101, 2)]);

        topology::disconnect(current_node(), home);
        assert_eq!(heard(&links), [(libc::RTM_DELLINK, 3, None, 1)]);
        let told = heard(&all);
        assert_eq!(told[0], (libc::RTM_DELADDR, 3, Some(ip), 5));
        assert!(told.contains(&(libc::RTM_DELROUTE, 3, net, 7)));
        assert!(told.contains(&(libc::RTM_DELLINK, 3, None, 1)));

        // Other addresses are no other interface.
        control::set_addresses(current_node(), vec![IpAddr::from([192, 168, 77, 7])]);
        assert!(heard(&links).is_empty());
        let told = heard(&all);
        assert!(told.contains(&(libc::RTM_NEWADDR, 2, Some(IpAddr::from([192, 168, 77, 7])), 5)), "{told:?}");
        control::set_mtu_bytes(current_node(), 1280);
        assert_eq!(heard(&all), [(libc::RTM_NEWLINK, 2, None, 1)]);
        assert_eq!(deaf.read_now().err(), Some(libc::EAGAIN));
    });
}

#[test]
fn the_way_out_is_the_switchs_router() {
    simulate(|| {
        let home = topology::add_switch("home", vec!["192.168.178.0/24".parse().unwrap()]);
        let node = current_node();
        topology::connect(node, home, vec![IpAddr::from([192, 168, 178, 7])]);
        let internet = topology::find("internet").unwrap();
        topology::disconnect(node, internet);
        let socket = Socket::new(libc::SOCK_RAW);
        let ask = |to: [u8; 4]| {
            let payload = [route_info(libc::AF_INET, 32), attribute(libc::RTA_DST, &to)].concat();
            socket.send(&request(GET_ROUTE, ONE, 5, &payload)).unwrap();
            let way = socket.read().unwrap().remove(0);
            assert_eq!(way.kind, libc::RTM_NEWROUTE);
            (way.number(libc::RTA_OIF), way.ip(libc::RTA_PREFSRC).unwrap(), way.ip(libc::RTA_GATEWAY))
        };
        let own = IpAddr::from([192, 168, 178, 7]);
        assert_eq!(ask([203, 0, 113, 9]), (3, own, None));
        let config = topology::RouterConfig {
            uplink: internet,
            uplink_addresses: Vec::new(),
            inner: vec![home],
            nat: None,
            firewall: None,
        };
        topology::add_router("box", config);
        let (_, _, gateway) = ask([203, 0, 113, 9]);
        assert!(gateway.is_some_and(|ip| ip.to_string().starts_with("192.168.178.")), "{gateway:?}");
        assert_eq!(ask([192, 168, 178, 99]), (3, own, None));
        let routes = list(&socket, GET_ROUTE, &route_info(libc::AF_INET, 0));
        assert_eq!((routes[0].payload[1], routes[0].ip(libc::RTA_GATEWAY)), (0, gateway));
        topology::disconnect(node, home);
        let payload = [route_info(libc::AF_INET, 32), attribute(libc::RTA_DST, &[203, 0, 113, 9])].concat();
        assert_eq!(refusal(&socket, &request(GET_ROUTE, ONE, 5, &payload)).0, libc::ENETUNREACH);
    });
}

#[test]
fn who_waits_is_woken() {
    common::each_seed(|| async {
        let socket = Socket::open(libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0).unwrap();
        socket.bind(0, libc::RTMGRP_LINK as u32).unwrap();
        // SAFETY: the socket owns its descriptor, and is the value's own.
        let readable = unsafe { shim_net::mirror::unix_io::AsyncFd::register(socket) }.unwrap();
        let home = topology::add_switch("home", Vec::new());
        let change = async {
            common::sleep(Duration::from_millis(50)).await;
            topology::connect(current_node(), home, Vec::new());
        };
        let listen = async {
            let mut guard = readable.readable().await.unwrap();
            assert!((50..52).contains(&(shim_runtime::time::now().0 / 1_000_000)));
            let read = guard.get_inner().read_now().unwrap();
            assert_eq!(
                (read[0].kind, read[0].text(libc::IFLA_IFNAME)),
                (libc::RTM_NEWLINK, "eth1".to_owned())
            );
            guard.clear_ready();
        };
        common::both(listen, change).await;
        // So is a thread that waits in the call.
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(10));
            topology::disconnect(current_node(), home);
        });
        let blocking = Socket::new(libc::SOCK_RAW);
        blocking.bind(0, libc::RTMGRP_LINK as u32).unwrap();
        assert_eq!(blocking.read_now().err(), Some(libc::EAGAIN));
        assert_eq!(blocking.read().unwrap()[0].kind, libc::RTM_DELLINK);
        other.join().unwrap();
    });
}
