//! x
use crate::redis::call::{Answer, Call};
pub(crate) fn migrate(_: &mut Call) -> Answer {
    Err("ERR x".into())
}
