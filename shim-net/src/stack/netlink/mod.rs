//! Netlink sockets of the routing family (netlink(7), rtnetlink(7)).
//!
//! Owns [`Netlink`]: ports, groups, and what waits to be read. Must not know what a request means. Invariant: a socket
//! that lost a message is told so once by `ENOBUFS`, until it has read all that it has.

mod changes;
mod lookup;
mod request;
#[cfg(test)]
mod tests;
mod view;
mod wire;

use std::collections::VecDeque;

use bytes::Bytes;

use super::Stack;
use super::buffer::Sink;
use super::options::{Name, Value};
use super::readiness::Events;
use super::socket::{Addr, Core, Domain, Effects, Inner, Kind, SocketId};
use super::udp::Received;
use crate::error::{Errno, Result};
use request::Answer;
use wire::{Heading, Message, Request};

/// How many groups there are (`RTNLGRP_MAX`).
const GROUPS: u32 = 39;
/// The bytes that `NETLINK_LIST_MEMBERSHIPS` gives for them.
const GROUPS_BYTES: usize = 8;
/// Types below are for netlink itself.
const TYPE_MIN: u16 = 16;
const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ACKNOWLEDGE: u16 = libc::NLM_F_ACK as u16;
const MULTI: u16 = libc::NLM_F_MULTI as u16;
const CAPPED: u16 = libc::NLM_F_CAPPED as u16;
/// What one datagram of a list holds at most (`NLMSG_GOODSIZE`).
const DATAGRAM_BYTES_MAX: usize = 3776;
/// What of a send buffer no message may use.
const SEND_OVERHEAD: usize = 32;
/// The first port of a process's further sockets; the next ones are below.
const FURTHER_PORT: u32 = (-4097_i32) as u32;

/// A datagram to be read, and the group that it went to; zero for none.
struct Datagram {
    data: Vec<u8>,
    group: u32,
}

impl Datagram {
    /// What it costs in the receive buffer, about as Linux counts it.
    fn cost(&self) -> usize {
        self.data.len().next_power_of_two().max(512) + 256
    }
}

/// What only a netlink socket has.
pub(crate) struct Netlink {
    /// Whether it was made as `SOCK_RAW`, which means the same.
    pub(crate) is_raw: bool,
    /// The number of its process, which is the port of the process's first socket.
    process: u32,
    port: Option<u32>,
    /// The groups that it has joined: bit n for group n + 1.
    groups: u64,
    queue: VecDeque<Datagram>,
    /// How much of the receive buffer is taken, in bytes.
    held: usize,
    /// What of a list is still to come: it goes on as the application reads.
    list: VecDeque<Vec<u8>>,
    /// Whether something was lost since the queue was empty.
    is_congested: bool,
    packet_info: bool,
    broadcast_error: bool,
    no_enobufs: bool,
    cap_ack: bool,
    ext_ack: bool,
    is_strict: bool,
}

impl Netlink {
    fn new(is_raw: bool, process: u32) -> Netlink {
        Netlink {
            is_raw,
            process,
            port: None,
            groups: 0,
            queue: VecDeque::new(),
            held: 0,
            list: VecDeque::new(),
            is_congested: false,
            packet_info: false,
            broadcast_error: false,
            no_enobufs: false,
            cap_ack: false,
            ext_ack: false,
            is_strict: false,
        }
    }

    /// Its own address.
    pub(crate) fn address(&self) -> Addr {
        Addr::Netlink { port: self.port.unwrap_or(0), groups: self.groups as u32 }
    }

    /// How much waits to be read, in bytes.
    pub(crate) fn held(&self) -> usize {
        self.queue.iter().map(|datagram| datagram.data.len()).sum()
    }

    /// What `poll(2)` would show.
    pub(crate) fn events(&self, core: &Core) -> Events {
        Events {
            readable: !self.queue.is_empty(),
            writable: true,
            error: core.error.is_some(),
            ..Events::default()
        }
    }

    fn put(&mut self, core: &mut Core, fx: &mut Effects, datagram: Datagram) {
        self.held += datagram.cost();
        self.queue.push_back(datagram);
        core.wake_readers(fx);
    }

    /// As [`Netlink::put`], where there is room.
    fn deliver(&mut self, core: &mut Core, fx: &mut Effects, datagram: Datagram) {
        if self.held <= core.options.receive_buffer && !self.is_congested {
            return self.put(core, fx, datagram);
        }
        if !self.no_enobufs && !std::mem::replace(&mut self.is_congested, true) {
            core.fail(Errno::ENOBUFS, fx);
        }
    }

    /// `recvfrom(2)`.
    pub(crate) fn recv(
        &mut self,
        core: &mut Core,
        sink: &mut impl Sink,
        peek: bool,
        fx: &mut Effects,
    ) -> Result<Received> {
        core.check_error()?;
        let Some(front) = self.queue.front() else { return Err(Errno::EAGAIN) };
        let groups = if front.group == 0 { 0 } else { 1_u32.checked_shl(front.group - 1).unwrap_or(0) };
        let received = Received {
            len: sink.take(&front.data),
            full_len: front.data.len(),
            from: Some(Addr::Netlink { port: 0, groups }),
            to: None,
            ecn: 0,
            segment_size: None,
        };
        if !peek && let Some(read) = self.queue.pop_front() {
            self.held -= read.cost();
        }
        if self.held <= core.options.receive_buffer / 2
            && let Some(data) = self.list.pop_front()
        {
            self.put(core, fx, Datagram { data, group: 0 });
        }
        self.is_congested &= !self.queue.is_empty();
        Ok(received)
    }

    /// Joins a group, or leaves it.
    fn set_membership(&mut self, group: i32, is_member: bool) -> Result<()> {
        let group = u32::try_from(group).ok().filter(|group| (1..=GROUPS).contains(group));
        let bit = 1 << (group.ok_or(Errno::EINVAL)? - 1);
        if is_member {
            self.groups |= bit
        } else {
            self.groups &= !bit
        }
        Ok(())
    }

    /// `setsockopt(2)` at `SOL_NETLINK`.
    pub(crate) fn set_option(&mut self, name: Name, value: &Value) -> Result<()> {
        let number = value.int()?;
        let flag = match name {
            Name::NetlinkAddMembership => return self.set_membership(number, true),
            Name::NetlinkDropMembership => return self.set_membership(number, false),
            Name::NetlinkPacketInfo => &mut self.packet_info,
            Name::NetlinkBroadcastError => &mut self.broadcast_error,
            Name::NetlinkNoEnobufs => &mut self.no_enobufs,
            Name::NetlinkCapAck => &mut self.cap_ack,
            Name::NetlinkExtAck => &mut self.ext_ack,
            Name::NetlinkStrictCheck => &mut self.is_strict,
            // That is for who has privileges.
            Name::NetlinkListenAllNamespaces => return Err(Errno::EPERM),
            _ => return Err(Errno::ENOPROTOOPT),
        };
        *flag = number != 0;
        if name == Name::NetlinkNoEnobufs {
            self.is_congested &= number == 0;
        }
        Ok(())
    }

    /// `getsockopt(2)` at `SOL_NETLINK`.
    pub(crate) fn option(&self, name: Name) -> Result<Value> {
        let flag = match name {
            Name::NetlinkPacketInfo => self.packet_info,
            Name::NetlinkBroadcastError => self.broadcast_error,
            Name::NetlinkNoEnobufs => self.no_enobufs,
            Name::NetlinkCapAck => self.cap_ack,
            Name::NetlinkExtAck => self.ext_ack,
            Name::NetlinkStrictCheck => self.is_strict,
            Name::NetlinkListenAllNamespaces => false,
            Name::NetlinkMemberships => {
                return Ok(Value::Bytes(self.groups.to_ne_bytes()[..GROUPS_BYTES].to_vec()));
            }
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(Value::Int(flag.into()))
    }

    /// The message that says how a request went: its header, and of one that failed all of it.
    fn acknowledgement(&self, request: &Request<'_>, outcome: Result<()>) -> Vec<u8> {
        let number = outcome.err().map_or(0, |errno| -errno.0);
        let capped = number == 0 || self.cap_ack;
        let heading = Heading {
            flags: if capped { CAPPED } else { 0 },
            sequence: request.sequence,
            port: self.port.unwrap_or(0),
        };
        let message =
            Message::new(libc::NLMSG_ERROR as u16, heading).put(&number.to_ne_bytes()).put(request.header);
        if capped { message.finish() } else { message.put(request.payload).finish() }
    }

    /// The message that ends a list.
    fn done(&self, request: &Request<'_>, outcome: Result<()>) -> Vec<u8> {
        let number = outcome.err().map_or(0, |errno| -errno.0);
        let heading = Heading { flags: MULTI, sequence: request.sequence, port: self.port.unwrap_or(0) };
        Message::new(libc::NLMSG_DONE as u16, heading).put(&number.to_ne_bytes()).finish()
    }
}

/// Messages as datagrams, as many in each as go in.
fn packed(messages: Vec<Vec<u8>>) -> VecDeque<Vec<u8>> {
    let mut all: VecDeque<Vec<u8>> = VecDeque::new();
    for message in messages {
        match all.back_mut() {
            Some(last) if last.len() + message.len() <= DATAGRAM_BYTES_MAX => last.extend(message),
            _ => all.push_back(message),
        }
    }
    all
}

impl Stack {
    /// `socket(2)` with `AF_NETLINK`, of the process with the number `process`.
    pub(crate) fn netlink_socket(&mut self, is_raw: bool, process: u32) -> Result<SocketId> {
        let inner = Inner::Netlink(Box::new(Netlink::new(is_raw, process)));
        Ok(self.table.insert(Domain::Netlink, Kind::Datagram, inner))
    }

    fn netlink(&mut self, id: SocketId) -> Result<(&mut Core, &mut Netlink, &mut Effects)> {
        let socket = self.table.find_mut(id)?;
        match &mut socket.inner {
            Inner::Netlink(netlink) => Ok((&mut socket.core, netlink, &mut self.fx)),
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    fn is_netlink_port_free(&self, port: u32) -> bool {
        let has = |inner: &Inner| matches!(inner, Inner::Netlink(other) if other.port == Some(port));
        !self.table.iter().any(|socket| has(&socket.inner))
    }

    /// Gives a socket a port, where it has none: the number of its process if that is free, as Linux does.
    fn netlink_autobind(&mut self, id: SocketId) -> Result<()> {
        let netlink = self.netlink(id)?.1;
        if netlink.port.is_some() {
            return Ok(());
        }
        let mut port = netlink.process;
        let mut further = FURTHER_PORT;
        while !self.is_netlink_port_free(port) {
            port = further;
            further -= 1;
        }
        self.netlink(id)?.1.port = Some(port);
        Ok(())
    }

    /// `bind(2)`.
    pub(crate) fn netlink_bind(&mut self, id: SocketId, port: u32, groups: u32) -> Result<()> {
        let own = self.netlink(id)?.1.port;
        match own {
            Some(own) if own != port => return Err(Errno::EINVAL),
            Some(_) => {}
            None if port == 0 => self.netlink_autobind(id)?,
            None if !self.is_netlink_port_free(port) => return Err(Errno::EADDRINUSE),
            None => self.netlink(id)?.1.port = Some(port),
        }
        let netlink = self.netlink(id)?.1;
        netlink.groups = netlink.groups >> 32 << 32 | u64::from(groups);
        Ok(())
    }

    /// `connect(2)`: to the kernel, since nobody else may be spoken to without privileges.
    pub(crate) fn netlink_connect(&mut self, id: SocketId, port: u32, groups: u32) -> Result<()> {
        if (port, groups) != (0, 0) { Err(Errno::EPERM) } else { self.netlink_autobind(id) }
    }

    /// `sendto(2)`: the kernel answers at once, as Linux' does.
    pub(crate) fn netlink_send(&mut self, id: SocketId, data: Bytes, to: Option<&Addr>) -> Result<usize> {
        let core = self.netlink(id)?.0;
        if data.is_empty() {
            return Err(Errno(libc::ENODATA));
        }
        match to {
            None | Some(Addr::Netlink { port: 0, groups: 0 }) => {}
            Some(Addr::Netlink { .. }) => return Err(Errno::EPERM),
            Some(_) => return Err(Errno::EINVAL),
        }
        let limit = core.options.send_buffer - SEND_OVERHEAD;
        self.netlink_autobind(id)?;
        if data.len() > limit {
            return Err(Errno::EMSGSIZE);
        }
        for request in wire::requests(&data) {
            self.netlink_request(id, &request)?;
        }
        Ok(data.len())
    }

    fn netlink_request(&mut self, id: SocketId, request: &Request<'_>) -> Result<()> {
        let netlink = self.netlink(id)?.1;
        let own = (netlink.port.unwrap_or(0), netlink.is_strict);
        let is_for_kernel = request.flags & REQUEST != 0 && request.kind >= TYPE_MIN;
        let answer = match is_for_kernel {
            true => request::answer(self, request, own),
            false => Ok(Answer::Nothing),
        };
        let (core, netlink, fx) = self.netlink(id)?;
        let outcome = match answer {
            // One list at a time.
            Ok(Answer::List(..)) if !netlink.list.is_empty() => Err(Errno(libc::EBUSY)),
            Ok(Answer::List(messages, outcome)) => {
                netlink.list = packed(messages);
                netlink.list.push_back(netlink.done(request, outcome));
                if let Some(data) = netlink.list.pop_front() {
                    netlink.put(core, fx, Datagram { data, group: 0 });
                }
                return Ok(());
            }
            Ok(Answer::One(data)) => {
                netlink.deliver(core, fx, Datagram { data, group: 0 });
                Ok(())
            }
            Ok(Answer::Nothing) => Ok(()),
            Err(errno) => Err(errno),
        };
        if outcome.is_err() || request.flags & ACKNOWLEDGE != 0 {
            let data = netlink.acknowledgement(request, outcome);
            netlink.deliver(core, fx, Datagram { data, group: 0 });
        }
        Ok(())
    }

    /// Tells everybody of a group.
    fn netlink_tell(&mut self, group: u32, message: &[u8]) {
        for socket in self.table.iter_mut() {
            if let Inner::Netlink(netlink) = &mut socket.inner
                && netlink.groups & 1 << (group - 1) != 0
            {
                let datagram = Datagram { data: message.to_vec(), group };
                netlink.deliver(&mut socket.core, &mut self.fx, datagram);
            }
        }
    }
}
