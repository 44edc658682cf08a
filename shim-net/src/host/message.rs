//! `sendmsg`, `recvmsg` and their forms for many messages, as quinn uses them.
//!
//! Owns the symbols and the fields of a message. Must not know what control messages mean. Invariant: a call for
//! many messages fails only where the first did.

use std::io;

use libc::{c_int, c_uint, mmsghdr, msghdr, ssize_t, timespec};

use super::ancillary::{Asked, extra};
use super::control::{self, Writer};
use super::transfer::{receive, shown_len, slices, slices_mut, transmit};
use super::{address, answer, int, kernel, target};
use crate::sys::{self, SendExtra, SocketId};

/// `UIO_MAXIOV`: what the calls for many messages take at most.
const MESSAGES_MAX: c_uint = 1024;
/// # Safety
/// As `sendmsg(2)`.
unsafe fn send_one(socket: (c_int, SocketId), message: *const msghdr, flags: c_int) -> io::Result<usize> {
    // SAFETY: the caller vouches for the message and all that it points to.
    unsafe {
        let message = &*message;
        let to = if message.msg_name.is_null() || message.msg_namelen == 0 {
            None
        } else {
            target::to_send(socket.1, message.msg_name.cast(), message.msg_namelen)?
        };
        let data = slices(message.msg_iov, message.msg_iovlen)?;
        let control = match message.msg_controllen {
            0 => &[][..],
            length => std::slice::from_raw_parts(message.msg_control.cast::<u8>(), length),
        };
        let extra = if control.is_empty() {
            SendExtra::default()
        } else {
            // As Linux: where to comes first.
            let to = sys::destination(socket.1, to.as_ref())?;
            extra(&control::parse(control)?, to)?
        };
        transmit(socket, &data, to.as_ref(), extra, flags)
    }
}

/// # Safety
/// As `recvmsg(2)`.
unsafe fn receive_one(
    socket: (c_int, SocketId),
    asked: &Asked,
    message: *mut msghdr,
    flags: c_int,
) -> io::Result<usize> {
    // SAFETY: the caller vouches for the message and all that it points to.
    unsafe {
        let message = &mut *message;
        let mut buffers = slices_mut(message.msg_iov, message.msg_iovlen)?;
        let received = receive(socket, &mut buffers, flags)?;
        let name = message.msg_name.cast();
        address::write(received.from.as_ref(), name, &raw mut message.msg_namelen);
        let room = match message.msg_controllen {
            0 => &mut [][..],
            length => std::slice::from_raw_parts_mut(message.msg_control.cast::<u8>(), length),
        };
        let mut out = Writer::new(room);
        asked.write(&received, &mut out);
        message.msg_controllen = out.used();
        message.msg_flags = if out.truncated { libc::MSG_CTRUNC } else { 0 };
        if received.full_len > received.len {
            message.msg_flags |= libc::MSG_TRUNC;
        }
        Ok(shown_len(&received, flags))
    }
}

/// `sendmsg(2)`.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    answer(
        "sendmsg",
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(libc::SYS_sendmsg, [int(fd), message as usize, int(flags)]) },
        // SAFETY: as the system call.
        |id| unsafe { send_one((fd, id), message, flags) }.map(|sent| sent as isize),
    )
}

/// `recvmsg(2)`.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    answer(
        "recvmsg",
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(libc::SYS_recvmsg, [int(fd), message as usize, int(flags)]) },
        // SAFETY: as the system call.
        |id| unsafe { receive_one((fd, id), &Asked::of(id), message, flags) }.map(|count| count as isize),
    )
}

/// `sendmmsg(2)`.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sendmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
) -> c_int {
    answer(
        "sendmmsg",
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(libc::SYS_sendmmsg, [int(fd), messages as usize, count as usize, int(flags)]) },
        |id| {
            for_each(count, |place| {
                // SAFETY: the caller vouches for `count` messages.
                unsafe {
                    let entry = messages.add(place);
                    (*entry).msg_len = send_one((fd, id), &raw const (*entry).msg_hdr, flags)? as c_uint;
                }
                Ok(())
            })
        },
    ) as c_int
}

/// `recvmmsg(2)`. The time-out, which the kernel looks at between messages only, is not looked at.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn recvmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    timeout: *mut timespec,
) -> c_int {
    answer(
        "recvmmsg",
        fd,
        || {
            let arguments = [int(fd), messages as usize, count as usize, int(flags), timeout as usize];
            // SAFETY: as the system call.
            unsafe { kernel(libc::SYS_recvmmsg, arguments) }
        },
        |id| {
            let asked = Asked::of(id);
            let wait_for_one = flags & libc::MSG_WAITFORONE != 0;
            for_each(count, |place| {
                let mut flags = flags & !libc::MSG_WAITFORONE;
                if wait_for_one && place > 0 {
                    flags |= libc::MSG_DONTWAIT;
                }
                // SAFETY: the caller vouches for `count` messages.
                unsafe {
                    let entry = messages.add(place);
                    let header = &raw mut (*entry).msg_hdr;
                    (*entry).msg_len = receive_one((fd, id), &asked, header, flags)? as c_uint;
                }
                Ok(())
            })
        },
    ) as c_int
}

/// How many of `count` messages went well; the error of the first where none did.
fn for_each(count: c_uint, mut one: impl FnMut(usize) -> io::Result<()>) -> io::Result<isize> {
    for place in 0..count.min(MESSAGES_MAX) as usize {
        match one(place) {
            Ok(()) => {}
            Err(error) if place == 0 => return Err(error),
            Err(_) => return Ok(place as isize),
        }
    }
    Ok(count.min(MESSAGES_MAX) as isize)
}
