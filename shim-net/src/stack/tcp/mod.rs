//! TCP: from a segment to the file that knows what to do with it.
//!
//! Owns [`Tcp`], [`Conn`] and the order in which a segment is looked at (RFC 9293, section 3.10.7).
//! Must not know tables or other sockets. Invariant: after each call the connection's timers say when it
//! must be called again.
//!
//! | file | what it knows |
//! |---|---|
//! | `tcb` | the control block, its states and timers |
//! | `connect` | `connect(2)` |
//! | `handshake` | SYN in both roles |
//! | `listen` | listeners, their queues, `accept` |
//! | `data` | acknowledgements, arriving data, the receive window |
//! | `output` | what to send and when |
//! | `close` | FIN, RST, `shutdown`, `close` |
//! | `retransmit` | round-trip times and what happens when a timer is due |
//! | `scoreboard` | what was sent, and which of it is lost |
//! | `recovery` | what is sent again, and when |
//! | `congestion`, `cubic` | the congestion window |
//! | `ecn` | marks of the path |
//! | `info` | `TCP_INFO` |

mod close;
pub(crate) mod congestion;
mod connect;
mod cubic;
mod data;
pub(crate) mod ecn;
mod handshake;
mod info;
mod listen;
mod output;
mod path_mtu;
mod recovery;
mod retransmit;
mod scoreboard;
mod tcb;

pub(crate) use handshake::accepts_reuse;
pub(crate) use info::tcp_info;
pub(crate) use listen::Listener;
pub(crate) use tcb::{State, Tcb};

use shim_runtime::clock::SimTime;

use super::buffer::Sink;
use super::readiness::Events;
use super::socket::{Core, Effects};
use crate::error::{Errno, Result};
use crate::packet::{Flags, Segment};

/// What a TCP socket is at the moment.
pub(crate) enum Tcp {
    /// New, or only bound.
    Idle,
    Listener(Listener),
    Connection(Box<Tcb>),
}

/// A connection for the time of one call.
pub(crate) struct Conn<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) t: &'a mut Tcb,
    pub(crate) fx: &'a mut Effects,
    pub(crate) now: SimTime,
}

impl Conn<'_> {
    /// A segment arrived in a packet with these bits of ECN.
    pub(crate) fn receive(&mut self, mut segment: Segment, ecn: u8) {
        match self.t.state {
            State::Closed => return,
            State::SynSent => return self.receive_in_syn_sent(&segment),
            State::TimeWait => return self.receive_in_time_wait(&segment),
            _ => {}
        }
        self.t.last_received = self.now;
        if self.is_answer_to_simultaneous_open(&segment) {
            segment.flags = segment.flags.without(Flags::SYN);
            segment.seq += 1;
        }
        if !self.acceptable(&segment) {
            if !segment.flags.has(Flags::RST) {
                self.answer_unacceptable(&segment);
            }
            return;
        }
        if segment.flags.has(Flags::RST) && self.is_exact_reset(&segment) {
            return self.on_reset();
        }
        if segment.flags.has(Flags::RST) || segment.flags.has(Flags::SYN) {
            // RFC 5961: the peer shall prove that it is the peer.
            self.t.ack_now = true;
            return self.output(false);
        }
        if !segment.flags.has(Flags::ACK) {
            return;
        }
        if self.t.state == State::SynReceived && !self.complete_handshake(&segment) {
            return;
        }
        if self.process_ack(&segment) {
            self.t.ack_now |= self.t.ecn.received(ecn, segment.flags, !segment.payload.is_empty());
            self.process_data(segment);
            self.output(false);
        }
    }

    /// Whether the segment touches the receive window.
    fn acceptable(&self, segment: &Segment) -> bool {
        let (start, end) = (segment.seq, segment.seq + segment.len());
        if segment.is_empty() {
            (self.t.rcv_nxt..=self.t.rcv_edge).contains(&start)
        } else {
            // A FIN alone needs no room.
            end > self.t.rcv_nxt
                && (start < self.t.rcv_edge || (start == self.t.rcv_nxt && segment.payload.is_empty()))
        }
    }

    /// Whether a reset in the window is where only the peer can know that it must be: behind all that has come, with or
    /// without gaps. As Linux, that is not asked of a handshake.
    fn is_exact_reset(&self, segment: &Segment) -> bool {
        let t = &*self.t;
        t.state == State::SynReceived || segment.seq == t.rcv_nxt || t.held.end() == Some(segment.seq)
    }

    /// An old or far segment: says again what is expected, and repeats a lost SYN-ACK.
    fn answer_unacceptable(&mut self, segment: &Segment) {
        if self.t.state == State::SynReceived {
            if segment.flags.has(Flags::SYN) {
                self.send_syn();
            }
            return;
        }
        // An acknowledgement may ride on data that came twice.
        if segment.flags.has(Flags::ACK) && !segment.flags.has(Flags::SYN) && segment.seq <= self.t.rcv_edge {
            self.process_ack(segment);
        }
        if self.t.state != State::Closed {
            self.t.ack_now = true;
            self.output(false);
        }
    }
}

impl Tcp {
    /// The connection, if it is one.
    pub(crate) fn connection(&self) -> Option<&Tcb> {
        match self {
            Tcp::Connection(t) => Some(t),
            _ => None,
        }
    }

    /// What `poll(2)` would show.
    pub(crate) fn events(&self, core: &Core) -> Events {
        let error = core.error.is_some();
        let t = match self {
            Tcp::Idle => {
                return Events {
                    readable: core.idle_read_closed,
                    writable: true,
                    read_hang_up: core.idle_read_closed,
                    hang_up: true,
                    error,
                    ..Events::default()
                };
            }
            Tcp::Listener(listener) => {
                return Events { readable: !listener.ready.is_empty(), ..Events::default() };
            }
            Tcp::Connection(t) => t,
        };
        if matches!(t.state, State::SynSent | State::SynReceived) {
            return Events { error, ..Events::default() };
        }
        let closed = t.state == State::Closed;
        let read_over = t.read_eof || t.read_closed || closed || core.idle_read_closed;
        let write_over = t.write_closed || closed || core.idle_write_closed;
        Events {
            readable: t.receive.len() > 0 || read_over,
            writable: write_over || has_room(t, core),
            read_hang_up: read_over,
            hang_up: read_over && write_over,
            error,
            ..Events::default()
        }
    }
}

/// Whether a writer should be told that it may write: a third of the buffer is free, as on Linux.
pub(crate) fn has_room(t: &Tcb, core: &Core) -> bool {
    let limit = core.options.send_buffer / 2;
    limit.saturating_sub(t.send.len()) * 2 >= t.send.len()
}

impl Conn<'_> {
    /// `recv(2)`.
    pub(crate) fn recv(&mut self, sink: &mut impl Sink, peek: bool) -> Result<usize> {
        if matches!(self.t.state, State::SynSent | State::SynReceived) {
            self.core.check_error()?;
            return Err(Errno::EAGAIN);
        }
        if self.t.receive.len() > 0 {
            let len = self.t.receive.read(sink, peek);
            if !peek && self.t.state != State::Closed {
                self.after_read();
            }
            return Ok(len);
        }
        if self.t.read_eof {
            // As Linux: after the end no error is told of.
            return Ok(0);
        }
        self.core.check_error()?;
        // As Linux: also where nothing was asked for, there must be something, or the end.
        let over = self.t.read_closed || self.core.idle_read_closed;
        let over = over || self.t.state == State::Closed;
        if over { Ok(0) } else { Err(Errno::EAGAIN) }
    }

    /// `send(2)`.
    pub(crate) fn send(&mut self, data: &[std::io::IoSlice<'_>]) -> Result<usize> {
        self.core.check_error()?;
        if self.t.write_closed || self.core.idle_write_closed || self.t.state == State::Closed {
            return Err(Errno::EPIPE);
        }
        if matches!(self.t.state, State::SynSent | State::SynReceived) {
            return Err(Errno::EAGAIN);
        }
        let limit = self.core.options.send_buffer / 2;
        let room = limit.saturating_sub(self.t.send.len());
        if room == 0 {
            return Err(Errno::EAGAIN);
        }
        let len = self.t.send.write(data, room);
        if !self.t.interactive && self.now - self.t.last_received < tcb::DELAYED_ACK {
            self.t.interactive = self.t.connected && self.t.rcv_nxt > self.t.irs + 1;
        }
        self.output(false);
        Ok(len)
    }
}
