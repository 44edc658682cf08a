//! The server: its options, its listener, and who is let in.
//!
//! Owns the loop that accepts. Must not know statements. Invariant: a connection counts against `max_connections` from its start-up to the
//! end of its session, also while it rolls back.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::control::Control;
use super::startup;
use crate::engine::Cluster;

/// How long a server that was told to end waits for its sessions.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all.
    #[default]
    Trust,
    /// By the password itself.
    Password,
    /// By MD5 of the password, the user and a salt.
    Md5,
    /// By SCRAM-SHA-256.
    ScramSha256,
}

/// A PostgreSQL server that is going to be started; each of its starts has these options.
///
/// # Determinism
/// Its secrets, salts and `gen_random_uuid()` are the machine's entropy, its `now()` the machine's clock: on a node of a simulation both are the seed's.
///
/// # Examples
/// ```ignore
/// let server = shim_servers::Postgres::new().max_connections(20).user("app").password("secret");
/// let control = server.control();
/// tokio::sim::host("db", server.host());
/// let pool = sqlx::PgPool::connect("postgres://app:secret@db/postgres").await?;
/// control.set_statement_delay(Duration::from_millis(50));
/// ```
#[derive(Clone, Debug)]
pub struct Postgres {
    listen: Option<String>,
    folder: PathBuf,
    durable: bool,
    pub(crate) max_connections: usize,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) authentication: Authentication,
    pub(crate) database: String,
    pub(crate) require_tls: bool,
    tls: Option<(Vec<u8>, Vec<u8>)>,
    control: Control,
}

impl Default for Postgres {
    fn default() -> Self {
        Self::new()
    }
}

/// What all connections of one run of the server share.
pub(crate) struct Server {
    pub(crate) options: Postgres,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) connected: AtomicUsize,
}

/// What [`Postgres::host`] gives: started again, it makes the server again.
pub type Running = Pin<Box<dyn Future<Output = Result<(), Box<dyn Error>>>>>;

impl Postgres {
    /// A server on port 5432 of all interfaces, with the database `postgres` in `/var/lib/postgresql/data`; everyone is let in.
    pub fn new() -> Self {
        Self {
            listen: None,
            folder: PathBuf::from("/var/lib/postgresql/data"),
            durable: true,
            max_connections: 100,
            user: None,
            password: None,
            authentication: Authentication::Trust,
            database: "postgres".to_owned(),
            require_tls: false,
            tls: None,
            control: Control::default(),
        }
    }

    /// Where it listens, as `address:port`.
    #[must_use]
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = Some(address.into());
        self
    }

    /// The folder of its files. What is there is kept, and each commit is synced.
    #[must_use]
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = folder.into();
        self.durable = true;
        self
    }

    /// Nothing is kept: the folder is emptied at each start, and no commit waits for a disk.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.durable = false;
        self
    }

    /// How many connections there can be at a time; the next one is refused with `53300`.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count;
        self
    }

    /// The only user that is let in.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.user = Some(name.into());
        self
    }

    /// The password, and with it SCRAM-SHA-256.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        if self.authentication == Authentication::Trust {
            self.authentication = Authentication::ScramSha256;
        }
        self
    }

    /// How the password is asked for.
    #[must_use]
    pub fn authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// The database that is there from the beginning.
    #[must_use]
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.database = name.into();
        self
    }

    /// TLS for clients that ask for it, by a certificate chain and its key in PEM.
    #[must_use]
    pub fn tls(mut self, certificates: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls = Some((certificates.into(), key.into()));
        self
    }

    /// Nobody is let in without TLS.
    #[must_use]
    pub fn require_tls(mut self) -> Self {
        self.require_tls = true;
        self
    }

    /// Each statement takes so much longer.
    #[must_use]
    pub fn statement_delay(self, delay: Duration) -> Self {
        self.control.set_statement_delay(delay);
        self
    }

    /// The switches of this server, for tests.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// What a node runs: `tokio::sim::host("db", server.host())`. SIGTERM ends it: clients are told `57P01`.
    pub fn host(self) -> impl Fn() -> Running + Clone + 'static {
        move || {
            let options = self.clone();
            Box::pin(async move {
                let listener = match &options.listen {
                    Some(address) => TcpListener::bind(address.as_str()).await?,
                    // Both kinds of addresses, as PostgreSQL has it, or the one that the machine knows.
                    None => match TcpListener::bind("[::]:5432").await {
                        Ok(listener) => listener,
                        Err(_) => TcpListener::bind("0.0.0.0:5432").await?,
                    },
                };
                let (mut shutdown, control) = (signal(SignalKind::terminate())?, options.control());
                let mut serving = std::pin::pin!(options.serve(listener));
                tokio::select! {
                    ended = &mut serving => return Ok(ended?),
                    _ = shutdown.recv() => {}
                }
                // Every client is told, and what is not committed is rolled back, before the process ends.
                control.terminate_all();
                let told = async {
                    while control.connections() > 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::select! {
                    ended = &mut serving => Ok(ended?),
                    _ = tokio::time::timeout(SHUTDOWN_LIMIT, told) => Ok(()),
                }
            })
        }
    }

    /// Serves the connections of `listener`, for ever.
    ///
    /// # Errors
    /// Those of the folder, of the certificate, and of accepting.
    ///
    /// # Cancel safety
    /// Dropping it ends every session; what was not committed is rolled back, or recovered at the next start.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let tls = self.tls.as_ref().map(|(certificates, key)| acceptor(certificates, key)).transpose()?;
        let control = self.control.clone();
        let hook = Arc::new(move |session: i32| control.committed(session));
        let cluster = Cluster::open(self.folder.clone(), self.durable, &self.database, Some(hook)).await?;
        self.control.attach(&cluster);
        let server = Arc::new(Server { options: self, cluster, tls, connected: AtomicUsize::new(0) });
        let mut connections = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted?;
                    // Best effort: a socket that is gone says so soon enough.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(startup::serve(Arc::clone(&server), stream));
                }
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended
                        && error.is_panic() {
                            std::panic::resume_unwind(error.into_panic());
                        }
                }
            }
        }
    }
}

impl Server {
    pub(crate) fn control(&self) -> &Control {
        &self.options.control
    }

    /// A place among the connections, or none.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Admission> {
        let before = self.connected.fetch_add(1, Ordering::Relaxed);
        let admission = Admission(Arc::clone(self));
        (before < self.options.max_connections).then_some(admission)
    }
}

/// A place among the connections, given back when it is dropped.
pub(crate) struct Admission(Arc<Server>);

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Ordering::Relaxed);
    }
}

fn acceptor(certificates: &[u8], key: &[u8]) -> io::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
