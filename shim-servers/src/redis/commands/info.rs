//! INFO.
//!
//! Owns its sections and lines. Must not change anything. Invariant: a line that cannot be told here is left out, and never
//! made up.

use crate::redis::call::{Answer, Call};
use crate::redis::replication::{Phase, ReplicaState};
use crate::redis::state::{State, now_ms, now_us};
use crate::redis::wire::Reply;

/// The version that this server speaks as.
pub(crate) const VERSION: &str = "7.0.15";

const DEFAULT: &[&str] = &[
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "modules",
    "errorstats",
    "cluster",
    "keyspace",
];

pub(crate) fn info(call: &mut Call) -> Answer {
    let wanted: Vec<String> =
        call.args_from(1).iter().map(|name| String::from_utf8_lossy(name).to_lowercase()).collect();
    let mut sections: Vec<&str> = Vec::new();
    let is_default = wanted.is_empty() || wanted.iter().any(|name| name == "default");
    let is_all = wanted.iter().any(|name| name == "all" || name == "everything");
    for section in DEFAULT.iter().chain(&["commandstats"]) {
        let is_named = wanted.iter().any(|name| name == section);
        if is_named || is_all || (is_default && *section != "commandstats") {
            sections.push(section);
        }
    }
    let texts: Vec<String> = sections.into_iter().map(|name| section(call.state, name)).collect();
    Ok(Reply::Verbatim(texts.join("\r\n").into()))
}

fn section(state: &State, name: &str) -> String {
    match name {
        "server" => server(state),
        "clients" => clients(state),
        "memory" => memory(state),
        "persistence" => persistence(state),
        "stats" => stats(state),
        "replication" => replication(state),
        "cpu" => "# CPU\r\n".to_owned(),
        "modules" => "# Modules\r\n".to_owned(),
        "errorstats" => {
            let lines = state.stats.error_counts.iter();
            let lines = lines.map(|(code, count)| format!("errorstat_{code}:count={count}\r\n"));
            format!("# Errorstats\r\n{}", lines.collect::<String>())
        }
        "commandstats" => {
            let lines = state.stats.command_counts.iter();
            let lines = lines.map(|(name, count)| format!("cmdstat_{name}:calls={count}\r\n"));
            format!("# Commandstats\r\n{}", lines.collect::<String>())
        }
        "cluster" => lines("Cluster", &[("cluster_enabled", u8::from(state.cluster.is_some()).to_string())]),
        _ => keyspace(state),
    }
}

fn lines(title: &str, pairs: &[(&str, String)]) -> String {
    let lines = pairs.iter().map(|(name, value)| format!("{name}:{value}\r\n"));
    format!("# {title}\r\n{}", lines.collect::<String>())
}

fn server(state: &State) -> String {
    let uptime = state.started.elapsed().as_secs();
    let mode = if state.cluster.is_some() { "cluster" } else { "standalone" };
    lines(
        "Server",
        &[
            ("redis_version", VERSION.into()),
            ("redis_git_sha1", "00000000".into()),
            ("redis_git_dirty", "0".into()),
            ("redis_mode", mode.into()),
            ("os", format!("{} shim-servers", std::env::consts::OS)),
            ("arch_bits", "64".into()),
            ("process_id", std::process::id().to_string()),
            ("run_id", state.run_id.clone()),
            ("tcp_port", state.port.to_string()),
            ("server_time_usec", now_us().to_string()),
            ("uptime_in_seconds", uptime.to_string()),
            ("uptime_in_days", (uptime / 86400).to_string()),
            ("hz", state.config.text("hz").into()),
            ("configured_hz", state.config.text("hz").into()),
            ("config_file", String::new()),
        ],
    )
}

fn clients(state: &State) -> String {
    let links = state.cluster.as_ref().map_or(0, |cluster| cluster.links());
    lines(
        "Clients",
        &[
            ("connected_clients", state.normal_clients().to_string()),
            ("cluster_connections", links.to_string()),
            ("maxclients", state.config.text("maxclients").into()),
            ("blocked_clients", state.blocked_clients().to_string()),
        ],
    )
}

fn memory(state: &State) -> String {
    lines(
        "Memory",
        &[
            ("maxmemory", state.config.text("maxmemory").into()),
            ("maxmemory_policy", state.config.text("maxmemory-policy").into()),
        ],
    )
}

fn persistence(state: &State) -> String {
    lines(
        "Persistence",
        &[
            ("loading", "0".into()),
            ("async_loading", "0".into()),
            ("rdb_changes_since_last_save", state.stats.changes.to_string()),
            ("rdb_bgsave_in_progress", "0".into()),
            ("rdb_last_save_time", (state.last_save_ms / 1000).to_string()),
            ("rdb_last_bgsave_status", "ok".into()),
            ("aof_enabled", u8::from(state.journal.is_kept).to_string()),
            ("aof_rewrite_in_progress", "0".into()),
            ("aof_rewrite_scheduled", u8::from(state.journal.wants_rewrite).to_string()),
            ("aof_last_bgrewrite_status", "ok".into()),
            ("aof_rewrites", state.stats.rewrites.to_string()),
            ("aof_last_write_status", "ok".into()),
        ],
    )
}

fn stats(state: &State) -> String {
    let stats = &state.stats;
    lines(
        "Stats",
        &[
            ("total_connections_received", stats.connections.to_string()),
            ("total_commands_processed", stats.commands.to_string()),
            ("total_net_input_bytes", stats.net_input_bytes.to_string()),
            ("total_net_output_bytes", stats.net_output_bytes.to_string()),
            ("rejected_connections", stats.rejected.to_string()),
            ("sync_full", stats.full_syncs.to_string()),
            ("sync_partial_ok", stats.partial_syncs.to_string()),
            ("sync_partial_err", stats.partial_syncs_refused.to_string()),
            ("expired_keys", stats.expired.to_string()),
            ("evicted_keys", "0".into()),
            ("keyspace_hits", stats.hits.to_string()),
            ("keyspace_misses", stats.misses.to_string()),
            ("pubsub_channels", state.subscriptions.channels.len().to_string()),
            ("pubsub_patterns", state.subscriptions.patterns.len().to_string()),
            ("pubsubshard_channels", state.subscriptions.shard_channels.len().to_string()),
            ("total_error_replies", stats.errors.to_string()),
        ],
    )
}

fn replication(state: &State) -> String {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: String| pairs.push((name.to_owned(), value));
    add("role", if state.is_replica() { "slave".into() } else { "master".into() });
    if let Some(master) = &state.replication.master {
        let is_up = master.phase == Phase::Connected;
        add("master_host", master.host.clone());
        add("master_port", master.port.to_string());
        add("master_link_status", if is_up { "up".into() } else { "down".into() });
        let heard = if is_up { master.heard.elapsed().as_secs() as i64 } else { -1 };
        add("master_last_io_seconds_ago", heard.to_string());
        add("master_sync_in_progress", u8::from(master.phase == Phase::Transfer).to_string());
        add("slave_read_repl_offset", state.replication.offset.to_string());
        add("slave_repl_offset", state.replication.offset.to_string());
        if master.phase == Phase::Transfer {
            add("master_sync_left_bytes", master.missing_bytes.to_string());
        }
        if let Some(since) = master.down_since {
            add("master_link_down_since_seconds", since.elapsed().as_secs().to_string());
        }
        add("slave_priority", state.config.text("replica-priority").into());
        add("slave_read_only", u8::from(state.config.is_on("replica-read-only")).to_string());
        add("replica_announced", u8::from(state.config.is_on("replica-announced")).to_string());
    }
    let replicas: Vec<_> = state.replicas().collect();
    add("connected_slaves", replicas.len().to_string());
    for (number, (client, replica)) in replicas.into_iter().enumerate() {
        let ip = match replica.announced_ip.as_str() {
            "" => client.peer.ip().to_string(),
            announced => announced.to_owned(),
        };
        let ReplicaState { port, acknowledged, heard, .. } = replica;
        let lag = heard.elapsed().as_secs();
        add(
            &format!("slave{number}"),
            format!("ip={ip},port={port},state=online,offset={acknowledged},lag={lag}"),
        );
    }
    add("master_failover_state", "no-failover".into());
    add("master_replid", state.replication.id.clone());
    add("master_replid2", state.replication.other_id.clone());
    add("master_repl_offset", state.replication.offset.to_string());
    add("second_repl_offset", state.replication.other_offset.to_string());
    let backlog = state.replication.backlog.as_ref();
    add("repl_backlog_active", u8::from(backlog.is_some()).to_string());
    add("repl_backlog_size", state.config.text("repl-backlog-size").into());
    let start = if backlog.is_some() { state.replication.backlog_start() } else { 0 };
    add("repl_backlog_first_byte_offset", start.to_string());
    add("repl_backlog_histlen", backlog.map_or(0, |backlog| backlog.len()).to_string());
    let pairs: Vec<(&str, String)> =
        pairs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    lines("Replication", &pairs)
}

fn keyspace(state: &State) -> String {
    let now_ms = now_ms();
    let mut text = "# Keyspace\r\n".to_owned();
    for (number, database) in state.databases.iter().enumerate().filter(|(_, database)| database.len() > 0) {
        let left =
            database.iter().filter_map(|(_, entry)| entry.expires_at_ms).map(|at| (at - now_ms).max(0));
        let (count, sum) = left.fold((0, 0), |(count, sum), left| (count + 1, sum + left));
        let average = if count == 0 { 0 } else { sum / count };
        let (keys, expires) = (database.len(), database.expiring());
        text.push_str(&format!("db{number}:keys={keys},expires={expires},avg_ttl={average}\r\n"));
    }
    text
}
