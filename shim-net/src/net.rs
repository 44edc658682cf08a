//! The network as a device: all stacks, the fabric between them, and their events.
//!
//! Owns [`Net`], the only thing of this crate that the engine knows. Must not know TCP or links; it
//! carries packets, timers and wakers between stacks, fabric and queue. Invariant: when a call returns,
//! every outbox is empty and every timer wish is in the queue.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use shim_runtime::device::{Device, DeviceContext, NodeChange};
use shim_runtime::node::NodeId;
use shim_runtime::trace::Kind;

use crate::capture::{self, Capture, Remark};
use crate::error::{Errno, Result};
use crate::fabric::dns::{Answer, Target};
use crate::fabric::path::{HOPS, Leg, Trip};
use crate::fabric::segment::INTERNET;
use crate::fabric::{Fabric, Flight, Verdict};
use crate::netstat;
use crate::packet::Packet;
use crate::stack::routes::Subnet;
use crate::stack::socket::{ID_BITS, SocketId};
use crate::stack::{Life, Stack, is_broadcast};

/// The simulated network of a run.
#[derive(Default)]
pub struct Net {
    pub(crate) stacks: Vec<Stack>,
    pub(crate) fabric: Fabric,
    /// The descriptors that simulated sockets have, for the host layer.
    pub(crate) descriptors: crate::host::table::Descriptors,
    /// Simulated `epoll` instances and event counters, for the host layer.
    pub(crate) pollers: crate::host::pollers::Pollers,
    /// Registrations that the reactor must tell of something, and whether its turn is in the queue.
    marked: Vec<(SocketId, u32)>,
    turn_is_due: bool,
    /// Whether the environment was asked for a capture.
    environment_is_known: bool,
}

/// Token of a link that sends what waits: this bit and the link's place.
const SERVICE: u64 = 1 << (ID_BITS - 1);
/// Token of a socket's timer: this bit and the socket's number. Else the token is a packet's place.
const TIMER: u64 = 1 << ID_BITS;
/// Token of the reactor's turn.
const TURN: u64 = 1 << 63;

impl Net {
    /// The stack of `node`, made at its first use.
    pub(crate) fn stack(&mut self, node: u32) -> &mut Stack {
        while self.stacks.len() <= node as usize {
            let next = self.stacks.len() as u32;
            let addresses = self.fabric.free_of_subnets(next);
            let internet = &mut self.fabric.segments[INTERNET as usize];
            for address in &addresses {
                if internet.owner(*address).is_none() {
                    internet.give(*address, next);
                }
            }
            self.stacks.push(Stack::new(next, addresses));
        }
        &mut self.stacks[node as usize]
    }

    /// A system call on `node`: refused where its process is not alive.
    pub(crate) fn call<R>(
        &mut self,
        node: u32,
        cx: &mut DeviceContext<'_>,
        f: impl FnOnce(&mut Stack, &mut DeviceContext<'_>) -> Result<R>,
    ) -> Result<R> {
        let stack = self.stack(node);
        if stack.life != Life::Running {
            return Err(Errno::ENETDOWN);
        }
        let result = f(stack, cx);
        self.settle(node, cx);
        result
    }

    /// As [`Net::flush`], outside of an event: the reactor has its turn before the next poll.
    pub(crate) fn settle(&mut self, node: u32, cx: &mut DeviceContext<'_>) {
        self.flush(node, cx);
        if !self.marked.is_empty() && !self.turn_is_due {
            // Before the next poll, as a reactor's turn is.
            self.turn_is_due = true;
            cx.schedule(cx.now, TURN);
        }
    }

    /// A packet arrives, or a socket's timer is due.
    fn event(&mut self, token: u64, cx: &mut DeviceContext<'_>) {
        if token & TIMER != 0 {
            let id = SocketId(token & !TIMER);
            self.stack(id.node()).on_timer(id, cx.now);
            return self.flush(id.node(), cx);
        }
        if token & SERVICE != 0 {
            self.fabric.serve(token as u32, cx.now, &mut cx.rng.link);
            return self.schedule(cx);
        }
        let arrived = self.fabric.arrive(token as u32, cx.now, &mut cx.rng.link);
        let Some(Flight { trip, packet }) = arrived else { return self.schedule(cx) };
        let stack = self.stack(trip.to);
        if stack.life == Life::Off {
            self.fabric.stats.dead_host += 1;
            return;
        }
        stack.receive(packet, cx.now);
        if trip.from != trip.to {
            self.fabric.stats.delivered += 1;
        }
        self.flush(trip.to, cx);
    }

    /// The reactor's turn: tells each marked registration what its socket is ready for.
    fn turn(&mut self, cx: &mut DeviceContext<'_>) {
        for (id, key) in self.marked.drain(..) {
            // A socket has a stack.
            let stack = &mut self.stacks[id.node() as usize];
            stack.turn(id, key);
            cx.wakes.append(&mut stack.fx.wakes);
        }
    }

    /// Carries away what the stack of `node` has left: packets, wakers, timers.
    pub(crate) fn flush(&mut self, node: u32, cx: &mut DeviceContext<'_>) {
        let place = node as usize;
        let stack = &self.stacks[place];
        if stack.fx.is_empty() && stack.cancels.is_empty() && !self.fabric.has_news() {
            return;
        }
        while let Some(packet) = self.stacks[place].fx.outbox.pop_front() {
            self.deliver(node, packet, cx);
        }
        let stack = &mut self.stacks[place];
        cx.wakes.append(&mut stack.fx.wakes);
        self.marked.append(&mut stack.fx.marked);
        for (id, at) in stack.fx.arms.drain(..) {
            let Some(socket) = stack.table.get_mut(id.index()) else { continue };
            let core = &mut socket.core;
            if core.id != id || core.armed != at {
                continue;
            }
            if let Some(old) = core.event.take() {
                cx.cancel(old);
            }
            core.event = Some(cx.schedule(at, TIMER | id.0));
        }
        for event in stack.cancels.drain(..) {
            cx.cancel(event);
        }
        self.schedule(cx);
    }

    /// One packet from `node`: to itself at once, as Linux' loopback does, or into the fabric.
    fn deliver(&mut self, node: u32, packet: Box<Packet>, cx: &mut DeviceContext<'_>) {
        let to = packet.destination.ip();
        let stack = &mut self.stacks[node as usize];
        if stack.owns(to) {
            self.fabric.stats.loopback += 1;
            record(cx, node, node, Verdict::Loopback, packet.digest());
            self.fabric.capture(node, node, &packet, Remark::default(), cx.now);
            return self.stacks[node as usize].receive(packet, cx.now);
        }
        if is_broadcast(to) || to.is_multicast() {
            if let Some((segment, _)) = stack.routes.way_to(to) {
                self.spread(node, segment, &packet, cx);
            }
            return self.stacks[node as usize].receive(packet, cx.now);
        }
        let Some((segment, _)) = stack.routes.way_to(to) else { return };
        self.fabric.send(node, segment, packet, HOPS, cx.now, &mut cx.rng.link);
    }

    /// A node has these addresses in a segment from now on, and no others.
    ///
    /// # Panics
    /// Where another element has one of them.
    pub(crate) fn plug_in(&mut self, node: u32, segment: u32, addresses: Vec<Subnet>) {
        let old = self.stack(node).routes.addresses_in(segment);
        let gateway = self.fabric.gateway_addresses(segment);
        let place = &mut self.fabric.segments[segment as usize];
        old.into_iter().for_each(|ip| place.take(ip, node));
        for address in &addresses {
            let owner = place.owner(address.ip).filter(|owner| *owner != node);
            assert!(owner.is_none(), "address {} belongs to another node", address.ip);
            place.give(address.ip, node);
        }
        place.members.insert(node);
        self.stack(node).change_routes(|routes| {
            routes.plug_in(segment, addresses);
            routes.set_gateway(segment, &gateway);
        });
    }

    /// A node leaves a segment.
    pub(crate) fn unplug(&mut self, node: u32, segment: u32) {
        let addresses = self.stack(node).change_routes(|routes| routes.unplug(segment));
        let place = &mut self.fabric.segments[segment as usize];
        for ip in addresses {
            place.take(ip, node);
        }
        place.members.remove(&node);
    }

    /// A segment has a gateway: tells everybody who is plugged in there.
    pub(crate) fn announce_gateway(&mut self, segment: u32, cx: &mut DeviceContext<'_>) {
        let gateway = self.fabric.gateway_addresses(segment);
        for node in 0..self.stacks.len() as u32 {
            if self.fabric.segment(segment).members.contains(&node) {
                self.stack(node).change_routes(|routes| routes.set_gateway(segment, &gateway));
                self.settle(node, cx);
            }
        }
    }

    /// A packet for every other node of a segment.
    fn spread(&mut self, from: u32, segment: u32, packet: &Packet, cx: &mut DeviceContext<'_>) {
        let nodes = 0..self.stacks.len() as u32;
        let others: Vec<u32> = nodes
            .filter(|node| *node != from && self.fabric.segment(segment).members.contains(node))
            .collect();
        for to in others {
            let trip = Trip { from, to, segment, leg: Leg::Up, hops: HOPS };
            self.fabric.travel(trip, Box::new(packet.clone()), cx.now, &mut cx.rng.link);
        }
    }

    /// Records what the fabric decided, and puts the arrivals into the queue.
    pub(crate) fn schedule(&mut self, cx: &mut DeviceContext<'_>) {
        if !self.fabric.has_news() {
            return;
        }
        for outcome in self.fabric.outcomes.drain(..) {
            record(cx, outcome.from, outcome.to, outcome.verdict, outcome.digest);
            if let Some((at, place)) = outcome.arrival {
                cx.schedule(at, u64::from(place));
            }
        }
        for (at, place) in self.fabric.services.drain(..) {
            cx.schedule(at, SERVICE | u64::from(place));
        }
    }

    /// Writes all packets from now on to `path`.
    ///
    /// # Panics
    /// Where the file cannot be made.
    pub(crate) fn capture(&mut self, path: &Path, cx: &DeviceContext<'_>) {
        match Capture::create(path, cx.rng.seed, cx.epoch_ns()) {
            Ok(capture) => self.fabric.capture = Some(Box::new(capture)),
            Err(error) => panic!("simulation: the capture {} cannot be made: {error}", path.display()),
        }
    }

    /// Begins the capture that the environment asks for, once.
    fn capture_as_the_environment_says(&mut self, cx: &DeviceContext<'_>) {
        if !std::mem::replace(&mut self.environment_is_known, true)
            && let Some(path) = capture::path_from_environment(cx.rng.seed)
        {
            self.capture(&path, cx);
        }
    }

    /// The addresses of a name, as `node` sees it: IPv4 first, as glibc orders private networks.
    pub(crate) fn lookup(&mut self, name: &str) -> Option<Vec<IpAddr>> {
        let targets = match self.fabric.names.find(name) {
            Answer::Addresses(addresses) => return Some(addresses),
            Answer::Targets(targets) => targets.to_vec(),
            Answer::Unknown => return None,
        };
        let mut found = Vec::new();
        for target in targets {
            match target {
                Target::Node(node) => found.extend_from_slice(self.stack(node).routes.addresses()),
                Target::Addresses(addresses) => found.extend(addresses),
            }
        }
        found.sort_by_key(|ip| ip.is_ipv6());
        Some(found)
    }
}

/// What a node has unless it is told otherwise: one address of 192.168.0.0/16 and one of fd00::/64.
pub(crate) fn automatic_addresses(node: u32) -> Vec<IpAddr> {
    let (net, host) = (1 + node / 250, 1 + node % 250);
    let v4 = Ipv4Addr::new(192, 168, net.min(254) as u8, host as u8);
    let v6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, net as u16, host as u16);
    vec![v4.into(), v6.into()]
}

fn record(cx: &mut DeviceContext<'_>, from: u32, to: u32, verdict: Verdict, digest: u64) {
    let way = u64::from(from) << 32 | u64::from(to);
    cx.record(Kind::Packet, way | (verdict as u64) << 56, digest);
}

impl Device for Net {
    fn fire(&mut self, token: u64, cx: &mut DeviceContext<'_>) {
        if token == TURN {
            self.turn_is_due = false;
        } else {
            self.event(token, cx);
        }
        self.turn(cx);
    }

    fn runtime_ended(&mut self, runtime: u64, cx: &mut DeviceContext<'_>) {
        for node in 0..self.stacks.len() as u32 {
            self.stack(node).end_runtime(runtime);
            self.flush(node, cx);
        }
    }

    fn node_changed(&mut self, node: NodeId, name: &str, change: NodeChange, cx: &mut DeviceContext<'_>) {
        let number = node.0;
        match change {
            NodeChange::Started => {
                self.stack(number).life = Life::Running;
                self.fabric.node_names.insert(number, name.to_owned());
                self.capture_as_the_environment_says(cx);
                self.fabric.names.add(name, Target::Node(number));
            }
            NodeChange::ProcessDied => self.stack(number).close_all(cx.now),
            NodeChange::PoweredOff => self.stack(number).power_off(),
            NodeChange::Paused | NodeChange::Resumed => {
                self.stack(number);
            }
        }
        self.flush(number, cx);
        self.turn(cx);
    }

    fn describe(&self, node: NodeId, out: &mut Vec<String>) {
        if let Some(stack) = self.stacks.get(node.0 as usize) {
            out.extend(
                stack.table.iter().map(|socket| format!("#{} {}", socket.core.id.0, netstat::line(socket))),
            );
        }
    }

    fn describe_event(&self, token: u64) -> String {
        if token == TURN {
            return "turn of the reactor".to_owned();
        }
        if token & TIMER != 0 {
            let id = SocketId(token & !TIMER);
            let stack = self.stacks.get(id.node() as usize);
            let socket = stack.and_then(|stack| stack.table.get(id.index()));
            return match socket {
                Some(socket) => format!("timer of {}", netstat::line(socket)),
                None => "timer of a socket that is gone".to_owned(),
            };
        }
        if token & SERVICE != 0 {
            return self.fabric.describe_service(token as u32);
        }
        match self.fabric.flight(token as u32) {
            Some(flight) => format!("arrival of {}", flight.packet),
            None => "arrival of nothing".to_owned(),
        }
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
