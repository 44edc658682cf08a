//! Repair: what an acknowledgement means for what is lost, and what is sent again.
//!
//! Owns the order of Linux' reactions: the end of a phase, new losses, the window, repetitions; and probes for a lost tail
//! (RFC 8985). Must not know how losses are found or windows grow. Invariant: while something is on its way, the
//! retransmission timer is set for one of the reasons in [`Pending`].

use std::time::Duration;

use super::Conn;
use super::congestion::Phase;
use super::output::MOST_PAYLOAD;
use super::scoreboard::News;
use super::tcb::Timer;
use crate::packet::{Flags, Segment};

/// What the retransmission timer is set for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Pending {
    /// Nothing was heard for long.
    #[default]
    TimeOut,
    /// The tail may be lost: something is sent that will be answered.
    Probe,
    /// What seems to be late will be lost.
    Reordering,
}

/// A probe for a lost tail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    /// What had been sent then.
    high: u64,
    /// Whether it was nothing new.
    again: bool,
}

/// What is added to the time of a probe, or of waiting for what is late, as a timer has no finer steps.
const TIMER_STEP: Duration = Duration::from_millis(2);
/// What is added where a single segment is on its way, whose acknowledgement may be put off.
const PUT_OFF: Duration = Duration::from_millis(200);

impl Conn<'_> {
    /// What follows from an acknowledgement.
    pub(crate) fn recover(&mut self, segment: &Segment, progress: bool, news: &News) {
        let t = &mut *self.t;
        let numbers = (t.snd_una, t.snd_nxt);
        if progress && let Some(delay) = news.newest_rtt {
            t.congestion.on_delay(delay, numbers.0, numbers.1, self.now);
        }
        if t.probe.is_some() {
            self.end_probe(segment, progress, news);
        }
        let t = &mut *self.t;
        t.congestion.finish_phase(t.snd_una);
        let (lost, wait) = self.find_losses();
        let t = &mut *self.t;
        if t.ecn.is_on && segment.flags.has(Flags::ECE) && t.congestion.phase == Phase::Open {
            t.congestion.shrink(Phase::Reduced, t.snd_nxt);
            t.ecn.reduced();
        }
        let flight = t.board.flight();
        t.congestion.on_ack(news.delivered, (t.snd_una, flight), lost, progress, self.now);
        if progress {
            self.rearm_retransmit();
        }
        if let Some(wait) = wait {
            self.wait_for_late(wait);
        } else if self.t.pending == Pending::Reordering && !progress {
            self.rearm_retransmit();
        }
        if self.t.board.lost() > 0 {
            self.resend_lost();
        }
    }

    /// Looks for losses, and begins to repair the first: whether there are any, and how long to wait until more can be
    /// said.
    fn find_losses(&mut self) -> (bool, Option<Duration>) {
        let t = &mut *self.t;
        let recovering = t.congestion.recovering();
        let (lost, wait) = t.board.detect(self.now, recovering, t.mss.into(), t.round_trip.smoothed());
        if lost > 0 && !recovering {
            t.congestion.shrink(Phase::Recovery, t.snd_nxt);
            t.ecn.reduced();
        }
        (lost > 0, wait)
    }

    /// What seems to be late has some time left.
    fn wait_for_late(&mut self, wait: Duration) {
        self.t.pending = Pending::Reordering;
        self.t.timers.set(Timer::Retransmit, self.now + wait + TIMER_STEP);
    }

    /// Sends again what is lost, as the window allows; whether anything was sent.
    pub(crate) fn resend_lost(&mut self) -> bool {
        let mss = u64::from(self.t.mss);
        let mut sent_any = false;
        while let Some((start, end)) = self.t.board.first_lost() {
            let room = self.t.congestion.window().saturating_sub(self.t.board.flight());
            if room < mss.min(end - start) {
                break;
            }
            let most = (room / mss).max(1) * mss;
            let sent = self.transmit_data(start, (end - start).min(most).min(MOST_PAYLOAD));
            self.t.board.resent(start, start + sent, self.now);
            self.t.congestion.on_sent(sent);
            sent_any = true;
        }
        sent_any
    }

    /// When a probe is due, where one may be sent.
    pub(crate) fn probe_delay(&self) -> Option<Duration> {
        let t = &*self.t;
        let calm = matches!(t.congestion.phase, Phase::Open | Phase::Reduced);
        if !calm || t.probe.is_some() || t.retries > 0 || !t.state.synchronized() {
            return None;
        }
        let single = t.snd_nxt - t.snd_una <= u64::from(t.mss);
        let delay = t.round_trip.smoothed() * 2 + if single { PUT_OFF } else { TIMER_STEP };
        Some(delay).filter(|delay| *delay < t.round_trip.timeout(0))
    }

    /// The tail may be lost: something new is sent, or the last segment again, whatever the window says.
    pub(crate) fn send_tail_probe(&mut self) {
        let mss = u64::from(self.t.mss);
        let before = self.t.snd_nxt;
        let fresh = self.t.send.end().saturating_sub(before);
        let edge = self.t.snd_una + self.t.snd_wnd;
        let again = fresh == 0 || before + fresh.min(mss) > edge;
        if !again {
            self.send_data(fresh.min(mss));
        } else if let Some((start, end)) = self.t.board.tail(mss) {
            let sent = self.transmit_data(start, end - start);
            self.t.board.resent(start, start + sent, self.now);
        }
        self.t.probe = Some(Probe { high: self.t.snd_nxt, again });
        self.rearm_retransmit();
    }

    /// Whether the probe was answered, and what that means.
    fn end_probe(&mut self, segment: &Segment, progress: bool, news: &News) {
        let Some(probe) = self.t.probe.filter(|probe| segment.ack >= probe.high) else { return };
        if !probe.again || segment.ack > probe.high {
            self.t.probe = None;
        } else if !progress && news.delivered == 0 {
            // The peer had it already.
            self.t.probe = None;
        }
        if probe.again && segment.ack > probe.high {
            self.t.congestion.on_mended_tail();
            self.t.ecn.reduced();
        }
    }

    /// What seemed to be late is lost.
    pub(crate) fn on_reordering_over(&mut self) {
        let recovering = self.t.congestion.recovering();
        let (lost, wait) = self.find_losses();
        let t = &mut *self.t;
        if lost && !recovering {
            // As with an acknowledgement that tells of a loss.
            t.congestion.on_ack(u64::from(t.mss), (t.snd_una, t.board.flight()), true, false, self.now);
        }
        self.rearm_retransmit();
        if let Some(wait) = wait {
            self.wait_for_late(wait);
        }
        self.resend_lost();
    }
}
