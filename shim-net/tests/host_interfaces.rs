//! `getifaddrs` and the names of interfaces, inside a simulation and outside.
//!
//! Owns libc's lists. Must not know topology. Invariant: what holds for the system's list holds for a node's.
#![cfg(sim)]

mod common;

use std::ffi::{CStr, CString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::simulate;
use shim_net::control;
use shim_runtime::node::{NodeMain, spawn_node};

/// One entry: name, family, address, netmask, and the number that a link's entry has.
type Entry = (String, i32, Option<IpAddr>, Option<IpAddr>, Option<u32>);

/// # Safety
/// `address` is null or an address of its family.
unsafe fn ip(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller vouches for it.
    unsafe {
        match i32::from(address.as_ref()?.sa_family) {
            libc::AF_INET => {
                let bits = (*address.cast::<libc::sockaddr_in>()).sin_addr.s_addr;
                Some(Ipv4Addr::from(bits.to_ne_bytes()).into())
            }
            libc::AF_INET6 => {
                Some(Ipv6Addr::from((*address.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    // SAFETY: the list is read before it is freed, once.
    unsafe {
        let mut list = std::ptr::null_mut();
        assert_eq!(libc::getifaddrs(&mut list), 0);
        let mut next = list.cast_const();
        while let Some(entry) = next.as_ref() {
            let name = CStr::from_ptr(entry.ifa_name).to_str().unwrap().to_owned();
            let family = entry.ifa_addr.as_ref().map_or(0, |address| i32::from(address.sa_family));
            let number = (family == libc::AF_PACKET)
                .then(|| (*entry.ifa_addr.cast::<libc::sockaddr_ll>()).sll_ifindex as u32);
            all.push((name, family, ip(entry.ifa_addr), ip(entry.ifa_netmask), number));
            next = entry.ifa_next;
        }
        libc::freeifaddrs(list);
    }
    all
}

fn names() -> Vec<(u32, String)> {
    let mut all = Vec::new();
    // SAFETY: the list ends with a zero, and is freed once.
    unsafe {
        let list = libc::if_nameindex();
        assert!(!list.is_null());
        for at in 0.. {
            let entry = *list.add(at);
            if entry.if_index == 0 {
                break;
            }
            all.push((entry.if_index, CStr::from_ptr(entry.if_name).to_str().unwrap().to_owned()));
        }
        libc::if_freenameindex(list);
    }
    all
}

/// What holds on Linux.
fn look() {
    let all = entries();
    assert!(all.contains(&(
        "lo".to_owned(),
        libc::AF_INET,
        Some(Ipv4Addr::LOCALHOST.into()),
        Some(Ipv4Addr::new(255, 0, 0, 0).into()),
        None
    )));
    let place =
        |family: i32| [libc::AF_PACKET, libc::AF_INET, libc::AF_INET6].iter().position(|f| *f == family);
    assert!(all.is_sorted_by_key(|entry| place(entry.1)), "links first, then IPv4, then IPv6: {all:?}");
    for (number, name) in names() {
        assert!(all.iter().any(|entry| entry.0 == name && entry.4 == Some(number)), "{name}: {all:?}");
        let text = CString::new(name.as_str()).unwrap();
        let mut room = [0; libc::IF_NAMESIZE];
        // SAFETY: the string ends with a zero, and the room is as large as it must be.
        unsafe {
            assert_eq!(libc::if_nametoindex(text.as_ptr()), number);
            assert_eq!(libc::if_indextoname(number, room.as_mut_ptr()), room.as_mut_ptr());
            assert_eq!(CStr::from_ptr(room.as_ptr()).to_str(), Ok(name.as_str()));
        }
    }
    let mut room = [0; libc::IF_NAMESIZE];
    // SAFETY: as above.
    unsafe {
        assert_eq!(libc::if_nametoindex(c"no-such".as_ptr()), 0);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ENODEV));
        assert!(libc::if_indextoname(4_000_000, room.as_mut_ptr()).is_null());
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ENXIO));
    }
}

#[test]
fn lists_have_linux_form() {
    look();
    simulate(look);
}

#[test]
fn a_node_has_its_own_addresses_and_no_others() {
    let (own, found) = simulate(|| {
        let other = spawn_node("other", NodeMain::Nothing);
        let here = control::addresses(shim_runtime::node::current_node());
        assert_ne!(here, control::addresses(other));
        (here, entries())
    });
    let of =
        |name: &str| -> Vec<IpAddr> { found.iter().filter(|e| e.0 == name).filter_map(|e| e.2).collect() };
    assert_eq!(of("eth0"), own);
    assert_eq!(of("lo"), [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]);
    let links: Vec<_> = found.iter().filter_map(|entry| Some((entry.0.as_str(), entry.4?))).collect();
    assert_eq!(links, [("lo", 1), ("eth0", 2)]);
    let mask = found.iter().find(|entry| entry.2 == Some(own[0])).and_then(|entry| entry.3);
    assert_eq!(mask, Some(Ipv4Addr::new(255, 255, 0, 0).into()));
}
