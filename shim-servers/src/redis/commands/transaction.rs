//! Transactions: what is said outside of EXEC.
//!
//! Owns MULTI, DISCARD, WATCH and UNWATCH. Must not know how EXEC runs. Invariant: a client watches nothing after its
//! transaction.

use crate::redis::call::{Answer, Call};
use crate::redis::client::Transaction;
use crate::redis::dispatch::abort;
use crate::redis::wire::Reply;

pub(crate) fn multi(call: &mut Call) -> Answer {
    let client = call.client();
    if client.transaction.is_some() {
        return Err("ERR MULTI calls can not be nested".into());
    }
    client.transaction = Some(Transaction::default());
    Ok(Reply::OK)
}

pub(crate) fn discard(call: &mut Call) -> Answer {
    if call.client().transaction.is_none() {
        return Err("ERR DISCARD without MULTI".into());
    }
    abort(call.state, call.client);
    Ok(Reply::OK)
}

/// EXEC is executed by the dispatcher; this is reached by one that stands in a journal, which has none.
pub(crate) fn exec(_: &mut Call) -> Answer {
    Err("ERR EXEC without MULTI".into())
}

pub(crate) fn watch(call: &mut Call) -> Answer {
    if call.client().transaction.is_some() {
        return Err("ERR WATCH inside MULTI is not allowed".into());
    }
    let (id, database) = (call.client, call.at.database);
    for key in call.args_from(1) {
        call.is_there(&key);
        let place = (database, key);
        let client = call.client();
        if !client.watched.contains(&place) {
            client.watched.push(place.clone());
            call.state.watchers.entry(place).or_default().insert(id);
        }
    }
    Ok(Reply::OK)
}

pub(crate) fn unwatch(call: &mut Call) -> Answer {
    call.state.unwatch(call.client);
    Ok(Reply::OK)
}
