//! A replica in its master's place: elections, votes, and failovers that somebody asked for.
//!
//! Owns epochs of elections. Must not know sockets. Invariant: a master votes once in an epoch, and what it voted is on the disk
//! before anybody hears of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::message::{Kind, Message};
use super::slots::slots_of;
use super::{Cluster, NodeId};
use crate::redis::state::State;

/// How long a failover may take that somebody asked for.
const MANUAL_MAX_MS: i64 = 5_000;

/// An election in which this node stands.
#[derive(Debug, Default)]
pub(super) struct Election {
    /// When it asks for votes.
    starts_ms: i64,
    is_asked: bool,
    rank: usize,
    epoch: u64,
    votes: usize,
}

/// A failover that somebody asked for.
#[derive(Debug)]
pub(super) struct ManualFailover {
    ends_ms: i64,
    /// At the master: who wants its place.
    replica: Option<NodeId>,
    /// At the replica: where the master stopped.
    master_offset: Option<i64>,
    may_start: bool,
}

impl Cluster {
    pub(super) fn is_paused_for_failover(&self) -> bool {
        self.manual.as_ref().is_some_and(|manual| manual.replica.is_some())
    }

    /// The replica for which this master pauses.
    pub(super) fn successor(&self) -> Option<&NodeId> {
        self.manual.as_ref()?.replica.as_ref()
    }

    /// How many replicas of our master have more of its data than we.
    fn rank(&self, own_offset: i64) -> usize {
        let Some(master) = self.myself().master.as_ref() else { return 0 };
        self.replicas_of(master).filter(|node| node.id != self.me && node.offset > own_offset).count()
    }
}

/// How a failover is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Manner {
    /// The master stops first, so that nothing is lost.
    Agreed,
    /// Without the master.
    Forced,
    /// Without anybody.
    Takeover,
}

impl State {
    /// CLUSTER FAILOVER, at a replica.
    pub(super) fn ask_for_failover(&mut self, manner: Manner) -> Result<(), &'static str> {
        let (now_ms, offset) = (self.steady_ms(), self.replication.offset);
        self.end_manual_failover();
        let Some(cluster) = self.cluster.as_deref_mut() else { return Ok(()) };
        if cluster.myself().is_master {
            return Err("ERR You should send CLUSTER FAILOVER to a replica");
        }
        let master = cluster.myself().master.clone();
        let Some(master) = master.filter(|id| cluster.nodes.contains_key(id)) else {
            return Err("ERR I'm a replica but my master is unknown to me");
        };
        let is_gone = cluster.nodes.get(&master).is_some_and(|node| node.is_failed || node.link.is_none());
        if is_gone && manner == Manner::Agreed {
            return Err("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE");
        }
        if manner == Manner::Takeover {
            cluster.epoch += 1;
            let epoch = cluster.epoch;
            self.take_masters_place(epoch);
            return Ok(());
        }
        let is_forced = manner == Manner::Forced;
        cluster.manual = Some(ManualFailover {
            ends_ms: now_ms + MANUAL_MAX_MS,
            replica: None,
            master_offset: None,
            may_start: is_forced,
        });
        if !is_forced {
            let message = cluster.message(Kind::StartManualFailover, offset);
            cluster.send(&master, message);
        }
        Ok(())
    }

    pub(super) fn end_manual_failover(&mut self) {
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        if cluster.manual.take().is_some_and(|manual| manual.replica.is_some()) {
            self.pause.clients_until = None;
            self.pause.is_over.notify_waiters();
        }
    }

    /// A replica wants our place, with our consent: nobody writes meanwhile.
    fn make_room(&mut self, replica: &NodeId) {
        let now_ms = self.steady_ms();
        self.end_manual_failover();
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let is_ours =
            cluster.nodes.get(replica).is_some_and(|node| node.master.as_ref() == Some(&cluster.me));
        if !is_ours || !cluster.myself().is_master {
            return;
        }
        cluster.manual = Some(ManualFailover {
            ends_ms: now_ms + MANUAL_MAX_MS,
            replica: Some(Arc::clone(replica)),
            master_offset: None,
            may_start: false,
        });
        let until = Instant::now() + Duration::from_millis(2 * MANUAL_MAX_MS as u64);
        self.pause.clients_until = Some((until, true));
    }

    /// Goes on with a failover that somebody asked for.
    pub(super) fn tend_manual_failover(&mut self) {
        let (now_ms, offset) = (self.steady_ms(), self.replication.offset);
        let Some(manual) = self.cluster.as_deref_mut().and_then(|cluster| cluster.manual.as_mut()) else {
            return;
        };
        if now_ms > manual.ends_ms {
            return self.end_manual_failover();
        }
        if manual.master_offset == Some(offset) {
            manual.may_start = true;
        }
    }

    /// Stands for election where our master failed.
    pub(super) fn tend_election(&mut self) {
        let (now_ms, offset) = (self.steady_ms(), self.replication.offset);
        let is_forbidden = self.config.is_on("cluster-replica-no-failover");
        let down_ms = self.replication.master.as_ref().and_then(|master| master.down_since);
        let down_ms = down_ms.map_or(0, |since| since.elapsed().as_millis() as i64);
        let (period_ms, factor) = (
            self.config.number("repl-ping-replica-period") * 1000,
            self.config.number("cluster-replica-validity-factor"),
        );
        let mut random = self.random.fork();
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let is_manual = cluster.manual.as_ref().is_some_and(|manual| manual.may_start);
        let Some(master) = cluster.myself().master.clone().filter(|_| !cluster.myself().is_master) else {
            return;
        };
        let is_failed = cluster.nodes.get(&master).is_some_and(|node| node.is_failed);
        if !(is_manual || (is_failed && !is_forbidden)) || cluster.slot_count(&master) == 0 {
            return;
        }
        let timeout_ms = cluster.timeout_ms;
        let is_too_old = factor > 0 && down_ms - timeout_ms > period_ms + timeout_ms * factor;
        if is_too_old && !is_manual {
            return;
        }
        let vote_ms = (timeout_ms * 2).max(2_000);
        let rank = cluster.rank(offset);
        let age_ms = now_ms - cluster.election.starts_ms;
        if age_ms > vote_ms * 2 {
            let delay_ms = if is_manual { 0 } else { 500 + random.i64(0..500) + rank as i64 * 1_000 };
            let rank = if is_manual { 0 } else { rank };
            cluster.election = Election { starts_ms: now_ms + delay_ms, rank, ..Election::default() };
            // The other replicas want to know how far we are.
            let mut gossip = self.random.fork();
            cluster.broadcast_pong(offset, &mut gossip);
            return;
        }
        if !cluster.election.is_asked && !is_manual && rank > cluster.election.rank {
            cluster.election.starts_ms += (rank - cluster.election.rank) as i64 * 1_000;
            cluster.election.rank = rank;
        }
        if now_ms < cluster.election.starts_ms || age_ms > vote_ms {
            return;
        }
        if !cluster.election.is_asked {
            cluster.epoch += 1;
            cluster.election.epoch = cluster.epoch;
            cluster.election.is_asked = true;
            cluster.version += 1;
            let mut message = cluster.message(Kind::AskForVote, offset);
            message.is_forced = is_manual;
            cluster.broadcast(&message);
            return;
        }
        if cluster.election.votes >= cluster.quorum() {
            let epoch = cluster.election.epoch;
            self.take_masters_place(epoch);
        }
    }

    /// Becomes the master of its master's slots.
    fn take_masters_place(&mut self, epoch: u64) {
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let (me, old) = (Arc::clone(&cluster.me), cluster.myself().master.clone());
        let myself = cluster.myself_mut();
        myself.is_master = true;
        myself.master = None;
        myself.config_epoch = myself.config_epoch.max(epoch);
        if let Some(old) = old {
            cluster.owners.hand_over(&old, Some(&me));
        }
        cluster.election = Election::default();
        cluster.version += 1;
        self.end_manual_failover();
        self.stop_following();
        self.judge_cluster();
        let (offset, mut random) = (self.replication.offset, self.random.fork());
        if let Some(cluster) = self.cluster.as_deref_mut() {
            cluster.broadcast_pong(offset, &mut random);
        }
    }

    /// Somebody wants our vote.
    fn vote(&mut self, candidate: &NodeId, message: &Message) {
        let (now_ms, offset) = (self.steady_ms(), self.replication.offset);
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let may_vote = cluster.myself().is_master && cluster.slot_count(&cluster.me) > 0;
        if !may_vote || message.epoch < cluster.epoch || cluster.last_vote_epoch == cluster.epoch {
            return;
        }
        let master =
            cluster.nodes.get(candidate).filter(|node| !node.is_master).and_then(|node| node.master.clone());
        let Some(master) = master.as_ref().and_then(|id| cluster.nodes.get(id)) else { return };
        let voted_lately = master.voted_ms.is_some_and(|voted_ms| now_ms - voted_ms < cluster.timeout_ms * 2);
        if (!master.is_failed && !message.is_forced) || voted_lately {
            return;
        }
        let is_stale = slots_of(&message.slots).any(|slot| {
            let owner = cluster.owner(slot).and_then(|owner| cluster.nodes.get(owner));
            owner.is_some_and(|owner| owner.config_epoch > message.config_epoch)
        });
        if is_stale {
            return;
        }
        let master = Arc::clone(&master.id);
        if let Some(master) = cluster.nodes.get_mut(&master) {
            master.voted_ms = Some(now_ms);
        }
        cluster.last_vote_epoch = cluster.epoch;
        cluster.version += 1;
        let vote = cluster.message(Kind::Vote, offset);
        cluster.send(candidate, vote);
    }

    /// A message that is neither a ping nor a pong.
    pub(super) fn hear_other(&mut self, sender: &NodeId, message: Message) {
        match &message.kind {
            Kind::Fail(id) => self.hear_failure(id),
            Kind::Publish { channel, message, is_sharded: true } => {
                self.publish_sharded(channel, message);
            }
            Kind::Publish { channel, message, is_sharded: false } => {
                self.publish(channel, message);
            }
            Kind::AskForVote => self.vote(sender, &message),
            Kind::Vote => {
                let Some(cluster) = self.cluster.as_deref_mut() else { return };
                let is_voter = message.is_master && cluster.slot_count(sender) > 0;
                if is_voter && message.epoch >= cluster.election.epoch && cluster.election.is_asked {
                    cluster.election.votes += 1;
                }
            }
            Kind::Update { owner, config_epoch, slots } => self.hear_update(owner, *config_epoch, slots),
            Kind::StartManualFailover => self.make_room(sender),
            Kind::Ping(_) | Kind::Pong(_) | Kind::Meet(_) => {}
        }
    }

    /// A paused master tells where it stopped.
    pub(super) fn hear_pause(&mut self, sender: &NodeId, message: &Message) {
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let is_master = cluster.myself().master.as_ref() == Some(sender);
        if let Some(manual) = cluster.manual.as_mut().filter(|_| is_master && message.is_paused) {
            manual.master_offset.get_or_insert(message.offset);
        }
    }
}
