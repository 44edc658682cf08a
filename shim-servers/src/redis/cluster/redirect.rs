//! x
use crate::redis::client::Client;
use crate::redis::state::State;
use crate::redis::table::Command;
use bytes::Bytes;
pub(crate) fn redirection(_: &State, _: &Client, _: &Command, _: &[Bytes]) -> Option<String> {
    None
}
