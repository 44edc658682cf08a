//! What servers answer, and what it says about them.
//!
//! Owns the meaning of replies. Must not know sockets. Invariant: a reply of a connection that was given up is not heard.

use std::net::IpAddr;

use super::state::{Instance, Place, Request, Shared, State};
use super::{hello, info};
use crate::redis::wire::Reply;

impl State {
    /// A connection stands; `local` is how the other side sees us.
    pub(super) fn on_connected(&mut self, link: u64, local: IpAddr) {
        if let Some((instance, ..)) = self.at(link) {
            instance.contact.local = Some(local);
        }
    }

    /// A connection has ended, or none came about.
    pub(super) fn on_closed(&mut self, link: u64) {
        let Some((instance, place, shared)) = self.at(link) else { return };
        match place.is_for_messages {
            true => shared.close_messages(instance),
            false => shared.close_commands(instance),
        }
    }

    /// A reply to `request`.
    pub(super) fn on_reply(&mut self, link: u64, request: Request, reply: &Reply) {
        let Some((instance, place, shared)) = self.at(link) else { return };
        instance.contact.pending = instance.contact.pending.saturating_sub(1);
        match request {
            Request::Ping => on_pong(instance, reply, shared),
            Request::AskMasterDown => on_master_down(instance, reply, shared),
            Request::Publish if reply.as_error().is_none() => instance.published_ms = shared.now,
            Request::Info => {
                if let Some(text) = reply.as_text().filter(|_| reply.as_error().is_none())
                    && let Some(master) = self.masters.get_mut(&place.master)
                {
                    info::refresh(master, &place.who, text, &mut self.shared);
                }
            }
            Request::Publish | Request::Other => {}
        }
    }

    /// A message on a connection that subscribed.
    pub(super) fn on_message(&mut self, link: u64, reply: &Reply) {
        let Some((instance, _, shared)) = self.at(link) else { return };
        instance.contact.messages_heard_ms = shared.now;
        let Some([kind, channel, text]) = reply.as_array() else { return };
        if kind.as_text() == Some("message")
            && channel.as_text() == Some(hello::CHANNEL)
            && let Some(text) = text.as_text()
        {
            let text = text.to_owned();
            self.on_hello(&text);
        }
    }

    /// Whose connection it is.
    fn at(&mut self, link: u64) -> Option<(&mut Instance, Place, &mut Shared)> {
        let place = self.shared.links.get(&link)?.clone();
        let instance = self.masters.get_mut(&place.master)?.instance(&place.who)?;
        Some((instance, place, &mut self.shared))
    }
}

/// An answer to a ping: also a server that is loading, or has lost its master, is there.
fn on_pong(instance: &mut Instance, reply: &Reply, shared: &Shared) {
    let text = reply.as_text().unwrap_or_default();
    if ["PONG", "LOADING", "MASTERDOWN"].iter().any(|good| text.starts_with(good)) {
        instance.contact.available_ms = shared.now;
        instance.contact.ping_pending_ms = 0;
    }
    instance.contact.answered_ms = shared.now;
}

/// What another sentinel thinks of the master, and whom it votes for.
fn on_master_down(instance: &mut Instance, reply: &Reply, shared: &Shared) {
    let Some([is_down, leader, epoch]) = reply.as_array() else { return };
    let (Some(is_down), Some(leader), Some(epoch)) =
        (is_down.as_integer(), leader.as_text(), epoch.as_integer())
    else {
        return;
    };
    instance.master_down_answer_ms = shared.now;
    instance.says_master_down = is_down == 1;
    if leader != "*" {
        instance.leader = Some(leader.to_owned());
        instance.leader_epoch = u64::try_from(epoch).unwrap_or(0);
    }
}
