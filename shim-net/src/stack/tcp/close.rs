//! The end: FIN in both directions, resets, `shutdown` and `close`, and `TIME_WAIT`.
//!
//! Owns every transition out of `ESTABLISHED`. Must not free anything; the stack does when it sees
//! `Closed`. Invariant: the peer of a socket that was closed with unread data hears a reset.

use std::time::Duration;

use super::Conn;
use super::tcb::{State, TIME_WAIT, Timer};
use crate::error::Errno;
use crate::packet::{Flags, Segment};

impl Conn<'_> {
    /// `shutdown(2)` for writing, or the orderly half of `close(2)`.
    pub(crate) fn shut_write(&mut self) {
        if self.t.write_closed {
            return;
        }
        self.t.state = match self.t.state {
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            _ => return,
        };
        self.t.write_closed = true;
        self.core.wake_writers(self.fx);
        self.output(false);
    }

    /// `shutdown(2)` for reading: what is there can still be read.
    pub(crate) fn shut_read(&mut self) {
        self.t.read_closed = true;
        self.core.wake_readers(self.fx);
    }

    /// `close(2)`: the application lets go.
    pub(crate) fn close(&mut self) {
        self.core.detached = true;
        let unread = self.t.receive.len() > 0;
        let at_once = self.core.options.linger == Some(Duration::ZERO);
        self.t.receive.clear();
        match self.t.state {
            State::Closed | State::TimeWait => {}
            State::SynSent => self.finish(),
            State::SynReceived => {
                self.send_reset();
                self.finish();
            }
            _ if unread || at_once => {
                self.send_reset();
                self.finish();
            }
            _ => {
                self.t.timers.stop(Timer::KeepAlive);
                self.shut_write();
                if self.t.state == State::FinWait2 {
                    self.t.timers.set(Timer::Close, self.now + TIME_WAIT);
                }
            }
        }
        self.core.wake_all(self.fx);
    }

    /// The peer's FIN came in order.
    pub(crate) fn on_fin(&mut self) {
        self.t.rcv_nxt += 1;
        self.t.read_eof = true;
        self.t.ack_now = true;
        match self.t.state {
            State::Established => self.t.state = State::CloseWait,
            State::FinWait1 => self.t.state = State::Closing,
            State::FinWait2 => self.enter_time_wait(),
            _ => {}
        }
        self.core.wake_readers(self.fx);
        if self.t.write_closed {
            self.core.wake_writers(self.fx);
        }
    }

    /// The peer acknowledged our FIN.
    pub(crate) fn on_fin_acked(&mut self) {
        match self.t.state {
            State::FinWait1 => {
                self.t.state = State::FinWait2;
                if self.core.detached {
                    self.t.timers.set(Timer::Close, self.now + TIME_WAIT);
                }
            }
            State::Closing => self.enter_time_wait(),
            State::LastAck => self.finish(),
            _ => {}
        }
    }

    fn enter_time_wait(&mut self) {
        self.t.state = State::TimeWait;
        self.t.timers.stop_all();
        self.t.timers.set(Timer::Close, self.now + TIME_WAIT);
    }

    /// The peer repeats its FIN, because our last acknowledgement was lost.
    pub(crate) fn receive_in_time_wait(&mut self, segment: &Segment) {
        if segment.flags.has(Flags::RST) {
            if segment.seq == self.t.rcv_nxt {
                self.finish();
            }
            return;
        }
        if !segment.is_empty() {
            self.send_ack();
            self.t.timers.set(Timer::Close, self.now + TIME_WAIT);
        }
    }

    /// The peer reset the connection.
    pub(crate) fn on_reset(&mut self) {
        if self.t.state == State::SynReceived && self.t.parent.is_some() {
            self.core.detached = true;
            return self.finish();
        }
        let errno = match self.t.state {
            State::SynReceived => Errno::ECONNREFUSED,
            State::CloseWait => Errno::EPIPE,
            _ => Errno::ECONNRESET,
        };
        self.abort(Some(errno));
    }

    /// Ends the connection and tells the application why.
    pub(crate) fn abort(&mut self, errno: Option<Errno>) {
        if errno.is_some() && !self.core.detached {
            self.core.error = errno;
        }
        self.finish();
    }

    /// Ends the connection without a word to the peer. What was received can still be read.
    pub(crate) fn finish(&mut self) {
        self.t.state = State::Closed;
        self.t.timers.stop_all();
        self.t.send.clear();
        self.t.board.clear();
        self.t.out_of_order.clear();
        self.t.held.clear();
        self.t.snd_una = self.t.snd_nxt;
        self.t.ack_now = false;
        self.core.wake_all(self.fx);
    }
}
