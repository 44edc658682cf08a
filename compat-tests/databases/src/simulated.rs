//! The server of a simulation: `shim-servers` on the node `db`.
//!
//! Owns the node's name. Must not know tests. Invariant: it accepts connections before a test goes on.

use compat_tests::sockets::connect_when_up;
use shim_servers::{Control, Postgres};

use crate::Wishes;

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Its host name.
    pub host: String,
    /// Its port.
    pub port: u16,
    control: Control,
    password: Option<String>,
}

impl Server {
    /// What `psql` would be told.
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map_or_else(String::new, |password| format!(":{password}"));
        format!("postgres://postgres{password}@{}:{}/postgres", self.host, self.port)
    }

    /// What can be done to it.
    pub fn control(&self) -> &Control {
        &self.control
    }

    pub(crate) async fn start(wishes: &Wishes) -> Option<Self> {
        let mut server = Postgres::new().user("postgres");
        if let Some(password) = &wishes.password {
            server = server.password(password);
        }
        if let Some((chain, key)) = &wishes.tls {
            server = server.tls(chain.as_str(), key.as_str());
        }
        if let Some(count) = wishes.max_connections {
            server = server.max_connections(count);
        }
        let control = server.control();
        tokio::sim::host("db", server.host());
        connect_when_up("db:5432").await;
        Some(Self { host: "db".to_owned(), port: 5432, control, password: wishes.password.clone() })
    }
}
