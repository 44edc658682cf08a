//! What sockets are told that have joined a group: what came and what went.
//!
//! Owns the groups of rtnetlink(7) and the order of the messages. Must not know why something changed. Invariant: who
//! adds what is new to a list, and takes out what is gone, has the list that a dump gives.

use super::view::{Link, View};
use super::wire::Heading;
use crate::stack::Stack;
use crate::stack::routes::Routes;

const GROUP_LINK: u32 = 1;
const GROUP_V4_ADDRESS: u32 = 5;
const GROUP_V4_ROUTE: u32 = 7;
const GROUP_V6_ADDRESS: u32 = 9;
const GROUP_V6_ROUTE: u32 = 11;

/// What is in `these` and not in `those`.
fn missing<'a, T: PartialEq>(these: &'a [T], those: &'a [T]) -> impl Iterator<Item = &'a T> {
    these.iter().filter(move |one| !those.contains(one))
}

/// The messages about how `before` became `after`, each with its group. As Linux: what goes loses its addresses and
/// routes first, what comes has its link first.
fn between(before: &View, after: &View) -> Vec<(u32, Vec<u8>)> {
    let mut told = Vec::new();
    let addresses = |from: &View, to: &View, is_new: bool, told: &mut Vec<(u32, Vec<u8>)>| {
        for address in missing(&to.addresses, &from.addresses) {
            let group = if address.subnet.ip.is_ipv4() { GROUP_V4_ADDRESS } else { GROUP_V6_ADDRESS };
            told.push((group, address.message(is_new, Heading::default())));
        }
        for route in missing(&to.routes, &from.routes) {
            let group = if route.destination.ip.is_ipv4() { GROUP_V4_ROUTE } else { GROUP_V6_ROUTE };
            told.push((group, route.message(is_new, Heading::default())));
        }
    };
    addresses(after, before, false, &mut told);
    // A link that is there still has changed, no more.
    let is_gone = |link: &&Link| after.links.iter().all(|other| other.number != link.number);
    told.extend(before.links.iter().filter(is_gone).map(|link| (GROUP_LINK, link.change(false))));
    told.extend(missing(&after.links, &before.links).map(|link| (GROUP_LINK, link.change(true))));
    addresses(before, after, true, &mut told);
    told
}

impl Stack {
    /// Changes where the node is plugged in, and tells the sockets that want to know.
    pub(crate) fn change_routes<R>(&mut self, change: impl FnOnce(&mut Routes) -> R) -> R {
        self.change_links(|stack| change(&mut stack.routes))
    }

    /// As [`Stack::change_routes`], whatever the change is.
    pub(crate) fn change_links<R>(&mut self, change: impl FnOnce(&mut Stack) -> R) -> R {
        let before = View::of(self);
        let result = change(self);
        for (group, message) in between(&before, &View::of(self)) {
            self.netlink_tell(group, &message);
        }
        result
    }
}
