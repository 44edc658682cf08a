//! Endpoints, and one connection between two of them.
//!
//! Must not know what is said over connections. Invariant: an endpoint made here is bound, and drives itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig,
};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;

use crate::identity::{Identity, NAME};

/// The protocol that the tests speak, as TLS announces it.
pub const ALPN: &str = "echo";

/// An endpoint at `address` that accepts as `config` says.
///
/// # Errors
/// What `bind` answers.
pub fn server(config: ServerConfig, address: SocketAddr) -> io::Result<Endpoint> {
    Endpoint::server(config, address)
}

/// An endpoint on any port of the family that `peer` has, which connects as `config` says.
///
/// # Errors
/// What `bind` answers.
pub fn client(config: ClientConfig, peer: SocketAddr) -> io::Result<Endpoint> {
    let any = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let mut endpoint = Endpoint::client(any.parse().expect("an address"))?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

/// An endpoint that knows the connections of an earlier one at the same address, as far as to refuse them: both have
/// the same `secret` for stateless resets and connection ids.
///
/// # Errors
/// What `bind` answers.
pub fn server_with_secret(config: ServerConfig, address: SocketAddr, secret: u64) -> io::Result<Endpoint> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.to_be_bytes());
    let mut endpoint = EndpointConfig::new(Arc::new(key));
    endpoint.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(secret)));
    let socket = std::net::UdpSocket::bind(address)?;
    Endpoint::new(endpoint, Some(config), socket, Arc::new(TokioRuntime))
}

/// Both configurations of one fresh identity, with the same transport.
pub fn configs(transport: TransportConfig) -> (ServerConfig, ClientConfig) {
    let (identity, transport) = (Identity::new(), Arc::new(transport));
    let (mut server, mut client) = (identity.server(&[ALPN]), identity.client(&[ALPN]));
    server.transport_config(transport.clone());
    client.transport_config(transport);
    (server, client)
}

/// Both ends of a connection over the loopback interface, and their endpoints.
#[derive(Debug)]
pub struct Pair {
    /// The client's end.
    pub client: Connection,
    /// The server's end.
    pub server: Connection,
    /// Where the client's end lives.
    pub client_endpoint: Endpoint,
    /// Where the server's end lives.
    pub server_endpoint: Endpoint,
}

impl Pair {
    /// Connects two fresh endpoints whose transport is `transport`.
    ///
    /// # Panics
    /// Where the loopback interface does not work.
    pub async fn connect(transport: TransportConfig) -> Pair {
        let (server_config, client_config) = configs(transport);
        let server_endpoint =
            server(server_config, "127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = server_endpoint.local_addr().expect("a bound socket");
        let client_endpoint = client(client_config, address).expect("a free port");
        let connecting = client_endpoint.connect(address, NAME).expect("a good name");
        let accepting = async { server_endpoint.accept().await.expect("a caller").await };
        let (client, server) = tokio::join!(connecting, accepting);
        let (client, server) = (client.expect("connects"), server.expect("accepts"));
        Pair { client, server, client_endpoint, server_endpoint }
    }
}
