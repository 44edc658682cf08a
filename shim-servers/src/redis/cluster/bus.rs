//! The bus: connections between nodes, and the cluster's regular work.
//!
//! Owns sockets of the bus, and when `nodes.conf` is written. Must not know what messages mean. Invariant: what a message tells
//! of this node's own state is on the disk before it is sent.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::gossip::{Arrival, receive};
use super::message::{Message, decode, encode};
use super::nodes_file;
use super::{Cluster, NodeId};
use crate::redis::server::Server;
use crate::redis::state::{State, random_name};

/// The bus of a node.
pub(crate) struct Bus {
    listener: TcpListener,
    saver: Saver,
}

/// Writes `nodes.conf`.
#[derive(Clone)]
struct Saver {
    folder: Option<PathBuf>,
    saved: Arc<Mutex<u64>>,
}

/// Reads what is known of the cluster, and listens for the other nodes.
///
/// # Errors
/// Those of the folder and of the port of the bus, which is the server's plus 10000.
pub(crate) async fn open(
    state: &mut State,
    folder: Option<&Path>,
    listener: &TcpListener,
) -> io::Result<Bus> {
    let mut address = listener.local_addr()?;
    let bus_port = state.port.checked_add(10_000).ok_or(io::ErrorKind::InvalidInput)?;
    address.set_port(bus_port);
    let bus = TcpListener::bind(address).await?;
    let mut cluster = match folder {
        Some(folder) => nodes_file::read(folder, state.port).await?,
        None => None,
    }
    .unwrap_or_else(|| Cluster::new(random_name(&mut state.random).into(), state.port));
    cluster.announce(state.config.text("cluster-announce-ip"));
    let now_ms = state.steady_ms();
    cluster.nodes.values_mut().for_each(|node| node.heard_ms = now_ms);
    state.cluster = Some(Box::new(cluster));
    state.follow_cluster_master();
    let saver = Saver { folder: folder.map(Path::to_owned), saved: Arc::default() };
    Ok(Bus { listener: bus, saver })
}

impl Saver {
    /// Waits until this version, or a newer one, is on the disk.
    async fn save(&self, server: &Server, version: u64) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut saved = self.saved.lock().await;
        if *saved >= version {
            return Ok(());
        }
        let now =
            server.with(|state| state.cluster.as_deref().map(|c| (c.version, nodes_file::text(state, c))));
        if let Some((version, text)) = now {
            nodes_file::write(folder, &text).await?;
            *saved = version;
        }
        Ok(())
    }
}

impl Bus {
    /// Does the work of the cluster for ever.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) async fn run(self, server: Arc<Server>) -> io::Result<()> {
        let Bus { listener, saver } = self;
        let mut links = JoinSet::new();
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ticks = 0_u64;
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        links.spawn(hear(Arc::clone(&server), saver.clone(), stream));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                },
                Some(_) = links.join_next() => {}
                _ = tick.tick() => {
                    ticks += 1;
                    let (wanted, version) = server.with(|state| {
                        state.tend_cluster(ticks);
                        (state.missing_links(), state.cluster.as_deref().map_or(0, |cluster| cluster.version))
                    });
                    for link in wanted {
                        links.spawn(link.run(Arc::clone(&server), saver.clone()));
                    }
                    saver.save(&server, version).await?;
                }
            }
        }
    }
}

/// A connection that another node made.
async fn hear(server: Arc<Server>, saver: Saver, stream: TcpStream) {
    // Whatever ends it, the other node makes a new one.
    let _ = hear_until_end(&server, &saver, stream).await;
}

async fn hear_until_end(server: &Arc<Server>, saver: &Saver, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let arrival = Arrival { peer: stream.peer_addr()?.ip(), local: stream.local_addr()?.ip(), link: None };
    let mut buffer = BytesMut::new();
    loop {
        while let Some(message) = decode(&mut buffer).map_err(io::Error::other)? {
            let (answer, version) = server.with(|state| {
                let (answer, _) = receive(state, message, &arrival);
                (answer, state.cluster.as_deref().map_or(0, |cluster| cluster.version))
            });
            if let Some(answer) = answer {
                saver.save(server, version).await?;
                write(server, &mut stream, &answer).await?;
            }
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn write(server: &Server, stream: &mut TcpStream, message: &Message) -> io::Result<()> {
    let limit_ms = server.with(|state| state.cluster.as_deref().map_or(0, |cluster| cluster.timeout_ms));
    let mut bytes = BytesMut::new();
    encode(message, &mut bytes);
    timeout(Duration::from_millis(limit_ms as u64), stream.write_all(&bytes)).await?
}

/// A connection that this node makes.
struct Link {
    id: NodeId,
    number: u64,
    address: (String, u16),
    limit: Duration,
    outgoing: UnboundedReceiver<(u64, Message)>,
}

impl Link {
    async fn run(mut self, server: Arc<Server>, saver: Saver) {
        let _ = self.talk(&server, &saver).await;
        server.with(|state| {
            let Some(cluster) = state.cluster.as_deref_mut() else { return };
            let node = cluster.nodes.get_mut(&self.id).filter(|node| node.link_number == self.number);
            if let Some(node) = node {
                node.link = None;
                node.is_connected = false;
            }
        });
    }

    async fn talk(&mut self, server: &Arc<Server>, saver: &Saver) -> io::Result<()> {
        let (host, port) = &self.address;
        let mut stream = timeout(self.limit, TcpStream::connect((host.as_str(), *port))).await??;
        stream.set_nodelay(true)?;
        let (peer, local) = (stream.peer_addr()?.ip(), stream.local_addr()?.ip());
        server.with(|state| {
            let node = state.cluster.as_deref_mut().and_then(|cluster| cluster.nodes.get_mut(&self.id));
            if let Some(node) = node.filter(|node| node.link_number == self.number) {
                node.is_connected = true;
            }
        });
        let mut buffer = BytesMut::new();
        loop {
            tokio::select! {
                message = self.outgoing.recv() => {
                    let Some((version, message)) = message else { return Ok(()) };
                    saver.save(server, version).await?;
                    write(server, &mut stream, &message).await?;
                }
                read = stream.read_buf(&mut buffer) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    while let Some(message) = decode(&mut buffer).map_err(io::Error::other)? {
                        let arrival = Arrival { peer, local, link: Some(Arc::clone(&self.id)) };
                        let (_, renamed) = server.with(|state| receive(state, message, &arrival));
                        if let Some(renamed) = renamed {
                            self.id = renamed;
                        }
                    }
                }
            }
        }
    }
}

impl State {
    /// Nodes to which there is no connection, each with a new one that is about to be made.
    fn missing_links(&mut self) -> Vec<Link> {
        let (now_ms, offset) = (self.steady_ms(), self.replication.offset);
        let mut random = self.random.fork();
        let Some(cluster) = self.cluster.as_deref_mut() else { return Vec::new() };
        let ids: Vec<NodeId> = cluster
            .nodes
            .values()
            .filter(|node| node.id != cluster.me && node.link.is_none() && !node.ip.is_empty())
            .map(|node| Arc::clone(&node.id))
            .collect();
        let limit = Duration::from_millis(cluster.timeout_ms as u64);
        let mut links = Vec::new();
        for id in ids {
            let Some(node) = cluster.nodes.get_mut(&id) else { continue };
            let (sender, outgoing) = unbounded_channel();
            node.link = Some(sender);
            node.link_number += 1;
            node.link_since_ms = now_ms;
            // A wait that has begun goes on.
            let waited_ms = node.ping_sent_ms;
            let (number, address) = (node.link_number, (node.ip.clone(), node.bus_port));
            let is_to_be_met = node.is_to_be_met;
            cluster.ping(&id, offset, &mut random, now_ms, is_to_be_met);
            if let Some(node) = cluster.nodes.get_mut(&id) {
                node.ping_sent_ms = waited_ms.or(node.ping_sent_ms);
            }
            links.push(Link { id, number, address, limit, outgoing });
        }
        links
    }
}
