//! Greetings: by them sentinels find each other, and learn of a newer configuration.
//!
//! Owns their text, and what one of them changes. Must not know connections. Invariant: a configuration is replaced by one of
//! a higher epoch only.

use std::net::{IpAddr, SocketAddr};

use super::failover;
use super::state::{Instance, Kind, Master, Shared, State, Who};

/// Where sentinels greet each other: a channel of each server.
pub(super) const CHANNEL: &str = "__sentinel__:hello";

/// The text of a greeting by way of `who`; none before it is known how we are seen from there.
pub(super) fn greeting(master: &mut Master, who: &Who, shared: &Shared) -> Option<String> {
    let local = shared.announce_ip.or(master.instance(who)?.contact.local)?;
    let address = master.current_address();
    Some(format!(
        "{local},{},{},{},{},{},{},{}",
        shared.announce_port.unwrap_or(shared.port),
        shared.id,
        shared.current_epoch,
        master.name,
        address.ip(),
        address.port(),
        master.config_epoch
    ))
}

/// Lets the next tick greet everybody.
pub(super) fn greet_soon(master: &mut Master, shared: &Shared) {
    for who in master.everybody() {
        if let Some(instance) = master.instance(&who) {
            instance.published_ms = shared.now - shared.periods.publish_ms - 1;
        }
    }
}

/// What a greeting says.
struct Hello<'a> {
    from: SocketAddr,
    id: &'a str,
    epoch: u64,
    master: &'a str,
    address: SocketAddr,
    config_epoch: u64,
}

fn parse(text: &str) -> Option<Hello<'_>> {
    let parts: Vec<&str> = text.split(',').collect();
    let [ip, port, id, epoch, master, master_ip, master_port, config_epoch] = parts[..] else { return None };
    let address =
        |ip: &str, port: &str| Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port.parse().ok()?));
    Some(Hello {
        from: address(ip, port)?,
        id,
        epoch: epoch.parse().ok()?,
        master,
        address: address(master_ip, master_port)?,
        config_epoch: config_epoch.parse().ok()?,
    })
}

impl State {
    /// A greeting has come, by whatever way.
    pub(super) fn on_hello(&mut self, text: &str) {
        let Some(hello) = parse(text).filter(|hello| hello.id != self.shared.id) else { return };
        let (Some(master), shared) = (self.masters.get_mut(hello.master), &mut self.shared) else { return };
        let is_known = master.sentinels.get(hello.id).is_some_and(|known| known.address == hello.from);
        if !is_known {
            meet(master, &hello, shared);
        }
        if hello.epoch > shared.current_epoch {
            shared.current_epoch = hello.epoch;
            shared.is_dirty = true;
            shared.event("+new-epoch", hello.epoch.to_string());
        }
        if let Some(sentinel) = master.sentinels.get_mut(hello.id) {
            sentinel.hello_ms = shared.now;
        }
        if master.config_epoch < hello.config_epoch {
            master.config_epoch = hello.config_epoch;
            shared.is_dirty = true;
            if master.own.address != hello.address {
                let sentinel = master.describe(&Who::Sentinel(hello.id.to_owned()));
                shared.event("+config-update-from", sentinel);
                failover::announce_switch(master, hello.address, shared);
                failover::reset_to(master, hello.address, shared);
            }
        }
    }
}

/// Adds a sentinel, in place of one that had its id or its address.
fn meet(master: &mut Master, hello: &Hello<'_>, shared: &mut Shared) {
    let moved = master.sentinels.remove(hello.id);
    let has_moved = moved.is_some();
    if let Some(mut old) = moved {
        shared.close(&mut old);
        shared.event(
            "+sentinel-address-switch",
            format!(
                "{} ip {} port {} for {}",
                master.describe(&Who::Master),
                hello.from.ip(),
                hello.from.port(),
                hello.id
            ),
        );
    }
    // Another one at the same place is gone, or will greet again from where it is.
    let there: Vec<String> = master
        .sentinels
        .iter()
        .filter(|(_, other)| other.address == hello.from)
        .map(|(id, _)| id.clone())
        .collect();
    for id in there {
        shared.event("+sentinel-invalid-addr", master.describe(&Who::Sentinel(id.clone())));
        if let Some(other) = master.sentinels.get_mut(&id) {
            shared.close(other);
            other.address.set_port(0);
        }
    }
    let mut sentinel = Instance::new(Kind::Sentinel, hello.from, shared.now);
    sentinel.run_id = Some(hello.id.to_owned());
    master.sentinels.insert(hello.id.to_owned(), sentinel);
    shared.is_dirty = true;
    if !has_moved {
        shared.event("+sentinel", master.describe(&Who::Sentinel(hello.id.to_owned())));
    }
}
