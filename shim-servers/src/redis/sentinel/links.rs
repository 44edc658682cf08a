//! Connections to servers and other sentinels.
//!
//! Owns one task for each. Must not know what replies mean. Invariant: replies are reported in the order of their requests,
//! and the end of a connection exactly once.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::server::Happened;
use super::state::Request;
use crate::redis::wire::Link;

/// Connects, sends what comes by `requests`, and reports what is heard.
pub(super) async fn run(
    link: u64,
    address: SocketAddr,
    is_for_messages: bool,
    requests: UnboundedReceiver<(Request, Vec<String>)>,
    reports: UnboundedSender<Happened>,
) {
    // Whatever ends it: the state connects again when it wants to.
    let _ = speak(link, address, is_for_messages, requests, &reports).await;
    let _ = reports.send(Happened::Closed { link });
}

async fn speak(
    link: u64,
    address: SocketAddr,
    is_for_messages: bool,
    mut requests: UnboundedReceiver<(Request, Vec<String>)>,
    reports: &UnboundedSender<Happened>,
) -> io::Result<()> {
    let connection = Link::connect(address).await?;
    let local = connection.stream().local_addr()?.ip();
    let (mut reader, mut writer) = connection.split();
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    reports.send(Happened::Connected { link, local }).map_err(gone)?;
    let mut asked = VecDeque::new();
    loop {
        tokio::select! {
            Some((request, arguments)) = requests.recv() => {
                asked.push_back(request);
                writer.send(&arguments).await?;
            }
            reply = reader.receive() => {
                let reply = reply?;
                let happened = match is_for_messages {
                    true => Happened::Heard { link, message: reply },
                    false => {
                        let request = asked.pop_front().ok_or(io::ErrorKind::InvalidData)?;
                        Happened::Replied { link, request, reply }
                    }
                };
                reports.send(happened).map_err(gone)?;
            }
        }
    }
}
