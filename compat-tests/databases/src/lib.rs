//! A database server for a test: on a machine of the simulation, or real and of this test alone.
//!
//! Owns how a server is started in each world. Must not know a client. Invariant: a test that gets a server has it for itself, and a
//! test that cannot have one says so on standard error.

use std::io::Write;

use compat_tests::certificate::Certificate;

#[cfg(not(sim))]
mod real;
#[cfg(sim)]
mod simulated;

#[cfg(not(sim))]
pub use real::Server;
#[cfg(sim)]
pub use simulated::Server;

/// What a test wants of its server.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The password of the user `postgres`; without one, everyone is let in.
    pub password: Option<String>,
    /// Certificate chain and key, in PEM.
    pub tls: Option<(String, String)>,
    /// How many connections there can be.
    pub max_connections: Option<usize>,
}

impl Wishes {
    /// The password `secret`, and TLS by a certificate for the server's name, which is returned too.
    pub fn secured() -> (Wishes, Certificate) {
        let certificate = Certificate::for_name(if cfg!(sim) { "db" } else { "localhost" });
        let tls = Some((certificate.server_pem().to_owned(), certificate.key_pem()));
        let wishes = Wishes { password: Some("secret".to_owned()), tls, max_connections: None };
        (wishes, certificate)
    }
}

/// A PostgreSQL server; `None`, with a line on standard error, where none is installed.
///
/// # Panics
/// Where one is installed and does not start.
pub async fn postgres() -> Option<Server> {
    postgres_with(Wishes::default()).await
}

/// A PostgreSQL server of these wishes.
///
/// # Panics
/// As [`postgres`].
pub async fn postgres_with(wishes: Wishes) -> Option<Server> {
    let server = Server::start(&wishes).await;
    if server.is_none() {
        // Not by `eprintln!`, which the test harness would keep to itself.
        let line = "skipped: no PostgreSQL is installed; scripts/install-databases installs one";
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    server
}
