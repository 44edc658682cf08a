//! `getaddrinfo` inside a simulation and outside, by way of std.
//!
//! Owns names, services and hints. Must not know the table of names. Invariant: what `getaddrinfo` answers from
//! its arguments alone is the same in both worlds.
#![cfg(sim)]

mod common;

use std::ffi::{CStr, CString};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};

use common::simulate;
use shim_net::control;
use shim_runtime::node::{NodeMain, spawn_node};

fn found(name: &str) -> Vec<SocketAddr> {
    (name, 80).to_socket_addrs().unwrap().collect()
}

#[test]
fn names_are_the_simulations() {
    simulate(|| {
        let server = spawn_node("server.example", NodeMain::Nothing);
        let own: Vec<SocketAddr> =
            control::addresses(server).into_iter().map(|ip| SocketAddr::new(ip, 80)).collect();
        assert_eq!(found("server.example"), own);
        assert_eq!(found("SERVER.example."), own);
        assert_eq!(found("localhost")[0], "127.0.0.1:80".parse().unwrap());
        let unknown = ("nobody.example", 80).to_socket_addrs().unwrap_err();
        assert_eq!(unknown.to_string(), "failed to lookup address information: Name or service not known");
        let listener = TcpListener::bind("localhost:0").unwrap();
        TcpStream::connect(("localhost", listener.local_addr().unwrap().port())).unwrap();
    });
}

#[test]
fn outside_the_names_are_the_systems() {
    assert!(found("localhost").iter().all(|address| address.ip().is_loopback()));
    assert!(found("localhost").len() <= 2);
}

/// Of each entry family, type, protocol, the length of the address, and the canonical name; or the error.
type Answers = Result<Vec<(i32, i32, i32, usize, Option<String>)>, i32>;

/// What `getaddrinfo` answers.
fn ask(host: Option<&str>, service: Option<&str>, (flags, family, kind): (i32, i32, i32)) -> Answers {
    let c = |text: Option<&str>| text.map(|text| CString::new(text).unwrap());
    let (host, service) = (c(host), c(service));
    let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    // SAFETY: the strings live until the call returns; the list is freed once.
    unsafe {
        let mut hints: libc::addrinfo = std::mem::zeroed();
        (hints.ai_flags, hints.ai_family, hints.ai_socktype) = (flags, family, kind);
        let mut list = std::ptr::null_mut();
        let result = libc::getaddrinfo(pointer(&host), pointer(&service), &raw const hints, &raw mut list);
        if result != 0 {
            return Err(result);
        }
        let (mut entries, mut next) = (Vec::new(), list);
        while let Some(info) = next.as_ref() {
            let name = (!info.ai_canonname.is_null())
                .then(|| CStr::from_ptr(info.ai_canonname).to_string_lossy().into_owned());
            assert_eq!(i32::from((*info.ai_addr).sa_family), info.ai_family);
            entries.push((
                info.ai_family,
                info.ai_socktype,
                info.ai_protocol,
                info.ai_addrlen as usize,
                name,
            ));
            next = info.ai_next;
        }
        libc::freeaddrinfo(list);
        Ok(entries)
    }
}

/// Questions about addresses that are spelled out, which both worlds answer alike.
fn spelled_out() -> Vec<Answers> {
    use libc::{AF_INET, AF_INET6, AF_UNSPEC, AI_CANONNAME, AI_NUMERICHOST, AI_NUMERICSERV, AI_PASSIVE};
    use libc::{SOCK_DGRAM, SOCK_STREAM};
    vec![
        ask(Some("1.2.3.4"), Some("80"), (0, AF_UNSPEC, 0)),
        ask(Some("1.2.3.4"), None, (0, AF_INET, SOCK_STREAM)),
        ask(Some("::1"), Some("53"), (AI_NUMERICHOST, AF_UNSPEC, SOCK_DGRAM)),
        ask(Some("1.2.3.4"), None, (0, AF_INET6, SOCK_STREAM)),
        ask(Some("name"), None, (AI_NUMERICHOST, AF_UNSPEC, SOCK_STREAM)),
        ask(Some("1.2.3.4"), Some("http"), (AI_NUMERICSERV, AF_UNSPEC, SOCK_STREAM)),
        ask(None, Some("80"), (AI_PASSIVE, AF_INET, SOCK_STREAM)),
        ask(None, Some("80"), (0, AF_INET6, SOCK_STREAM)),
        ask(None, None, (0, AF_UNSPEC, 0)),
        ask(Some("1.2.3.4"), None, (0, 99, 0)),
        ask(Some("1.2.3.4"), None, (0, AF_UNSPEC, 99)),
        ask(Some("1.2.3.4"), None, (AI_CANONNAME, AF_INET, SOCK_STREAM)),
    ]
}

#[test]
fn addresses_that_are_spelled_out_are_answered_alike() {
    let (outside, inside) = (spelled_out(), simulate(spelled_out));
    for (place, (outside, inside)) in outside.iter().zip(&inside).enumerate() {
        assert_eq!(outside, inside, "question {place}");
    }
}

#[test]
fn services_have_names() {
    simulate(|| {
        let found = ask(Some("127.0.0.1"), Some("http"), (0, libc::AF_UNSPEC, libc::SOCK_STREAM)).unwrap();
        assert_eq!(found.len(), 1);
        let unknown = ask(Some("127.0.0.1"), Some("no-such"), (0, libc::AF_UNSPEC, libc::SOCK_STREAM));
        assert_eq!(unknown, Err(libc::EAI_SERVICE));
    });
}
