//! The two ends of a connection's life: handshakes that fail, queues, FIN, RST, `TIME_WAIT`, ports.

use std::time::Duration;

use super::*;
use crate::packet::Flags;
use crate::stack::options::{Name, Value};

fn set(pair: &mut Pair, end: End, id: SocketId, name: Name, value: Value) {
    pair.at(end, |stack, now| stack.set_option(id, name, value, now)).unwrap();
}

fn server_socket(pair: &mut Pair, reuse: Option<Name>) -> SocketId {
    let id = pair.tcp_socket(Server);
    if let Some(name) = reuse {
        set(pair, Server, id, name, Value::Int(1));
    }
    id
}

fn bind(pair: &mut Pair, id: SocketId, port: u16) -> Result<()> {
    pair.at(Server, |stack, _| stack.bind(id, &Addr::Inet(SocketAddr::from(([0, 0, 0, 0], port)))))
}

#[test]
fn a_closed_port_refuses() {
    let mut pair = Pair::new();
    let client = pair.begin_connect();
    assert_eq!(pair.connect_to(client, address(Server, SERVER_PORT)), Err(Errno::EALREADY));
    pair.run_millis(20);
    assert_eq!(pair.error(Client, client), Some(Errno::ECONNREFUSED));
    assert_eq!(pair.recv(Client, client, 1), Ok(Vec::new()));
    assert_eq!(pair.send(Client, client, b"x"), Err(Errno::EPIPE));
    // The error was taken already.
    assert_eq!(pair.connect_to(client, address(Server, SERVER_PORT)), Err(Errno::ECONNABORTED));
    // The socket may try again.
    pair.listen(1);
    assert_eq!(pair.connect_to(client, address(Server, SERVER_PORT)), Err(Errno::EINPROGRESS));
    pair.run_millis(50);
    assert_eq!(pair.state(Client, client), Some(State::Established));
    assert_eq!(pair.connect_to(client, address(Server, SERVER_PORT)), Ok(()), "as Linux: it has succeeded");
    assert_eq!(pair.connect_to(client, address(Server, SERVER_PORT)), Err(Errno::EISCONN));
}

#[test]
fn loopback_answers_within_the_call() {
    let mut pair = Pair::new();
    let client = pair.tcp_socket(Client);
    let to = SocketAddr::from(([127, 0, 0, 1], 9));
    assert_eq!(pair.connect_to(client, to), Err(Errno::EINPROGRESS));
    assert_eq!(pair.error(Client, client), Some(Errno::ECONNREFUSED));
    assert!(pair.log.is_empty());
}

#[test]
fn a_silent_peer_times_out_after_six_repetitions() {
    let mut pair = Pair::new();
    pair.deaf = Some(Server);
    let start = pair.now;
    let client = pair.begin_connect();
    pair.run(Duration::from_secs(126));
    assert_eq!(pair.state(Client, client), Some(State::SynSent));
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.error(Client, client), Some(Errno::ETIMEDOUT));
    let times: Vec<u64> = pair.segments(Client, start).iter().map(|(at, _)| at / 1000).collect();
    assert_eq!(times, [0, 1, 3, 7, 15, 31, 63]);
}

#[test]
fn a_full_backlog_drops_and_the_peer_tries_again() {
    let mut pair = Pair::new();
    let listener = pair.listen(1);
    let clients: Vec<SocketId> = (0..4).map(|_| pair.begin_connect()).collect();
    pair.run_millis(500);
    let mut accepted = 0;
    while pair.at(Server, |stack, _| stack.accept(listener)).is_ok() {
        accepted += 1;
    }
    assert_eq!(accepted, 2, "the backlog and one");
    pair.run(Duration::from_secs(10));
    while pair.at(Server, |stack, _| stack.accept(listener)).is_ok() {
        accepted += 1;
    }
    assert_eq!(accepted, 4);
    for client in clients {
        assert_eq!(pair.state(Client, client), Some(State::Established));
    }
}

#[test]
fn half_close_leaves_the_other_direction_open() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    pair.send(Client, client, b"last").unwrap();
    pair.at(Client, |stack, now| stack.shutdown(client, false, true, now)).unwrap();
    assert_eq!(pair.send(Client, client, b"x"), Err(Errno::EPIPE));
    pair.run_millis(50);
    assert_eq!(pair.recv(Server, server, 10).unwrap(), b"last");
    assert_eq!(pair.recv(Server, server, 10).unwrap(), b"");
    assert_eq!(pair.state(Server, server), Some(State::CloseWait));
    assert_eq!(pair.state(Client, client), Some(State::FinWait2));
    pair.send(Server, server, b"answer").unwrap();
    pair.run_millis(50);
    assert_eq!(pair.recv(Client, client, 10).unwrap(), b"answer");
    pair.close(Server, server);
    pair.run_millis(50);
    assert_eq!(pair.recv(Client, client, 10).unwrap(), b"");
    assert_eq!(pair.state(Client, client), Some(State::TimeWait));
    assert_eq!(pair.state(Server, server), None, "the passive end is free at once");
    pair.close(Client, client);
    pair.run(Duration::from_secs(61));
    assert_eq!(pair.state(Client, client), None);
}

#[test]
fn unread_data_makes_close_a_reset() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    pair.send(Client, client, b"unread").unwrap();
    pair.run_millis(50);
    pair.close(Server, server);
    pair.run_millis(50);
    assert_eq!(pair.state(Server, server), None);
    assert_eq!(pair.recv(Client, client, 1), Err(Errno::ECONNRESET));
    assert_eq!(pair.recv(Client, client, 1), Ok(vec![]));
    assert_eq!(pair.send(Client, client, b"x"), Err(Errno::EPIPE));
}

#[test]
fn linger_zero_is_a_reset_and_what_arrived_can_still_be_read() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    set(&mut pair, Client, client, Name::Linger, Value::Linger(Some(Duration::ZERO)));
    pair.send(Client, client, b"data").unwrap();
    pair.run_millis(50);
    pair.close(Client, client);
    pair.run_millis(50);
    assert_eq!(pair.recv(Server, server, 10).unwrap(), b"data");
    assert_eq!(pair.recv(Server, server, 10), Err(Errno::ECONNRESET));
}

#[test]
fn a_guessed_reset_is_answered_and_changes_nothing() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    pair.send(Client, client, b"data").unwrap();
    pair.run_millis(50);
    let mut guessed = pair.log.iter().rfind(|(end, ..)| *end == Client).unwrap().2.clone();
    let Body::Tcp(segment) = &mut guessed.body else { panic!("{guessed}") };
    (segment.flags, segment.seq) = (Flags::RST, segment.seq + 1000);
    segment.payload.clear();
    let start = pair.now;
    pair.at(Server, |stack, now| stack.receive(guessed, now));
    assert_eq!(pair.segments(Server, start).len(), 1, "RFC 5961, section 3.2: a challenge");
    pair.run_millis(50);
    assert_eq!(pair.state(Client, client), Some(State::Established));
    assert_eq!(pair.state(Server, server), Some(State::Established));
}

#[test]
fn a_reset_whose_data_was_lost_is_believed_when_it_is_asked_for_again() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    set(&mut pair, Client, client, Name::Linger, Value::Linger(Some(Duration::ZERO)));
    pair.deaf = Some(Server);
    pair.send(Client, client, b"data").unwrap();
    pair.deaf = None;
    pair.close(Client, client);
    pair.run_millis(29);
    assert_eq!(pair.recv(Server, server, 10), Err(Errno::EAGAIN));
    pair.run_millis(1);
    assert_eq!(pair.recv(Server, server, 10), Err(Errno::ECONNRESET));
}

#[test]
fn data_for_a_closed_socket_is_answered_by_a_reset() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    pair.close(Server, server);
    pair.run_millis(50);
    assert_eq!(pair.send(Client, client, b"first"), Ok(5), "the first write finds out nothing");
    pair.run_millis(50);
    assert_eq!(pair.send(Client, client, b"second"), Err(Errno::EPIPE));
    assert_eq!(pair.state(Server, server), None);
}

#[test]
fn written_data_arrives_although_the_socket_is_closed() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    let data = pattern(300_000);
    assert_eq!(pair.send(Client, client, &data), Ok(data.len()));
    pair.close(Client, client);
    let mut got = Vec::new();
    loop {
        pair.run_millis(5);
        match pair.recv(Server, server, 65_536) {
            Ok(part) if part.is_empty() => break,
            Ok(part) => got.extend(part),
            Err(errno) => assert_eq!(errno, Errno::EAGAIN),
        }
    }
    assert!(got == data);
}

#[test]
fn both_close_at_once() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    pair.close(Client, client);
    pair.close(Server, server);
    pair.run_millis(50);
    assert_eq!(pair.state(Client, client), Some(State::TimeWait));
    assert_eq!(pair.state(Server, server), Some(State::TimeWait));
    pair.run(Duration::from_secs(61));
    assert_eq!(pair.stacks[0].table.iter().count(), 0);
}

#[test]
fn time_wait_keeps_the_port_unless_the_option_is_set() {
    let mut pair = Pair::new();
    let listener = server_socket(&mut pair, Some(Name::ReuseAddress));
    bind(&mut pair, listener, 80).unwrap();
    pair.at(Server, |stack, _| stack.listen(listener, 5)).unwrap();
    let client = pair.begin_connect();
    pair.run_millis(50);
    let server = pair.at(Server, |stack, _| stack.accept(listener)).unwrap().0;
    pair.close(Server, server);
    pair.run_millis(50);
    pair.close(Client, client);
    pair.run_millis(50);
    pair.close(Server, listener);
    assert_eq!(pair.state(Server, server), Some(State::TimeWait));
    let plain = server_socket(&mut pair, None);
    assert_eq!(bind(&mut pair, plain, 80), Err(Errno::EADDRINUSE));
    let reusing = server_socket(&mut pair, Some(Name::ReuseAddress));
    assert_eq!(bind(&mut pair, reusing, 80), Ok(()));
    pair.close(Server, reusing);
    pair.run(Duration::from_secs(60));
    assert_eq!(bind(&mut pair, plain, 80), Ok(()));
}

#[test]
fn two_listeners_need_reuse_port() {
    let mut pair = Pair::new();
    pair.listen(5);
    let second = server_socket(&mut pair, None);
    assert_eq!(bind(&mut pair, second, 80), Err(Errno::EADDRINUSE));
    let second = server_socket(&mut pair, Some(Name::ReuseAddress));
    assert_eq!(bind(&mut pair, second, 80), Err(Errno::EADDRINUSE));
    let group: Vec<SocketId> = (0..2)
        .map(|_| {
            let id = server_socket(&mut pair, Some(Name::ReusePort));
            bind(&mut pair, id, 81).unwrap();
            pair.at(Server, |stack, _| stack.listen(id, 64)).unwrap();
            id
        })
        .collect();
    for _ in 0..40 {
        let client = pair.tcp_socket(Client);
        let _ = pair.connect_to(client, address(Server, 81));
    }
    pair.run_millis(50);
    for listener in group {
        let mut share = 0;
        while pair.at(Server, |stack, _| stack.accept(listener)).is_ok() {
            share += 1;
        }
        assert!((8..=32).contains(&share), "{share} of 40");
    }
}

#[test]
fn binding_has_its_errors() {
    let mut pair = Pair::new();
    let id = server_socket(&mut pair, None);
    let foreign = Addr::Inet(address(Client, 1));
    assert_eq!(pair.at(Server, |stack, _| stack.bind(id, &foreign)), Err(Errno::EADDRNOTAVAIL));
    assert_eq!(bind(&mut pair, id, 0), Ok(()));
    assert_eq!(bind(&mut pair, id, 0), Err(Errno::EINVAL));
    let Ok(Addr::Inet(local)) = pair.stacks[1].local_addr(id) else { panic!() };
    assert!(local.port() >= 32_768);
}

#[test]
fn a_socket_may_connect_to_itself() {
    let mut pair = Pair::new();
    let id = pair.tcp_socket(Client);
    let own = SocketAddr::from(([127, 0, 0, 1], 5000));
    pair.at(Client, |stack, _| stack.bind(id, &Addr::Inet(own))).unwrap();
    assert_eq!(pair.connect_to(id, own), Err(Errno::EINPROGRESS));
    assert_eq!(pair.state(Client, id), Some(State::Established));
    pair.send(Client, id, b"me").unwrap();
    assert_eq!(pair.recv(Client, id, 10).unwrap(), b"me");
}

#[test]
fn a_dual_stack_listener_takes_both_families() {
    let mut pair = Pair::new();
    let listener = pair.at(Server, |stack, _| stack.socket(Domain::Inet6, Kind::Stream)).unwrap();
    pair.at(Server, |stack, _| stack.bind(listener, &Addr::Inet("[::]:80".parse().unwrap()))).unwrap();
    pair.at(Server, |stack, _| stack.listen(listener, 5)).unwrap();
    pair.begin_connect();
    pair.run_millis(50);
    let (server, from) = pair.at(Server, |stack, _| stack.accept(listener)).unwrap();
    let Addr::Inet(from) = from else { panic!() };
    assert!(from.to_string().starts_with("[::ffff:10.0.0.1]:"), "{from}");
    assert_eq!(
        pair.stacks[1].local_addr(server).unwrap(),
        Addr::Inet("[::ffff:10.0.0.2]:80".parse().unwrap())
    );
}

#[test]
fn closing_a_listener_resets_what_nobody_accepted() {
    let mut pair = Pair::new();
    let listener = pair.listen(5);
    let client = pair.begin_connect();
    pair.run_millis(50);
    pair.close(Server, listener);
    pair.run_millis(50);
    assert_eq!(pair.error(Client, client), Some(Errno::ECONNRESET));
    assert_eq!(pair.stacks[1].table.iter().count(), 0);
}

#[test]
fn a_dead_process_says_goodbye_and_a_dead_machine_does_not() {
    let mut pair = Pair::new();
    let (client, _server) = pair.connect();
    pair.at(Server, |stack, now| stack.close_all(now));
    pair.run_millis(50);
    assert_eq!(pair.recv(Client, client, 1), Ok(vec![]));

    let mut pair = Pair::new();
    let (client, _server) = pair.connect();
    pair.at(Server, |stack, _| stack.power_off());
    pair.send(Client, client, b"anybody there").unwrap();
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.recv(Client, client, 1), Err(Errno::EAGAIN));
    pair.stacks[1].life = crate::stack::Life::Running;
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.recv(Client, client, 1), Err(Errno::ECONNRESET), "the new kernel knows nothing of it");
}

#[test]
fn a_lost_handshake_acknowledgement_is_made_good() {
    let mut pair = Pair::new();
    let listener = pair.listen(5);
    let client = pair.begin_connect();
    pair.run_millis(15);
    pair.deaf = Some(Server);
    pair.run_millis(10);
    assert_eq!(pair.state(Client, client), Some(State::Established));
    pair.deaf = None;
    pair.run(Duration::from_secs(3));
    assert!(pair.at(Server, |stack, _| stack.accept(listener)).is_ok());
}

#[test]
fn a_syn_takes_the_place_of_time_wait() {
    let mut pair = Pair::new();
    let listener = pair.listen(5);
    for _ in 0..2 {
        let client = pair.tcp_socket(Client);
        pair.at(Client, |stack, now| {
            stack.set_option(client, Name::ReuseAddress, Value::Int(1), now).unwrap();
            stack.bind(client, &Addr::Inet(address(Client, 4000))).unwrap();
        });
        assert_eq!(pair.connect_to(client, address(Server, SERVER_PORT)), Err(Errno::EINPROGRESS));
        pair.run_millis(50);
        let server = pair.at(Server, |stack, _| stack.accept(listener)).unwrap().0;
        pair.close(Server, server);
        pair.run_millis(50);
        pair.close(Client, client);
        pair.run_millis(50);
        assert_eq!(pair.state(Client, client), None);
        assert_eq!(pair.state(Server, server), Some(State::TimeWait));
    }
    let resets = pair.log.iter().filter(|(_, _, packet)| match &packet.body {
        Body::Tcp(segment) => segment.flags.has(Flags::RST),
        _ => false,
    });
    assert_eq!(resets.count(), 0);
}
