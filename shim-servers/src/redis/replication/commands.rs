//! Commands of replication.
//!
//! Owns REPLICAOF, REPLCONF, PSYNC, ROLE and WAIT. Must not know sockets. Invariant: a replica gets each byte of the stream
//! once, from where it said that it is.

use bytes::{BufMut, Bytes};
use tokio::time::Instant;

use super::{NO_NAME, Phase, ReplicaState};
use crate::redis::call::{Answer, Call, SYNTAX, Stop};
use crate::redis::client::{BlockedOn, Role};
use crate::redis::numbers::parse_integer;
use crate::redis::wire::Reply;

pub(crate) fn replicaof(call: &mut Call) -> Answer {
    if call.state.cluster.is_some() {
        return Err("ERR REPLICAOF not allowed in cluster mode.".into());
    }
    if call.is(1, "NO") && call.is(2, "ONE") {
        call.state.stop_following();
        return Ok(Reply::OK);
    }
    if call.client().is_replica() {
        return Err("ERR Command is not valid when client is a replica.".into());
    }
    let port =
        call.integer(2).ok().and_then(|port| u16::try_from(port).ok()).ok_or("ERR Invalid master port")?;
    let host = String::from_utf8_lossy(&call.args[1]).into_owned();
    let same = call.state.replication.master.as_ref().is_some_and(|m| m.host == host && m.port == port);
    if same {
        return Ok(Reply::simple("OK Already connected to specified master"));
    }
    call.state.follow(host, port);
    Ok(Reply::OK)
}

impl Call<'_> {
    fn replica(&mut self) -> &mut ReplicaState {
        let client = self.client();
        if !client.is_replica() {
            let state = ReplicaState {
                port: 0,
                announced_ip: String::new(),
                acknowledged: 0,
                heard: Instant::now(),
                is_online: false,
            };
            client.role = Role::Replica(Box::new(state));
        }
        match &mut client.role {
            Role::Replica(state) => state,
            Role::Normal => unreachable!("invariant: it was made one above"),
        }
    }
}

pub(crate) fn replconf(call: &mut Call) -> Answer {
    if call.args.len().is_multiple_of(2) {
        return Err(SYNTAX.into());
    }
    let mut index = 1;
    while !call.ends_at(index) {
        if call.is(index, "listening-port") {
            let port = call.integer(index + 1)?;
            call.replica().port = u16::try_from(port).map_err(|_| SYNTAX)?;
        } else if call.is(index, "ip-address") {
            call.replica().announced_ip = String::from_utf8_lossy(&call.args[index + 1]).into_owned();
        } else if call.is(index, "ack") {
            let offset = call.integer(index + 1)?;
            let replica = call.replica();
            replica.acknowledged = replica.acknowledged.max(offset);
            replica.heard = Instant::now();
            call.state.serve_waiting_for_replicas();
            // Nobody waits for an answer to this.
            return Ok(Reply::nothing());
        } else if !call.is(index, "capa") && !call.is(index, "rdb-only") && !call.is(index, "rdb-filter-only")
        {
            let option = String::from_utf8_lossy(&call.args[index]).into_owned();
            return Err(format!("ERR Unrecognized REPLCONF option: {option}").into());
        }
        index += 2;
    }
    Ok(Reply::OK)
}

pub(crate) fn psync(call: &mut Call) -> Answer {
    if call.state.is_replica() && !call.state.replication.is_link_up() {
        return Err("NOMASTERLINK Can't SYNC while not connected with my master".into());
    }
    let id = String::from_utf8_lossy(&call.args[1]).into_owned();
    let offset = parse_integer(&call.args[2]).ok_or("ERR value is not an integer or out of range")?;
    let missed = call.state.replication.missed(&id, offset);
    if call.state.replication.backlog.is_none() {
        call.state.replication.backlog = Some(Default::default());
        if !call.state.is_replica() {
            // The stream begins here: what was before has no offsets.
            let mut random = call.state.random.fork();
            call.state.replication.id = crate::redis::state::random_name(&mut random);
            call.state.replication.other_id = NO_NAME.to_owned();
            call.state.replication.other_offset = -1;
        }
    }
    let own_id = call.state.replication.id.clone();
    let own_offset = call.state.replication.offset;
    let end = call.state.journal.appended;
    let snapshot = match &missed {
        Some(_) => {
            call.state.stats.partial_syncs += 1;
            None
        }
        None => {
            call.state.stats.full_syncs += 1;
            call.state.stats.partial_syncs_refused += u64::from(id != "?");
            Some(call.state.snapshot())
        }
    };
    let replica = call.replica();
    replica.is_online = true;
    replica.heard = Instant::now();
    replica.acknowledged = if missed.is_some() { offset - 1 } else { own_offset };
    call.client().outlet.push(end, 0, |out| match (missed, snapshot) {
        (Some(missed), _) => {
            out.put_slice(format!("+CONTINUE {own_id}\r\n").as_bytes());
            out.put_slice(&missed);
        }
        (None, snapshot) => {
            let snapshot = snapshot.unwrap_or_default();
            out.put_slice(format!("+FULLRESYNC {own_id} {own_offset}\r\n${}\r\n", snapshot.len()).as_bytes());
            out.put_slice(&snapshot);
        }
    });
    Ok(Reply::nothing())
}

pub(crate) fn role(call: &mut Call) -> Answer {
    let state = &*call.state;
    if let Some(master) = &state.replication.master {
        let phase = match master.phase {
            Phase::Connect => "connect",
            Phase::Connecting => "connecting",
            Phase::Handshake => "handshake",
            Phase::Transfer => "sync",
            Phase::Connected => "connected",
        };
        let offset = if master.phase == Phase::Connected { state.replication.offset } else { -1 };
        return Ok(Reply::Array(vec![
            "slave".into(),
            master.host.as_str().into(),
            i64::from(master.port).into(),
            phase.into(),
            offset.into(),
        ]));
    }
    let replicas = state.replicas().map(|(client, replica)| {
        let ip = match replica.announced_ip.as_str() {
            "" => client.peer.ip().to_string(),
            announced => announced.to_owned(),
        };
        let words = [ip, replica.port.to_string(), replica.acknowledged.to_string()];
        words.into_iter().collect::<Reply>()
    });
    Ok(Reply::Array(vec!["master".into(), state.replication.offset.into(), Reply::Array(replicas.collect())]))
}

pub(crate) fn wait(call: &mut Call) -> Answer {
    if call.state.is_replica() {
        return Err("ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica \
                    is configured to be writable (which is not the default) writes to replicas are just local and are \
                    not propagated."
            .into());
    }
    let count = call.integer(1)?;
    if count < 0 {
        return Err("ERR value is out of range, must be positive".into());
    }
    let ms = call.integer(2).map_err(|_| Stop::from("ERR timeout is not an integer or out of range"))?;
    if ms < 0 {
        return Err("ERR timeout is negative".into());
    }
    let offset = call.client().written_offset;
    let reached = call.state.replicas_at(offset);
    if reached as i64 >= count || call.origin != crate::redis::call::Origin::Client {
        return Ok(reached.into());
    }
    let ask = ["REPLCONF", "GETACK", "*"].map(|word| Bytes::from_static(word.as_bytes()));
    call.state.tell_replicas(&ask);
    let deadline = (ms > 0).then(|| Instant::now() + std::time::Duration::from_millis(ms as u64));
    let on = BlockedOn::Replicas { offset, count };
    Err(Stop::Wait { on, deadline, at_timeout: Reply::Null })
}
