//! System calls that may say that they would block, as values: the door makes them, and the reactor tries them.
//!
//! Owns nothing. Must not wait or look at readiness. Invariant: each may be called again after `EAGAIN`, and has
//! done nothing then.

use std::io::{IoSlice, IoSliceMut};

use shim_runtime::device::DeviceContext;

use super::{Addr, Received, SendExtra, SocketId};
use crate::error::Result;
use crate::stack::Stack;
use crate::stack::buffer::{Scatter, Sink};

/// A system call that has its arguments.
pub(crate) trait Op<R>: FnMut(&mut Stack, &mut DeviceContext<'_>) -> Result<R> {}

impl<R, F: FnMut(&mut Stack, &mut DeviceContext<'_>) -> Result<R>> Op<R> for F {}

/// As [`accept`](super::accept).
pub(crate) fn accept(id: SocketId) -> impl Op<(SocketId, Addr)> {
    move |stack: &mut Stack, _: &mut DeviceContext<'_>| stack.accept(id)
}

/// As [`recv`](super::recv), into anything.
pub(crate) fn recv(id: SocketId, mut sink: impl Sink, peek: bool) -> impl Op<usize> {
    move |stack: &mut Stack, cx: &mut DeviceContext<'_>| stack.recv(id, &mut sink, peek, cx.now)
}

/// As [`recv_vectored`](super::recv_vectored).
pub(crate) fn recv_vectored(id: SocketId, buffers: &mut [IoSliceMut<'_>], peek: bool) -> impl Op<usize> {
    recv(id, Scatter::new(buffers), peek)
}

/// As [`recv_from`](super::recv_from), into anything.
pub(crate) fn recv_from(id: SocketId, mut sink: impl Sink, peek: bool) -> impl Op<Received> {
    move |stack: &mut Stack, cx: &mut DeviceContext<'_>| stack.recv_from(id, &mut sink, peek, cx.now)
}

/// As [`send`](super::send).
pub(crate) fn send(id: SocketId, data: &[u8]) -> impl Op<usize> {
    send_to(id, data, None)
}

/// As [`send_to`](super::send_to), from one buffer.
pub(crate) fn send_to(id: SocketId, data: &[u8], to: Option<&Addr>) -> impl Op<usize> {
    move |stack: &mut Stack, cx: &mut DeviceContext<'_>| {
        stack.send_to(id, &[IoSlice::new(data)], to, SendExtra::default(), cx.now)
    }
}

/// As [`send_vectored`](super::send_vectored).
pub(crate) fn send_vectored(id: SocketId, data: &[IoSlice<'_>]) -> impl Op<usize> {
    move |stack: &mut Stack, cx: &mut DeviceContext<'_>| {
        stack.send_to(id, data, None, SendExtra::default(), cx.now)
    }
}
