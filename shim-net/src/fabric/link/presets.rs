//! Networks as they were measured: rules with their sources.
//!
//! Owns the figures. Must not know what a rule does. Invariant: each figure has its source beside it, and what no source
//! says is said to be a choice.
//!
//! Measurements are of round trips: each way gets half. Averages are taken as medians. Choices, everywhere: a queue of
//! 200 ms at the tail, how latencies spread around their median where only that was measured, and of wide-area links a
//! jitter with a median of 0.2 ms for each way. A preset is a snapshot of one place and year; change what matters to a test
//! with `update`.

use std::time::Duration;

use super::{Framing, Latency, LinkConfig};

/// A way to the network: what a subscriber sends, and what it is sent.
#[derive(Clone, PartialEq, Debug)]
pub struct Preset {
    /// From the subscriber.
    pub up: LinkConfig,
    /// To the subscriber.
    pub down: LinkConfig,
}

impl Preset {
    /// The same in both directions.
    pub fn symmetric(config: LinkConfig) -> Preset {
        Preset { up: config.clone(), down: config }
    }

    fn access(latency: Latency, up_bps: u64, down_bps: u64) -> Preset {
        Preset { up: limited(latency.clone(), up_bps), down: limited(latency, down_bps) }
    }

    fn with_both(mut self, change: impl Fn(&mut LinkConfig)) -> Preset {
        change(&mut self.up);
        change(&mut self.down);
        self
    }
}

const MEGABIT: u64 = 1_000_000;
const GIGABIT: u64 = 1000 * MEGABIT;

fn micros(count: u64) -> Duration {
    Duration::from_micros(count)
}

fn limited(latency: Latency, bandwidth_bps: u64) -> LinkConfig {
    let queue_limit_bytes = (bandwidth_bps / 8 / 5).max(32 << 10);
    LinkConfig { latency, bandwidth_bps: Some(bandwidth_bps), queue_limit_bytes, ..LinkConfig::default() }
}

/// A latency that grows from nothing: its median, and the share of packets that exceeds a larger one.
fn skewed(median: Duration, sigma: f64) -> Latency {
    Latency::LogNormal { min: Duration::ZERO, median, sigma }
}

/// Between servers of one pod of a data centre: a median round trip of 216 µs, a 99th percentile of 1.26 ms, and 1.31 of
/// 100,000 packets lost. Meant to be those of DC1 in Guo et al., "Pingmesh: A Large-Scale System for Data Center Network
/// Latency Measurement and Analysis", SIGCOMM 2015, but not checked against the paper: take them as choices. Only the order
/// of the loss is confirmed, 1 to 10 of 100,000 (notes of the talk, layer9.org). The rate of 10 Gbit/s is a choice.
pub fn lan() -> Preset {
    // ln(1260 / 216) / 2.326: the 99th percentile of a normal distribution is 2.326 deviations from its middle.
    let config = LinkConfig { loss: 1.31e-5, ..limited(skewed(micros(108), 0.758), 10 * GIGABIT) };
    Preset::symmetric(config)
}

fn wide_area(round_trip_us: u64) -> Preset {
    let jitter = micros(200);
    let min = micros(round_trip_us / 2).saturating_sub(jitter);
    Preset::symmetric(limited(Latency::LogNormal { min, median: jitter, sigma: 0.5 }, GIGABIT))
}

/// Between machines of one availability zone: 908 µs on average. Painter, "Exploring Azure Network Latency: The
/// Fundamentals", simonpainter.com, March 2025 (UK South, about 40,000 echoes of 64 bytes). The rate of 1 Gbit/s is a
/// choice, here and for all pairs of regions below.
pub fn same_zone() -> Preset {
    wide_area(908)
}

/// Between two availability zones of one region: 1,553 µs on average. Source as [`same_zone`].
pub fn same_region() -> Preset {
    wide_area(1_553)
}

/// Between two near regions (UK South and UK West): 5,387 µs on average. Source as [`same_zone`].
pub fn near_regions() -> Preset {
    wide_area(5_387)
}

/// From coast to coast of the United States (East US, West US): median round trip 69 ms. Microsoft, "Azure network
/// round-trip latency statistics", 30 days to April 9th, 2024, towards East US; so too for all pairs of regions below.
pub fn us_coast_to_coast() -> Preset {
    wide_area(69_000)
}

/// Across the Atlantic (East US, West Europe): median round trip 84 ms.
pub fn us_europe() -> Preset {
    wide_area(84_000)
}

/// Between East US and Brazil South: median round trip 118 ms.
pub fn us_brazil() -> Preset {
    wide_area(118_000)
}

/// Between East US and Japan East: median round trip 158 ms.
pub fn us_japan() -> Preset {
    wide_area(158_000)
}

/// Between East US and Australia East: median round trip 204 ms.
pub fn us_australia() -> Preset {
    wide_area(204_000)
}

/// Between East US and Southeast Asia (Singapore): median round trip 227 ms.
pub fn us_singapore() -> Preset {
    wide_area(227_000)
}

/// Between East US and South Africa North: median round trip 233 ms.
pub fn us_south_africa() -> Preset {
    wide_area(233_000)
}

/// LTE: medians of 13 Mbit/s down and 6 Mbit/s up. Huang et al., "A Close Examination of Performance and Power
/// Characteristics of 4G LTE Networks", MobiSys 2012. A subframe lasts 1 ms (3GPP TS 36.211). The median round trip of 69 ms
/// is a choice, between a measured median of 55 ms (Daoudi, Web Performance Calendar 2013, New York and Los Angeles) and
/// the 100 ms below which Grigorik, "High Performance Browser Networking", puts 4G. The jitter (sigma 0.3) is one, too.
pub fn lte() -> Preset {
    let latency = Latency::LogNormal { min: micros(20_000), median: micros(14_500), sigma: 0.3 };
    let slot = Duration::from_millis(1);
    Preset::access(latency, 6 * MEGABIT, 13 * MEGABIT).with_both(|config| config.slot = slot)
}

/// 5G, mostly not standalone: medians of the world of 203 Mbit/s down (Ookla, "The State of Worldwide Connectivity in 2023",
/// third quarter) and 21 Mbit/s up ("Growing and Slowing: The State of 5G Worldwide in 2021", third quarter). One way takes
/// from less than 7 ms down, at best, to around 18 ms up, at worst: Kottkamp, "5G NR and LTE Latency Analysis in a Public
/// Network", Rohde & Schwarz, 2022 (Munich). The medians of 8 ms down and 12 ms up are choices in this range.
pub fn fifth_generation() -> Preset {
    let way = |median: u64| Latency::LogNormal { min: micros(6_000), median: micros(median), sigma: 0.5 };
    Preset { up: limited(way(6_000), 21 * MEGABIT), down: limited(way(2_000), 203 * MEGABIT) }
}

/// A busy wireless LAN: half of all packets take more than 20 ms over the radio and back, a tenth more than 100 ms. Pei et
/// al., "WiFi Can Be the Weakest Link of Round Trip Network Latency in the Wild", INFOCOM 2016 (47 access points of a
/// campus). The rate of 50 Mbit/s is a choice; that nothing is lost, too: the radio repeats.
pub fn wifi_busy() -> Preset {
    // ln(100 / 20) / 1.2816: the 90th percentile.
    Preset::access(skewed(micros(10_000), 1.256), 50 * MEGABIT, 50 * MEGABIT)
}

/// DSL: 5.66 Mbit/s down, 0.82 Mbit/s up, 37 ms. FCC, "2016 Measuring Broadband America Fixed Broadband Report" (Verizon
/// DSL, 3.1 to 7 Mbit/s), as Verizon quotes it. PPPoE leaves 1,492 bytes (RFC 2516) in cells of ATM.
pub fn dsl() -> Preset {
    let latency = Latency::LogNormal { min: micros(18_000), median: micros(525), sigma: 0.5 };
    Preset::access(latency, 820_000, 5_660_000).with_both(|config| {
        config.framing = Framing::ADSL;
        config.mtu_bytes = Some(1492);
    })
}

/// Fibre to the home: 79.7 Mbit/s down, 85.7 Mbit/s up, 11.55 ms. Source as [`dsl`] (Verizon Fios, 75/75).
pub fn fibre() -> Preset {
    let latency = Latency::LogNormal { min: micros(5_500), median: micros(275), sigma: 0.5 };
    Preset::access(latency, 85_680_000, 79_740_000)
}

/// Fixed access of any kind: 10 ms, the median of the world (Ookla, November 2022). The rates of 84 Mbit/s down and
/// 38 Mbit/s up are choices, a little above its medians of 79 and 35 Mbit/s (Ookla, first quarter of 2023).
pub fn fixed_access() -> Preset {
    let latency = Latency::LogNormal { min: micros(4_500), median: micros(500), sigma: 0.7 };
    Preset::access(latency, 38_320_000, 83_950_000)
}

/// A geostationary satellite: medians of 18.75 Mbit/s down, 2.96 Mbit/s up and 629 ms (Viasat in the United States: Ookla,
/// "Starlink Expands but Q3 2021 Performance Flattens in Some Areas"). At least about 600 ms: Michel et al., "A First Look
/// at Starlink Performance", IMC 2022.
pub fn geostationary() -> Preset {
    let latency = Latency::LogNormal { min: micros(300_000), median: micros(14_500), sigma: 0.5 };
    Preset::access(latency, 2_960_000, 18_750_000)
}

/// Satellites in low orbits (Starlink): a round trip of 20 ms at least, 40, 50 and 60 ms at the quartiles (Michel et al., as
/// [`geostationary`]; 2022, from Belgium to Europe); medians of 87 Mbit/s down and 13.5 Mbit/s up (United States, Ookla as
/// there). That the slowest packet takes 120 ms is a choice. Up to half of all packets are lost for a moment, it seems at
/// handovers (Kassem et al., "A Browser-side View of Starlink Connectivity", IMC 2022): add this by `outages` or
/// `loss_bursts`.
pub fn low_orbit() -> Preset {
    let quantiles = [10_000, 20_000, 25_000, 30_000, 60_000].map(micros).to_vec();
    // Neighbours in time take nearly the same way: the correlation is a choice.
    Preset::access(Latency::Quantiles(quantiles), 13_540_000, 87_250_000)
        .with_both(|config| config.latency_correlation = 0.99)
}
