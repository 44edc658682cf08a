//! A node's kernel, as far as sockets go: socket table, ports, TCP, UDP, Unix and netlink sockets.
//!
//! Owns [`Stack`]. Must not know other nodes, links, or the event queue: it is told the time, and leaves
//! packets, wakers and timer wishes in its `Effects`. Invariant: after each call every socket's earliest
//! deadline is not before the event that it asked for.

pub(crate) mod bind;
pub(crate) mod buffer;
pub(crate) mod calls;
pub(crate) mod datagrams;
pub(crate) mod interfaces;
pub(crate) mod netlink;
pub(crate) mod options;
pub(crate) mod path_mtu;
pub(crate) mod pipe;
pub(crate) mod readiness;
pub(crate) mod routes;
pub(crate) mod socket;
pub(crate) mod table;
pub(crate) mod tcp;
#[cfg(test)]
mod tests;
pub(crate) mod udp;
pub(crate) mod unix;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use shim_runtime::clock::SimTime;
use shim_runtime::queue::EventId;

use crate::error::{Errno, Result};
use crate::fabric::segment::INTERNET;
use crate::fragment::Reassembly;
use crate::packet::{Body, Flags, Packet, Reason, Unreachable};
use path_mtu::PathMtus;
use pipe::Pipes;
use routes::Routes;
use socket::{Domain, Effects, Inner, Kind, SocketId, UnixAddr};
use table::{FixedMap, Flow, Ports, Table};
use tcp::ecn::TcpEcn;
use tcp::{Conn, Tcp};
use udp::Udp;
use unix::Unix;

/// How much of a node is alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    /// Kernel and process.
    Running,
    /// The kernel only: no system call comes.
    NoProcess,
    /// Nothing: packets vanish.
    Off,
}

/// The kernel of one node.
pub(crate) struct Stack {
    pub(crate) life: Life,
    pub(crate) routes: Routes,
    /// The largest packet that the node's interface takes.
    pub(crate) mtu: usize,
    pub(crate) table: Table,
    pub(crate) tcp_ports: Ports,
    pub(crate) udp_ports: Ports,
    pub(crate) listeners: FixedMap<u16, Vec<u32>>,
    pub(crate) flows: FixedMap<Flow, u32>,
    /// Who is bound to a Unix address; `None` for a path whose socket is closed.
    pub(crate) unix_names: BTreeMap<(UnixAddr, Kind), Option<SocketId>>,
    pub(crate) pipes: Pipes,
    pub(crate) fx: Effects,
    /// Events of sockets that are gone.
    pub(crate) cancels: Vec<EventId>,
    /// The datagrams that one call is sending to this node itself: from, to, how many have arrived.
    own_batch: Option<(SocketAddr, SocketAddr, u32)>,
    /// What new connections do with ECN.
    pub(crate) tcp_ecn: TcpEcn,
    /// Datagrams that found a full receive buffer.
    pub(crate) overflows: u64,
    path_mtus: PathMtus,
    /// Packets of which only some fragments have come.
    reassembly: Reassembly,
    fragment_id: u64,
    iss: u64,
    unix_serial: u32,
}

/// Further than any connection sends, so that the numbers of two connections never meet.
const ISS_STEP: u64 = (1 << 40) + 64_021;
const LOOPBACK_MSS: u16 = 65_483;

impl Stack {
    /// A node without sockets.
    pub(crate) fn new(node: u32, addresses: Vec<IpAddr>) -> Stack {
        Stack {
            life: Life::Running,
            routes: Routes::flat(INTERNET, &addresses),
            mtu: 1500,
            table: Table::new(node),
            tcp_ports: Ports::new(node, 2_048),
            udp_ports: Ports::new(node, 14_336),
            listeners: FixedMap::default(),
            flows: FixedMap::default(),
            unix_names: BTreeMap::new(),
            pipes: Pipes::default(),
            fx: Effects::default(),
            cancels: Vec::new(),
            own_batch: None,
            tcp_ecn: TcpEcn::default(),
            overflows: 0,
            path_mtus: PathMtus::default(),
            reassembly: Reassembly::default(),
            fragment_id: 0,
            iss: 1 + u64::from(node) * 7_919,
            unix_serial: 0,
        }
    }

    /// `socket(2)`.
    pub(crate) fn socket(&mut self, domain: Domain, kind: Kind) -> Result<SocketId> {
        if self.life != Life::Running {
            return Err(Errno::ENETDOWN);
        }
        let inner = match (domain, kind) {
            (Domain::Unix, kind) => Inner::Unix(Unix::new(kind)),
            (Domain::Pipe | Domain::Netlink, _) => return Err(Errno::EAFNOSUPPORT),
            (_, Kind::Stream) => Inner::Tcp(Tcp::Idle),
            (_, Kind::Datagram) => Inner::Udp(Udp::default()),
        };
        let id = self.table.insert(domain, kind, inner);
        if let Some(socket) = self.table.get_mut(id.index()) {
            socket.core.options.tcp_ecn = self.tcp_ecn;
        }
        Ok(id)
    }

    /// `close(2)`.
    pub(crate) fn close(&mut self, id: SocketId, now: SimTime) {
        let Ok(socket) = self.table.find_mut(id) else { return };
        socket.core.detached = true;
        let index = id.index();
        match &socket.inner {
            Inner::Tcp(Tcp::Connection(_)) => {
                self.with_conn(index, now, |conn| conn.close());
            }
            Inner::Tcp(Tcp::Listener(_)) => {
                self.close_listener(index, now);
                self.free(index);
            }
            Inner::Tcp(Tcp::Idle) | Inner::Udp(_) | Inner::Netlink(_) => self.free(index),
            Inner::Unix(_) => self.unix_close(index),
            Inner::Pipe(end) => {
                let end = *end;
                self.pipe_close(id, end);
            }
        }
    }

    /// The process is gone: its kernel closes what it had open.
    pub(crate) fn close_all(&mut self, now: SimTime) {
        let open: Vec<SocketId> = self.table.iter().map(|socket| socket.core.id).collect();
        // Connections that nobody accepted go with their listeners.
        for id in open {
            let queued = self.table.find(id).is_ok_and(|socket| {
                matches!(&socket.inner, Inner::Tcp(tcp) if tcp.connection().is_some_and(|t| t.parent.is_some()))
            });
            if !queued {
                self.close(id, now);
            }
        }
        self.life = Life::NoProcess;
    }

    /// The machine lost power: everything is gone, and nobody hears of it.
    pub(crate) fn power_off(&mut self) {
        self.life = Life::Off;
        for mut socket in self.table.drain() {
            self.cancels.extend(socket.core.event.take());
            socket.core.waiters.wake_everybody(&mut self.fx);
        }
        self.tcp_ports.clear();
        self.udp_ports.clear();
        self.listeners.clear();
        self.flows.clear();
        self.unix_names.clear();
        self.pipes.clear();
        self.reassembly.clear();
        self.forget_path_mtus();
        self.fx.outbox.clear();
        self.fx.arms.clear();
    }

    /// A packet for this node arrived.
    pub(crate) fn receive(&mut self, mut packet: Box<Packet>, now: SimTime) {
        if self.life == Life::Off {
            return;
        }
        match packet.body {
            Body::Tcp(_) => self.tcp_receive(packet, now),
            Body::Udp(_) => self.udp_receive(&mut packet, now),
            Body::Fragment(_) => {
                if let Some(whole) = self.reassembly.put(packet, now) {
                    self.receive(whole, now);
                }
            }
            Body::Unreachable(icmp @ Unreachable { reason: Reason::TooBig(mtu), .. }) => {
                self.too_big(&packet, icmp, mtu.into(), now);
            }
            Body::Unreachable(icmp) if icmp.tcp => {
                let flow = Flow::new(packet.destination, icmp.original);
                if let Some(&index) = self.flows.get(&flow) {
                    self.with_conn(index, now, |conn| {
                        if conn.t.state == tcp::State::SynSent {
                            conn.abort(Some(Errno::EHOSTUNREACH));
                        }
                    });
                }
            }
            Body::Unreachable(icmp) => self.udp_unreachable(&packet, icmp),
        }
    }

    fn tcp_receive(&mut self, packet: Box<Packet>, now: SimTime) {
        let Body::Tcp(segment) = &packet.body else { return };
        let flow = Flow::new(packet.destination, packet.source);
        let Flags(bits) = segment.flags;
        let opens = bits & Flags::SYN.with(Flags::ACK).with(Flags::RST).0 == Flags::SYN.0;
        if let Some(&index) = self.flows.get(&flow) {
            let old = self.table.get(index).and_then(|socket| match &socket.inner {
                Inner::Tcp(tcp) => tcp.connection(),
                _ => None,
            });
            let gives_way = opens
                && old.is_some_and(|t| tcp::accepts_reuse(t, segment))
                && self.find_listener(&packet).is_some();
            if !gives_way {
                if !segment.flags.has(Flags::RST) && self.parent_full(index) {
                    return;
                }
                let (ecn, Body::Tcp(segment)) = (packet.ecn, packet.body) else { return };
                self.with_conn(index, now, |conn| conn.receive(segment, ecn));
                return;
            }
            self.with_conn(index, now, |conn| conn.finish());
        }
        if opens && let Some(parent) = self.find_listener(&packet) {
            return self.on_syn(parent, &packet, now);
        }
        self.reset_stray(&packet);
    }

    /// A segment of no connection: the sender must learn that there is none.
    fn reset_stray(&mut self, packet: &Packet) {
        self.fx.outbox.extend(packet.reset());
    }

    /// Tells the sender of `packet` by ICMP that it cannot be delivered.
    pub(crate) fn refuse(&mut self, packet: &Packet, reason: Reason) {
        let tcp = matches!(packet.body, Body::Tcp(_));
        let icmp = Unreachable { reason, tcp, original: packet.destination };
        self.fx.outbox.push_back(packet.answer(Body::Unreachable(icmp)));
    }

    /// The event that the socket asked for is due.
    pub(crate) fn on_timer(&mut self, id: SocketId, now: SimTime) {
        let Some(socket) = self.table.get_mut(id.index()) else { return };
        if socket.core.id != id {
            return;
        }
        socket.core.event = None;
        socket.core.armed = SimTime::MAX;
        self.with_conn(id.index(), now, |conn| conn.on_timers());
    }

    /// Lends the connection at `index` to `f`, and then does what became of it.
    pub(crate) fn with_conn<R>(
        &mut self,
        index: u32,
        now: SimTime,
        f: impl FnOnce(&mut Conn<'_>) -> R,
    ) -> Option<R> {
        let socket = self.table.get_mut(index)?;
        let Inner::Tcp(Tcp::Connection(t)) = &mut socket.inner else { return None };
        let result = f(&mut Conn { core: &mut socket.core, t, fx: &mut self.fx, now });
        let next = t.timers.next();
        if next < socket.core.armed {
            socket.core.armed = next;
            self.fx.arms.push((socket.core.id, next));
        }
        if let Some(parent) = t.parent.filter(|_| !t.queued && t.state.synchronized()) {
            t.queued = true;
            self.enqueue(index, parent);
        } else if t.state == tcp::State::Closed {
            self.bury(index);
        }
        Some(result)
    }

    /// Takes a closed connection out of the tables; also the socket, where nobody holds it.
    fn bury(&mut self, index: u32) {
        let Some(socket) = self.table.get_mut(index) else { return };
        let Inner::Tcp(Tcp::Connection(t)) = &mut socket.inner else { return };
        if !t.unhooked {
            t.unhooked = true;
            let flow = Flow::new(t.local, t.remote);
            if self.flows.get(&flow) == Some(&index) {
                self.flows.remove(&flow);
            }
            if !t.keeps_port && socket.core.port != 0 {
                self.tcp_ports.remove(socket.core.port, index);
                socket.core.port = 0;
            }
        }
        if socket.core.detached {
            self.free(index);
        }
    }

    /// Gives back everything the socket at `index` has.
    pub(crate) fn free(&mut self, index: u32) {
        let Some(mut socket) = self.table.remove(index) else { return };
        if socket.core.port != 0 {
            self.ports(socket.core.kind).remove(socket.core.port, index);
        }
        self.cancels.extend(socket.core.event.take());
        socket.core.waiters.wake_everybody(&mut self.fx);
    }

    /// A runtime ended.
    pub(crate) fn end_runtime(&mut self, runtime: u64) {
        self.table.iter_mut().for_each(|socket| socket.core.waiters.end_runtime(runtime, &mut self.fx));
    }

    pub(crate) fn ports(&mut self, kind: Kind) -> &mut Ports {
        match kind {
            Kind::Stream => &mut self.tcp_ports,
            Kind::Datagram => &mut self.udp_ports,
        }
    }

    pub(crate) fn next_iss(&mut self) -> u64 {
        self.iss += ISS_STEP;
        self.iss
    }

    /// A number for a Unix socket that binds itself.
    pub(crate) fn next_unix_serial(&mut self) -> u32 {
        self.unix_serial += 1;
        self.unix_serial
    }

    /// A number for a packet that is sent in fragments.
    pub(crate) fn next_fragment_id(&mut self) -> u64 {
        self.fragment_id += 1;
        self.fragment_id
    }
}

/// Whether packets to `ip` go to every node: the limited broadcast, or that of 192.168.0.0/16.
pub(crate) fn is_broadcast(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::BROADCAST) || ip == IpAddr::V4(Ipv4Addr::new(192, 168, 255, 255))
}
