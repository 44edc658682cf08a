//! A replica's side: the connection to its master, and what comes over it.
//!
//! Owns the handshake and the applying of the stream. Must not know commands. Invariant: the offset counts what was applied,
//! and a transaction is applied whole or not at all.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{NO_NAME, Phase};
use crate::redis::dispatch::apply;
use crate::redis::journal::Circumstances;
use crate::redis::server::Server;
use crate::redis::state::State;
use crate::redis::wire::{RequestDecoder, encode_request};

/// Follows whichever master there is, for ever.
pub(crate) async fn follow(server: Arc<Server>) {
    let changed = server.with(|state| Arc::clone(&state.replication.changed));
    loop {
        let master = server.with(|state| state.replication.master.clone());
        let Some(master) = master else {
            changed.notified().await;
            continue;
        };
        let link = async {
            // Whatever ends it, it is tried again.
            let _ = run(&server, &master.host, master.port).await;
            server.with(|state| set_phase(state, Phase::Connect));
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        tokio::select! {
            () = link => {}
            () = changed.notified() => {}
        }
    }
}

fn set_phase(state: &mut State, phase: Phase) {
    let Some(master) = &mut state.replication.master else { return };
    if master.phase == Phase::Connected && phase != Phase::Connected {
        master.down_since = Some(Instant::now());
    }
    if phase == Phase::Connected {
        master.down_since = None;
    }
    master.phase = phase;
    master.heard = Instant::now();
}

/// One connection to the master, from beginning to end.
async fn run(server: &Arc<Server>, host: &str, port: u16) -> io::Result<()> {
    let limit = server.with(|state| Duration::from_secs(state.config.number("repl-timeout") as u64));
    server.with(|state| set_phase(state, Phase::Connecting));
    let stream = timeout(limit, TcpStream::connect((host, port))).await??;
    stream.set_nodelay(true)?;
    server.with(|state| set_phase(state, Phase::Handshake));
    let mut link = Link { stream, buffer: BytesMut::new(), limit };
    let answer = link.shake_hands(server).await?;
    let words: Vec<&str> = answer.split(' ').collect();
    match words[..] {
        ["+CONTINUE"] => {}
        ["+CONTINUE", id] => server.with(|state| take_name(state, id)),
        ["+FULLRESYNC", id, offset] => {
            let offset = offset.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            link.load(server, id, offset).await?;
        }
        _ => return Err(io::Error::other(answer)),
    }
    server.with(|state| set_phase(state, Phase::Connected));
    link.stream(server).await
}

/// The master goes by another name now, and its data are the same.
fn take_name(state: &mut State, id: &str) {
    if state.replication.id != id {
        state.replication.other_id = std::mem::replace(&mut state.replication.id, id.to_owned());
        state.replication.other_offset = state.replication.offset + 1;
        state.disconnect_replicas();
    }
    state.replication.backlog.get_or_insert_default();
}

/// The connection.
struct Link {
    stream: TcpStream,
    buffer: BytesMut,
    limit: Duration,
}

impl Link {
    async fn shake_hands(&mut self, server: &Server) -> io::Result<String> {
        let (password, port, ip, known) = server.with(|state| {
            let announced = state.config.number("replica-announce-port") as u16;
            let known = state.replication.backlog.is_some();
            let (id, next) = match known {
                true => (state.replication.id.clone(), state.replication.offset + 1),
                false => ("?".to_owned(), -1),
            };
            let port = if announced == 0 { state.port } else { announced };
            let ip = state.config.text("replica-announce-ip").to_owned();
            (state.config.text("masterauth").to_owned(), port, ip, (id, next))
        });
        let greeting = self.ask(&["PING"]).await?;
        let is_refused = greeting.starts_with('-')
            && !["-NOAUTH", "-NOPERM", "-ERR operation not permitted"]
                .iter()
                .any(|code| greeting.starts_with(code));
        if is_refused {
            return Err(io::Error::other(greeting));
        }
        if !password.is_empty() {
            self.ask_well(&["AUTH", &password]).await?;
        }
        self.ask_well(&["REPLCONF", "listening-port", &port.to_string()]).await?;
        if !ip.is_empty() {
            self.ask_well(&["REPLCONF", "ip-address", &ip]).await?;
        }
        self.ask_well(&["REPLCONF", "capa", "eof", "capa", "psync2"]).await?;
        self.ask(&["PSYNC", &known.0, &known.1.to_string()]).await
    }

    /// Sends a request and reads the line that answers it.
    async fn ask(&mut self, words: &[&str]) -> io::Result<String> {
        let mut request = BytesMut::new();
        encode_request(words, &mut request);
        timeout(self.limit, self.stream.write_all(&request)).await??;
        self.line().await
    }

    async fn ask_well(&mut self, words: &[&str]) -> io::Result<()> {
        let answer = self.ask(words).await?;
        if answer.starts_with('-') { Err(io::Error::other(answer)) } else { Ok(()) }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                // Empty lines only say that the master is alive.
                if !line.is_empty() {
                    return Ok(line);
                }
                continue;
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        match timeout(self.limit, self.stream.read_buf(&mut self.buffer)).await?? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Takes all of the master's data in place of ours.
    async fn load(&mut self, server: &Arc<Server>, id: &str, offset: i64) -> io::Result<()> {
        server.with(|state| set_phase(state, Phase::Transfer));
        let size = self.line().await?;
        let size: usize =
            size.strip_prefix('$').and_then(|size| size.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        while self.buffer.len() < size {
            let missing = size - self.buffer.len();
            server.with(|state| {
                if let Some(master) = &mut state.replication.master {
                    master.missing_bytes = missing;
                }
            });
            self.read().await?;
        }
        let mut snapshot = self.buffer.split_to(size);
        server.with(|state| {
            state.clear();
            state.disconnect_replicas();
            replay(state, &mut snapshot).map_err(io::Error::other)?;
            let replication = &mut state.replication;
            replication.id = id.to_owned();
            replication.offset = offset;
            replication.other_id = NO_NAME.to_owned();
            replication.other_offset = -1;
            replication.backlog = Some(Default::default());
            if let Some(master) = &mut replication.master {
                master.missing_bytes = 0;
            }
            state.journal.wants_rewrite = true;
            state.journal.ready.notify_one();
            Ok(())
        })
    }

    /// Applies the stream until the connection ends.
    async fn stream(&mut self, server: &Arc<Server>) -> io::Result<()> {
        let mut applier = Applier::default();
        let mut second = tokio::time::interval(Duration::from_secs(1));
        let mut heard = Instant::now();
        loop {
            let wants_answer = server.with(|state| applier.apply(state, &mut self.buffer))?;
            if wants_answer {
                self.acknowledge(server).await?;
            }
            tokio::select! {
                read = self.stream.read_buf(&mut self.buffer) => {
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    heard = Instant::now();
                    server.with(|state| {
                        if let Some(master) = &mut state.replication.master {
                            master.heard = heard;
                        }
                    });
                }
                _ = second.tick() => {
                    if heard.elapsed() > self.limit {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    self.acknowledge(server).await?;
                }
            }
        }
    }

    async fn acknowledge(&mut self, server: &Server) -> io::Result<()> {
        let offset = server.with(|state| state.replication.offset);
        let mut request = BytesMut::new();
        encode_request(&["REPLCONF", "ACK", &offset.to_string()], &mut request);
        timeout(self.limit, self.stream.write_all(&request)).await?
    }
}

/// Applies records that stand one after another, as in a snapshot or a file. A transaction that has no end is left out.
///
/// # Errors
/// Where something is no record. What is behind the last whole request stays in `records`.
pub(crate) fn replay(state: &mut State, records: &mut BytesMut) -> Result<usize, String> {
    let mut decoder = RequestDecoder::default();
    let mut group: Option<Vec<(Circumstances, Vec<Bytes>)>> = None;
    let total = records.len();
    let mut whole = 0;
    while let Some(mut request) = decoder.decode(records, true)? {
        let header = request.first().and_then(|header| Circumstances::parse(header));
        let at = header.ok_or("Bad file format reading the append only file")?;
        request.remove(0);
        take(state, &mut group, at, request);
        if group.is_none() {
            whole = total - records.len();
        }
    }
    Ok(whole)
}

/// Applies a record, or keeps it until its transaction is whole.
fn take(
    state: &mut State,
    group: &mut Option<Vec<(Circumstances, Vec<Bytes>)>>,
    at: Circumstances,
    command: Vec<Bytes>,
) {
    match command.first().map(|name| &name[..]) {
        Some(b"MULTI") => *group = Some(Vec::new()),
        Some(b"EXEC") => {
            for (at, command) in group.take().unwrap_or_default() {
                apply(state, at, command);
            }
        }
        _ => match group {
            Some(group) => group.push((at, command)),
            None => apply(state, at, command),
        },
    }
}

/// Applies a master's stream as it comes.
#[derive(Default)]
struct Applier {
    decoder: RequestDecoder,
    group: Option<Vec<(Circumstances, Vec<Bytes>)>>,
    /// What was read and not applied yet, byte for byte, for those that follow us.
    raw: BytesMut,
}

impl Applier {
    /// Applies all whole requests of `buffer`. Says whether the master wants to know how far we are.
    fn apply(&mut self, state: &mut State, buffer: &mut BytesMut) -> io::Result<bool> {
        let mut wants_answer = false;
        loop {
            let request = self.decoder.decode(buffer, true);
            let request = request.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let Some(mut request) = request else { break };
            // A request has one form, so this is what the master sent, byte for byte.
            encode_request(&request, &mut self.raw);
            let header = request.first().and_then(|header| Circumstances::parse(header));
            let is_change = header.is_some();
            match header {
                Some(at) => {
                    request.remove(0);
                    take(state, &mut self.group, at, request);
                }
                None => wants_answer |= listen(state, &request),
            }
            if self.group.is_none() {
                let bytes = self.raw.split();
                if is_change {
                    state.journal.append(&bytes);
                }
                state.feed_replicas(&bytes);
            }
        }
        state.serve_waiting();
        Ok(wants_answer)
    }
}

/// A request of the stream that changes nothing. Says whether it asks how far we are.
fn listen(state: &mut State, request: &[Bytes]) -> bool {
    match request {
        [word, channel, message] if word.eq_ignore_ascii_case(b"PUBLISH") => {
            state.publish(channel, message);
            false
        }
        [word, channel, message] if word.eq_ignore_ascii_case(b"SPUBLISH") => {
            state.publish_sharded(channel, message);
            false
        }
        [word, what, _] => word.eq_ignore_ascii_case(b"REPLCONF") && what.eq_ignore_ascii_case(b"GETACK"),
        _ => false,
    }
}
