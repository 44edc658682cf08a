//! The handshake: SYN in both roles, simultaneous open, and a connection to oneself.
//!
//! Owns what happens up to `ESTABLISHED`. Must not know queues of listeners. Invariant: sequence numbers
//! of a node only grow, so that a late segment of an earlier connection is outside every window.

use super::Conn;
use super::congestion::Congestion;
use super::ecn::Ecn;
use super::tcb::{State, Tcb};
use crate::error::Errno;
use crate::packet::{Flags, Segment};

/// Whether a SYN may take the place of a connection in `TIME_WAIT`: it is surely newer.
pub(crate) fn accepts_reuse(t: &Tcb, segment: &Segment) -> bool {
    t.state == State::TimeWait
        && segment.flags.has(Flags::SYN)
        && !segment.flags.has(Flags::ACK)
        && segment.seq > t.rcv_nxt
}

impl Conn<'_> {
    /// Sends SYN, or SYN-ACK in reply to one; also again.
    pub(crate) fn send_syn(&mut self) {
        let flags = match self.t.state {
            State::SynSent => Flags::SYN.with(Ecn::asking(self.core.options.tcp_ecn)),
            _ if self.t.ecn.is_on => Flags::SYN.with(Flags::ACK).with(Flags::ECE),
            _ => Flags::SYN.with(Flags::ACK),
        };
        let iss = self.t.snd_una;
        if self.t.snd_nxt == iss {
            self.t.round_trip.timed = Some((iss + 1, self.now));
        }
        self.t.snd_nxt = iss + 1;
        self.transmit(iss, flags, bytes::Bytes::new());
    }

    /// Sends the first SYN and waits for what comes.
    pub(crate) fn begin(&mut self) {
        self.t.last_received = self.now;
        self.t.stuck_since = self.now;
        self.send_syn();
        self.rearm_retransmit();
    }

    /// Takes the peer's SYN.
    pub(crate) fn take_syn(&mut self, segment: &Segment) {
        let t = &mut *self.t;
        t.irs = segment.seq;
        t.rcv_nxt = segment.seq + 1;
        t.rcv_acked = t.rcv_nxt;
        t.rcv_edge = t.rcv_nxt + self.core.options.receive_buffer as u64 / 2;
        t.snd_wnd = u64::from(segment.window);
        t.max_wnd = t.snd_wnd;
        t.snd_wl1 = segment.seq;
        t.snd_wl2 = segment.ack;
        if segment.mss > 0 && segment.mss < t.mss {
            t.mss = segment.mss;
        }
        if segment.flags.has(Flags::ACK) {
            t.ecn.answered(segment.flags, self.core.options.tcp_ecn);
        } else {
            t.ecn.asked(segment.flags, self.core.options.tcp_ecn);
        }
        t.congestion = Congestion::new(t.mss, self.core.options.congestion);
    }

    pub(crate) fn receive_in_syn_sent(&mut self, segment: &Segment) {
        let flags = segment.flags;
        let acknowledged = flags.has(Flags::ACK) && segment.ack == self.t.snd_nxt;
        if flags.has(Flags::ACK) && !acknowledged {
            if !flags.has(Flags::RST) {
                self.send_bare(segment.ack, Flags::RST);
            }
            return;
        }
        if flags.has(Flags::RST) {
            if acknowledged {
                self.abort(Some(Errno::ECONNREFUSED));
            }
            return;
        }
        if !flags.has(Flags::SYN) {
            return;
        }
        self.t.last_received = self.now;
        self.take_syn(segment);
        if acknowledged {
            self.established(segment);
            self.t.ack_now = true;
            self.output(false);
        } else {
            self.t.state = State::SynReceived;
            self.send_syn();
            self.rearm_retransmit();
        }
    }

    /// Whether a SYN-ACK answers our SYN-ACK: both ends opened at once, or the peer is this socket.
    pub(crate) fn is_answer_to_simultaneous_open(&self, segment: &Segment) -> bool {
        self.t.state == State::SynReceived
            && segment.flags.has(Flags::SYN.with(Flags::ACK))
            && segment.seq == self.t.irs
            && segment.ack == self.t.snd_nxt
    }

    /// The ACK that ends the handshake; false where it does not.
    pub(crate) fn complete_handshake(&mut self, segment: &Segment) -> bool {
        if segment.ack != self.t.snd_nxt {
            self.send_bare(segment.ack, Flags::RST);
            return false;
        }
        self.established(segment);
        if self.core.idle_write_closed {
            // Inherited from a listener that had been shut down before it was one.
            self.shut_write();
        }
        true
    }

    fn established(&mut self, segment: &Segment) {
        self.t.state = State::Established;
        self.t.connected = true;
        self.t.last_sent = self.now;
        self.t.snd_una = segment.ack;
        self.t.snd_wnd = u64::from(segment.window);
        self.t.max_wnd = self.t.max_wnd.max(self.t.snd_wnd);
        self.t.snd_wl1 = segment.seq;
        self.t.snd_wl2 = segment.ack;
        if let Some((_, since)) = self.t.round_trip.timed.take().filter(|_| self.t.retries == 0) {
            self.t.round_trip.sample(self.now - since);
        }
        self.t.retries = 0;
        self.rearm_retransmit();
        self.rearm_keep_alive();
        self.core.wake_all(self.fx);
    }
}
