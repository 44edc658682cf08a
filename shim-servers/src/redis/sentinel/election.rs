//! Agreement: whether a master is down, and which sentinel may do something about it.
//!
//! Owns votes. Must not know what a leader does. Invariant: in one epoch a sentinel votes once for each master, and its vote is
//! on the disk before anybody hears of it.

use std::collections::BTreeMap;

use super::state::{Master, Phase, Request, Shared};

/// Asks the other sentinels what they think of the master, once in a period, or at once when `is_forced`.
pub(super) fn ask_others(master: &mut Master, is_forced: bool, shared: &mut Shared) {
    let (now, ask_ms) = (shared.now, shared.periods.ask_ms);
    let (ip, port) = (master.own.address.ip().to_string(), master.own.address.port().to_string());
    let epoch = shared.current_epoch.to_string();
    let is_asking_for_votes = master.failover.phase != Phase::None;
    let candidate = if is_asking_for_votes { shared.id.clone() } else { "*".to_owned() };
    for sentinel in master.sentinels.values_mut() {
        let old_ms = now - sentinel.master_down_answer_ms;
        if old_ms > ask_ms * 5 {
            sentinel.says_master_down = false;
            sentinel.leader = None;
        }
        if !master.own.is_s_down || !sentinel.is_connected() || !is_forced && old_ms < ask_ms {
            continue;
        }
        let question = ["SENTINEL", "is-master-down-by-addr", &ip, &port, &epoch, &candidate];
        shared.send(sentinel, Request::AskMasterDown, &question);
    }
}

/// Votes for `candidate` unless there is a vote for this epoch or a later one; returns whom the vote is for, and its epoch.
pub(super) fn vote(
    master: &mut Master,
    epoch: u64,
    candidate: &str,
    shared: &mut Shared,
) -> (Option<String>, u64) {
    if epoch > shared.current_epoch {
        shared.current_epoch = epoch;
        shared.is_dirty = true;
        shared.event("+new-epoch", epoch.to_string());
    }
    if master.leader_epoch < epoch && shared.current_epoch <= epoch {
        master.leader = Some(candidate.to_owned());
        master.leader_epoch = shared.current_epoch;
        shared.is_dirty = true;
        shared.event("+vote-for-leader", format!("{candidate} {}", master.leader_epoch));
        if candidate != shared.id {
            // The other one gets its time before we try ourselves.
            master.failover.started_ms = shared.now + shared.desync_ms();
        }
    }
    (master.leader.clone(), master.leader_epoch)
}

/// Who was elected for `epoch`: by more than half of all sentinels that are known, and by the quorum.
pub(super) fn leader(master: &mut Master, epoch: u64, shared: &mut Shared) -> Option<String> {
    let mut votes: BTreeMap<String, usize> = BTreeMap::new();
    for sentinel in master.sentinels.values() {
        if let Some(leader) = &sentinel.leader
            && sentinel.leader_epoch == shared.current_epoch
        {
            *votes.entry(leader.clone()).or_default() += 1;
        }
    }
    // We vote for who is ahead, or for ourselves.
    let ahead = first_of(&votes).map_or_else(|| shared.id.clone(), |(id, _)| id);
    if let (Some(own), own_epoch) = vote(master, epoch, &ahead, shared)
        && own_epoch == epoch
    {
        *votes.entry(own).or_default() += 1;
    }
    let voters = master.sentinels.len() + 1;
    let needed = (voters / 2 + 1).max(master.quorum);
    first_of(&votes).filter(|(_, count)| *count >= needed).map(|(id, _)| id)
}

/// Who has most votes.
fn first_of(votes: &BTreeMap<String, usize>) -> Option<(String, usize)> {
    let mut first: Option<(String, usize)> = None;
    for (id, count) in votes {
        if first.as_ref().is_none_or(|(_, most)| count > most) {
            first = Some((id.clone(), *count));
        }
    }
    first
}
