//! Watching: connections, pings, INFO, greetings, and who is down.
//!
//! Owns what happens ten times a second. Must not know what replies mean. Invariant: nobody is held for down by one opinion
//! but subjectively.

use super::state::{Effect, Instance, Kind, Master, Phase, Place, Request, Shared, State, Who};
use super::{election, failover, hello};

/// How many requests without an answer there may be on a connection.
const PENDING_MAX: usize = 100;

impl State {
    /// What is due at `shared.now`.
    pub(super) fn tick(&mut self) {
        let shared = &mut self.shared;
        let passed_ms = shared.now - shared.ticked_ms;
        shared.ticked_ms = shared.now;
        if passed_ms > shared.periods.tilt_trigger_ms {
            // The machine was stopped, or its clock was set: nothing it measured is worth anything.
            shared.is_tilted = true;
            shared.tilt_since_ms = shared.now;
            shared.event("+tilt", "#tilt mode entered");
        }
        for master in self.masters.values_mut() {
            for who in master.everybody() {
                watch(master, &who, shared);
            }
            if master.failover.phase == Phase::UpdateConfig {
                failover::switch_to_promoted(master, shared);
            }
        }
    }
}

/// Does for one instance what is due.
fn watch(master: &mut Master, who: &Who, shared: &mut Shared) {
    reconnect(master, who, shared);
    send_periodic(master, who, shared);
    if shared.is_tilted {
        if shared.now - shared.tilt_since_ms < shared.periods.tilt_ms {
            return;
        }
        shared.is_tilted = false;
        shared.event("-tilt", "#tilt mode exited");
    }
    check_s_down(master, who, shared);
    if *who == Who::Master {
        check_o_down(master, shared);
        if failover::start_if_needed(master, shared) {
            election::ask_others(master, true, shared);
        }
        failover::advance(master, shared);
        election::ask_others(master, false, shared);
    }
}

/// Connects what is not connected, at most once for each period of pings.
fn reconnect(master: &mut Master, who: &Who, shared: &mut Shared) {
    let credentials = match who {
        Who::Sentinel(_) => (shared.sentinel_user.clone(), shared.sentinel_password.clone()),
        _ => (master.auth_user.clone(), master.auth_password.clone()),
    };
    let name = master.name.clone();
    let Some(instance) = master.instance(who) else { return };
    let now = shared.now;
    let is_due = now - instance.contact.reconnected_ms >= shared.periods.ping_ms;
    if instance.is_connected() || instance.address.port() == 0 || !is_due {
        return;
    }
    instance.contact.reconnected_ms = now;
    let mut connect = |is_for_messages: bool, address| {
        let link = shared.next_link;
        shared.next_link += 1;
        let first = first_requests(&credentials, &shared.id, is_for_messages);
        let place = Place { master: name.clone(), who: who.clone(), is_for_messages };
        shared.links.insert(link, place);
        shared.effects.push(Effect::Connect { link, address, is_for_messages, first });
        Some(link)
    };
    if instance.contact.commands.is_none() {
        instance.contact.commands = connect(false, instance.address);
        instance.contact.commands_since_ms = now;
        instance.contact.pending = 0;
        ping(instance, shared);
    } else if instance.kind != Kind::Sentinel && instance.contact.messages.is_none() {
        instance.contact.messages = connect(true, instance.address);
        instance.contact.messages_since_ms = now;
        instance.contact.messages_heard_ms = now;
    }
}

/// What a connection begins with.
fn first_requests(
    credentials: &(Option<String>, Option<String>),
    id: &str,
    is_for_messages: bool,
) -> Vec<(Request, Vec<String>)> {
    let mut all = Vec::new();
    match credentials {
        (Some(user), Some(password)) => all.push(vec!["AUTH".to_owned(), user.clone(), password.clone()]),
        (None, Some(password)) => all.push(vec!["AUTH".to_owned(), password.clone()]),
        _ => {}
    }
    let kind = if is_for_messages { "pubsub" } else { "cmd" };
    let name = format!("sentinel-{}-{kind}", &id[..8]);
    all.push(vec!["CLIENT".to_owned(), "SETNAME".to_owned(), name]);
    if is_for_messages {
        all.push(vec!["SUBSCRIBE".to_owned(), hello::CHANNEL.to_owned()]);
    }
    all.into_iter().map(|arguments| (Request::Other, arguments)).collect()
}

fn ping(instance: &mut Instance, shared: &mut Shared) {
    if shared.send(instance, Request::Ping, &["PING"]) {
        instance.contact.pinged_ms = shared.now;
        if instance.contact.ping_pending_ms == 0 {
            instance.contact.ping_pending_ms = shared.now;
        }
    }
}

/// INFO, PING and the greeting, each when its period is over.
fn send_periodic(master: &mut Master, who: &Who, shared: &mut Shared) {
    let (down_after_ms, now) = (master.down_after_ms, shared.now);
    let is_in_trouble = master.own.is_o_down || master.failover.phase != Phase::None;
    let greeting = hello::greeting(master, who, shared);
    let Some(instance) = master.instance(who) else { return };
    if !instance.is_connected() || instance.contact.pending >= PENDING_MAX {
        return;
    }
    // A replica is looked at more closely when its master is gone: it may be promoted soon.
    let closely = instance.kind == Kind::Replica && (is_in_trouble || instance.master_link_down_ms != 0);
    let info_ms = if closely { 1_000 } else { shared.periods.info_ms };
    let ping_ms = down_after_ms.min(shared.periods.ping_ms);
    if instance.kind != Kind::Sentinel && now - instance.info_ms > info_ms {
        shared.send(instance, Request::Info, &["INFO"]);
    }
    if now - instance.contact.answered_ms > ping_ms && now - instance.contact.pinged_ms > ping_ms / 2 {
        ping(instance, shared);
    }
    if now - instance.published_ms > shared.periods.publish_ms
        && let Some(greeting) = greeting
    {
        shared.send(instance, Request::Publish, &["PUBLISH", hello::CHANNEL, &greeting]);
    }
}

/// Whether the instance is down in our own eyes; and ends connections that are of no use any more.
fn check_s_down(master: &mut Master, who: &Who, shared: &mut Shared) {
    let (down_after_ms, now) = (master.down_after_ms, shared.now);
    let Some(instance) = master.instance(who) else { return };
    let contact = &instance.contact;
    let silent_ms = match contact.ping_pending_ms {
        0 if instance.is_connected() => 0,
        0 => now - contact.available_ms,
        since_ms => now - since_ms,
    };
    let min_reconnect_ms = shared.periods.min_reconnect_ms;
    let is_stuck = contact.ping_pending_ms != 0
        && now - contact.ping_pending_ms > down_after_ms / 2
        && now - contact.answered_ms > down_after_ms / 2;
    if contact.commands.is_some() && now - contact.commands_since_ms > min_reconnect_ms && is_stuck {
        shared.close_commands(instance);
    }
    let is_mute = now - instance.contact.messages_heard_ms > shared.periods.publish_ms * 3;
    if now - instance.contact.messages_since_ms > min_reconnect_ms && is_mute {
        shared.close_messages(instance);
    }
    // A master that says for long that it is a replica is not one to write to.
    let is_demoted = instance.kind == Kind::Master
        && !instance.reports_master
        && now - instance.role_since_ms > down_after_ms + shared.periods.info_ms * 2;
    let is_down = silent_ms > down_after_ms || is_demoted;
    if is_down == instance.is_s_down {
        return;
    }
    instance.is_s_down = is_down;
    if is_down {
        instance.s_down_since_ms = now;
    }
    let channel = if is_down { "+sdown" } else { "-sdown" };
    shared.event(channel, master.describe(who));
}

/// Whether enough sentinels hold the master for down.
fn check_o_down(master: &mut Master, shared: &mut Shared) {
    let others = master.sentinels.values().filter(|sentinel| sentinel.says_master_down).count();
    let is_down = master.own.is_s_down && others + 1 >= master.quorum;
    if is_down == master.own.is_o_down {
        return;
    }
    master.own.is_o_down = is_down;
    let described = master.describe(&Who::Master);
    if is_down {
        master.own.o_down_since_ms = shared.now;
        shared.event("+odown", format!("{described} #quorum {}/{}", others + 1, master.quorum));
    } else {
        shared.event("-odown", described);
    }
}
