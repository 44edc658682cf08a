//! A server that runs: its tasks, and the state that they share.
//!
//! Owns the listener, the clock of regular work, and the end. Must not know commands. Invariant: the state is never borrowed
//! while a task waits.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::client::Client;
use super::state::{State, now_ms};
use super::{WriteHook, cluster, connection, persistence, replication};

/// What the tasks of a server share.
pub(crate) struct Server {
    state: Mutex<State>,
    /// How much of the journal is safe.
    pub(crate) safe: watch::Sender<u64>,
    pub(crate) hook: Option<WriteHook>,
    pub(crate) shutdown: Notify,
}

impl Server {
    /// Borrows the state.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut state);
        if state.is_shutting_down {
            self.shutdown.notify_one();
        }
        result
    }

    /// Waits until the journal is safe up to here.
    pub(crate) async fn safe_up_to(&self, end: u64) {
        let mut safe = self.safe.subscribe();
        // The sender lives as long as the server.
        let _ = safe.wait_for(|safe| *safe >= end).await;
    }
}

/// Serves until SHUTDOWN, or until the future is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    mut state: State,
    data_dir: Option<PathBuf>,
    hook: Option<WriteHook>,
) -> io::Result<()> {
    let mut writer = None;
    if let Some(folder) = &data_dir {
        writer = Some(persistence::open(&mut state, folder).await?);
    }
    let bus = match &mut state.cluster {
        Some(_) => Some(cluster::open(&mut state, data_dir.as_deref(), &listener).await?),
        None => None,
    };
    let safe = watch::Sender::new(0);
    let server = Arc::new(Server { state: Mutex::new(state), safe, hook, shutdown: Notify::new() });
    let mut work = JoinSet::new();
    if let Some(writer) = writer {
        work.spawn(writer.run(Arc::clone(&server)));
    }
    if let Some(bus) = bus {
        work.spawn(bus.run(Arc::clone(&server)));
    }
    work.spawn(replication::replica::follow(Arc::clone(&server)).never());
    work.spawn(tend(Arc::clone(&server)).never());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => accept(&server, stream, &mut connections),
                // Out of descriptors, or a connection that went away again: others may come.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            Some(ended) = work.join_next() => return ended.map_err(io::Error::other)?,
            () = server.shutdown.notified() => break,
        }
    }
    // Answers that wait for the disk have no chance to be heard any more; the journal has.
    let end = server.with(|state| state.journal.appended);
    server.safe_up_to(if data_dir.is_some() { end } else { 0 }).await;
    Ok(())
}

/// A task without an end, as one that could have failed.
trait Never: Future<Output = ()> + Sized {
    async fn never(self) -> io::Result<()>;
}

impl<F: Future<Output = ()> + Send> Never for F {
    async fn never(self) -> io::Result<()> {
        self.await;
        Ok(())
    }
}

/// Lets a client in, or tells it that there are too many.
fn accept(server: &Arc<Server>, stream: TcpStream, connections: &mut JoinSet<()>) {
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
    let client = server.with(|state| {
        state.stats.connections += 1;
        let buses = state.cluster.as_ref().map_or(0, |cluster| cluster.links());
        if state.clients.len() + buses >= state.config.number("maxclients") as usize {
            state.stats.rejected += 1;
            return None;
        }
        let id = state.next_client;
        state.next_client += 1;
        let is_authenticated = state.config.text("requirepass").is_empty();
        let client = Client::new(id, peer, local, now_ms(), is_authenticated);
        let outlet = Arc::clone(&client.outlet);
        state.clients.insert(id, client);
        Some((id, outlet))
    });
    match client {
        Some((id, outlet)) => connections.spawn(connection::run(Arc::clone(server), stream, id, outlet)),
        None => connections.spawn(connection::refuse(stream)),
    };
}

/// The work that comes round by itself.
async fn tend(server: Arc<Server>) {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticks = 0_u64;
    loop {
        tick.tick().await;
        ticks += 1;
        server.with(|state| {
            state.expire_some();
            if ticks.is_multiple_of(10) {
                state.tend_replicas();
                state.drop_idle();
            }
        });
    }
}

impl State {
    /// Ends connections that said nothing for longer than `timeout` seconds.
    fn drop_idle(&mut self) {
        let most_ms = self.config.number("timeout") * 1000;
        if most_ms == 0 {
            return;
        }
        let now_ms = now_ms();
        let idle: Vec<u64> = self
            .clients
            .values()
            .filter(|client| now_ms - client.used_ms > most_ms)
            .filter(|client| !client.is_replica() && client.subscriptions() == 0 && client.blocked.is_none())
            .map(|client| client.id)
            .collect();
        idle.into_iter().for_each(|id| self.kill(id));
    }
}
