//! Settings: masters that are added, and options that are changed while the sentinel runs.
//!
//! Owns the options' names and limits. Must not know connections. Invariant: an option that has no effect here is refused.

use std::net::{IpAddr, SocketAddr};

use super::state::{Master, Millis, Shared, State, Who};
use crate::redis::wire::Reply;

/// `SENTINEL MONITOR name ip port quorum`.
pub(super) fn monitor(state: &mut State, words: &[&str]) -> Reply {
    let Ok(quorum) = words[5].parse::<i64>() else { return Reply::error("ERR Invalid quorum") };
    let Ok(port) = words[4].parse::<i64>() else { return Reply::error("ERR Invalid port") };
    let Ok(quorum @ 1..) = usize::try_from(quorum) else {
        return Reply::error("ERR Quorum must be 1 or greater.");
    };
    let Ok(ip) = words[3].parse::<IpAddr>() else {
        return Reply::error("ERR Invalid IP address or hostname specified");
    };
    if state.masters.contains_key(words[2]) {
        return Reply::error("ERR Duplicate master name.");
    }
    let Ok(port) = u16::try_from(port) else { return Reply::error("ERR Invalid port number.") };
    let name = words[2].to_owned();
    let master = Master::new(name.clone(), SocketAddr::new(ip, port), quorum, &state.shared);
    add(state, master);
    Reply::OK
}

/// Begins to watch a master.
pub(super) fn add(state: &mut State, master: Master) {
    let described = master.describe(&Who::Master);
    state.shared.event("+monitor", format!("{described} quorum {}", master.quorum));
    state.shared.is_dirty = true;
    state.masters.insert(master.name.clone(), master);
}

/// `SENTINEL SET name option value …`.
pub(super) fn set(master: &mut Master, mut words: &[&str], shared: &mut Shared) -> Reply {
    while let [option, rest @ ..] = words {
        let name = option.to_ascii_lowercase();
        if ["notification-script", "client-reconfig-script"].contains(&name.as_str()) && !rest.is_empty() {
            return Reply::error(
                "ERR Reconfiguration of scripts path is denied for security reasons. Check the \
                 deny-scripts-reconfig configuration directive in your Sentinel configuration",
            );
        }
        let Some(value) = rest.first() else { return unknown_option(option) };
        let number = value.parse::<Millis>().ok().filter(|number| *number > 0);
        let Some(is_good) = set_one(master, &name, value, number) else { return unknown_option(option) };
        if !is_good {
            return Reply::error(format!("ERR Invalid argument '{value}' for SENTINEL SET '{option}'"));
        }
        let shown = if name == "auth-pass" { "******" } else { *value };
        shared.event("+set", format!("{} {option} {shown}", master.describe(&Who::Master)));
        shared.is_dirty = true;
        words = &rest[1..];
    }
    Reply::OK
}

fn unknown_option(option: &str) -> Reply {
    Reply::error(format!("ERR Unknown option or number of arguments for SENTINEL SET '{option}'"))
}

/// Sets one option: whether the value was good, and nothing where there is no such option.
fn set_one(master: &mut Master, name: &str, value: &str, number: Option<Millis>) -> Option<bool> {
    match name {
        "down-after-milliseconds" => number.map(|ms| master.down_after_ms = ms),
        "failover-timeout" => number.map(|ms| master.failover_timeout_ms = ms),
        "parallel-syncs" => number.map(|count| master.parallel_syncs = count as usize),
        "quorum" => number.map(|count| master.quorum = count as usize),
        "auth-pass" | "auth-user" => {
            let value = Some(value.to_owned()).filter(|value| !value.is_empty());
            match name {
                "auth-pass" => master.auth_password = value,
                _ => master.auth_user = value,
            }
            Some(())
        }
        _ => return None,
    }
    .map_or(Some(false), |()| Some(true))
}

/// `SENTINEL CONFIG GET pattern` and `SENTINEL CONFIG SET name value`.
pub(super) fn config(state: &mut State, words: &[&str]) -> Reply {
    let shared = &mut state.shared;
    match (words[2].to_ascii_lowercase().as_str(), &words[3..]) {
        ("get", [pattern]) => config_get(shared, pattern),
        ("set", [name, value]) => {
            let value = Some((*value).to_owned()).filter(|value| !value.is_empty());
            let invalid = || {
                Reply::error(format!(
                    "ERR Invalid value '{}' to SENTINEL CONFIG SET {name}",
                    value.as_deref().unwrap_or("")
                ))
            };
            match name.to_ascii_lowercase().as_str() {
                "announce-ip" => match value.as_ref().map(|ip| ip.parse::<IpAddr>()).transpose() {
                    Ok(ip) => shared.announce_ip = ip,
                    Err(_) => return invalid(),
                },
                "announce-port" => match value.as_ref().map(|port| port.parse::<u16>()).transpose() {
                    Ok(port) => shared.announce_port = port.filter(|port| *port != 0),
                    Err(_) => return invalid(),
                },
                "sentinel-user" => shared.sentinel_user = value,
                "sentinel-pass" => shared.sentinel_password = value,
                _ => {
                    return Reply::error(format!("ERR Invalid argument '{name}' to SENTINEL CONFIG SET"));
                }
            }
            shared.is_dirty = true;
            Reply::OK
        }
        _ => Reply::error("ERR Only GET and SET are supported in SENTINEL CONFIG, with one name"),
    }
}

fn config_get(shared: &Shared, pattern: &str) -> Reply {
    let text = |value: Option<String>| value.unwrap_or_default();
    let all = [
        ("resolve-hostnames", "no".to_owned()),
        ("announce-hostnames", "no".to_owned()),
        ("announce-ip", text(shared.announce_ip.map(|ip| ip.to_string()))),
        ("announce-port", shared.announce_port.unwrap_or(0).to_string()),
        ("sentinel-user", text(shared.sentinel_user.clone())),
        ("sentinel-pass", text(shared.sentinel_password.clone())),
    ];
    let is_meant = |name: &str| {
        crate::redis::numbers::glob_matches(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes())
    };
    let meant = all.into_iter().filter(|(name, _)| is_meant(name));
    Reply::Map(meant.map(|(name, value)| (Reply::bulk(name), value.into())).collect())
}

/// `SENTINEL DEBUG [name value …]`: the times of Redis.
pub(super) fn debug(shared: &mut Shared, words: &[&str]) -> Reply {
    let mut periods = shared.periods.clone();
    let mut all = [
        ("INFO-PERIOD", &mut periods.info_ms),
        ("PING-PERIOD", &mut periods.ping_ms),
        ("ASK-PERIOD", &mut periods.ask_ms),
        ("PUBLISH-PERIOD", &mut periods.publish_ms),
        ("DEFAULT-DOWN-AFTER", &mut periods.down_after_ms),
        ("DEFAULT-FAILOVER-TIMEOUT", &mut periods.failover_timeout_ms),
        ("TILT-TRIGGER", &mut periods.tilt_trigger_ms),
        ("TILT-PERIOD", &mut periods.tilt_ms),
        ("SLAVE-RECONF-TIMEOUT", &mut periods.reconf_timeout_ms),
        ("MIN-LINK-RECONNECT-PERIOD", &mut periods.min_reconnect_ms),
        ("ELECTION-TIMEOUT", &mut periods.election_timeout_ms),
    ];
    let mut rest = &words[2..];
    if rest.is_empty() {
        let shown = all.iter().map(|(name, value)| (Reply::bulk(name), value.to_string().into()));
        return Reply::Map(shown.collect());
    }
    while let [name, value, tail @ ..] = rest {
        let Some((_, period)) = all.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            return Reply::error(format!(
                "ERR Unknown option or number of arguments for SENTINEL DEBUG '{name}'"
            ));
        };
        match value.parse::<Millis>() {
            Ok(ms @ 1..) => **period = ms,
            _ => return Reply::error(format!("ERR Invalid argument '{value}' for SENTINEL DEBUG '{name}'")),
        }
        rest = tail;
    }
    if let [name] = rest {
        return Reply::error(format!(
            "ERR Unknown option or number of arguments for SENTINEL DEBUG '{name}'"
        ));
    }
    shared.periods = periods;
    Reply::OK
}
