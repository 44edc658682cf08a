//! `getaddrinfo`: names and services as the simulation's DNS has them.
//!
//! Owns the lists of answers, whoever gave them. Must not know how names are found. Invariant: every list that
//! leaves this file was made by it, so that `freeaddrinfo` frees what one owner made; also those that libc
//! answered outside a simulation are copied.

use std::ffi::{CStr, CString};

use libc::{addrinfo, c_char, c_int, sockaddr, socklen_t};
use shim_runtime::host::in_run;
use shim_runtime::host::next::Next;

use super::address::{self, SOCKADDR_BYTES_MAX};
use super::names::{Hints, resolve};
use crate::sys::Addr;

/// One entry of a list. The first field is what the caller sees; the others are what it points to.
#[repr(C)]
struct Entry {
    info: addrinfo,
    address: [u64; SOCKADDR_BYTES_MAX / 8],
    name: Option<CString>,
}

/// A list under construction.
struct List {
    first: *mut addrinfo,
    last: *mut addrinfo,
}

impl List {
    fn new() -> List {
        List { first: std::ptr::null_mut(), last: std::ptr::null_mut() }
    }

    /// Adds an entry: `info` without its pointers, and what they are to point to.
    fn add(&mut self, info: addrinfo, bytes: &[u8], name: Option<CString>) {
        let entry = Box::leak(Box::new(Entry { info, address: [0; SOCKADDR_BYTES_MAX / 8], name }));
        let len = bytes.len().min(SOCKADDR_BYTES_MAX);
        // SAFETY: `address` has room for the largest address.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), entry.address.as_mut_ptr().cast(), len) };
        entry.info.ai_addr = entry.address.as_mut_ptr().cast();
        entry.info.ai_addrlen = len as socklen_t;
        entry.info.ai_canonname =
            entry.name.as_ref().map_or(std::ptr::null_mut(), |name| name.as_ptr().cast_mut());
        entry.info.ai_next = std::ptr::null_mut();
        let added = std::ptr::from_mut(entry).cast::<addrinfo>();
        if self.last.is_null() {
            self.first = added;
        } else {
            // SAFETY: the last entry was made here and has not been given away.
            unsafe { (*self.last).ai_next = added };
        }
        self.last = added;
    }
}

/// `getaddrinfo(3)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getaddrinfo(
    host: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    out: *mut *mut addrinfo,
) -> c_int {
    if !in_run() {
        // SAFETY: as this call.
        return unsafe { libc_getaddrinfo(host, service, hints, out) };
    }
    // SAFETY: the caller vouches for the strings and the hints.
    let (host, service, hints) = unsafe { (text(host), text(service), hints.as_ref()) };
    let hints =
        hints.map_or(Hints { flags: 0, family: libc::AF_UNSPEC, kind: 0, protocol: 0 }, |hints| Hints {
            flags: hints.ai_flags,
            family: hints.ai_family,
            kind: hints.ai_socktype,
            protocol: hints.ai_protocol,
        });
    let answers = match resolve(host.as_deref(), service.as_deref(), hints) {
        Ok(answers) => answers,
        Err(error) => return error,
    };
    let mut name =
        host.filter(|_| hints.flags & libc::AI_CANONNAME != 0).and_then(|host| CString::new(host).ok());
    let mut list = List::new();
    for answer in answers {
        // SAFETY: all-zero is a valid addrinfo.
        let mut info: addrinfo = unsafe { std::mem::zeroed() };
        info.ai_flags = hints.flags;
        info.ai_family = if answer.address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        info.ai_socktype = answer.kind;
        info.ai_protocol = if answer.protocol == 0 { hints.protocol } else { answer.protocol };
        list.add(info, address::encode(&Addr::Inet(answer.address)).bytes(), name.take());
    }
    // SAFETY: the caller vouches for `out`.
    unsafe { *out = list.first };
    0
}

/// # Safety
/// `string` is null or a C string.
unsafe fn text(string: *const c_char) -> Option<String> {
    // SAFETY: the caller vouches for the string.
    (!string.is_null()).then(|| unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned())
}

/// libc's own answer, copied.
///
/// # Safety
/// As libc's.
unsafe fn libc_getaddrinfo(
    host: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    out: *mut *mut addrinfo,
) -> c_int {
    static GET: Next = Next::new(c"getaddrinfo");
    static FREE: Next = Next::new(c"freeaddrinfo");
    type Get =
        unsafe extern "C" fn(*const c_char, *const c_char, *const addrinfo, *mut *mut addrinfo) -> c_int;
    type Free = unsafe extern "C" fn(*mut addrinfo);
    // SAFETY: libc's symbols have these types; the list is libc's until it is freed.
    unsafe {
        let get: Get = std::mem::transmute(GET.address());
        let free: Free = std::mem::transmute(FREE.address());
        let mut found = std::ptr::null_mut();
        let result = get(host, service, hints, &mut found);
        if result != 0 {
            return result;
        }
        let mut list = List::new();
        let mut next = found;
        while let Some(info) = next.as_ref() {
            let bytes = std::slice::from_raw_parts(info.ai_addr.cast::<u8>(), info.ai_addrlen as usize);
            let name = (!info.ai_canonname.is_null()).then(|| CStr::from_ptr(info.ai_canonname).to_owned());
            list.add(*info, bytes, name);
            next = info.ai_next;
        }
        free(found);
        *out = list.first;
    }
    0
}

/// `freeaddrinfo(3)`.
///
/// # Safety
/// `list` must have come from [`getaddrinfo`] and not have been freed.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn freeaddrinfo(list: *mut addrinfo) {
    let mut next = list;
    while !next.is_null() {
        // SAFETY: every entry was made by `List::add` and is freed once.
        let entry = unsafe { Box::from_raw(next.cast::<Entry>()) };
        next = entry.info.ai_next;
    }
}

/// `getnameinfo(3)`: inside a simulation nobody has the name of an address, so that it is shown in numbers.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getnameinfo(
    address: *const sockaddr,
    address_len: socklen_t,
    host: *mut c_char,
    host_len: socklen_t,
    service: *mut c_char,
    service_len: socklen_t,
    flags: c_int,
) -> c_int {
    static NEXT: Next = Next::new(c"getnameinfo");
    type Get = unsafe extern "C" fn(
        *const sockaddr,
        socklen_t,
        *mut c_char,
        socklen_t,
        *mut c_char,
        socklen_t,
        c_int,
    ) -> c_int;
    // SAFETY: libc's symbol has this type.
    let get: Get = unsafe { std::mem::transmute(NEXT.address()) };
    let flags = match in_run() {
        false => flags,
        true if flags & libc::NI_NAMEREQD != 0 => return libc::EAI_NONAME,
        true => flags | libc::NI_NUMERICHOST | libc::NI_NUMERICSERV,
    };
    // SAFETY: the caller's own arguments.
    unsafe { get(address, address_len, host, host_len, service, service_len, flags) }
}
