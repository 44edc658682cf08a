//! Datagrams.

use bytes::Bytes;

use super::*;
use crate::stack::options::{Name, Value};

fn socket(pair: &mut Pair, end: End, port: u16) -> SocketId {
    pair.at(end, |stack, _| {
        let id = stack.socket(Domain::Inet, Kind::Datagram).unwrap();
        stack.bind(id, &Addr::Inet(SocketAddr::from(([0, 0, 0, 0], port)))).unwrap();
        id
    })
}

fn send_to(pair: &mut Pair, id: SocketId, data: &[u8], to: SocketAddr) -> Result<usize> {
    send_extra(pair, id, data, to, SendExtra::default())
}

fn send_extra(pair: &mut Pair, id: SocketId, data: &[u8], to: SocketAddr, extra: SendExtra) -> Result<usize> {
    let to = Addr::Inet(to);
    pair.at(Client, |stack, now| stack.send_to(id, &[IoSlice::new(data)], Some(&to), extra, now))
}

fn recv(pair: &mut Pair, end: End, id: SocketId, limit: usize) -> Result<(Vec<u8>, usize)> {
    let mut buffer = vec![0; limit];
    let received = pair.at(end, |stack, now| stack.recv_from(id, &mut &mut buffer[..], false, now))?;
    buffer.truncate(received.len);
    Ok((buffer, received.full_len))
}

#[test]
fn datagrams_keep_their_bounds_and_are_cut() {
    let mut pair = Pair::new();
    let (client, server) = (socket(&mut pair, Client, 0), socket(&mut pair, Server, 53));
    let to = address(Server, 53);
    for data in [&b"first"[..], b"", b"third"] {
        assert_eq!(send_to(&mut pair, client, data, to), Ok(data.len()));
    }
    assert_eq!(recv(&mut pair, Server, server, 10), Err(Errno::EAGAIN));
    pair.run_millis(20);
    assert_eq!(recv(&mut pair, Server, server, 10), Ok((b"first".to_vec(), 5)));
    assert_eq!(recv(&mut pair, Server, server, 10), Ok((vec![], 0)));
    assert_eq!(recv(&mut pair, Server, server, 2), Ok((b"th".to_vec(), 5)));
    assert_eq!(recv(&mut pair, Server, server, 10), Err(Errno::EAGAIN));
}

#[test]
fn a_connected_socket_hears_its_peer_only_and_learns_of_refusal() {
    let mut pair = Pair::new();
    let client = socket(&mut pair, Client, 0);
    let to = address(Server, 53);
    pair.at(Client, |stack, now| stack.connect(client, &Addr::Inet(to), now)).unwrap();
    pair.send(Client, client, b"x").unwrap();
    pair.run_millis(20);
    assert_eq!(pair.send(Client, client, b"x"), Err(Errno::ECONNREFUSED));
    assert_eq!(pair.send(Client, client, b"x"), Ok(1), "an error is told once");
    let Ok(Addr::Inet(local)) = pair.stacks[0].local_addr(client) else { panic!() };
    assert_eq!(local.ip(), address(Client, 0).ip());
    let stranger = Packet {
        source: address(Server, 99),
        destination: local,
        ecn: 0,
        dont_fragment: false,
        body: Body::Udp(Bytes::from_static(b"?")),
    };
    pair.at(Client, |stack, now| stack.receive(Box::new(stranger), now));
    assert_eq!(recv(&mut pair, Client, client, 10).map(|_| ()), Err(Errno::EAGAIN));
}

#[test]
fn batches_are_cut_and_marked() {
    let mut pair = Pair::new();
    let (client, server) = (socket(&mut pair, Client, 0), socket(&mut pair, Server, 53));
    let extra = SendExtra { segment_size: Some(1000), ecn: Some(2), source: None };
    assert_eq!(send_extra(&mut pair, client, &[7; 2500], address(Server, 53), extra), Ok(2500));
    pair.run_millis(20);
    let mut buffer = [0; 2000];
    for expected in [1000, 1000, 500] {
        let received =
            pair.at(Server, |stack, now| stack.recv_from(server, &mut &mut buffer[..], false, now));
        let received = received.unwrap();
        assert_eq!((received.len, received.ecn), (expected, 2));
        assert_eq!(received.to, Some(address(Server, 0).ip()));
    }
}

#[test]
fn the_errors_of_sending() {
    let mut pair = Pair::new();
    let client = socket(&mut pair, Client, 0);
    let to = address(Server, 53);
    assert_eq!(pair.send(Client, client, b"x"), Err(Errno::EDESTADDRREQ));
    assert_eq!(send_to(&mut pair, client, &[0; 65_508], to), Err(Errno::EMSGSIZE));
    assert_eq!(send_to(&mut pair, client, &[0; 65_507], to), Ok(65_507));
    let everybody = SocketAddr::from(([255, 255, 255, 255], 53));
    assert_eq!(send_to(&mut pair, client, b"x", everybody), Err(Errno::EACCES));
    let option = |stack: &mut Stack, name, value, now| stack.set_option(client, name, Value::Int(value), now);
    pair.at(Client, |stack, now| option(stack, Name::Broadcast, 1, now)).unwrap();
    assert_eq!(send_to(&mut pair, client, b"x", everybody), Ok(1));
    pair.at(Client, |stack, now| option(stack, Name::MtuDiscover, libc::IP_PMTUDISC_DO, now)).unwrap();
    assert_eq!(send_to(&mut pair, client, &[0; 1473], to), Err(Errno::EMSGSIZE));
    assert_eq!(send_to(&mut pair, client, &[0; 1472], to), Ok(1472));
}

#[test]
fn a_full_buffer_drops() {
    let mut pair = Pair::new();
    let (client, server) = (socket(&mut pair, Client, 0), socket(&mut pair, Server, 53));
    for _ in 0..300 {
        send_to(&mut pair, client, &[0; 1000], address(Server, 53)).unwrap();
    }
    pair.run_millis(20);
    let mut got = 0;
    while recv(&mut pair, Server, server, 2000).is_ok() {
        got += 1;
    }
    assert_eq!(got, 212_992 / 1256);
    assert_eq!(pair.stacks[1].overflows, 300 - got as u64);
}

#[test]
fn loopback_is_immediate() {
    let mut pair = Pair::new();
    let (a, b) = (socket(&mut pair, Client, 0), socket(&mut pair, Client, 7));
    send_to(&mut pair, a, b"here", SocketAddr::from(([127, 0, 0, 1], 7))).unwrap();
    assert_eq!(recv(&mut pair, Client, b, 10), Ok((b"here".to_vec(), 4)));
}

#[test]
fn options_of_another_family_are_refused() {
    let mut pair = Pair::new();
    let udp = socket(&mut pair, Client, 0);
    let tcp = pair.tcp_socket(Client);
    pair.at(Client, |stack, now| {
        assert_eq!(stack.set_option(udp, Name::NoDelay, Value::Int(1), now), Err(Errno::ENOPROTOOPT));
        assert_eq!(stack.set_option(udp, Name::OnlyV6, Value::Int(1), now), Err(Errno::ENOPROTOOPT));
        assert_eq!(stack.set_option(tcp, Name::UdpSegment, Value::Int(1), now), Err(Errno::ENOPROTOOPT));
        assert_eq!(stack.option(tcp, Name::Type, SimTime::ZERO), Ok(Value::Int(libc::SOCK_STREAM)));
        assert_eq!(stack.option(tcp, Name::AcceptsConnections, SimTime::ZERO), Ok(Value::Int(0)));
    });
}
