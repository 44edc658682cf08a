//! `TCP_INFO`: what a kernel tells of a connection.
//!
//! Owns the layout of Linux' `struct tcp_info`, up to the window of the peer. Must not change anything. Invariant: what is
//! not known here is zero.

use shim_runtime::clock::SimTime;

use super::tcb::{State, Tcb};
use super::{Tcp, congestion::Phase};

/// The size of what is told, in bytes.
const BYTES: usize = 232;
/// SACK and window scaling, which every connection here has, and ECN.
const HAS_SACK: u8 = 2;
const HAS_SCALING: u8 = 4;
const HAS_ECN: u8 = 8;
const ECN_SEEN: u8 = 16;
/// As Linux: a threshold that was never lowered.
const NO_THRESHOLD: u32 = 0x7fff_ffff;
const REORDERING: u32 = 3;

/// The number that Linux has for a state.
fn number(state: State) -> u8 {
    match state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => 7,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Closing => 11,
    }
}

/// Places of fields, in bytes.
struct Info([u8; BYTES]);

impl Info {
    fn u32(&mut self, at: usize, value: u64) {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn u64(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }
}

/// What `getsockopt(2)` gives.
pub(crate) fn tcp_info(tcp: &Tcp, now: SimTime) -> Vec<u8> {
    let mut info = Info([0; BYTES]);
    match tcp {
        Tcp::Idle => info.0[0] = 7,
        Tcp::Listener(listener) => {
            info.0[0] = 10;
            info.u32(24, listener.ready.len() as u64);
            info.u32(28, u64::from(listener.backlog));
        }
        Tcp::Connection(t) => connection(t, now, &mut info),
    }
    info.0.to_vec()
}

fn connection(t: &Tcb, now: SimTime, info: &mut Info) {
    let mss = u64::from(t.mss);
    let segments = |bytes: u64| bytes.div_ceil(mss.max(1));
    let micros = |time: std::time::Duration| time.as_micros() as u64;
    let phase =
        if t.congestion.phase == Phase::Open && t.board.held() > 0 { 1 } else { t.congestion.phase as u8 };
    info.0[..3].copy_from_slice(&[number(t.state), phase, t.retries.min(255) as u8]);
    (info.0[3], info.0[4]) = (t.probes.min(255) as u8, t.retries.min(255) as u8);
    let seen = if t.ecn.marked > 0 { ECN_SEEN } else { 0 };
    info.0[5] = HAS_SACK | HAS_SCALING | if t.ecn.is_on { HAS_ECN | seen } else { 0 };
    info.u32(8, micros(t.round_trip.timeout(t.retries)));
    info.u32(12, micros(super::tcb::DELAYED_ACK));
    info.u32(16, mss);
    info.u32(20, mss);
    info.u32(24, segments(t.snd_nxt - t.snd_una));
    info.u32(28, segments(t.board.held()));
    info.u32(32, segments(t.board.lost()));
    info.u32(36, segments(t.board.resent_flight()));
    info.u32(44, (now - t.last_sent).as_millis() as u64);
    info.u32(52, (now - t.last_received).as_millis() as u64);
    info.u32(56, (now - t.last_received).as_millis() as u64);
    info.u32(60, mss + 40);
    info.u32(68, if t.connected { micros(t.round_trip.smoothed()) } else { 0 });
    info.u32(72, micros(t.round_trip.variation()));
    let threshold = t.congestion.threshold();
    info.u32(76, if threshold == u64::MAX { NO_THRESHOLD.into() } else { threshold / mss });
    info.u32(80, t.congestion.window() / mss);
    info.u32(84, mss);
    info.u32(88, REORDERING.into());
    info.u32(96, t.rcv_edge - t.rcv_nxt);
    info.u32(100, segments(t.board.resent_bytes));
    info.u64(120, t.snd_una.saturating_sub(t.iss + 1));
    info.u64(128, t.rcv_nxt.saturating_sub(t.irs + 1));
    info.u32(144, t.send.end().saturating_sub(t.snd_nxt));
    info.u32(148, micros(t.board.least_rtt().unwrap_or_default()));
    info.u64(200, t.snd_nxt.saturating_sub(t.iss + 1) + t.board.resent_bytes);
    info.u64(208, t.board.resent_bytes);
    info.u32(220, u64::from(t.board.reorders()));
    info.u32(228, t.snd_wnd);
}
