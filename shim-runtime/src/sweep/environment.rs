//! What the environment says: seeds, bounds, policy.
//!
//! Owns the names and the syntax of the `SIM_*` variables. Must not run anything. Invariant: a value that
//! cannot be understood is refused with its name, never ignored.

use std::env;
use std::str::FromStr;
use std::time::Duration;

use crate::config::{Config, Policy};

/// A value that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue(String);

impl std::fmt::Display for BadValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadValue {}

/// Seeds from text such as `7`, `0..200`, `0..=199` or `1,5,10..20`.
///
/// # Errors
/// Where the text is none of these, or names no seed.
pub fn seeds(text: &str) -> Result<Vec<u64>, BadValue> {
    let bad = || {
        BadValue(format!("{text:?} names no seeds: expected for example 7, 0..200, 0..=199 or 1,5,10..20"))
    };
    let number = |text: &str| text.trim().replace('_', "").parse::<u64>().map_err(|_| bad());
    let mut seeds = Vec::new();
    for part in text.split(',') {
        if let Some((low, high)) = part.split_once("..=") {
            seeds.extend(number(low)?..=number(high)?);
        } else if let Some((low, high)) = part.split_once("..") {
            seeds.extend(number(low)?..number(high)?);
        } else if let Some((low, high)) = part.split_once('-') {
            seeds.extend(number(low)?..=number(high)?);
        } else {
            seeds.push(number(part)?);
        }
    }
    if seeds.is_empty() { Err(bad()) } else { Ok(seeds) }
}

fn value<T: FromStr>(name: &str) -> Result<Option<T>, BadValue> {
    match env::var(name) {
        Ok(text) => match text.trim().replace('_', "").parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(BadValue(format!("{name}={text:?} cannot be understood"))),
        },
        Err(_) => Ok(None),
    }
}

/// The seeds that the environment asks for: `SIM_SEEDS`, else `SIM_SEED`, else seed 0 alone.
///
/// # Errors
/// Where one of them cannot be understood.
pub(crate) fn seeds_from_environment() -> Result<Vec<u64>, BadValue> {
    for name in ["SIM_SEEDS", "SIM_SEED"] {
        if let Ok(text) = env::var(name) {
            return seeds(&text).map_err(|error| BadValue(format!("{name}: {error}")));
        }
    }
    Ok(vec![0])
}

/// The configuration that the environment asks for.
///
/// # Errors
/// Where a variable cannot be understood.
pub(crate) fn config() -> Result<Config, BadValue> {
    let mut config = Config::default();
    if let Some(seed) = value("SIM_SEED")? {
        config.seed = seed;
    }
    if let Some(steps) = value("SIM_MAX_STEPS")? {
        config.max_steps = steps;
    }
    if let Some(steps) = value("SIM_MAX_STEPS_WITHOUT_EVENT")? {
        config.max_steps_without_event = steps;
    }
    if let Some(seconds) = value::<u64>("SIM_TIME_LIMIT_SECS")? {
        config.time_limit = Duration::from_secs(seconds);
    }
    if let Some(seconds) = value::<u64>("SIM_POLL_LIMIT_SECS")? {
        config.poll_limit = Duration::from_secs(seconds);
    }
    if let Some(seconds) = value::<u64>("SIM_REAL_LIMIT_SECS")? {
        config.real_limit = Duration::from_secs(seconds);
    }
    if let Some(cpus) = value::<usize>("SIM_CPUS")? {
        config.cpus = cpus.max(1);
    }
    config.log = env::var("SIM_LOG").is_ok_and(|text| !text.is_empty() && text != "0");
    config.real_processes = env::var("SIM_REAL_PROCESSES").is_ok_and(|text| !text.is_empty() && text != "0");
    match env::var("SIM_POLICY").as_deref() {
        Ok("fifo") => config.policy = Policy::Fifo,
        Ok("random") | Err(_) => {}
        Ok(other) => return Err(BadValue(format!("SIM_POLICY={other:?}: expected random or fifo"))),
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_seeds() {
        assert_eq!(seeds("7").unwrap(), [7]);
        assert_eq!(seeds("0..3").unwrap(), [0, 1, 2]);
        assert_eq!(seeds("0..=3").unwrap(), [0, 1, 2, 3]);
        assert_eq!(seeds("1,5,10..12").unwrap(), [1, 5, 10, 11]);
        assert_eq!(seeds("4-6").unwrap(), [4, 5, 6]);
        assert_eq!(seeds("1_000").unwrap(), [1000]);
    }

    #[test]
    fn what_names_no_seeds_is_refused() {
        for text in ["", "x", "3..1", "1..", "-1", "1,,2", "0x10"] {
            assert!(seeds(text).is_err(), "{text:?}");
        }
    }
}
