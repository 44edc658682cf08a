//! Socket options: their names, their values, and what a socket remembers of them.
//!
//! Owns [`Name`], [`Value`] and `Options`. Must not know what an option does to a connection. Invariant:
//! an option that the kernel does not know is refused with `ENOPROTOOPT`, never silently taken.

use std::collections::BTreeMap;
use std::time::Duration;

use super::tcp::congestion::Algorithm;
use super::tcp::ecn::TcpEcn;
use crate::error::{Errno, Result};

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $level:ident $option:ident,)*) => {
        /// The name of a socket option.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Name {
            $($(#[$doc])* $name,)*
        }

        impl Name {
            /// The option that `setsockopt(2)` calls `option` at `level`.
            pub fn from_raw(level: i32, option: i32) -> Option<Name> {
                $(if (level, option) == (libc::$level, libc::$option) {
                    return Some(Name::$name);
                })*
                None
            }
        }
    };
}

names! {
    /// `SO_REUSEADDR`
    ReuseAddress = SOL_SOCKET SO_REUSEADDR,
    /// `SO_REUSEPORT`
    ReusePort = SOL_SOCKET SO_REUSEPORT,
    /// `SO_KEEPALIVE`
    KeepAlive = SOL_SOCKET SO_KEEPALIVE,
    /// `SO_LINGER`
    Linger = SOL_SOCKET SO_LINGER,
    /// `SO_RCVBUF`
    ReceiveBuffer = SOL_SOCKET SO_RCVBUF,
    /// `SO_SNDBUF`
    SendBuffer = SOL_SOCKET SO_SNDBUF,
    /// `SO_BROADCAST`
    Broadcast = SOL_SOCKET SO_BROADCAST,
    /// `SO_ERROR`: reading takes the error away.
    Error = SOL_SOCKET SO_ERROR,
    /// `SO_TYPE`, read only.
    Type = SOL_SOCKET SO_TYPE,
    /// `SO_DOMAIN`, read only.
    Domain = SOL_SOCKET SO_DOMAIN,
    /// `SO_PROTOCOL`, read only.
    Protocol = SOL_SOCKET SO_PROTOCOL,
    /// `SO_ACCEPTCONN`, read only.
    AcceptsConnections = SOL_SOCKET SO_ACCEPTCONN,
    /// `SO_RCVTIMEO`, stored for the blocking layer.
    ReceiveTimeout = SOL_SOCKET SO_RCVTIMEO,
    /// `SO_SNDTIMEO`, stored for the blocking layer.
    SendTimeout = SOL_SOCKET SO_SNDTIMEO,
    /// `SO_BINDTODEVICE`, stored.
    BindToDevice = SOL_SOCKET SO_BINDTODEVICE,
    /// `SO_MARK`, stored.
    Mark = SOL_SOCKET SO_MARK,
    /// `SO_PRIORITY`, stored.
    Priority = SOL_SOCKET SO_PRIORITY,
    /// `SO_OOBINLINE`, stored.
    OutOfBandInline = SOL_SOCKET SO_OOBINLINE,
    /// `SO_TIMESTAMPNS`, stored.
    Timestamp = SOL_SOCKET SO_TIMESTAMPNS,
    /// `SO_RXQ_OVFL`, stored.
    OverflowCount = SOL_SOCKET SO_RXQ_OVFL,
    /// `SO_PASSCRED`, stored.
    PassCredentials = SOL_SOCKET SO_PASSCRED,
    /// `SO_INCOMING_CPU`, stored.
    IncomingCpu = SOL_SOCKET SO_INCOMING_CPU,
    /// `TCP_NODELAY`
    NoDelay = IPPROTO_TCP TCP_NODELAY,
    /// `TCP_KEEPIDLE`
    KeepIdle = IPPROTO_TCP TCP_KEEPIDLE,
    /// `TCP_KEEPINTVL`
    KeepInterval = IPPROTO_TCP TCP_KEEPINTVL,
    /// `TCP_KEEPCNT`
    KeepCount = IPPROTO_TCP TCP_KEEPCNT,
    /// `TCP_USER_TIMEOUT`
    UserTimeout = IPPROTO_TCP TCP_USER_TIMEOUT,
    /// `TCP_QUICKACK`
    QuickAck = IPPROTO_TCP TCP_QUICKACK,
    /// `TCP_CORK`
    Cork = IPPROTO_TCP TCP_CORK,
    /// `TCP_MAXSEG`
    MaxSegment = IPPROTO_TCP TCP_MAXSEG,
    /// `TCP_DEFER_ACCEPT`, stored.
    DeferAccept = IPPROTO_TCP TCP_DEFER_ACCEPT,
    /// `TCP_FASTOPEN`, stored.
    FastOpen = IPPROTO_TCP TCP_FASTOPEN,
    /// `TCP_FASTOPEN_CONNECT`, stored.
    FastOpenConnect = IPPROTO_TCP TCP_FASTOPEN_CONNECT,
    /// `TCP_SYNCNT`
    SynCount = IPPROTO_TCP TCP_SYNCNT,
    /// `TCP_NOTSENT_LOWAT`, stored.
    NotSentLowWater = IPPROTO_TCP TCP_NOTSENT_LOWAT,
    /// `TCP_THIN_LINEAR_TIMEOUTS`, stored.
    ThinLinearTimeouts = IPPROTO_TCP TCP_THIN_LINEAR_TIMEOUTS,
    /// `TCP_CONGESTION`
    Congestion = IPPROTO_TCP TCP_CONGESTION,
    /// `TCP_INFO`, read only.
    TcpInfo = IPPROTO_TCP TCP_INFO,
    /// `UDP_SEGMENT`
    UdpSegment = SOL_UDP UDP_SEGMENT,
    /// `UDP_GRO`
    UdpReceiveOffload = SOL_UDP UDP_GRO,
    /// `IP_TTL`
    Ttl = IPPROTO_IP IP_TTL,
    /// `IP_TOS`
    Tos = IPPROTO_IP IP_TOS,
    /// `IP_PKTINFO`, stored: the destination is always known.
    PacketInfo = IPPROTO_IP IP_PKTINFO,
    /// `IP_RECVTOS`, stored: the ECN bits are always known.
    ReceiveTos = IPPROTO_IP IP_RECVTOS,
    /// `IP_MTU_DISCOVER`
    MtuDiscover = IPPROTO_IP IP_MTU_DISCOVER,
    /// `IP_MTU`, read only, of connected sockets.
    Mtu = IPPROTO_IP IP_MTU,
    /// `IP_MULTICAST_TTL`, stored.
    MulticastTtl = IPPROTO_IP IP_MULTICAST_TTL,
    /// `IP_MULTICAST_LOOP`, stored.
    MulticastLoop = IPPROTO_IP IP_MULTICAST_LOOP,
    /// `IP_MULTICAST_IF`, stored.
    MulticastInterface = IPPROTO_IP IP_MULTICAST_IF,
    /// `IP_ADD_MEMBERSHIP`, stored.
    AddMembership = IPPROTO_IP IP_ADD_MEMBERSHIP,
    /// `IP_DROP_MEMBERSHIP`, stored.
    DropMembership = IPPROTO_IP IP_DROP_MEMBERSHIP,
    /// `IP_BIND_ADDRESS_NO_PORT`, stored.
    BindAddressNoPort = IPPROTO_IP IP_BIND_ADDRESS_NO_PORT,
    /// `IP_RECVERR`: errors come to unconnected sockets, too, as the pending error.
    ReceiveErrors = IPPROTO_IP IP_RECVERR,
    /// `IP_TRANSPARENT`, stored.
    Transparent = IPPROTO_IP IP_TRANSPARENT,
    /// `IP_FREEBIND`: binds to an address that the node does not have.
    FreeBind = IPPROTO_IP IP_FREEBIND,
    /// `IPV6_V6ONLY`
    OnlyV6 = IPPROTO_IPV6 IPV6_V6ONLY,
    /// `IPV6_TCLASS`
    TrafficClass = IPPROTO_IPV6 IPV6_TCLASS,
    /// `IPV6_UNICAST_HOPS`
    UnicastHops = IPPROTO_IPV6 IPV6_UNICAST_HOPS,
    /// `IPV6_RECVPKTINFO`, stored.
    ReceivePacketInfoV6 = IPPROTO_IPV6 IPV6_RECVPKTINFO,
    /// `IPV6_RECVTCLASS`, stored.
    ReceiveTrafficClass = IPPROTO_IPV6 IPV6_RECVTCLASS,
    /// `IPV6_MTU_DISCOVER`
    MtuDiscoverV6 = IPPROTO_IPV6 IPV6_MTU_DISCOVER,
    /// `IPV6_MTU`, read only, of connected sockets.
    MtuV6 = IPPROTO_IPV6 IPV6_MTU,
    /// `IPV6_DONTFRAG`
    DontFragmentV6 = IPPROTO_IPV6 IPV6_DONTFRAG,
    /// `IPV6_RECVERR`, stored.
    ReceiveErrorsV6 = IPPROTO_IPV6 IPV6_RECVERR,
    /// `IPV6_MULTICAST_HOPS`, stored.
    MulticastHopsV6 = IPPROTO_IPV6 IPV6_MULTICAST_HOPS,
    /// `IPV6_MULTICAST_LOOP`, stored.
    MulticastLoopV6 = IPPROTO_IPV6 IPV6_MULTICAST_LOOP,
    /// `IPV6_MULTICAST_IF`, stored.
    MulticastInterfaceV6 = IPPROTO_IPV6 IPV6_MULTICAST_IF,
    /// `IPV6_ADD_MEMBERSHIP`, stored.
    AddMembershipV6 = IPPROTO_IPV6 IPV6_ADD_MEMBERSHIP,
    /// `IPV6_DROP_MEMBERSHIP`, stored.
    DropMembershipV6 = IPPROTO_IPV6 IPV6_DROP_MEMBERSHIP,
    /// `NETLINK_ADD_MEMBERSHIP`, write only.
    NetlinkAddMembership = SOL_NETLINK NETLINK_ADD_MEMBERSHIP,
    /// `NETLINK_DROP_MEMBERSHIP`, write only.
    NetlinkDropMembership = SOL_NETLINK NETLINK_DROP_MEMBERSHIP,
    /// `NETLINK_PKTINFO`
    NetlinkPacketInfo = SOL_NETLINK NETLINK_PKTINFO,
    /// `NETLINK_BROADCAST_ERROR`: kept.
    NetlinkBroadcastError = SOL_NETLINK NETLINK_BROADCAST_ERROR,
    /// `NETLINK_NO_ENOBUFS`
    NetlinkNoEnobufs = SOL_NETLINK NETLINK_NO_ENOBUFS,
    /// `NETLINK_LISTEN_ALL_NSID`: not without privileges.
    NetlinkListenAllNamespaces = SOL_NETLINK NETLINK_LISTEN_ALL_NSID,
    /// `NETLINK_LIST_MEMBERSHIPS`, read only.
    NetlinkMemberships = SOL_NETLINK NETLINK_LIST_MEMBERSHIPS,
    /// `NETLINK_CAP_ACK`
    NetlinkCapAck = SOL_NETLINK NETLINK_CAP_ACK,
    /// `NETLINK_EXT_ACK`: kept; errors have their numbers alone.
    NetlinkExtAck = SOL_NETLINK NETLINK_EXT_ACK,
    /// `NETLINK_GET_STRICT_CHK`
    NetlinkStrictCheck = SOL_NETLINK NETLINK_GET_STRICT_CHK,
}

/// The value of a socket option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A number, or a flag as 0 or 1.
    Int(i32),
    /// `SO_LINGER`: `None` where it is off.
    Linger(Option<Duration>),
    /// A time-out: `None` where there is none.
    Timeout(Option<Duration>),
    /// Anything else, as bytes.
    Bytes(Vec<u8>),
}

impl Value {
    /// The number.
    pub(crate) fn int(&self) -> Result<i32> {
        match self {
            Value::Int(value) => Ok(*value),
            _ => Err(Errno::EINVAL),
        }
    }

    fn positive(&self, high: i32) -> Result<u32> {
        match self.int()? {
            value if (1..=high).contains(&value) => Ok(value as u32),
            _ => Err(Errno::EINVAL),
        }
    }

    fn flag(&self) -> Result<bool> {
        Ok(self.int()? != 0)
    }
}

/// The default of `SO_RCVBUF` and `SO_SNDBUF` of a TCP socket. Half of it is for data, as on Linux, where
/// the other half stands for overhead; Linux begins lower and grows to about this.
pub(crate) const TCP_BUFFER: usize = 2 << 20;
/// The default of `SO_RCVBUF` and `SO_SNDBUF` of a UDP or Unix socket, and the most that can be asked for.
pub(crate) const CORE_BUFFER: usize = 212_992;

/// `IP_MTU_DISCOVER`: what a socket does with what is known of the way to its peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MtuDiscovery {
    /// Fragments whatever is too long.
    Dont,
    /// Fragments what is longer than the way is known to take. (Linux forbids routers to fragment the rest; here they
    /// may, so that no first datagram is lost on a narrow way.)
    Want,
    /// Forbids fragments, and refuses what is longer than the way is known to take.
    Do,
    /// Forbids fragments, and finds out by itself what the way takes.
    Probe,
}

impl MtuDiscovery {
    fn from_raw(mode: i32) -> Result<MtuDiscovery> {
        match mode {
            libc::IP_PMTUDISC_DONT | libc::IP_PMTUDISC_INTERFACE | libc::IP_PMTUDISC_OMIT => {
                Ok(MtuDiscovery::Dont)
            }
            libc::IP_PMTUDISC_WANT => Ok(MtuDiscovery::Want),
            libc::IP_PMTUDISC_DO => Ok(MtuDiscovery::Do),
            libc::IP_PMTUDISC_PROBE => Ok(MtuDiscovery::Probe),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Whether the socket is told of what was too big. As Linux: who has turned discovery off does not care; of IPv6
    /// also who probes.
    pub(crate) fn cares(self, v4: bool) -> bool {
        match self {
            MtuDiscovery::Dont => false,
            MtuDiscovery::Probe => v4,
            MtuDiscovery::Want | MtuDiscovery::Do => true,
        }
    }
}

/// What a socket's options are set to.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    pub(crate) keep_alive: bool,
    pub(crate) linger: Option<Duration>,
    pub(crate) receive_buffer: usize,
    pub(crate) send_buffer: usize,
    pub(crate) broadcast: bool,
    pub(crate) no_delay: bool,
    pub(crate) cork: bool,
    pub(crate) quick_ack: bool,
    pub(crate) keep_idle: Duration,
    pub(crate) keep_interval: Duration,
    pub(crate) keep_count: u32,
    pub(crate) user_timeout: Option<Duration>,
    pub(crate) max_segment: u16,
    pub(crate) syn_count: u32,
    pub(crate) only_v6: bool,
    pub(crate) free_bind: bool,
    pub(crate) tos: u8,
    pub(crate) mtu_discovery: MtuDiscovery,
    /// `IPV6_DONTFRAG`.
    pub(crate) dont_fragment: bool,
    pub(crate) congestion: Algorithm,
    pub(crate) tcp_ecn: TcpEcn,
    pub(crate) udp_segment: u16,
    pub(crate) udp_receive_offload: bool,
    /// Options that change nothing here: their values are given back.
    stored: BTreeMap<Name, Value>,
}

impl Options {
    /// What a new socket has.
    pub(crate) fn new(tcp: bool) -> Options {
        let buffer = if tcp { TCP_BUFFER } else { CORE_BUFFER };
        Options {
            reuse_address: false,
            reuse_port: false,
            keep_alive: false,
            linger: None,
            receive_buffer: buffer,
            send_buffer: buffer,
            broadcast: false,
            no_delay: false,
            cork: false,
            quick_ack: true,
            keep_idle: Duration::from_secs(7200),
            keep_interval: Duration::from_secs(75),
            keep_count: 9,
            user_timeout: None,
            max_segment: 0,
            syn_count: 6,
            only_v6: false,
            free_bind: false,
            tos: 0,
            mtu_discovery: MtuDiscovery::Want,
            dont_fragment: false,
            congestion: Algorithm::default(),
            tcp_ecn: TcpEcn::default(),
            udp_segment: 0,
            udp_receive_offload: false,
            stored: BTreeMap::new(),
        }
    }

    /// Sets an option.
    pub(crate) fn set(&mut self, name: Name, value: Value) -> Result<()> {
        let seconds = |high| value.positive(high).map(|value| Duration::from_secs(value.into()));
        match name {
            Name::ReuseAddress => self.reuse_address = value.flag()?,
            Name::ReusePort => self.reuse_port = value.flag()?,
            Name::KeepAlive => self.keep_alive = value.flag()?,
            Name::Linger => match value {
                Value::Linger(linger) => self.linger = linger,
                _ => return Err(Errno::EINVAL),
            },
            Name::ReceiveBuffer => self.receive_buffer = buffer_size(value.int()?, 2304),
            Name::SendBuffer => self.send_buffer = buffer_size(value.int()?, 4608),
            Name::Broadcast => self.broadcast = value.flag()?,
            Name::NoDelay => self.no_delay = value.flag()?,
            Name::Cork => self.cork = value.flag()?,
            Name::QuickAck => self.quick_ack = value.flag()?,
            Name::KeepIdle => self.keep_idle = seconds(32_767)?,
            Name::KeepInterval => self.keep_interval = seconds(32_767)?,
            Name::KeepCount => self.keep_count = value.positive(127)?,
            Name::UserTimeout => match value.int()? {
                0 => self.user_timeout = None,
                millis if millis > 0 => self.user_timeout = Some(Duration::from_millis(millis as u64)),
                _ => return Err(Errno::EINVAL),
            },
            Name::MaxSegment => match value.int()? {
                bytes @ 88..=32_767 => self.max_segment = bytes as u16,
                _ => return Err(Errno::EINVAL),
            },
            Name::SynCount => self.syn_count = value.positive(127)?,
            Name::OnlyV6 => self.only_v6 = value.flag()?,
            Name::FreeBind => self.free_bind = value.flag()?,
            Name::Tos | Name::TrafficClass => match value.int()? {
                -1 => self.tos = 0,
                tos @ 0..=255 => self.tos = tos as u8,
                _ => return Err(Errno::EINVAL),
            },
            Name::UdpSegment => match value.int()? {
                bytes @ 0..=65_535 => self.udp_segment = bytes as u16,
                _ => return Err(Errno::EINVAL),
            },
            Name::Congestion => match &value {
                Value::Bytes(name) => self.congestion = Algorithm::from_name(name).ok_or(Errno::ENOENT)?,
                _ => return Err(Errno::EINVAL),
            },
            Name::UdpReceiveOffload => self.udp_receive_offload = value.flag()?,
            Name::DontFragmentV6 => self.dont_fragment = value.flag()?,
            Name::MtuDiscover | Name::MtuDiscoverV6 => {
                self.mtu_discovery = MtuDiscovery::from_raw(value.int()?)?;
                self.stored.insert(name, value);
            }
            Name::Ttl if value.positive(255).is_err() && value != Value::Int(-1) => {
                return Err(Errno::EINVAL);
            }
            Name::Error
            | Name::Type
            | Name::Domain
            | Name::Protocol
            | Name::AcceptsConnections
            | Name::Mtu
            | Name::MtuV6
            | Name::TcpInfo => {
                return Err(Errno::ENOPROTOOPT);
            }
            _ => {
                self.stored.insert(name, value);
            }
        }
        Ok(())
    }

    /// Whether its packets must not be fragmented.
    pub(crate) fn forbids_fragments(&self) -> bool {
        self.dont_fragment || matches!(self.mtu_discovery, MtuDiscovery::Do | MtuDiscovery::Probe)
    }

    /// Whether errors come back to a socket that is not connected.
    pub(crate) fn receives_errors(&self) -> bool {
        let is_set = |name| matches!(self.get(name), Ok(Value::Int(value)) if value != 0);
        is_set(Name::ReceiveErrors) || is_set(Name::ReceiveErrorsV6)
    }

    /// The value of an option that is the socket's alone to know.
    pub(crate) fn get(&self, name: Name) -> Result<Value> {
        let int = |value| Ok(Value::Int(value));
        match name {
            Name::ReuseAddress => int(self.reuse_address.into()),
            Name::ReusePort => int(self.reuse_port.into()),
            Name::KeepAlive => int(self.keep_alive.into()),
            Name::Linger => Ok(Value::Linger(self.linger)),
            Name::ReceiveBuffer => int(self.receive_buffer as i32),
            Name::SendBuffer => int(self.send_buffer as i32),
            Name::Broadcast => int(self.broadcast.into()),
            Name::NoDelay => int(self.no_delay.into()),
            Name::Cork => int(self.cork.into()),
            Name::QuickAck => int(self.quick_ack.into()),
            Name::KeepIdle => int(self.keep_idle.as_secs() as i32),
            Name::KeepInterval => int(self.keep_interval.as_secs() as i32),
            Name::KeepCount => int(self.keep_count as i32),
            Name::UserTimeout => int(self.user_timeout.map_or(0, |limit| limit.as_millis() as i32)),
            Name::SynCount => int(self.syn_count as i32),
            Name::OnlyV6 => int(self.only_v6.into()),
            Name::FreeBind => int(self.free_bind.into()),
            Name::Tos | Name::TrafficClass => int(self.tos.into()),
            Name::UdpSegment => int(self.udp_segment.into()),
            Name::DontFragmentV6 => int(self.dont_fragment.into()),
            Name::Congestion => Ok(Value::Bytes(self.congestion.name().as_bytes().to_vec())),
            Name::UdpReceiveOffload => int(self.udp_receive_offload.into()),
            _ => Ok(self.stored.get(&name).cloned().unwrap_or_else(|| default(name))),
        }
    }
}

/// What a stored option has before it is set.
fn default(name: Name) -> Value {
    match name {
        Name::ReceiveTimeout | Name::SendTimeout => Value::Timeout(None),
        Name::Ttl | Name::UnicastHops => Value::Int(64),
        Name::MulticastTtl | Name::MulticastLoop | Name::MulticastHopsV6 | Name::MulticastLoopV6 => {
            Value::Int(1)
        }
        Name::MtuDiscover | Name::MtuDiscoverV6 => Value::Int(libc::IP_PMTUDISC_WANT),
        Name::BindToDevice => Value::Bytes(Vec::new()),
        Name::MulticastInterface => Value::Bytes(vec![0; 4]),
        _ => Value::Int(0),
    }
}

/// Linux doubles what is asked for, to make room for its bookkeeping, within bounds.
fn buffer_size(asked: i32, least: usize) -> usize {
    (asked.max(0) as usize).min(4 << 20).saturating_mul(2).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_doubled_and_bounded() {
        let mut options = Options::new(true);
        options.set(Name::ReceiveBuffer, Value::Int(10_000)).unwrap();
        assert_eq!(options.get(Name::ReceiveBuffer), Ok(Value::Int(20_000)));
        options.set(Name::SendBuffer, Value::Int(1)).unwrap();
        assert_eq!(options.get(Name::SendBuffer), Ok(Value::Int(4608)));
    }

    #[test]
    fn stored_options_come_back_and_read_only_ones_are_refused() {
        let mut options = Options::new(false);
        assert_eq!(options.get(Name::Ttl), Ok(Value::Int(64)));
        options.set(Name::Ttl, Value::Int(9)).unwrap();
        assert_eq!(options.get(Name::Ttl), Ok(Value::Int(9)));
        assert_eq!(options.set(Name::Ttl, Value::Int(256)), Err(Errno::EINVAL));
        assert_eq!(options.set(Name::Type, Value::Int(1)), Err(Errno::ENOPROTOOPT));
        assert_eq!(Name::from_raw(libc::IPPROTO_TCP, libc::TCP_NODELAY), Some(Name::NoDelay));
        assert_eq!(Name::from_raw(libc::SOL_SOCKET, 9999), None);
    }
}
