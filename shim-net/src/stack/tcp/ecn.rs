//! Explicit congestion notification (RFC 3168): marks of the path, and how they come back to who sends.
//!
//! Owns [`Ecn`] and who may use it. Must not know windows. Invariant: a connection whose handshake did not agree on it
//! sends nothing that says it did.

use crate::packet::Flags;

/// When connections use ECN: `net.ipv4.tcp_ecn`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TcpEcn {
    /// Never.
    Off,
    /// Where the other side asks and where this one does.
    Active,
    /// Where the other side asks: Linux' default.
    #[default]
    Passive,
}

/// What a connection knows of ECN.
#[derive(Debug, Default)]
pub(crate) struct Ecn {
    pub(crate) is_on: bool,
    /// As a receiver: a mark came, and the sender has not said that it knows.
    echoes: bool,
    /// As a sender: the window was reduced, and the receiver shall know.
    tells: bool,
    /// How many marked segments came.
    pub(crate) marked: u64,
}

/// The code points of IP.
pub(crate) const ECT_0: u8 = 2;
const CE: u8 = 3;

impl Ecn {
    /// The flags of a SYN that asks.
    pub(crate) fn asking(mode: TcpEcn) -> Flags {
        if mode == TcpEcn::Active { Flags::ECE.with(Flags::CWR) } else { Flags(0) }
    }

    /// A SYN came; whether we agree, which the SYN-ACK then says.
    pub(crate) fn asked(&mut self, flags: Flags, mode: TcpEcn) {
        self.is_on = mode != TcpEcn::Off && flags.has(Flags::ECE.with(Flags::CWR));
    }

    /// A SYN-ACK came, after we had asked.
    pub(crate) fn answered(&mut self, flags: Flags, mode: TcpEcn) {
        self.is_on = mode == TcpEcn::Active && flags.has(Flags::ECE) && !flags.has(Flags::CWR);
    }

    /// A segment came with these bits of IP and these flags; whether it must be acknowledged at once.
    pub(crate) fn received(&mut self, bits: u8, flags: Flags, has_data: bool) -> bool {
        if !self.is_on {
            return false;
        }
        let knows = has_data && flags.has(Flags::CWR);
        self.echoes &= !knows;
        let marked = bits == CE;
        self.marked += u64::from(marked);
        let news = marked && !self.echoes;
        self.echoes |= marked;
        knows || news
    }

    /// The window was reduced.
    pub(crate) fn reduced(&mut self) {
        self.tells = self.is_on;
    }

    /// What a segment carries: flags, and the bits of IP. Only data that is sent for the first time can be marked.
    pub(crate) fn on_segment(&mut self, fresh_data: bool) -> (Flags, u8) {
        if !self.is_on {
            return (Flags(0), 0);
        }
        let mut flags = if self.echoes { Flags::ECE } else { Flags(0) };
        if fresh_data && std::mem::take(&mut self.tells) {
            flags = flags.with(Flags::CWR);
        }
        (flags, if fresh_data { ECT_0 } else { 0 })
    }
}
