//! `nodes.conf`: what a node keeps of its cluster.
//!
//! Owns the file's text, which is that of CLUSTER NODES and one line of epochs. Must not know when it is written. Invariant: the
//! file is replaced as a whole.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;

use super::node::Node;
use super::{Cluster, NodeId, shape};
use crate::redis::state::State;

const FILE: &str = "nodes.conf";

/// What is written.
pub(super) fn text(state: &State, cluster: &Cluster) -> String {
    let nodes = shape::nodes(state, cluster, |node| !node.is_in_handshake);
    format!("{nodes}vars currentEpoch {} lastVoteEpoch {}\n", cluster.epoch, cluster.last_vote_epoch)
}

pub(super) async fn write(folder: &Path, text: &str) -> io::Result<()> {
    let temporary = folder.join(format!("temp-{FILE}"));
    let mut file = File::create(&temporary).await?;
    file.write_all(text.as_bytes()).await?;
    file.flush().await?;
    file.sync_all().await?;
    fs::rename(&temporary, folder.join(FILE)).await?;
    File::open(folder).await?.sync_all().await
}

/// Reads the file, if there is one.
///
/// # Errors
/// Those of the folder; `InvalidData` for what was not written by this server.
pub(super) async fn read(folder: &Path, port: u16) -> io::Result<Option<Cluster>> {
    let text = match fs::read_to_string(folder.join(FILE)).await {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "nodes.conf is damaged");
    let cluster = parse(&text, port).ok_or_else(damaged)?;
    Ok(Some(cluster))
}

fn parse(text: &str, port: u16) -> Option<Cluster> {
    let mut nodes: BTreeMap<NodeId, Node> = BTreeMap::new();
    let mut slots: Vec<(NodeId, String)> = Vec::new();
    let (mut me, mut epochs) = (None, (0, 0));
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["vars", "currentEpoch", epoch, "lastVoteEpoch", vote] = words[..] {
            epochs = (epoch.parse().ok()?, vote.parse().ok()?);
            continue;
        }
        let [id, address, flags, master, _, _, config_epoch, _, ref owned @ ..] = words[..] else {
            return None;
        };
        let id: NodeId = id.into();
        let (host, bus_port) = address.split_once('@')?;
        let (ip, node_port) = host.rsplit_once(':')?;
        let mut node = Node::new(Arc::clone(&id), ip.into(), node_port.parse().ok()?, bus_port.parse().ok()?);
        node.config_epoch = config_epoch.parse().ok()?;
        for flag in flags.split(',') {
            match flag {
                "myself" => me = Some(Arc::clone(&id)),
                "master" => node.is_master = true,
                "fail" => node.is_failed = true,
                "fail?" => node.is_suspected = true,
                _ => {}
            }
        }
        node.master = (master != "-").then(|| master.into());
        slots.extend(owned.iter().map(|slot| (Arc::clone(&id), (*slot).to_owned())));
        nodes.insert(id, node);
    }
    let mut cluster = Cluster::new(me?, port);
    let own_port = (port, port.checked_add(10_000)?);
    cluster.nodes = nodes;
    (cluster.myself_mut().port, cluster.myself_mut().bus_port) = own_port;
    (cluster.epoch, cluster.last_vote_epoch) = epochs;
    slots.iter().try_for_each(|(id, slot)| take_slots(&mut cluster, id, slot))?;
    Some(cluster)
}

/// A slot, a range of slots, or one that moves: `[7->-id]` and `[7-<-id]`.
fn take_slots(cluster: &mut Cluster, id: &NodeId, text: &str) -> Option<()> {
    if let Some(moving) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        if let Some((slot, target)) = moving.split_once("->-") {
            cluster.migrating.insert(slot.parse().ok()?, target.into());
        } else {
            let (slot, source) = moving.split_once("-<-")?;
            cluster.importing.insert(slot.parse().ok()?, source.into());
        }
        return Some(());
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    cluster.owners.assign(first.parse::<u16>().ok()?..=last.parse().ok()?, Some(id));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let text = "aa 10.0.0.1:7000@17000 myself,master - 0 0 3 connected 0-5 7 [5->-bb] [9-<-bb]\n\
                    bb 10.0.0.2:7000@17000 slave,fail aa 0 0 2 disconnected\n\
                    vars currentEpoch 9 lastVoteEpoch 8\n";
        let cluster = parse(text, 7000).expect("it is whole");
        assert_eq!(&*cluster.me, "aa");
        assert_eq!(cluster.ranges_of(&cluster.me), [(0, 5), (7, 7)]);
        assert_eq!((cluster.epoch, cluster.last_vote_epoch), (9, 8));
        assert_eq!(cluster.migrating.get(&5).map(|id| &**id), Some("bb"));
        assert_eq!(cluster.importing.get(&9).map(|id| &**id), Some("bb"));
        let other = &cluster.nodes["bb"];
        assert!(other.is_failed && !other.is_master);
        assert_eq!(other.master.as_deref(), Some("aa"));
    }
}
