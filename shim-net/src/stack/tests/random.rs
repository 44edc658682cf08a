//! Random lives of connections: whatever the wire does, streams arrive whole or end in an error.

use std::time::Duration;

use super::*;
use crate::stack::options::{Name, Value};

/// Two ends write and read pieces of random sizes over a wire that loses and reorders.
fn live(seed: u64) {
    let mut pair = Pair::new();
    pair.rng = Stream::new(seed, "wire", 0);
    let mut rng = Stream::new(seed, "ends", 0);
    let (client, server) = pair.connect();
    pair.loss = [0.0, 0.02, 0.2][rng.below(3) as usize];
    pair.jitter = Duration::from_millis([0, 0, 30][rng.below(3) as usize]);
    let ends = [(Client, client), (Server, server)];
    for (end, id) in ends {
        if rng.chance(0.5) {
            pair.at(end, |stack, now| stack.set_option(id, Name::NoDelay, Value::Int(1), now)).unwrap();
        }
        if rng.chance(0.3) {
            let size = 1000 + rng.below(20_000) as i32;
            pair.at(end, |stack, now| stack.set_option(id, Name::SendBuffer, Value::Int(size), now)).unwrap();
        }
    }
    let total = [1 + rng.below(100_000) as usize, 1 + rng.below(100_000) as usize];
    let data = [pattern(total[0]), pattern(total[1])];
    let (mut sent, mut got, mut ended) = ([0; 2], [0; 2], [false; 2]);
    let start = pair.now;
    while !(ended[0] && ended[1]) {
        for (place, (end, id)) in ends.into_iter().enumerate() {
            if sent[place] < total[place] && rng.chance(0.5) {
                let piece = (1 + rng.below(9000) as usize).min(total[place] - sent[place]);
                match pair.send(end, id, &data[place][sent[place]..sent[place] + piece]) {
                    Ok(len) => sent[place] += len,
                    Err(errno) => assert_eq!(errno, Errno::EAGAIN, "seed {seed}"),
                }
                if sent[place] == total[place] {
                    pair.at(end, |stack, now| stack.shutdown(id, false, true, now)).unwrap();
                }
            }
            if rng.chance(0.5) {
                let other = 1 - place;
                match pair.recv(end, id, 1 + rng.below(20_000) as usize) {
                    Ok(part) if part.is_empty() => ended[place] = true,
                    Ok(part) => {
                        assert!(data[other][got[place]..].starts_with(&part), "seed {seed}");
                        got[place] += part.len();
                    }
                    Err(errno) => assert_eq!(errno, Errno::EAGAIN, "seed {seed}"),
                }
            }
        }
        let pause = rng.below(5).into();
        pair.run_millis(pause);
        assert!(pair.now - start < Duration::from_secs(3000), "seed {seed} is stuck: {got:?} of {total:?}");
    }
    assert_eq!(got, [total[1], total[0]], "seed {seed}");
    pair.close(Client, client);
    pair.close(Server, server);
    pair.loss = 0.0;
    pair.run(Duration::from_secs(600));
    for stack in &pair.stacks {
        let left =
            stack.table.iter().filter(|socket| socket.core.port != SERVER_PORT || socket.core.detached);
        assert_eq!(left.count(), 0, "seed {seed}: {}", crate::netstat::table(stack));
        assert!(stack.flows.is_empty(), "seed {seed}");
    }
}

#[test]
fn streams_arrive_whole() {
    (0..300).for_each(live);
}
