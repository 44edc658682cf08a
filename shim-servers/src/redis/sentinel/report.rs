//! What a sentinel shows: the fields of its instances, INFO, whether a quorum can be had.
//!
//! Owns their names and order, which are Redis's. Must not change anything. Invariant: a field that clients parse is there.

use std::fmt::Write;

use super::state::{Instance, Kind, Master, Millis, Phase, Reconf, Shared, State};
use crate::redis::wire::Reply;

/// The fields of a master, a replica or a sentinel.
pub(super) fn fields(master: &Master, instance: &Instance, shared: &Shared) -> Reply {
    let now = shared.now;
    let since = |at_ms: Millis| if at_ms == 0 { 0 } else { now - at_ms };
    let mut all: Vec<(&str, String)> = Vec::new();
    let name = match instance.kind {
        Kind::Master => master.name.clone(),
        Kind::Replica => instance.address.to_string(),
        Kind::Sentinel => instance.run_id.clone().unwrap_or_default(),
    };
    all.push(("name", name));
    all.push(("ip", instance.address.ip().to_string()));
    all.push(("port", instance.address.port().to_string()));
    all.push(("runid", instance.run_id.clone().unwrap_or_default()));
    all.push(("flags", flags(master, instance)));
    all.push(("link-pending-commands", instance.contact.pending.to_string()));
    all.push(("link-refcount", "1".to_owned()));
    if instance.kind == Kind::Master && master.failover.phase != Phase::None {
        all.push(("failover-state", phase_name(master.failover.phase).to_owned()));
    }
    all.push(("last-ping-sent", since(instance.contact.ping_pending_ms).to_string()));
    all.push(("last-ok-ping-reply", (now - instance.contact.available_ms).to_string()));
    all.push(("last-ping-reply", (now - instance.contact.answered_ms).to_string()));
    if instance.is_s_down {
        all.push(("s-down-time", (now - instance.s_down_since_ms).to_string()));
    }
    if instance.is_o_down {
        all.push(("o-down-time", (now - instance.o_down_since_ms).to_string()));
    }
    all.push(("down-after-milliseconds", master.down_after_ms.to_string()));
    if instance.kind != Kind::Sentinel {
        let role = if instance.reports_master { "master" } else { "slave" };
        all.push(("info-refresh", since(instance.info_ms).to_string()));
        all.push(("role-reported", role.to_owned()));
        all.push(("role-reported-time", (now - instance.role_since_ms).to_string()));
    }
    match instance.kind {
        Kind::Master => of_master(master, &mut all),
        Kind::Replica => of_replica(instance, &mut all),
        Kind::Sentinel => {
            all.push(("last-hello-message", (now - instance.hello_ms).to_string()));
            all.push(("voted-leader", instance.leader.clone().unwrap_or_else(|| "?".to_owned())));
            all.push(("voted-leader-epoch", instance.leader_epoch.to_string()));
        }
    }
    Reply::Map(all.into_iter().map(|(name, value)| (Reply::bulk(name), Reply::bulk(value))).collect())
}

fn of_master(master: &Master, all: &mut Vec<(&str, String)>) {
    all.push(("config-epoch", master.config_epoch.to_string()));
    all.push(("num-slaves", master.replicas.len().to_string()));
    all.push(("num-other-sentinels", master.sentinels.len().to_string()));
    all.push(("quorum", master.quorum.to_string()));
    all.push(("failover-timeout", master.failover_timeout_ms.to_string()));
    all.push(("parallel-syncs", master.parallel_syncs.to_string()));
}

fn of_replica(replica: &Instance, all: &mut Vec<(&str, String)>) {
    let status = if replica.master_link_is_up { "ok" } else { "err" };
    all.push(("master-link-down-time", replica.master_link_down_ms.to_string()));
    all.push(("master-link-status", status.to_owned()));
    all.push(("master-host", replica.master_host.clone().unwrap_or_else(|| "?".to_owned())));
    all.push(("master-port", replica.master_port.to_string()));
    all.push(("slave-priority", replica.priority.to_string()));
    all.push(("slave-repl-offset", replica.offset.to_string()));
    all.push(("replica-announced", i32::from(replica.is_announced).to_string()));
}

fn flags(master: &Master, instance: &Instance) -> String {
    let is_master = instance.kind == Kind::Master;
    let all = [
        ("s_down", instance.is_s_down),
        ("o_down", instance.is_o_down),
        ("master", is_master),
        ("slave", instance.kind == Kind::Replica),
        ("sentinel", instance.kind == Kind::Sentinel),
        ("disconnected", !instance.is_connected()),
        ("master_down", instance.says_master_down),
        ("failover_in_progress", is_master && master.failover.phase != Phase::None),
        ("promoted", instance.is_promoted),
        ("reconf_sent", instance.reconf == Reconf::Sent),
        ("reconf_inprog", instance.reconf == Reconf::InProgress),
        ("reconf_done", instance.reconf == Reconf::Done),
        ("force_failover", is_master && master.failover.is_forced),
    ];
    let set: Vec<&str> = all.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    set.join(",")
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::None => "none",
        Phase::WaitStart => "wait_start",
        Phase::SelectReplica => "select_slave",
        Phase::SendReplicaOfNoOne => "send_slaveof_noone",
        Phase::WaitPromotion => "wait_promotion",
        Phase::ReconfReplicas => "reconf_slaves",
        Phase::UpdateConfig => "update_config",
    }
}

/// Whether a failover could be agreed on, in Redis's words.
pub(super) fn quorum(master: &Master) -> Reply {
    let is_usable = |sentinel: &&Instance| !sentinel.is_s_down && !sentinel.is_o_down;
    let usable = master.sentinels.values().filter(is_usable).count() + 1;
    let voters = master.sentinels.len() + 1;
    let mut missing = Vec::new();
    if usable < master.quorum {
        missing.push("Not enough available Sentinels to reach the specified quorum for this master");
    }
    if usable < voters / 2 + 1 {
        missing.push("Not enough available Sentinels to reach the majority and authorize a failover");
    }
    match missing.is_empty() {
        true => Reply::simple(format!(
            "OK {usable} usable Sentinels. Quorum and failover authorization can be reached"
        )),
        false => Reply::error(format!("NOQUORUM {usable} usable Sentinels. {}", missing.join(". "))),
    }
}

/// INFO, of all sections or of `section`.
pub(super) fn info(state: &State, section: Option<&str>, clients: usize) -> String {
    let shared = &state.shared;
    let uptime_s = (shared.now - super::state::FIRST_MS) / 1_000;
    let server = format!(
        "# Server\r\nredis_version:{}\r\nredis_git_sha1:00000000\r\nredis_git_dirty:0\r\nredis_mode:sentinel\r\n\
         os:Linux\r\narch_bits:64\r\nmultiplexing_api:epoll\r\nprocess_id:{}\r\nrun_id:{}\r\ntcp_port:{}\r\n\
         uptime_in_seconds:{uptime_s}\r\nuptime_in_days:{}\r\nhz:10\r\nconfigured_hz:10\r\n",
        super::VERSION,
        std::process::id(),
        shared.id,
        shared.port,
        uptime_s / 86_400
    );
    let clients =
        format!("# Clients\r\nconnected_clients:{clients}\r\nmaxclients:10000\r\nblocked_clients:0\r\n");
    let tilt_s = if shared.is_tilted { (shared.now - shared.tilt_since_ms) / 1_000 } else { -1 };
    let mut sentinel = format!(
        "# Sentinel\r\nsentinel_masters:{}\r\nsentinel_tilt:{}\r\nsentinel_tilt_since_seconds:{tilt_s}\r\n\
         sentinel_running_scripts:0\r\nsentinel_scripts_queue_length:0\r\nsentinel_simulate_failure_flags:0\r\n",
        state.masters.len(),
        i32::from(shared.is_tilted)
    );
    for (number, master) in state.masters.values().enumerate() {
        let status = match (master.own.is_o_down, master.own.is_s_down) {
            (true, _) => "odown",
            (false, true) => "sdown",
            _ => "ok",
        };
        let _ = write!(
            sentinel,
            "master{number}:name={},status={status},address={},slaves={},sentinels={}\r\n",
            master.name,
            master.own.address,
            master.replicas.len(),
            master.sentinels.len() + 1
        );
    }
    let sections = [("server", server), ("clients", clients), ("sentinel", sentinel)];
    let is_wanted = |name: &str| section.is_none_or(|wanted| wanted == name || wanted == "all");
    let wanted: Vec<String> =
        sections.into_iter().filter(|(name, _)| is_wanted(name)).map(|(_, text)| text).collect();
    wanted.join("\r\n")
}
