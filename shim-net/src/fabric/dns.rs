//! Names: what the simulation's DNS answers.
//!
//! Owns the table of names. Must not know nodes' states. Invariant: `localhost` is the asking node
//! itself, and a literal address is its own answer.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a name stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// The addresses of a node, whatever they are at the time of the question.
    Node(u32),
    Addresses(Vec<IpAddr>),
}

/// The table of names.
#[derive(Default)]
pub(crate) struct Names {
    names: BTreeMap<String, Vec<Target>>,
}

/// The answer to a question.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Answer<'a> {
    Addresses(Vec<IpAddr>),
    Targets(&'a [Target]),
    Unknown,
}

impl Names {
    /// Adds one more meaning to `name`.
    pub(crate) fn add(&mut self, name: &str, target: Target) {
        let targets = self.names.entry(plain(name)).or_default();
        if !targets.contains(&target) {
            targets.push(target);
        }
    }

    /// Forgets `name`; whether it was known.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.names.remove(&plain(name)).is_some()
    }

    /// What `name` stands for.
    pub(crate) fn find(&self, name: &str) -> Answer<'_> {
        let literal = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = literal.parse() {
            return Answer::Addresses(vec![ip]);
        }
        let name = plain(name);
        if let Some(targets) = self.names.get(&name) {
            return Answer::Targets(targets);
        }
        if name == "localhost" || name.ends_with(".localhost") {
            return Answer::Addresses(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        Answer::Unknown
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        let mut names = Names::default();
        names.add("Server.Example.", Target::Node(3));
        assert_eq!(names.find("server.example"), Answer::Targets(&[Target::Node(3)]));
        assert_eq!(names.find("nobody"), Answer::Unknown);
        assert_eq!(names.find("10.0.0.1"), Answer::Addresses(vec!["10.0.0.1".parse().unwrap()]));
        assert_eq!(names.find("[::1]"), Answer::Addresses(vec!["::1".parse().unwrap()]));
        assert!(names.remove("SERVER.example"));
        assert!(matches!(names.find("localhost"), Answer::Addresses(_)));
    }
}
