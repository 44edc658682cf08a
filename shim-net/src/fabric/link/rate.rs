//! How long a packet takes at a rate: framing, rates that change by a schedule, slots.
//!
//! Owns [`Framing`], [`Schedule`] and the clock of a transmitter. Must not know what waits. Invariant: over any time in
//! which a transmitter is busy it sends exactly what the rate allows, to within one packet.

use std::time::Duration;

use shim_runtime::clock::SimTime;

use super::Latency;

/// What a packet of the network layer grows to on the wire, as `tc`'s `overhead`, `mpu` and `linklayer atm` say it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Framing {
    /// What each packet has in addition, in bytes.
    pub overhead_bytes: u32,
    /// The least that a packet takes, overhead included, in bytes.
    pub least_bytes: u32,
    /// Cells: how many bytes of a packet one carries, and how many it takes on the wire. The last one is filled up.
    pub cells: Option<(u32, u32)>,
}

impl Framing {
    /// Ethernet: 14 bytes of header, 4 of checksum, 8 of preamble, 12 of gap; 84 at least (IEEE 802.3).
    pub const ETHERNET: Framing = Framing { overhead_bytes: 38, least_bytes: 84, cells: None };
    /// ADSL, PPPoE over ATM: 32 bytes of headers and trailer, in cells of 53 bytes that carry 48 (ITU-T I.361, RFC 2684).
    pub const ADSL: Framing = Framing { overhead_bytes: 32, least_bytes: 0, cells: Some((48, 53)) };

    /// How many bytes a packet of `bytes` takes on the wire.
    pub fn wire_bytes(&self, bytes: u64) -> u64 {
        let framed = (bytes + u64::from(self.overhead_bytes)).max(self.least_bytes.into());
        match self.cells {
            Some((carries, takes)) if carries > 0 => {
                framed.div_ceil(carries.into()).saturating_mul(takes.into())
            }
            _ => framed,
        }
    }
}

/// One step of a [`Schedule`]: what is `None` is as the link's own rules say.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Step {
    /// From when on, since the beginning of the run, or of the period.
    pub at: Duration,
    /// Bits per second; zero means that nothing is sent until the next step.
    pub bandwidth_bps: Option<u64>,
    /// How long packets are on their way.
    pub latency: Option<Latency>,
    /// The probability (0 to 1) that a packet is lost.
    pub loss: Option<f64>,
}

/// Rules that change by the clock: a mobile's way through its cells, a day's load. Empty where nothing changes.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Schedule {
    /// The steps, in ascending order of their times. Before the first one the link's own rules hold.
    pub steps: Vec<Step>,
    /// After how long it begins again; `None` where the last step stays.
    pub period: Option<Duration>,
}

impl Schedule {
    /// A trace of rates: from when on, since the beginning of the run, which rate in bits per second.
    pub fn rates(trace: impl IntoIterator<Item = (Duration, u64)>) -> Schedule {
        let step = |(at, rate)| Step { at, bandwidth_bps: Some(rate), ..Step::default() };
        Schedule { steps: trace.into_iter().map(step).collect(), period: None }
    }

    /// The same, again and again.
    pub fn repeated_every(self, period: Duration) -> Schedule {
        Schedule { period: Some(period), ..self }
    }

    /// The step that holds at `now`.
    pub(crate) fn step(&self, now: SimTime) -> Option<&Step> {
        if self.steps.is_empty() {
            return None;
        }
        let place = self.steps.partition_point(|step| step.at <= self.phase(now));
        match place.checked_sub(1) {
            Some(place) => self.steps.get(place),
            // A repeated schedule has no beginning: before its first step the last one holds.
            None if self.is_repeated() && now.since_start() >= self.period.unwrap_or_default() => {
                self.steps.last()
            }
            None => None,
        }
    }

    /// When the next step begins, if there is one.
    fn next_change(&self, now: SimTime) -> Option<SimTime> {
        let phase = self.phase(now);
        let place = self.steps.partition_point(|step| step.at <= phase);
        let wait = match (self.steps.get(place), self.period) {
            (Some(step), Some(period)) if self.is_repeated() && step.at >= period => period - phase,
            (Some(step), _) => step.at - phase,
            (None, Some(period)) if self.is_repeated() => period - phase,
            (None, _) => return None,
        };
        Some(now + wait)
    }

    fn is_repeated(&self) -> bool {
        !self.steps.is_empty() && self.period.is_some_and(|period| !period.is_zero())
    }

    fn phase(&self, now: SimTime) -> Duration {
        match self.period.filter(|_| self.is_repeated()) {
            Some(period) => Duration::from_nanos((now.since_start().as_nanos() % period.as_nanos()) as u64),
            None => now.since_start(),
        }
    }

    /// Whether a step changes the rate.
    pub(crate) fn has_rates(&self) -> bool {
        self.steps.iter().any(|step| step.bandwidth_bps.is_some())
    }

    /// Whether a step may lose packets.
    pub(crate) fn has_loss(&self) -> bool {
        self.steps.iter().any(|step| step.loss.is_some_and(|loss| loss > 0.0))
    }
}

/// What sends one packet after the other.
#[derive(Debug)]
pub(crate) struct Transmitter {
    /// When everything that was begun is sent.
    pub(crate) busy_until: SimTime,
    /// What is left of a nanosecond, in 2⁻³² of one: lost, it would make a fast link slower.
    fraction: u64,
}

/// How many steps one packet may take to be sent: more than that is a link that sends nothing.
const MOST_STEPS: u32 = 100_000;
const BITS_TIMES_NANOS: u128 = 8_000_000_000;

impl Transmitter {
    pub(crate) fn new() -> Transmitter {
        Transmitter { busy_until: SimTime::ZERO, fraction: 0 }
    }

    /// Sends `wire_bytes` from `now` on, when nothing is being sent. Returns when it is done, or `None` where the rate
    /// is zero for good.
    pub(crate) fn send(
        &mut self,
        wire_bytes: u64,
        rate_bps: Option<u64>,
        schedule: &Schedule,
        now: SimTime,
    ) -> Option<SimTime> {
        if now > self.busy_until {
            self.fraction = 0;
        }
        let mut at = now;
        // In bits times nanoseconds in a second, so that a rate divides it into nanoseconds.
        let mut left = u128::from(wire_bytes) * BITS_TIMES_NANOS;
        for _ in 0..MOST_STEPS {
            let scheduled = schedule.step(at).and_then(|step| step.bandwidth_bps);
            let rate = u128::from(scheduled.or(rate_bps).unwrap_or(u64::MAX));
            let end = schedule.next_change(at).filter(|_| schedule.has_rates());
            if let Some(end) = end {
                let possible = rate * (end - at).as_nanos();
                if possible < left {
                    left -= possible;
                    at = end;
                    continue;
                }
            }
            if rate == 0 {
                return None;
            }
            let takes = (left << 32) / rate + u128::from(self.fraction);
            self.fraction = (takes & 0xffff_ffff) as u64;
            self.busy_until = at + Duration::from_nanos((takes >> 32).min(u64::MAX.into()) as u64);
            return Some(self.busy_until);
        }
        None
    }
}

/// The next time that is a multiple of `slot` since the beginning of the run; `at` itself where there are no slots.
pub(crate) fn next_slot(at: SimTime, slot: Duration) -> SimTime {
    let slot = slot.as_nanos() as u64;
    if slot == 0 { at } else { SimTime(at.nanos().div_ceil(slot).saturating_mul(slot)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    #[test]
    fn framing_is_what_the_standards_say() {
        assert_eq!(Framing::ETHERNET.wire_bytes(1500), 1538);
        assert_eq!(Framing::ETHERNET.wire_bytes(40), 84);
        // A bare acknowledgement of 40 bytes is two cells: 40 + 32 bytes.
        assert_eq!(Framing::ADSL.wire_bytes(40), 106);
        assert_eq!(Framing::default().wire_bytes(77), 77);
    }

    #[test]
    fn fractions_of_a_nanosecond_are_not_lost() {
        let mut transmitter = Transmitter::new();
        // 1,500 bytes at 7 Gbit/s: 1714.29 ns.
        let mut now = SimTime(0);
        for _ in 0..7_000 {
            now = transmitter.send(1500, Some(7_000_000_000), &Schedule::default(), now).unwrap();
        }
        assert!(now.nanos().abs_diff(12 * MILLI) <= 1, "{now:?}");
    }

    #[test]
    fn a_schedule_is_followed_in_the_middle_of_a_packet() {
        let milli = Duration::from_millis;
        let schedule = Schedule::rates([(milli(0), 8_000), (milli(500), 0), (milli(600), 16_000)]);
        let mut transmitter = Transmitter::new();
        // 1,000 bytes: 500 in the first half of a second, 500 in a quarter after the pause.
        let done = transmitter.send(1000, None, &schedule, SimTime(0)).unwrap();
        assert_eq!(done, SimTime(850 * MILLI));
        let again = schedule.clone().repeated_every(milli(1000));
        assert_eq!(again.step(SimTime(1_550 * MILLI)).unwrap().bandwidth_bps, Some(0));
        assert_eq!(again.next_change(SimTime(1_650 * MILLI)), Some(SimTime(2_000 * MILLI)));
        let never = Schedule::rates([(milli(0), 0)]);
        assert_eq!(Transmitter::new().send(1, None, &never, SimTime(5)), None);
    }

    #[test]
    fn slots_are_multiples() {
        assert_eq!(next_slot(SimTime(1), Duration::from_millis(2)), SimTime(2 * MILLI));
        assert_eq!(next_slot(SimTime(2 * MILLI), Duration::from_millis(2)), SimTime(2 * MILLI));
        assert_eq!(next_slot(SimTime(7), Duration::ZERO), SimTime(7));
    }
}
