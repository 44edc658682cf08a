//! Who a server is: an authority made on the spot, and the configurations of quinn that trust it.
//!
//! Must not know endpoints. Invariant: two identities never trust each other.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, ServerConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{KeyLog, NoKeyLog, RootCertStore};

/// The host name that every certificate here is for.
pub const NAME: &str = "server.test";

/// An authority, and one server certificate that it signed.
#[derive(Debug)]
pub struct Identity {
    authority: CertificateDer<'static>,
    server: CertificateDer<'static>,
    key: KeyPair,
    key_log: Arc<dyn KeyLog>,
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// Makes an authority and a certificate for [`NAME`].
    ///
    /// # Panics
    /// Where the system has no entropy.
    pub fn new() -> Identity {
        let mut authority = CertificateParams::default();
        authority.distinguished_name = DistinguishedName::new();
        authority.distinguished_name.push(DnType::CommonName, "compat-quic authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect("a key for the authority");
        let authority = CertifiedIssuer::self_signed(authority, authority_key).expect("a signature");
        let key = KeyPair::generate().expect("a key for the server");
        let server = CertificateParams::new([NAME.to_owned()])
            .and_then(|params| params.signed_by(&key, &authority))
            .expect("a signature");
        Identity {
            authority: authority.der().clone(),
            server: server.der().clone(),
            key,
            key_log: Arc::new(NoKeyLog),
        }
    }

    /// Lets both ends give their keys to `key_log`.
    pub fn with_key_log(self, key_log: Arc<dyn KeyLog>) -> Identity {
        Identity { key_log, ..self }
    }

    /// What a server presents, with 0-RTT allowed. Tickets of one configuration mean nothing to another.
    ///
    /// # Panics
    /// Never: the key belongs to the certificate.
    pub fn server(&self, alpn: &[&str]) -> ServerConfig {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring knows TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![self.server.clone()], key)
            .expect("the key belongs to the certificate");
        tls.alpn_protocols = protocols(alpn);
        tls.max_early_data_size = u32::MAX;
        tls.key_log = self.key_log.clone();
        ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).expect("a suite for packets")))
    }

    /// A client that trusts this authority and no other, and remembers tickets.
    ///
    /// # Panics
    /// Never: the authority's certificate is well formed.
    pub fn client(&self, alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).expect("a well formed certificate");
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring knows TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = protocols(alpn);
        tls.enable_early_data = true;
        tls.key_log = self.key_log.clone();
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a suite for packets")))
    }
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect()
}
