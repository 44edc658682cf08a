//! x
use crate::redis::call::{Answer, Call};
pub(crate) fn cluster(_: &mut Call) -> Answer {
    Err("ERR This instance has cluster support disabled".into())
}
