//! Data over TCP: acknowledgements, windows, losses, Nagle, probes.

use std::time::Duration;

use super::*;
use crate::stack::options::{Name, Value};

fn set(pair: &mut Pair, end: End, id: SocketId, name: Name, value: i32) {
    pair.at(end, |stack, now| stack.set_option(id, name, Value::Int(value), now)).unwrap();
}

#[test]
fn bytes_go_both_ways() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    assert_eq!(pair.recv(Server, server, 10), Err(Errno::EAGAIN));
    assert_eq!(pair.send(Client, client, b"hello"), Ok(5));
    pair.run_millis(10);
    assert_eq!(pair.recv(Server, server, 3).unwrap(), b"hel");
    assert_eq!(pair.recv(Server, server, 10).unwrap(), b"lo");
    assert_eq!(pair.send(Server, server, b"world"), Ok(5));
    pair.run_millis(10);
    assert_eq!(pair.recv(Client, client, 10).unwrap(), b"world");
}

#[test]
fn a_dialogue_needs_two_packets_for_each_round() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    for _ in 0..3 {
        pair.send(Client, client, b"ping").unwrap();
        pair.run_millis(10);
        pair.recv(Server, server, 10).unwrap();
        pair.send(Server, server, b"pong").unwrap();
        pair.run_millis(10);
        pair.recv(Client, client, 10).unwrap();
    }
    let before = pair.log.len();
    for _ in 0..50 {
        pair.send(Client, client, b"ping").unwrap();
        pair.run_millis(10);
        assert_eq!(pair.recv(Server, server, 10).unwrap(), b"ping");
        pair.send(Server, server, b"pong").unwrap();
        pair.run_millis(10);
        assert_eq!(pair.recv(Client, client, 10).unwrap(), b"pong");
    }
    assert_eq!(pair.log.len() - before, 100);
}

#[test]
fn nagle_and_delayed_acknowledgements_stall_each_other() {
    for no_delay in [false, true] {
        let mut pair = Pair::new();
        let (client, server) = pair.connect();
        set(&mut pair, Client, client, Name::NoDelay, no_delay.into());
        set(&mut pair, Server, server, Name::QuickAck, 0);
        let start = pair.now;
        pair.send(Client, client, b"head").unwrap();
        pair.send(Client, client, b"body").unwrap();
        let mut got = Vec::new();
        while got.len() < 8 {
            pair.run_millis(1);
            got.extend(pair.recv(Server, server, 10).unwrap_or_default());
        }
        let took = (pair.now - start).as_millis();
        // One way, the delay, the acknowledgement's way, and one way again.
        assert_eq!(took, if no_delay { 10 } else { 10 + 40 + 20 });
    }
}

#[test]
fn a_large_transfer_is_intact_and_quick() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    let data = pattern(4 << 20);
    let start = pair.now;
    assert!(pair.transfer((Client, client), (Server, server), &data) == data);
    // Slow start from 14 kB doubles each 20 ms: eight rounds or so.
    assert!(pair.now - start < Duration::from_millis(400), "{:?}", pair.now - start);
}

#[test]
fn a_megabyte_survives_ten_percent_loss() {
    for seed in 0..5 {
        let mut pair = Pair::new();
        pair.rng = Stream::new(seed, "loss", 0);
        pair.stacks.iter_mut().for_each(|stack| stack.mtu = 1500);
        let (client, server) = pair.connect();
        pair.loss = 0.1;
        let data = pattern(1 << 20);
        let start = pair.now;
        assert!(pair.transfer((Client, client), (Server, server), &data) == data);
        assert!(pair.now - start < Duration::from_secs(60), "seed {seed}: {:?}", pair.now - start);
    }
}

#[test]
fn a_single_loss_is_repaired_without_waiting_for_the_timer() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    let start = pair.now;
    pair.deaf = Some(Server);
    set(&mut pair, Client, client, Name::NoDelay, 1);
    pair.send(Client, client, &[1; 100]).unwrap();
    pair.deaf = None;
    for _ in 0..4 {
        pair.send(Client, client, &[2; 100]).unwrap();
    }
    pair.run_millis(45);
    assert_eq!(pair.recv(Server, server, 1000).unwrap().len(), 500);
    assert!(pair.now - start < Duration::from_millis(60));
}

#[test]
fn a_lost_tail_is_sent_again_after_the_time_out() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    pair.deaf = Some(Server);
    let start = pair.now;
    pair.send(Client, client, b"lost").unwrap();
    pair.run_millis(1);
    pair.deaf = None;
    pair.run_millis(400);
    assert_eq!(pair.recv(Server, server, 10).unwrap(), b"lost");
    let times: Vec<u64> = pair.segments(Client, start).iter().map(|(at, _)| *at).collect();
    assert_eq!(times[0], 0);
    assert!((210..=230).contains(&times[1]), "{times:?}");
}

#[test]
fn the_timer_backs_off_and_gives_up() {
    let mut pair = Pair::new();
    let (client, _server) = pair.connect();
    pair.deaf = Some(Server);
    pair.send(Client, client, b"lost").unwrap();
    pair.run(Duration::from_secs(700));
    assert_eq!(pair.state(Client, client), Some(State::Established));
    pair.run(Duration::from_secs(400));
    assert_eq!(pair.state(Client, client), Some(State::Closed));
    assert_eq!(pair.recv(Client, client, 10), Err(Errno::ETIMEDOUT));
    assert_eq!(pair.recv(Client, client, 10), Ok(vec![]));
    assert_eq!(pair.send(Client, client, b"x"), Err(Errno::EPIPE));
}

#[test]
fn the_user_time_out_gives_up_earlier() {
    let mut pair = Pair::new();
    let (client, _server) = pair.connect();
    set(&mut pair, Client, client, Name::UserTimeout, 3000);
    pair.deaf = Some(Server);
    pair.send(Client, client, b"lost").unwrap();
    pair.run_millis(2900);
    assert_eq!(pair.state(Client, client), Some(State::Established));
    pair.run_millis(500);
    assert_eq!(pair.error(Client, client), Some(Errno::ETIMEDOUT));
}

#[test]
fn the_user_time_out_of_an_attempt_counts_from_its_first_syn() {
    // What Linux 6.18 does beside a full backlog: never before the first repetition, then at the limit.
    for (limit_ms, syns, over_ms) in [(500, 2, 1000), (1500, 2, 1500), (4000, 3, 4000), (0, 7, 127_000)] {
        let mut pair = Pair::new();
        pair.deaf = Some(Server);
        let client = pair.tcp_socket(Client);
        set(&mut pair, Client, client, Name::UserTimeout, limit_ms);
        let start = pair.now;
        assert_eq!(pair.connect_to(client, address(Server, SERVER_PORT)), Err(Errno::EINPROGRESS));
        pair.run_millis(over_ms - 1);
        assert_eq!(pair.state(Client, client), Some(State::SynSent), "limit of {limit_ms} ms");
        pair.run_millis(2);
        assert_eq!(pair.error(Client, client), Some(Errno::ETIMEDOUT), "limit of {limit_ms} ms");
        assert_eq!(pair.segments(Client, start).len(), syns, "limit of {limit_ms} ms");
    }
}

#[test]
fn the_user_time_out_does_not_hurry_the_answer_to_a_syn() {
    let mut pair = Pair::new();
    let listener = pair.listen(16);
    set(&mut pair, Server, listener, Name::UserTimeout, 100);
    pair.deaf = Some(Client);
    let start = pair.now;
    pair.begin_connect();
    pair.run_millis(2500);
    let answers: Vec<u64> = pair.segments(Server, start).iter().map(|(at, _)| at / 1000).collect();
    let syns: Vec<u64> = pair.segments(Client, start).iter().map(|(at, _)| at / 1000).collect();
    assert_eq!(syns, [0, 1]);
    // Its own repetition, and an answer to the client's.
    assert_eq!(answers, [0, 1, 1]);
}

#[test]
fn a_reader_that_sleeps_stops_the_writer_and_wakes_it_again() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    let data = vec![5; 8 << 20];
    let mut sent = 0;
    for _ in 0..200 {
        match pair.send(Client, client, &data) {
            Ok(len) => sent += len,
            Err(errno) => assert_eq!(errno, Errno::EAGAIN),
        }
        pair.run_millis(20);
    }
    assert_eq!(sent, 2 << 20, "one megabyte at each end");
    assert!(!pair.at(Client, |stack, _| stack.events(client)).unwrap().writable);
    let mut got = 0;
    for _ in 0..200 {
        got += pair.recv(Server, server, 1 << 20).map_or(0, |part| part.len());
        pair.run_millis(20);
    }
    assert_eq!(got, sent);
    assert!(pair.at(Client, |stack, _| stack.events(client)).unwrap().writable);
}

#[test]
fn a_lost_window_update_is_made_good_by_probes() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    for _ in 0..100 {
        let _ = pair.send(Client, client, &[0; 65_536]);
        pair.run_millis(20);
    }
    pair.deaf = Some(Client);
    let mut got = 0;
    while let Ok(part) = pair.recv(Server, server, 1 << 20) {
        got += part.len();
    }
    pair.run_millis(15);
    pair.deaf = None;
    pair.run(Duration::from_secs(30));
    while let Ok(part) = pair.recv(Server, server, 1 << 20) {
        got += part.len();
    }
    assert_eq!(got, 2 << 20);
}

#[test]
fn keep_alive_finds_a_dead_peer() {
    let mut pair = Pair::new();
    let (client, _server) = pair.connect();
    set(&mut pair, Client, client, Name::KeepIdle, 10);
    set(&mut pair, Client, client, Name::KeepInterval, 2);
    set(&mut pair, Client, client, Name::KeepCount, 3);
    set(&mut pair, Client, client, Name::KeepAlive, 1);
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.state(Client, client), Some(State::Established), "the peer answers");
    pair.deaf = Some(Server);
    pair.run(Duration::from_secs(20));
    assert_eq!(pair.state(Client, client), Some(State::Closed));
    assert_eq!(pair.error(Client, client), Some(Errno::ETIMEDOUT));
}

#[test]
fn peeking_leaves_the_bytes() {
    let mut pair = Pair::new();
    let (client, server) = pair.connect();
    pair.send(Client, client, b"abc").unwrap();
    pair.run_millis(10);
    let mut buffer = [0; 2];
    let len = pair.at(Server, |stack, now| stack.recv(server, &mut &mut buffer[..], true, now));
    assert_eq!((len, &buffer), (Ok(2), b"ab"));
    assert_eq!(pair.recv(Server, server, 10).unwrap(), b"abc");
}

#[test]
fn small_buffers_are_honoured() {
    let mut pair = Pair::new();
    let listener = pair.listen(5);
    set(&mut pair, Server, listener, Name::ReceiveBuffer, 4000);
    let client = pair.begin_connect();
    set(&mut pair, Client, client, Name::SendBuffer, 8000);
    pair.run_millis(50);
    let server = pair.at(Server, |stack, _| stack.accept(listener)).unwrap().0;
    let mut sent = 0;
    while let Ok(len) = pair.send(Client, client, &[1; 1000]) {
        sent += len;
        pair.run_millis(100);
    }
    assert_eq!(sent, 4000 + 8000);
    let data = pattern(100_000);
    pair.recv(Server, server, 65_536).unwrap();
    pair.run(Duration::from_secs(5));
    while pair.recv(Server, server, 65_536).is_ok() {
        pair.run(Duration::from_secs(5));
    }
    assert!(pair.transfer((Client, client), (Server, server), &data) == data);
}
