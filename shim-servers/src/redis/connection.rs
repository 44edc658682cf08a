//! One connection: requests in, replies out.
//!
//! Owns the socket. Must not know commands. Invariant: nothing leaves before what it tells of is safe, and a client whose
//! connection ended is forgotten.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::client::{Outgoing, Outlet};
use super::cluster::migrate;
use super::dispatch::{find_command, process};
use super::request::RequestDecoder;
use super::server::Server;
use super::state::State;
use super::wire::Reply;

/// More than this is not read while a client waits.
const READ_AHEAD_MAX_BYTES: usize = 1024 * 1024;

/// Serves a client until its connection ends.
pub(crate) async fn run(server: Arc<Server>, stream: TcpStream, id: u64, outlet: Arc<Outlet>) {
    let _forgotten = Forgotten { server: Arc::clone(&server), id };
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let mut writer = Writer { stream: writer, id, outlet: Arc::clone(&outlet), now: Outgoing::default() };
    let pause_is_over = server.with(|state| Arc::clone(&state.pause.is_over));
    let mut reader =
        Reader { stream: reader, buffer: BytesMut::new(), id, outlet: Arc::clone(&outlet), pause_is_over };
    let ended = tokio::select! {
        ended = reader.run(&server) => ended,
        ended = writer.run(&server) => ended,
        () = outlet.killed.notified() => return,
    };
    if ended.is_ok() {
        // The client is told why, or goodbye.
        let _ = writer.flush(&server).await;
    }
}

/// Tells one client too many that it is.
pub(crate) async fn refuse(mut stream: TcpStream) {
    let _ = stream.write_all(b"-ERR max number of clients reached\r\n").await;
}

/// Forgets the client, however its task ends.
struct Forgotten {
    server: Arc<Server>,
    id: u64,
}

impl Drop for Forgotten {
    fn drop(&mut self) {
        self.server.with(|state| state.forget(self.id));
    }
}

struct Reader {
    stream: OwnedReadHalf,
    buffer: BytesMut,
    id: u64,
    outlet: Arc<Outlet>,
    pause_is_over: Arc<Notify>,
}

/// What a request has to wait for before it is executed.
fn pause_of(state: &State, id: u64, request: &[Bytes]) -> Option<Instant> {
    let now = Instant::now();
    if let Some(until) = state.pause.all_until.filter(|until| *until > now) {
        return Some(until);
    }
    let (until, only_writes) = state.pause.clients_until.filter(|(until, _)| *until > now)?;
    let command = request.first().and_then(|name| find_command(name));
    let is_normal = state.clients.get(&id).is_some_and(|client| !client.is_replica());
    let waits = command.is_some_and(|command| {
        let changes = command.has("write") || matches!(command.name, "exec" | "publish" | "spublish");
        command.name != "client" && (!only_writes || changes)
    });
    (is_normal && waits).then_some(until)
}

impl Reader {
    /// Executes what comes, until the client is to go.
    ///
    /// # Errors
    /// Where the connection ended: nobody is there to be told anything.
    async fn run(&mut self, server: &Server) -> io::Result<()> {
        let mut decoder = RequestDecoder::default();
        loop {
            let is_known = server
                .with(|state| state.clients.get(&self.id).is_some_and(|client| client.is_authenticated));
            match decoder.decode(&mut self.buffer, is_known) {
                Ok(Some(request)) => {
                    if !self.execute(server, request).await? {
                        return Ok(());
                    }
                }
                Ok(None) => self.read(server).await?,
                Err(error) => {
                    let error = Reply::error(format!("ERR {error}"));
                    server.with(|state| state.send(self.id, &error));
                    return Ok(());
                }
            }
        }
    }

    async fn read(&mut self, server: &Server) -> io::Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        server.with(|state| state.stats.net_input_bytes += read as u64);
        Ok(())
    }

    /// Executes one request. Says whether there may be a next one.
    async fn execute(&mut self, server: &Server, request: Vec<Bytes>) -> io::Result<bool> {
        let is_over = Arc::clone(&self.pause_is_over);
        loop {
            // It is made first, so that no end of a pause is missed.
            let over = is_over.notified();
            let Some(until) = server.with(|state| pause_of(state, self.id, &request)) else { break };
            let paused = async {
                tokio::select! {
                    () = sleep_until(until) => {}
                    () = over => {}
                }
            };
            self.wait(server, paused).await?;
        }
        let deadline = server.with(|state| {
            process(state, self.id, request);
            let client = state.clients.get(&self.id)?;
            client.blocked.as_ref().map(|blocked| blocked.deadline)
        });
        let migration = server.with(|state| state.clients.get_mut(&self.id)?.migration.take());
        if let Some(migration) = migration {
            self.wait(server, migrate::perform(server, self.id, migration)).await?;
        } else if let Some(deadline) = deadline {
            self.wait_until_woken(server, deadline).await?;
        }
        Ok(server.with(|state| state.clients.get(&self.id).is_some_and(|client| !client.is_closing)))
    }

    /// Waits, and still sees it when the client leaves.
    async fn wait(&mut self, server: &Server, waiting: impl Future<Output = ()>) -> io::Result<()> {
        tokio::pin!(waiting);
        loop {
            let has_room = self.buffer.len() < READ_AHEAD_MAX_BYTES;
            tokio::select! {
                biased;
                () = &mut waiting => return Ok(()),
                read = self.read(server), if has_room => read?,
            }
        }
    }

    async fn wait_until_woken(&mut self, server: &Server, deadline: Option<Instant>) -> io::Result<()> {
        let (id, outlet) = (self.id, Arc::clone(&self.outlet));
        let is_waiting =
            || server.with(|state| state.clients.get(&id).is_some_and(|client| client.blocked.is_some()));
        while is_waiting() {
            let over = async {
                match deadline {
                    Some(deadline) => {
                        tokio::select! {
                            () = outlet.woken.notified() => {}
                            () = sleep_until(deadline) => server.with(|state| state.time_out(id)),
                        }
                    }
                    None => outlet.woken.notified().await,
                }
            };
            self.wait(server, over).await?;
        }
        Ok(())
    }
}

struct Writer {
    stream: OwnedWriteHalf,
    id: u64,
    outlet: Arc<Outlet>,
    now: Outgoing,
}

impl Writer {
    async fn run(&mut self, server: &Server) -> io::Result<()> {
        loop {
            self.flush(server).await?;
            self.outlet.ready.notified().await;
        }
    }

    /// Sends all that there is to be sent.
    async fn flush(&mut self, server: &Server) -> io::Result<()> {
        loop {
            if !self.now.bytes.has_remaining() && self.now.writes == 0 {
                let Some(next) = self.outlet.take() else { return Ok(()) };
                self.now = next;
            }
            server.safe_up_to(self.now.journal_end).await;
            while self.now.writes > 0 {
                self.now.writes -= 1;
                if let Some(hook) = &server.hook {
                    hook(self.id);
                }
            }
            while self.now.bytes.has_remaining() {
                let written = self.stream.write_buf(&mut self.now.bytes).await?;
                server.with(|state| state.stats.net_output_bytes += written as u64);
            }
        }
    }
}
