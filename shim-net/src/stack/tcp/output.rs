//! What leaves: new data as the windows allow, Nagle's rule, acknowledgements, probes.
//!
//! Owns the making of segments. Must not know what arrives. Invariant: whatever is sent carries the
//! newest acknowledgement and window, and nothing is sent beyond the peer's window.

use std::time::Duration;

use bytes::Bytes;
use shim_runtime::clock::SimTime;

use super::Conn;
use super::recovery::Pending;
use super::tcb::{State, Timer};
use crate::packet::{Body, Flags, Packet, Segment};

/// The largest train of segments that leaves as one, as with segmentation offload.
pub(crate) const MOST_PAYLOAD: u64 = 65_483;
/// How long a corked rest may wait.
const CORK: Duration = Duration::from_millis(200);

impl Conn<'_> {
    /// Sends what may be sent, then a bare acknowledgement if one is due and nothing carried it. With
    /// `force`, a short segment need not wait.
    pub(crate) fn output(&mut self, force: bool) {
        let sends = matches!(
            self.t.state,
            State::Established | State::CloseWait | State::FinWait1 | State::Closing | State::LastAck
        );
        if sends {
            let mut sent = self.t.board.lost() > 0 && self.resend_lost();
            while self.send_next(force) {
                sent = true;
            }
            if sent {
                self.note_sent();
            }
            let waits = self.t.snd_nxt == self.t.snd_una && self.t.send.end() > self.t.snd_nxt;
            if waits && !self.t.timers.is_set(Timer::Persist) {
                let corked = self.core.options.cork && self.t.snd_wnd > 0;
                let delay = if corked { CORK } else { self.t.round_trip.timeout(0) };
                self.t.timers.set(Timer::Persist, self.now + delay);
            }
        }
        if self.t.ack_now {
            self.send_ack();
        }
    }

    /// Sends one segment of data, or the FIN; false where none may go.
    fn send_next(&mut self, force: bool) -> bool {
        let end = self.t.send.end();
        if self.t.snd_nxt >= end {
            return self.send_fin();
        }
        if self.t.snd_nxt == self.t.snd_una {
            let idle = self.now - self.t.last_sent;
            self.t.congestion.on_idle(idle, self.t.round_trip.timeout(0), self.now);
        }
        let len = self.permitted(end - self.t.snd_nxt, force);
        if len > 0 {
            self.send_data(len);
        }
        len > 0
    }

    /// Sends `len` numbers that were not sent before.
    pub(crate) fn send_data(&mut self, len: u64) {
        let seq = self.t.snd_nxt;
        let sent = self.transmit_data(seq, len);
        self.t.snd_nxt = seq + sent;
        self.t.last_sent = self.now;
        self.t.board.sent(seq, self.t.snd_nxt, self.now);
        self.t.congestion.on_sent(sent);
        if sent < u64::from(self.t.mss) {
            self.t.snd_small = self.t.snd_nxt;
        }
    }

    /// Something was sent: how much the window was used, and when to look after it.
    fn note_sent(&mut self) {
        let t = &mut *self.t;
        let flight = t.board.flight();
        let more = t.send.end() > t.snd_nxt || t.board.lost() > 0;
        let limited = more && flight + u64::from(t.mss) > t.congestion.window();
        t.congestion.note_use(limited, (t.snd_una, t.snd_nxt), flight);
        // The time of a probe counts from the last data, that of a time-out from the last acknowledgement.
        if !t.timers.is_set(Timer::Retransmit) || t.pending == Pending::Probe {
            self.rearm_retransmit();
        }
    }

    /// How much of `unsent` bytes may go in one segment now.
    fn permitted(&self, unsent: u64, force: bool) -> u64 {
        let t = &*self.t;
        let mss = u64::from(t.mss);
        let edge = (t.snd_una + t.snd_wnd).saturating_sub(t.snd_nxt);
        let flight = t.board.flight();
        let room = edge.min(t.congestion.window().saturating_sub(flight));
        let len = unsent.min(room).min(MOST_PAYLOAD);
        if len >= mss {
            // Whole segments, and the short rest only at the end of the data.
            return if len == unsent && !self.holds_short(len % mss) { len } else { len - len % mss };
        }
        if len == 0 || force {
            return len;
        }
        if len < unsent {
            // The silly window: waits for more room, unless there is nothing to wait for.
            return if flight == 0 && len * 2 >= t.max_wnd { len } else { 0 };
        }
        if self.holds_short(len) { 0 } else { len }
    }

    /// Whether a last short segment waits: Nagle as Minshall put it, or a cork.
    fn holds_short(&self, len: u64) -> bool {
        let t = &*self.t;
        if len == 0 || t.write_closed {
            return false;
        }
        let small_out = t.snd_small > t.snd_una && t.snd_small <= t.snd_nxt;
        self.core.options.cork || (!self.core.options.no_delay && small_out)
    }

    fn send_fin(&mut self) -> bool {
        let end = self.t.send.end();
        if !self.t.write_closed || self.t.snd_nxt != end {
            return false;
        }
        self.transmit(end, Flags::FIN.with(Flags::ACK), Bytes::new());
        self.t.snd_nxt = end + 1;
        self.t.board.sent(end, end + 1, self.now);
        true
    }

    /// Sends up to `len` numbers from `seq` on, data or the FIN, with the FIN riding on the last data.
    /// Returns how many.
    pub(crate) fn transmit_data(&mut self, seq: u64, len: u64) -> u64 {
        let end = self.t.send.end();
        if seq >= end {
            self.transmit(end, Flags::FIN.with(Flags::ACK), Bytes::new());
            return 1;
        }
        let payload = self.t.send.read(seq, len.min(end - seq) as usize);
        let mut sent = payload.len() as u64;
        let mut flags = Flags::ACK;
        if self.t.write_closed && seq + sent == end {
            flags = flags.with(Flags::FIN);
            sent += 1;
        }
        self.transmit(seq, flags, payload);
        sent
    }

    /// A bare acknowledgement.
    pub(crate) fn send_ack(&mut self) {
        self.transmit(self.t.snd_nxt, Flags::ACK, Bytes::new());
    }

    /// A segment from before the window, which the peer must answer.
    pub(crate) fn send_probe(&mut self) {
        self.transmit(self.t.snd_una - 1, Flags::ACK, Bytes::new());
    }

    /// A reset that the peer will accept.
    pub(crate) fn send_reset(&mut self) {
        self.transmit(self.t.snd_nxt, Flags::RST.with(Flags::ACK), Bytes::new());
    }

    /// A segment with nothing but `seq` and `flags`.
    pub(crate) fn send_bare(&mut self, seq: u64, flags: Flags) {
        let segment =
            Segment { seq, ack: 0, window: 0, flags, mss: 0, sack: Vec::new(), payload: Bytes::new() };
        self.post(segment, 0);
    }

    /// Puts a segment into the outbox, with the newest acknowledgement and window.
    pub(crate) fn transmit(&mut self, seq: u64, flags: Flags, payload: Bytes) {
        let (extra, ecn) = self.t.ecn.on_segment(!payload.is_empty() && seq >= self.t.snd_nxt);
        let flags = if flags.has(Flags::SYN) { flags } else { flags.with(extra) };
        let mut segment =
            Segment { seq, ack: 0, window: 0, flags, mss: self.t.mss, sack: Vec::new(), payload };
        if flags.has(Flags::ACK) {
            segment.ack = self.t.rcv_nxt;
            segment.window = self.window();
            self.t.rcv_acked = self.t.rcv_nxt;
            self.t.ack_now = false;
            self.t.timers.set(Timer::DelayedAck, SimTime::MAX);
            if !self.t.held.is_empty() {
                segment.sack = self.sack();
            }
        } else {
            segment.window = (self.core.options.receive_buffer / 2) as u32;
        }
        self.post(segment, ecn);
    }

    /// The range of the newest arrival first, then the lowest others.
    fn sack(&self) -> Vec<(u64, u64)> {
        let newest = self.t.held.around(self.t.newest);
        let others = self.t.held.iter().filter(|range| Some(*range) != newest);
        newest.into_iter().chain(others).take(4).collect()
    }

    fn post(&mut self, segment: Segment, ecn: u8) {
        self.fx.outbox.push_back(Box::new(Packet {
            source: self.t.local,
            destination: self.t.remote,
            ecn,
            dont_fragment: true,
            body: Body::Tcp(segment),
        }));
    }
}
