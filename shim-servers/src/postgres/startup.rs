//! The beginning of a connection: TLS, cancel requests, the start-up message, authentication.
//!
//! Owns everything before the first ReadyForQuery. Must not know statements. Invariant: who is refused is told why, with FATAL.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, SecretKey, Startup,
};
use pgwire::messages::{PgWireBackendMessage as Out, PgWireFrontendMessage as In, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::auth;
use super::connection::Connection;
use super::message::{Messages, Stream};
use super::server::Server;
use super::settings::Settings;
use super::system;
use crate::engine::{Condition, Reason, SqlError};

/// The first eight bytes of a client that wants TLS, or GSS encryption.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// Serves one connection to its end.
pub(crate) async fn serve(server: Arc<Server>, stream: TcpStream) {
    // What goes wrong with a client's socket is the client's to see.
    let _ = run(server, stream).await;
}

async fn run(server: Arc<Server>, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let mut first = [0; 8];
        if stream.read_exact(&mut first).await.is_err() {
            return Ok(());
        }
        match first {
            GSS_REQUEST => stream.write_all(b"N").await?,
            TLS_REQUEST => match server.tls.clone() {
                None => stream.write_all(b"N").await?,
                Some(acceptor) => {
                    stream.write_all(b"S").await?;
                    let stream = acceptor.accept(stream).await?;
                    return begin(server, Box::new(stream), &[], true).await;
                }
            },
            first => return begin(server, Box::new(stream), &first, false).await,
        }
    }
}

/// The start-up message, or a request to cancel; `first` are its first bytes.
async fn begin(server: Arc<Server>, stream: Box<dyn Stream>, first: &[u8], secure: bool) -> io::Result<()> {
    let mut messages = Messages::new(stream, first, ProtocolVersion::PROTOCOL3_0);
    match messages.read().await? {
        Some(In::CancelRequest(request)) => {
            cancel(&server, &request);
            Ok(())
        }
        Some(In::Startup(startup)) => {
            messages.started();
            let Some(_admission) = server.admit() else {
                let error =
                    SqlError::new(Condition::TooManyConnections, "sorry, too many clients already").fatal();
                messages.push_error(&error)?;
                return messages.close().await;
            };
            match admit(&server, &mut messages, &startup, secure).await? {
                Ok(connection) => connection.run(messages).await,
                Err(error) => {
                    messages.push_error(&error.fatal())?;
                    messages.close().await
                }
            }
        }
        _ => Ok(()),
    }
}

/// Stops the statement of a session, for whoever knows its secret.
fn cancel(server: &Server, request: &CancelRequest) {
    if let Some(session) = server.cluster.backends.find(request.pid)
        && request.secret_key.as_i32() == Some(session.secret)
    {
        session.cancel(Reason::UserRequest);
    }
}

/// Lets a client in, or says why not; the outer failure is the socket's.
async fn admit(
    server: &Arc<Server>,
    messages: &mut Messages,
    startup: &Startup,
    secure: bool,
) -> io::Result<Result<Connection, SqlError>> {
    if startup.protocol_number_major != 3 {
        let (major, minor) = (startup.protocol_number_major, startup.protocol_number_minor);
        let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0");
        return Ok(Err(SqlError::new(Condition::FeatureNotSupported, message)));
    }
    if startup.protocol_number_minor > 0 {
        messages.push(&Out::NegotiateProtocolVersion(NegotiateProtocolVersion::new(3 << 16, Vec::new())))?;
    }
    let Some(user) = startup.parameters.get("user") else {
        let message = "no PostgreSQL user name specified in startup packet";
        return Ok(Err(SqlError::new(Condition::InvalidAuthorizationSpecification, message)));
    };
    if server.options.require_tls && !secure {
        let message = format!("no pg_hba.conf entry for user \"{user}\", no encryption");
        return Ok(Err(SqlError::new(Condition::InvalidAuthorizationSpecification, message)));
    }
    if let Err(error) = auth::authenticate(&server.options, messages, user).await? {
        return Ok(Err(error));
    }
    messages.push(&Out::Authentication(Authentication::Ok))?;
    let name = startup.parameters.get("database").unwrap_or(user);
    let Some(database) = server.cluster.database(name) else {
        let message = format!("database \"{name}\" does not exist");
        return Ok(Err(SqlError::new(Condition::InvalidCatalogName, message)));
    };
    let mut settings = Settings::new(user);
    for (name, value) in given(&startup.parameters) {
        if let Err(error) = settings.set(&name, &value) {
            return Ok(Err(error));
        }
    }
    let secret = match getrandom::u32() {
        Ok(secret) => secret as i32,
        Err(error) => return Ok(Err(SqlError::internal(error))),
    };
    let session = match server.cluster.connect(&database, user, secret).await {
        Ok(session) => session,
        Err(error) => return Ok(Err(error)),
    };
    session.shared.set_system_view(system::rows);
    for (name, value) in settings.reported() {
        let status = pgwire::messages::startup::ParameterStatus::new(name.to_owned(), value.to_owned());
        messages.push(&Out::ParameterStatus(status))?;
    }
    messages.push(&Out::BackendKeyData(BackendKeyData::new(session.shared.id, SecretKey::I32(secret))))?;
    Ok(Ok(Connection::new(Arc::clone(server), session, settings)))
}

/// The settings of a start-up message, those of its `options` among them.
fn given(parameters: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    for (name, value) in parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                let words: Vec<&str> = value.split_whitespace().collect();
                for (at, word) in words.iter().enumerate() {
                    let option = match word.strip_prefix("-c") {
                        Some("") => words.get(at + 1).copied(),
                        Some(option) => Some(option),
                        None => word.strip_prefix("--"),
                    };
                    let pair = option.and_then(|option| option.split_once('='));
                    settings.extend(pair.map(|(name, value)| (name.replace('-', "_"), value.to_owned())));
                }
            }
            name if name.starts_with("_pq_.") => {}
            name => settings.push((name.to_owned(), value.clone())),
        }
    }
    settings
}
