//! The sentinel at work: sockets, the clock and the file around its state.
//!
//! Owns tasks, one for each connection, and the loop that they all report to. Must not decide anything. Invariant: what a
//! decision rests on is on the disk before anybody hears of it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::clients::{Checked, Clients, Out};
use super::file::File;
use super::state::{Effect, FIRST_MS, Millis, Request, State};
use super::{hello, links, random_u32, report};
use crate::redis::wire::{Reply, RequestDecoder};

/// What a task reports.
#[derive(Debug)]
pub(super) enum Happened {
    Connected { link: u64, local: IpAddr },
    Replied { link: u64, request: Request, reply: Reply },
    Heard { link: u64, message: Reply },
    Closed { link: u64 },
    Asked { client: u64, request: Vec<Bytes> },
    Left { client: u64 },
}

/// A connection to a server or a sentinel.
struct Link {
    requests: UnboundedSender<(Request, Vec<String>)>,
    task: AbortHandle,
}

/// A sentinel at work.
pub(super) struct Server {
    state: State,
    file: Option<File>,
    clients: Clients,
    links: BTreeMap<u64, Link>,
    tasks: JoinSet<()>,
    reports: UnboundedSender<Happened>,
    started: Instant,
}

impl Server {
    /// Serves on `listener`, until the future is dropped or a client says SHUTDOWN.
    pub(super) async fn run(
        state: State,
        file: Option<File>,
        password: Option<String>,
        listener: TcpListener,
    ) -> io::Result<()> {
        let (reports, mut happened) = unbounded_channel();
        let clients = Clients::new(password);
        let (links, tasks, started) = (BTreeMap::new(), JoinSet::new(), Instant::now());
        let mut server = Server { state, file, clients, links, tasks, reports, started };
        server.settle().await?;
        let mut tick = Instant::now();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, peer) = accepted?;
                    server.accept(stream, peer);
                }
                Some(happened) = happened.recv() => {
                    server.state.shared.now = server.now();
                    let said = match happened {
                        Happened::Asked { client, request } if is_shutdown(&request) => {
                            match shutdown(&server.clients, client, &request) {
                                Some(refused) => Some((client, refused)),
                                None => return Ok(()),
                            }
                        }
                        other => server.handle(other),
                    };
                    server.settle().await?;
                    if let Some((client, reply)) = said {
                        server.clients.say(client, reply);
                    }
                }
                () = sleep_until(tick) => {
                    server.state.shared.now = server.now();
                    server.state.tick();
                    server.settle().await?;
                    // Ten to twenty times a second, so that sentinels that began together drift apart.
                    tick = Instant::now() + Duration::from_millis(1_000 / u64::from(10 + random_u32() % 10));
                }
                Some(_) = server.tasks.join_next() => {}
            }
        }
    }

    fn now(&self) -> Millis {
        FIRST_MS + self.started.elapsed().as_millis() as Millis
    }

    fn accept(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Ok(local) = stream.local_addr() else { return };
        let (sender, out) = unbounded_channel();
        let client = self.clients.join(sender, peer, local, self.now());
        self.tasks.spawn(session(stream, client, out, self.reports.clone()));
    }

    /// Takes in what a task reports, and says what the client hears.
    fn handle(&mut self, happened: Happened) -> Option<(u64, Reply)> {
        match happened {
            Happened::Connected { link, local } => self.state.on_connected(link, local),
            Happened::Replied { link, request, reply } => self.state.on_reply(link, request, &reply),
            Happened::Heard { link, message } => self.state.on_message(link, &message),
            Happened::Closed { link } => self.state.on_closed(link),
            Happened::Left { client } => self.clients.leave(client),
            Happened::Asked { client, request } => return Some((client, self.answer(client, &request))),
        }
        None
    }

    fn answer(&mut self, client: u64, request: &[Bytes]) -> Reply {
        let text = |index: usize| request.get(index).map(|word| String::from_utf8_lossy(word));
        if text(0).is_some_and(|name| name.eq_ignore_ascii_case("quit")) {
            self.clients.say(client, Reply::OK);
            self.clients.close(client);
            return Reply::nothing();
        }
        let name = match self.clients.check(client, request) {
            Checked::Command(name) => name,
            Checked::Refused(reply) => return reply,
        };
        match name {
            "sentinel" => self.state.sentinel(request),
            "info" => {
                let section = text(1).map(|section| section.to_ascii_lowercase());
                let section =
                    section.filter(|section| !["default", "everything"].contains(&section.as_str()));
                Reply::Verbatim(report::info(&self.state, section.as_deref(), self.clients.count()).into())
            }
            "role" => {
                let names = self.state.masters.keys().cloned().collect::<Reply>();
                Reply::Array(vec!["sentinel".into(), names])
            }
            "publish" if request[1] != hello::CHANNEL => {
                Reply::error("ERR Only HELLO messages are accepted by Sentinel instances.")
            }
            "publish" => {
                self.state.on_hello(&text(2).unwrap_or_default());
                Reply::Integer(1)
            }
            name => self.clients.answer(client, name, request, self.state.shared.now),
        }
    }

    /// Writes the file where it has to be, then does all that was decided.
    async fn settle(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.state.shared.is_dirty)
            && let Some(file) = &self.file
        {
            file.write(&self.state).await?;
        }
        for effect in std::mem::take(&mut self.state.shared.effects) {
            match effect {
                Effect::Connect { link, address, is_for_messages, first } => {
                    let (requests, receiver) = unbounded_channel();
                    for request in first {
                        let _ = requests.send(request);
                    }
                    let connection =
                        links::run(link, address, is_for_messages, receiver, self.reports.clone());
                    let task = self.tasks.spawn(connection);
                    self.links.insert(link, Link { requests, task });
                }
                Effect::Send { link, request, arguments } => {
                    if let Some(link) = self.links.get(&link) {
                        let _ = link.requests.send((request, arguments));
                    }
                }
                Effect::Close { link } => {
                    if let Some(link) = self.links.remove(&link) {
                        link.task.abort();
                    }
                }
                Effect::Publish { channel, message } => self.clients.publish(&channel, &message),
            }
        }
        Ok(())
    }
}

fn is_shutdown(request: &[Bytes]) -> bool {
    request.first().is_some_and(|name| name.eq_ignore_ascii_case(b"shutdown"))
}

/// Why a client may not end the sentinel, if there is a reason.
fn shutdown(clients: &Clients, client: u64, request: &[Bytes]) -> Option<Reply> {
    if let Checked::Refused(reply) = clients.check(client, request) {
        return Some(reply);
    }
    let known: [&[u8]; 4] = [b"nosave", b"save", b"now", b"force"];
    let is_known = |word: &Bytes| known.iter().any(|known| word.eq_ignore_ascii_case(known));
    (!request[1..].iter().all(is_known)).then(|| Reply::error("ERR syntax error"))
}

/// One client's connection: requests go to the loop, what it says comes back by `out`.
async fn session(
    mut stream: TcpStream,
    client: u64,
    mut out: UnboundedReceiver<Out>,
    reports: UnboundedSender<Happened>,
) {
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.split();
    let (mut decoder, mut received) = (RequestDecoder::default(), BytesMut::new());
    let reading = async {
        loop {
            match decoder.decode(&mut received, true) {
                Ok(Some(request)) => {
                    if reports.send(Happened::Asked { client, request }).is_err() {
                        return None;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(text) => return Some(text),
            }
            if !reader.read_buf(&mut received).await.is_ok_and(|count| count > 0) {
                return None;
            }
        }
    };
    let writing = async {
        let mut bytes = BytesMut::new();
        while let Some(Out::Say(reply, protocol)) = out.recv().await {
            reply.encode(protocol, &mut bytes);
            if writer.write_all_buf(&mut bytes).await.is_err() {
                return;
            }
        }
    };
    let error = tokio::select! {
        error = reading => error,
        () = writing => None,
    };
    if let Some(text) = error {
        let _ = stream.write_all(format!("-ERR {text}\r\n").as_bytes()).await;
    }
    let _ = reports.send(Happened::Left { client });
}
