//! A certificate authority for one test, and the rustls configurations that trust it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// An authority, and one server certificate that it signed.
#[derive(Debug)]
pub struct Certificate {
    authority: CertificateDer<'static>,
    authority_pem: String,
    server: CertificateDer<'static>,
    server_pem: String,
    key: KeyPair,
}

impl Certificate {
    /// Makes an authority and a certificate for the host name `name`.
    pub fn for_name(name: &str) -> Self {
        let mut authority = CertificateParams::default();
        authority.distinguished_name = DistinguishedName::new();
        authority.distinguished_name.push(DnType::CommonName, "compat-tests authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect("a key for the authority");
        let authority =
            CertifiedIssuer::self_signed(authority, authority_key).expect("the authority signs itself");
        let key = KeyPair::generate().expect("a key for the server");
        let server = CertificateParams::new([name.to_owned()])
            .and_then(|params| params.signed_by(&key, &authority))
            .expect("the authority signs the server's certificate");
        Self {
            authority: authority.der().clone(),
            authority_pem: authority.pem(),
            server_pem: server.pem(),
            server: server.der().clone(),
            key,
        }
    }

    /// What a server presents, offering the protocols of `alpn` in this order.
    pub fn server_config(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring knows the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.server.clone()], key)
            .expect("the key belongs to the certificate");
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }

    /// A client that trusts this authority and no other.
    pub fn client_config(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).expect("the authority's certificate is well formed");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring knows the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }

    /// The authority's certificate, in PEM.
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// The server's certificate, in PEM.
    pub fn server_pem(&self) -> &str {
        &self.server_pem
    }

    /// The server's private key, in PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

fn protocols(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}
