//! The transmission control block: everything one end of a connection knows.
//!
//! Owns [`Tcb`], [`State`] and the table of timers. Must not know how segments are handled; the other
//! files of this folder do. Invariant: `snd_una ≤ snd_nxt`, and bytes before `snd_una` are gone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use shim_runtime::clock::SimTime;

use super::congestion::{Algorithm, Congestion};
use super::ecn::Ecn;
use super::recovery::{Pending, Probe};
use super::retransmit::RoundTrip;
use super::scoreboard::Scoreboard;
use crate::stack::buffer::{Ranges, ReceiveBuffer, SendBuffer};

/// The states of RFC 9293 that have a control block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

impl State {
    /// Whether data and acknowledgements flow.
    pub(crate) fn synchronized(self) -> bool {
        !matches!(self, State::SynSent | State::SynReceived | State::Closed)
    }

    /// As `ss` and `netstat` call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::SynSent => "SYN_SENT",
            State::SynReceived => "SYN_RECV",
            State::Established => "ESTABLISHED",
            State::FinWait1 => "FIN_WAIT1",
            State::FinWait2 => "FIN_WAIT2",
            State::CloseWait => "CLOSE_WAIT",
            State::Closing => "CLOSING",
            State::LastAck => "LAST_ACK",
            State::TimeWait => "TIME_WAIT",
            State::Closed => "CLOSE",
        }
    }
}

/// What may be due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Timer {
    /// Something sent was not acknowledged.
    Retransmit,
    /// An acknowledgement was put off.
    DelayedAck,
    /// The peer's window is shut, or a corked rest waits.
    Persist,
    /// Nothing was heard for long.
    KeepAlive,
    /// The end of `TIME_WAIT`, or of waiting for the FIN of a peer whose socket is closed here.
    Close,
}

/// When each timer is due.
#[derive(Debug)]
pub(crate) struct Timers([SimTime; 5]);

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: SimTime) {
        self.0[timer as usize] = at;
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.set(timer, SimTime::MAX);
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.0[timer as usize] != SimTime::MAX
    }

    /// The earliest of all; `MAX` where none is set.
    pub(crate) fn next(&self) -> SimTime {
        self.0.iter().copied().min().unwrap_or(SimTime::MAX)
    }

    /// Takes `timer` if it is due.
    pub(crate) fn take_due(&mut self, timer: Timer, now: SimTime) -> bool {
        let due = self.0[timer as usize] <= now;
        if due {
            self.stop(timer);
        }
        due
    }

    pub(crate) fn stop_all(&mut self) {
        *self = Timers::default();
    }
}

impl Default for Timers {
    fn default() -> Timers {
        Timers([SimTime::MAX; 5])
    }
}

/// One end of a connection.
pub(crate) struct Tcb {
    pub(crate) state: State,
    /// Both addresses in wire form.
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// The listener, until the connection is in its queue.
    pub(crate) parent: Option<u32>,
    /// Whether the connection is in the queue of the listener and was not accepted.
    pub(crate) queued: bool,

    /// The number of our own SYN.
    pub(crate) iss: u64,
    /// The oldest number that is not acknowledged.
    pub(crate) snd_una: u64,
    /// The number to send next: everything before it was sent.
    pub(crate) snd_nxt: u64,
    /// The peer's window, from `snd_una`; and the largest it ever was.
    pub(crate) snd_wnd: u64,
    pub(crate) max_wnd: u64,
    /// The segment that the window was taken from.
    pub(crate) snd_wl1: u64,
    pub(crate) snd_wl2: u64,
    /// The end of the last short segment (Minshall's variant of Nagle's rule).
    pub(crate) snd_small: u64,
    pub(crate) mss: u16,
    pub(crate) send: SendBuffer,
    /// What was sent beyond `snd_una`, and what became of it.
    pub(crate) board: Scoreboard,
    /// Whether the application sends no more: a FIN follows the last byte.
    pub(crate) write_closed: bool,

    /// The number of the peer's SYN.
    pub(crate) irs: u64,
    /// The number that is expected next.
    pub(crate) rcv_nxt: u64,
    /// The end of the window that was last shown to the peer; never goes back.
    pub(crate) rcv_edge: u64,
    /// The last acknowledgement that was sent.
    pub(crate) rcv_acked: u64,
    pub(crate) receive: ReceiveBuffer,
    /// What came too early, by its first number; and the same as ranges, for SACK.
    pub(crate) out_of_order: BTreeMap<u64, Bytes>,
    pub(crate) held: Ranges,
    /// Where the newest piece out of order begins.
    pub(crate) newest: u64,
    /// The number of the peer's FIN, once it is known.
    pub(crate) peer_fin: Option<u64>,
    /// Whether the peer's FIN came in order.
    pub(crate) read_eof: bool,
    /// Whether the application reads no more.
    pub(crate) read_closed: bool,
    /// Whether an acknowledgement must go out with the next segment, or alone.
    pub(crate) ack_now: bool,
    /// How many segments are still acknowledged at once, before delays begin.
    pub(crate) quick_acks: u8,
    /// Whether the application answers what it reads, so that acknowledgements can ride along.
    pub(crate) interactive: bool,
    pub(crate) last_received: SimTime,

    pub(crate) round_trip: RoundTrip,
    pub(crate) congestion: Congestion,
    pub(crate) ecn: Ecn,
    /// What the retransmission timer is set for.
    pub(crate) pending: Pending,
    /// A probe for a lost tail that is on its way.
    pub(crate) probe: Option<Probe>,
    /// When data last left.
    pub(crate) last_sent: SimTime,
    pub(crate) timers: Timers,
    /// How often something was sent again, or probed, without an answer.
    pub(crate) retries: u32,
    /// How often the shut window was probed since it was open.
    pub(crate) probes: u32,
    /// When the first repetition was due.
    pub(crate) stuck_since: SimTime,
    /// Whether the handshake was once complete.
    pub(crate) connected: bool,
    /// Whether the tables have forgotten it.
    pub(crate) unhooked: bool,
    /// Whether the port is the socket's until it is closed, because it was bound.
    pub(crate) keeps_port: bool,
}

impl Tcb {
    /// A block in `state` that sends from `iss` on.
    pub(crate) fn new(state: State, local: SocketAddr, remote: SocketAddr, iss: u64, mss: u16) -> Tcb {
        Tcb {
            state,
            local,
            remote,
            parent: None,
            queued: false,
            iss,
            snd_una: iss,
            snd_nxt: iss,
            snd_wnd: 0,
            max_wnd: 0,
            snd_wl1: 0,
            snd_wl2: 0,
            snd_small: iss,
            mss,
            send: SendBuffer::new(iss + 1),
            board: Scoreboard::default(),
            write_closed: false,
            irs: 0,
            rcv_nxt: 0,
            rcv_edge: 0,
            rcv_acked: 0,
            receive: ReceiveBuffer::default(),
            out_of_order: BTreeMap::new(),
            held: Ranges::default(),
            newest: 0,
            peer_fin: None,
            read_eof: false,
            read_closed: false,
            ack_now: false,
            quick_acks: QUICK_ACKS,
            interactive: false,
            last_received: SimTime::ZERO,
            round_trip: RoundTrip::default(),
            congestion: Congestion::new(mss, Algorithm::default()),
            ecn: Ecn::default(),
            pending: Pending::default(),
            probe: None,
            last_sent: SimTime::ZERO,
            timers: Timers::default(),
            retries: 0,
            probes: 0,
            stuck_since: SimTime::ZERO,
            connected: false,
            unhooked: false,
            keeps_port: false,
        }
    }
}

/// As Linux: the first segments of a connection are acknowledged at once.
pub(crate) const QUICK_ACKS: u8 = 16;
/// How long an acknowledgement is put off.
pub(crate) const DELAYED_ACK: Duration = Duration::from_millis(40);
/// How long a connection stays in `TIME_WAIT`, and without an owner in `FIN_WAIT2`.
pub(crate) const TIME_WAIT: Duration = Duration::from_secs(60);
