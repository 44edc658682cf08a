//! Making a cluster out of servers, as `redis-cli --cluster create` does.
//!
//! Owns the order of its steps. Must not know which server answers: all goes by commands. Invariant: when it comes back, each
//! server serves, and each replica has its master's data.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::keyspace::SLOTS;
use super::wire::{Link, Reply};

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(60);

/// One server that becomes a node.
struct Member {
    link: Link,
    id: String,
    ip: String,
    port: u16,
}

/// Makes a cluster out of empty servers, with `replicas` replicas for each master: the first servers become masters.
///
/// # Errors
/// Where a server cannot be reached or refuses, with its own words; `TimedOut` where they do not agree within a minute.
///
/// # Examples
/// ```ignore
/// create_cluster(&[("c1", 6379), ("c2", 6379), ("c3", 6379)], 0).await?;
/// ```
pub async fn create_cluster<H: AsRef<str>>(servers: &[(H, u16)], replicas: usize) -> io::Result<()> {
    let masters = servers.len() / (replicas + 1);
    if masters < 3 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a cluster needs at least three masters"));
    }
    let until = Instant::now() + LIMIT;
    let mut members = Vec::new();
    for (host, port) in servers {
        members.push(join(host.as_ref(), *port, until).await?);
    }
    for (number, member) in members.iter_mut().enumerate() {
        let share = |number: usize| number * usize::from(SLOTS) / masters;
        if number < masters {
            let (first, last) = (share(number).to_string(), (share(number + 1) - 1).to_string());
            member.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await?;
        }
        member.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]).await?;
    }
    let (ip, port) = (members[0].ip.clone(), members[0].port.to_string());
    for member in &mut members[1..] {
        member.ask(&["CLUSTER", "MEET", &ip, &port]).await?;
    }
    let count = members.len();
    for member in &mut members {
        member.until(until, async |member| member.knows(count).await).await?;
    }
    let ids: Vec<String> = members[..masters].iter().map(|member| member.id.clone()).collect();
    for (number, member) in members.iter_mut().enumerate().skip(masters) {
        let master = ids[(number - masters) % masters].clone();
        // The first try may be too early: the node has to know the master as one.
        let replicate = ["CLUSTER", "REPLICATE", &master];
        member.until(until, async |member| Ok(member.ask(&replicate).await.is_ok())).await?;
    }
    for member in &mut members[masters..] {
        member.until(until, async |member| member.follows().await).await?;
    }
    let replica_count = count - masters;
    for member in &mut members {
        member.until(until, async |member| member.serves(masters, replica_count).await).await?;
    }
    Ok(())
}

/// Connects to a server as soon as it listens.
async fn join(host: &str, port: u16, until: Instant) -> io::Result<Member> {
    let link = loop {
        match Link::connect((host, port)).await {
            Ok(link) => break link,
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    };
    let ip = link.stream().peer_addr()?.ip().to_string();
    let mut member = Member { link, id: String::new(), ip, port };
    let id = member.ask(&["CLUSTER", "MYID"]).await?;
    member.id = id.as_text().unwrap_or_default().to_owned();
    Ok(member)
}

impl Member {
    async fn ask(&mut self, words: &[&str]) -> io::Result<Reply> {
        let reply = self.link.call(words).await?;
        match reply.as_error() {
            Some(error) => Err(io::Error::other(format!("{}:{}: {error}", self.ip, self.port))),
            None => Ok(reply),
        }
    }

    /// Asks until the answer is yes.
    async fn until(
        &mut self,
        until: Instant,
        mut question: impl AsyncFnMut(&mut Member) -> io::Result<bool>,
    ) -> io::Result<()> {
        while !question(self).await? {
            if Instant::now() > until {
                let text = format!("{}:{} does not agree with the others", self.ip, self.port);
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Whether it knows so many nodes by their names.
    async fn knows(&mut self, count: usize) -> io::Result<bool> {
        let nodes = self.ask(&["CLUSTER", "NODES"]).await?;
        let lines: Vec<&str> = nodes.as_text().unwrap_or_default().lines().collect();
        Ok(lines.len() == count && !lines.iter().any(|line| line.contains("handshake")))
    }

    /// Whether it has its master's data.
    async fn follows(&mut self) -> io::Result<bool> {
        let info = self.ask(&["INFO", "replication"]).await?;
        Ok(info.as_text().unwrap_or_default().contains("master_link_status:up"))
    }

    /// Whether it serves, and names all masters and replicas.
    async fn serves(&mut self, masters: usize, replicas: usize) -> io::Result<bool> {
        let info = self.ask(&["CLUSTER", "INFO"]).await?;
        if !info.as_text().unwrap_or_default().contains("cluster_state:ok") {
            return Ok(false);
        }
        let slots = self.ask(&["CLUSTER", "SLOTS"]).await?;
        let ranges = slots.as_array().unwrap_or_default();
        let servers: usize = ranges.iter().filter_map(Reply::as_array).map(|range| range.len() - 2).sum();
        Ok(ranges.len() == masters && servers == masters + replicas)
    }
}
