//! What a connection does when it learns that its segments are too large.
//!
//! Owns the reaction of TCP to path MTU discovery (RFC 1191, section 6.5). Must not know who told. Invariant: segments
//! only become smaller; a connection does not try larger ones again.

use super::Conn;

impl Conn<'_> {
    /// The way to the peer takes no larger segments than those of `size` bytes: what is on its way, and may have been
    /// too large, is cut anew and sent again. It is no sign of congestion.
    pub(crate) fn lower_mss(&mut self, size: u16) {
        if size >= self.t.mss || !self.t.state.synchronized() {
            return;
        }
        self.t.mss = size;
        self.t.congestion.set_mss(size);
        if self.t.snd_nxt > self.t.snd_una {
            self.t.board.lose_all();
            self.resend_lost();
            self.rearm_retransmit();
        }
    }
}
