//! Unix sockets.

use super::*;
use crate::stack::socket::UnixAddr;

fn path(text: &str) -> UnixAddr {
    UnixAddr::Path(text.as_bytes().to_vec())
}

fn listener(pair: &mut Pair, name: &UnixAddr, backlog: u32) -> SocketId {
    pair.at(Client, |stack, now| {
        let id = stack.socket(Domain::Unix, Kind::Stream).unwrap();
        stack.bind(id, &Addr::Unix(name.clone())).unwrap();
        stack.listen(id, backlog).unwrap();
        assert_eq!(stack.connect(id, &Addr::Unix(name.clone()), now), Err(Errno::EINVAL));
        id
    })
}

fn connect(pair: &mut Pair, name: &UnixAddr) -> Result<SocketId> {
    pair.at(Client, |stack, now| {
        let id = stack.socket(Domain::Unix, Kind::Stream).unwrap();
        stack.connect(id, &Addr::Unix(name.clone()), now).map(|()| id)
    })
}

#[test]
fn streams_connect_talk_and_end() {
    let mut pair = Pair::new();
    let name = path("/run/a.sock");
    assert_eq!(connect(&mut pair, &name), Err(Errno::ENOENT));
    let listener = listener(&mut pair, &name, 1);
    let client = connect(&mut pair, &name).unwrap();
    pair.send(Client, client, b"early").unwrap();
    let server = pair.at(Client, |stack, _| stack.accept(listener)).unwrap().0;
    assert_eq!(pair.recv(Client, server, 10).unwrap(), b"early");
    assert_eq!(pair.recv(Client, server, 10), Err(Errno::EAGAIN));
    pair.send(Client, server, b"bye").unwrap();
    pair.close(Client, server);
    assert_eq!(pair.recv(Client, client, 10).unwrap(), b"bye");
    assert_eq!(pair.recv(Client, client, 10).unwrap(), b"");
    assert_eq!(pair.send(Client, client, b"x"), Err(Errno::EPIPE));
    pair.close(Client, listener);
    assert_eq!(connect(&mut pair, &name), Err(Errno::ECONNREFUSED));
}

#[test]
fn a_full_backlog_and_unread_data() {
    let mut pair = Pair::new();
    let name = UnixAddr::Abstract(b"x".to_vec());
    let listener = listener(&mut pair, &name, 1);
    let first = connect(&mut pair, &name).unwrap();
    connect(&mut pair, &name).unwrap();
    assert_eq!(connect(&mut pair, &name), Err(Errno::EAGAIN));
    pair.send(Client, first, b"unread").unwrap();
    pair.close(Client, listener);
    assert_eq!(pair.recv(Client, first, 1), Err(Errno::ECONNRESET));
    assert_eq!(pair.recv(Client, first, 1), Ok(vec![]));
    assert_eq!(connect(&mut pair, &name), Err(Errno::ECONNREFUSED));
}

#[test]
fn back_pressure_and_pairs() {
    let mut pair = Pair::new();
    let (a, b) = pair.at(Client, |stack, _| stack.socketpair(Kind::Stream)).unwrap();
    let mut sent = 0;
    while let Ok(len) = pair.send(Client, a, &[1; 50_000]) {
        sent += len;
    }
    assert_eq!(sent, 212_992);
    assert!(!pair.stacks[0].events(a).unwrap().writable);
    while pair.recv(Client, b, 65_536).is_ok() {}
    assert!(pair.stacks[0].events(a).unwrap().writable);
}

#[test]
fn datagrams_find_their_names() {
    let mut pair = Pair::new();
    let name = path("/run/d.sock");
    pair.at(Client, |stack, now| {
        let server = stack.socket(Domain::Unix, Kind::Datagram).unwrap();
        stack.bind(server, &Addr::Unix(name.clone())).unwrap();
        let client = stack.socket(Domain::Unix, Kind::Datagram).unwrap();
        stack.bind(client, &Addr::Unix(path("/run/c.sock"))).unwrap();
        let to = Addr::Unix(name.clone());
        let send = |stack: &mut Stack| {
            stack.send_to(client, &[IoSlice::new(b"hi")], Some(&to), SendExtra::default(), now)
        };
        for _ in 0..11 {
            assert_eq!(send(stack), Ok(2));
        }
        assert_eq!(send(stack), Err(Errno::EAGAIN));
        let mut buffer = [0; 9];
        let received = stack.recv_from(server, &mut &mut buffer[..], false, now).unwrap();
        assert_eq!(received.from, Some(Addr::Unix(path("/run/c.sock"))));
        assert_eq!(send(stack), Ok(2));
    });
}
