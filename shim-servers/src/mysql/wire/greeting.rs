//! How a connection begins: the server's greeting, TLS, the client's name and proof.
//!
//! Owns the capabilities that are offered. Must not know users. Invariant: a client is told nothing but the greeting
//! before it said who it is.

use std::io;
use std::sync::Arc;

use mysql_common::constants::{CapabilityFlags, StatusFlags};
use mysql_common::io::ParseBuf;
use mysql_common::misc::raw::RawBytes;
use mysql_common::misc::raw::bytes::{NullBytes, U8Bytes};
use mysql_common::packets::{AuthSwitchRequest, HandshakePacket, HandshakeResponse};
use mysql_common::proto::MySerialize;
use tokio_rustls::rustls::ServerConfig;

use super::super::VERSION;
use super::Packets;

/// The one plugin: see [`password`](super::super::password).
const PLUGIN: &[u8] = b"mysql_native_password";

/// `utf8mb4_0900_ai_ci`
pub(in super::super) const UTF8: u8 = 255;

/// What a client said of itself.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Login {
    pub(in super::super) user: String,
    pub(in super::super) database: Option<String>,
    /// How it proves itself, if it says so.
    plugin: Option<Vec<u8>>,
    pub(in super::super) proof: Vec<u8>,
}

/// Greets a client and hears who it is.
///
/// # Errors
/// `InvalidData` for an answer that is none.
pub(in super::super) async fn greet(
    mut packets: Packets,
    id: u32,
    salt: &[u8; 20],
    tls: Option<&Arc<ServerConfig>>,
) -> io::Result<(Packets, CapabilityFlags, Login)> {
    let mut offered = CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_FOUND_ROWS
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_CONNECT_WITH_DB
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_MULTI_STATEMENTS
        | CapabilityFlags::CLIENT_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PS_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_CONNECT_ATTRS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        | CapabilityFlags::CLIENT_DEPRECATE_EOF;
    offered.set(CapabilityFlags::CLIENT_SSL, tls.is_some());
    let (first, second) = salt.split_at(8);
    let second = [second, &[0]].concat();
    let first = <[u8; 8]>::try_from(first).expect("invariant: eight bytes were split off");
    let status = StatusFlags::SERVER_STATUS_AUTOCOMMIT;
    let greeting = HandshakePacket::new(
        10,
        VERSION.as_bytes(),
        id,
        first,
        Some(second),
        offered,
        UTF8,
        status,
        Some(PLUGIN),
    );
    let mut bytes = Vec::new();
    greeting.serialize(&mut bytes);
    packets.write(&bytes)?;
    packets.flush().await?;
    let mut answer = packets.read_alone().await?;
    if let Some(tls) = tls.filter(|_| wants_tls(&answer)) {
        packets = packets.secure(tls).await?;
        answer = packets.read().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    }
    let answer: HandshakeResponse<'_> = ParseBuf(&answer).parse(())?;
    let login = Login {
        user: text(answer.user()),
        database: answer.db_name().map(text).filter(|name| !name.is_empty()),
        plugin: answer.auth_plugin().map(|plugin| plugin.as_bytes().to_vec()),
        proof: answer.scramble_buf().to_vec(),
    };
    Ok((packets, answer.capabilities() & offered, login))
}

/// An SSL request is the beginning of an answer, without names.
fn wants_tls(answer: &[u8]) -> bool {
    let bits = answer.first_chunk().map_or(0, |bits| u32::from_le_bytes(*bits));
    answer.len() == 32 && CapabilityFlags::from_bits_truncate(bits).contains(CapabilityFlags::CLIENT_SSL)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Login {
    /// What COM_CHANGE_USER says.
    ///
    /// # Errors
    /// `InvalidData`, or another kind of the library's, for a message that is none.
    pub(in super::super) fn of_change(message: &[u8], capabilities: CapabilityFlags) -> io::Result<Login> {
        let mut rest = ParseBuf(message);
        rest.skip(1);
        let user: RawBytes<'_, NullBytes> = rest.parse(())?;
        let proof: RawBytes<'_, U8Bytes> = rest.parse(())?;
        let database: RawBytes<'_, NullBytes> = rest.parse(())?;
        let mut plugin = None;
        if rest.len() > 2 && capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) {
            // The character set lies before it.
            rest.skip(2);
            plugin = Some(rest.parse::<RawBytes<'_, NullBytes>>(())?.as_bytes().to_vec());
        }
        let database = Some(text(database.as_bytes())).filter(|name| !name.is_empty());
        Ok(Login { user: text(user.as_bytes()), database, plugin, proof: proof.as_bytes().to_vec() })
    }

    /// Has the client prove itself by the server's plugin, where it chose another one.
    pub(in super::super) async fn switch_plugin(
        &mut self,
        packets: &mut Packets,
        salt: &[u8; 20],
    ) -> io::Result<()> {
        if self.plugin.as_deref().is_none_or(|plugin| plugin == PLUGIN) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        AuthSwitchRequest::new(PLUGIN, [&salt[..], &[0]].concat()).serialize(&mut bytes);
        packets.write(&bytes)?;
        packets.flush().await?;
        self.proof = packets.read().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(())
    }
}
