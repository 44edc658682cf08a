//! What arrives: acknowledgements, data in order and out of order, and the receive window.
//!
//! Owns the reaction of a synchronized connection to a segment. Must not decide what to send; it leaves
//! marks for `output`. Invariant: what was shown as window is accepted, and the window's end never goes back.

use super::scoreboard::News;
use super::tcb::{DELAYED_ACK, State, Timer};
use super::{Conn, has_room};
use crate::packet::{Flags, Segment};

impl Conn<'_> {
    /// Takes the acknowledgement, the window and the SACK ranges; false where the segment ends here.
    pub(crate) fn process_ack(&mut self, segment: &Segment) -> bool {
        if segment.ack > self.t.snd_nxt {
            self.t.ack_now = true;
            self.output(false);
            return false;
        }
        let mut news = News::default();
        let progress = segment.ack > self.t.snd_una;
        if progress {
            self.advance(segment.ack, &mut news);
            if self.t.state == State::Closed {
                return false;
            }
        } else if self.t.snd_nxt == self.t.snd_una {
            // A reply to a probe.
            self.t.retries = 0;
        }
        for (start, end) in &segment.sack {
            if *end <= self.t.snd_nxt {
                self.t.board.hold((*start).max(self.t.snd_una), *end, self.now, &mut news);
            }
        }
        self.take_window(segment);
        self.recover(segment, progress, &news);
        true
    }

    /// Everything before `ack` has arrived.
    fn advance(&mut self, ack: u64, news: &mut News) {
        let t = &mut *self.t;
        let had_room = has_room(t, self.core);
        t.send.release(ack);
        t.snd_una = ack;
        t.board.acknowledged(ack, self.now, news);
        t.retries = 0;
        if let Some(round_trip) = news.oldest_rtt {
            t.round_trip.sample(round_trip);
        }
        if !had_room && has_room(t, self.core) {
            self.core.wake_writers(self.fx);
        }
        if self.t.write_closed && ack > self.t.send.end() {
            self.on_fin_acked();
        }
    }

    /// The window of the newest segment counts.
    fn take_window(&mut self, segment: &Segment) {
        let t = &mut *self.t;
        if segment.seq > t.snd_wl1 || (segment.seq == t.snd_wl1 && segment.ack >= t.snd_wl2) {
            t.snd_wnd = u64::from(segment.window);
            t.max_wnd = t.max_wnd.max(t.snd_wnd);
            t.snd_wl1 = segment.seq;
            t.snd_wl2 = segment.ack;
            if t.snd_wnd > 0 {
                t.timers.stop(Timer::Persist);
                t.probes = 0;
            }
        }
    }

    /// Takes the data and the FIN.
    pub(crate) fn process_data(&mut self, segment: Segment) {
        if segment.is_empty()
            || !matches!(self.t.state, State::Established | State::FinWait1 | State::FinWait2)
        {
            return;
        }
        let end = segment.seq + segment.payload.len() as u64;
        let deaf = self.core.detached || (self.t.read_closed && self.t.state != State::Established);
        if deaf && end > self.t.rcv_nxt {
            // Nobody will ever read it: the peer must know.
            self.send_reset();
            return self.abort(None);
        }
        if segment.flags.has(Flags::FIN) && end <= self.t.rcv_edge {
            self.t.peer_fin = Some(end);
        }
        self.take_payload(segment);
        if self.t.peer_fin == Some(self.t.rcv_nxt) && !self.t.read_eof {
            self.on_fin();
        }
    }

    fn take_payload(&mut self, segment: Segment) {
        let t = &mut *self.t;
        let (mut seq, mut payload) = (segment.seq, segment.payload);
        let excess = (seq + payload.len() as u64).saturating_sub(t.rcv_edge);
        payload.truncate(payload.len().saturating_sub(excess as usize));
        if seq < t.rcv_nxt {
            let old = (t.rcv_nxt - seq).min(payload.len() as u64);
            payload = payload.split_off(old as usize);
            seq += old;
        }
        if payload.is_empty() {
            // All of it was known, or beyond the window: the peer shall hear where we are.
            t.ack_now |= excess > 0 || !segment.flags.has(Flags::FIN);
            return;
        }
        if seq > t.rcv_nxt {
            t.newest = seq;
            t.held.insert(seq, seq + payload.len() as u64);
            let known = t.out_of_order.get(&seq).map_or(0, |held| held.len());
            if known < payload.len() {
                t.out_of_order.insert(seq, payload);
            }
            t.ack_now = true;
            return;
        }
        t.rcv_nxt += payload.len() as u64;
        t.receive.push(payload);
        let filled = self.join_out_of_order();
        self.plan_ack(filled);
        self.core.wake_readers(self.fx);
    }

    /// Moves what now is in order; whether there was anything out of order.
    fn join_out_of_order(&mut self) -> bool {
        let t = &mut *self.t;
        if t.out_of_order.is_empty() {
            return false;
        }
        while let Some(entry) = t.out_of_order.first_entry() {
            let seq = *entry.key();
            if seq > t.rcv_nxt {
                break;
            }
            let mut payload = entry.remove();
            let end = seq + payload.len() as u64;
            if end > t.rcv_nxt {
                let fresh = payload.split_off((t.rcv_nxt - seq) as usize);
                t.receive.push(fresh);
                t.rcv_nxt = end;
            }
        }
        t.held.remove_below(t.rcv_nxt);
        true
    }

    /// At once, or a little later in the hope that data will carry it.
    fn plan_ack(&mut self, filled: bool) {
        let t = &mut *self.t;
        let quick = !t.interactive && t.quick_acks > 0 && self.core.options.quick_ack;
        if filled || t.rcv_nxt - t.rcv_acked >= 2 * u64::from(t.mss) {
            t.ack_now = true;
        } else if quick {
            t.quick_acks -= 1;
            t.ack_now = true;
        } else if !t.timers.is_set(Timer::DelayedAck) {
            t.timers.set(Timer::DelayedAck, self.now + DELAYED_ACK);
        }
    }

    /// The application has read: shows the peer a window that has at least doubled.
    pub(crate) fn after_read(&mut self) {
        let t = &mut *self.t;
        if t.read_eof || !t.state.synchronized() {
            return;
        }
        let room = (self.core.options.receive_buffer / 2).saturating_sub(t.receive.len()) as u64;
        let shown = t.rcv_edge - t.rcv_nxt;
        if room > shown && room >= 2 * shown && room >= self.least_window_step() {
            self.t.ack_now = true;
            self.output(false);
        }
    }

    /// A window grows in steps of at least this much (RFC 9293, 3.8.6.2.2).
    fn least_window_step(&self) -> u64 {
        (self.core.options.receive_buffer as u64 / 4).min(self.t.mss.into()).max(1)
    }

    /// The window to show, from `rcv_nxt`.
    pub(crate) fn window(&mut self) -> u32 {
        let capacity = self.core.options.receive_buffer as u64 / 2;
        let room = capacity.saturating_sub(self.t.receive.len() as u64);
        let step = self.least_window_step();
        let t = &mut *self.t;
        if t.rcv_nxt + room >= t.rcv_edge + step {
            t.rcv_edge = t.rcv_nxt + room;
        }
        t.rcv_edge.saturating_sub(t.rcv_nxt) as u32
    }
}
