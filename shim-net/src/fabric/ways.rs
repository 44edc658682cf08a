//! Ways that packets went lately: most go as others before them.
//!
//! Owns [`Ways`], a small table in which a new way may take the place of an old one. Must not know how a way is found.
//! Invariant: what it gives is what a search would find, because a way ends with the edition of its segment.

use std::net::IpAddr;

use super::segment::Segment;

/// From a node to a neighbour of its.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Way {
    pub(crate) from: u32,
    pub(crate) segment: u32,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
}

/// What a way leads to: which element, and over which link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lead {
    pub(crate) to: u32,
    pub(crate) place: u32,
    /// The edition of the segment when it was found.
    edition: u64,
}

/// How many ways are remembered.
const PLACES: usize = 64;

/// The ways that packets went lately.
pub(crate) struct Ways(Vec<Option<(Way, Lead)>>);

impl Default for Ways {
    fn default() -> Ways {
        Ways(vec![None; PLACES])
    }
}

impl Ways {
    /// Where `way` leads to, if that is remembered and still so.
    pub(crate) fn find(&self, way: &Way, segment: &Segment) -> Option<Lead> {
        let (known, lead) = self.0[place_of(way)].as_ref()?;
        (lead.edition == segment.edition() && known == way).then_some(*lead)
    }

    /// A search has found that `way` leads to `to` over the link at `place`.
    pub(crate) fn remember(&mut self, way: Way, segment: &Segment, to: u32, place: u32) {
        self.0[place_of(&way)] = Some((way, Lead { to, place, edition: segment.edition() }));
    }
}

/// Neighbours have addresses that differ at their ends.
fn place_of(way: &Way) -> usize {
    let end = match way.destination {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(ip) => ip.to_bits() as u32,
    };
    (end ^ way.from.wrapping_mul(29)) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_ends_when_an_address_of_its_segment_goes_elsewhere() {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let mut segment = Segment::new("lan", Vec::new());
        segment.give(ip("10.0.0.2"), 2);
        let mut ways = Ways::default();
        let way = Way { from: 1, segment: 0, source: ip("10.0.0.1"), destination: ip("10.0.0.2") };
        assert!(ways.find(&way, &segment).is_none());
        ways.remember(way, &segment, 2, 7);
        assert_eq!(ways.find(&way, &segment).map(|lead| (lead.to, lead.place)), Some((2, 7)));
        for other in [
            Way { from: 1 + PLACES as u32, ..way },
            Way { segment: 1, ..way },
            Way { source: ip("10.0.0.9"), ..way },
            Way { destination: ip("10.0.64.2"), ..way },
        ] {
            assert!(ways.find(&other, &segment).is_none(), "{other:?}");
        }
        segment.take(ip("10.0.0.2"), 2);
        assert!(ways.find(&way, &segment).is_none());
        ways.remember(way, &segment, 3, 8);
        segment.expect_lines();
        assert!(ways.find(&way, &segment).is_none());
    }
}
