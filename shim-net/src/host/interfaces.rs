//! `getifaddrs` and the names of interfaces: a node's own, not the machine's.
//!
//! Owns libc's lists of them, whose entries point to each other. Must not know where a node is plugged in. Invariant:
//! a list that was made here is freed here, once; every other one is libc's.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use libc::{c_char, c_int, c_uint, c_void, if_nameindex as NameIndex, ifaddrs, sockaddr};
use shim_runtime::host::next::Next;
use shim_runtime::host::raw;
use shim_runtime::runtime::is_reachable;

use super::{address, fail, number};
use crate::stack::routes::Subnet;
use crate::sys::Addr;
use crate::sys::interfaces::{NetworkInterface, interfaces};

const LOWER_UP: c_int = 0x1_0000;
const UP: c_int = libc::IFF_UP | libc::IFF_RUNNING | LOWER_UP;
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

/// Room for any address, as aligned as the largest.
type Room = [u64; size_of::<libc::sockaddr_storage>() / 8];

/// One entry of a list. The first field is what the caller sees; the others are what it points to.
#[repr(C)]
struct Entry {
    info: ifaddrs,
    address: Room,
    netmask: Room,
    broadcast: Room,
    name: CString,
}

/// What was given away, by the address of its beginning.
enum Given {
    Addresses(#[expect(dead_code, reason = "it lives until it is freed")] Vec<Entry>),
    Names(
        #[expect(dead_code, reason = "as above")] Vec<NameIndex>,
        #[expect(dead_code, reason = "as above")] Vec<CString>,
    ),
}

// SAFETY: the pointers lead to what is kept beside them, which does not move; here they are only dropped, which follows none.
unsafe impl Send for Given {}

static GIVEN: Mutex<BTreeMap<usize, Given>> = Mutex::new(BTreeMap::new());

fn give(begin: usize, given: Given) {
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(begin, given);
}

fn take(begin: usize) -> Option<Given> {
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&begin)
}

fn put(room: &mut Room, bytes: &[u8]) -> *mut sockaddr {
    let len = bytes.len().min(size_of::<Room>());
    // SAFETY: `room` has as many bytes.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), room.as_mut_ptr().cast(), len) };
    room.as_mut_ptr().cast()
}

fn put_ip(room: &mut Room, ip: IpAddr) -> *mut sockaddr {
    put(room, address::encode(&Addr::Inet(SocketAddr::new(ip, 0))).bytes())
}

/// The entry of an interface, without addresses.
fn entry(interface: &NetworkInterface) -> Entry {
    let kind =
        if interface.is_loopback() { libc::IFF_LOOPBACK } else { libc::IFF_BROADCAST | libc::IFF_MULTICAST };
    let info = ifaddrs {
        ifa_next: std::ptr::null_mut(),
        ifa_name: std::ptr::null_mut(),
        ifa_flags: (UP | kind) as c_uint,
        ifa_addr: std::ptr::null_mut(),
        ifa_netmask: std::ptr::null_mut(),
        ifa_ifu: std::ptr::null_mut(),
        ifa_data: std::ptr::null_mut(),
    };
    let empty = Room::default();
    let name = CString::new(interface.name.as_str()).unwrap_or_default();
    Entry { info, address: empty, netmask: empty, broadcast: empty, name }
}

/// The entry of the interface itself, `AF_PACKET` (packet(7)).
fn link_bytes(interface: &NetworkInterface, hardware: [u8; 6]) -> Vec<u8> {
    let kind = if interface.is_loopback() { ARPHRD_LOOPBACK } else { ARPHRD_ETHER };
    let mut bytes = Vec::with_capacity(20);
    bytes.extend((libc::AF_PACKET as u16).to_ne_bytes());
    bytes.extend(0_u16.to_ne_bytes());
    bytes.extend(interface.number.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0, hardware.len() as u8]);
    bytes.extend(hardware);
    bytes.extend([0; 2]);
    bytes
}

fn mask(subnet: Subnet) -> IpAddr {
    let len = u32::from(subnet.prefix_len);
    match subnet.ip {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - len.min(32)).unwrap_or(0)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(u128::MAX.checked_shl(128 - len.min(128)).unwrap_or(0)).into(),
    }
}

/// All entries in glibc's order: the interfaces, then their IPv4 addresses, then those of IPv6; and where they begin.
fn entries(interfaces: &[NetworkInterface]) -> (Vec<Entry>, *mut ifaddrs) {
    let mut sources: Vec<(&NetworkInterface, Option<Subnet>)> =
        interfaces.iter().map(|interface| (interface, None)).collect();
    for is_v4 in [true, false] {
        for interface in interfaces {
            let of_family = interface.addresses.iter().filter(|address| address.ip.is_ipv4() == is_v4);
            sources.extend(of_family.map(|address| (interface, Some(*address))));
        }
    }
    // Each is where it stays before anything points into it.
    let mut entries: Vec<Entry> = sources.iter().map(|(interface, _)| entry(interface)).collect();
    let begin = entries.as_mut_ptr();
    for (at, (interface, subnet)) in sources.iter().enumerate() {
        // SAFETY: there is an entry for each source; no reference to another one is alive.
        let entry = unsafe { &mut *begin.add(at) };
        fill(entry, interface, *subnet);
        if at + 1 < sources.len() {
            // SAFETY: as above; this makes no reference.
            entry.info.ifa_next = unsafe { &raw mut (*begin.add(at + 1)).info };
        }
    }
    (entries, begin.cast())
}

/// What an entry points to within itself.
fn fill(entry: &mut Entry, interface: &NetworkInterface, subnet: Option<Subnet>) {
    entry.info.ifa_name = entry.name.as_ptr().cast_mut();
    let Some(subnet) = subnet else {
        entry.info.ifa_addr = put(&mut entry.address, &link_bytes(interface, interface.hardware));
        let everybody = if interface.is_loopback() { [0; 6] } else { [0xff; 6] };
        entry.info.ifa_ifu = put(&mut entry.broadcast, &link_bytes(interface, everybody));
        return;
    };
    entry.info.ifa_addr = put_ip(&mut entry.address, subnet.ip);
    entry.info.ifa_netmask = put_ip(&mut entry.netmask, mask(subnet));
    if let (IpAddr::V4(ip), IpAddr::V4(mask)) = (subnet.ip, mask(subnet)) {
        let far = if interface.is_loopback() { ip } else { ip | !mask };
        entry.info.ifa_ifu = put_ip(&mut entry.broadcast, far.into());
    }
}

/// `getifaddrs(3)`.
///
/// # Safety
/// `out` must be valid to write.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getifaddrs(out: *mut *mut ifaddrs) -> c_int {
    static NEXT: Next = Next::new(c"getifaddrs");
    if !is_reachable() {
        // SAFETY: libc's symbol has this type, and the argument is the caller's own.
        return unsafe {
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut *mut ifaddrs) -> c_int>(
                NEXT.address(),
            )(out)
        };
    }
    let (entries, begin) = match interfaces() {
        Ok(found) => entries(&found),
        Err(error) => return fail(number(&error)) as c_int,
    };
    give(begin as usize, Given::Addresses(entries));
    // SAFETY: the caller vouches for `out`.
    unsafe { *out = begin };
    0
}

/// `freeifaddrs(3)`.
///
/// # Safety
/// `list` must have come from [`getifaddrs`] and not have been freed.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn freeifaddrs(list: *mut ifaddrs) {
    static NEXT: Next = Next::new(c"freeifaddrs");
    if list.is_null() || take(list as usize).is_some() {
        return;
    }
    // SAFETY: libc's symbol has this type, and the list is not one of ours.
    unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut ifaddrs)>(NEXT.address())(list) };
}

/// `if_nametoindex(3)`.
///
/// # Safety
/// `name` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn if_nametoindex(name: *const c_char) -> c_uint {
    static NEXT: Next = Next::new(c"if_nametoindex");
    if !is_reachable() {
        // SAFETY: libc's symbol has this type, and the argument is the caller's own.
        return unsafe {
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_char) -> c_uint>(NEXT.address())(
                name,
            )
        };
    }
    // SAFETY: the caller vouches for the string.
    let name = unsafe { CStr::from_ptr(name) };
    let found = interfaces().unwrap_or_default();
    match found.iter().find(|interface| interface.name.as_bytes() == name.to_bytes()) {
        Some(interface) => interface.number,
        None => {
            raw::set_errno(libc::ENODEV);
            0
        }
    }
}

/// `if_indextoname(3)`.
///
/// # Safety
/// `name` must be valid to write for `IF_NAMESIZE` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn if_indextoname(index: c_uint, name: *mut c_char) -> *mut c_char {
    static NEXT: Next = Next::new(c"if_indextoname");
    type Get = unsafe extern "C" fn(c_uint, *mut c_char) -> *mut c_char;
    if !is_reachable() {
        // SAFETY: libc's symbol has this type, and the arguments are the caller's own.
        return unsafe { std::mem::transmute::<*mut c_void, Get>(NEXT.address())(index, name) };
    }
    let found = interfaces().unwrap_or_default();
    let Some(interface) = found.iter().find(|interface| interface.number == index) else {
        raw::set_errno(libc::ENXIO);
        return std::ptr::null_mut();
    };
    let text = interface.name.as_bytes();
    let len = text.len().min(libc::IF_NAMESIZE - 1);
    // SAFETY: the caller vouches for the room, which the text and its end fit into.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), name.cast::<u8>(), len);
        *name.add(len) = 0;
    }
    name
}

/// `if_nameindex(3)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn if_nameindex() -> *mut NameIndex {
    static NEXT: Next = Next::new(c"if_nameindex");
    if !is_reachable() {
        // SAFETY: libc's symbol has this type.
        return unsafe {
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> *mut NameIndex>(NEXT.address())()
        };
    }
    let found = match interfaces() {
        Ok(found) => found,
        Err(error) => {
            raw::set_errno(number(&error));
            return std::ptr::null_mut();
        }
    };
    let names: Vec<CString> =
        found.iter().map(|interface| CString::new(interface.name.as_str()).unwrap_or_default()).collect();
    let pairs = found.iter().zip(&names);
    let mut all: Vec<NameIndex> = pairs
        .map(|(interface, name)| NameIndex { if_index: interface.number, if_name: name.as_ptr().cast_mut() })
        .collect();
    all.push(NameIndex { if_index: 0, if_name: std::ptr::null_mut() });
    let begin = all.as_mut_ptr();
    give(begin as usize, Given::Names(all, names));
    begin
}

/// `if_freenameindex(3)`.
///
/// # Safety
/// `list` must have come from [`if_nameindex`] and not have been freed.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn if_freenameindex(list: *mut NameIndex) {
    static NEXT: Next = Next::new(c"if_freenameindex");
    if list.is_null() || take(list as usize).is_some() {
        return;
    }
    // SAFETY: libc's symbol has this type, and the list is not one of ours.
    unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut NameIndex)>(NEXT.address())(list) };
}
