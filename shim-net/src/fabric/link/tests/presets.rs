//! Presets: that the rules give the figures that they cite.
//!
//! Owns the figures once more, as medians of round trips in milliseconds. Invariant: every preset is here.

use super::super::presets::*;
use super::super::{Fate, LinkConfig};
use super::Bench;

fn median_ms(config: &LinkConfig) -> f64 {
    config.latency.quantile(0.5).as_secs_f64() * 1000.0
}

#[test]
fn presets_have_the_round_trips_that_they_cite() {
    let all = [
        (lan(), 0.216),
        (same_zone(), 0.908),
        (same_region(), 1.553),
        (near_regions(), 5.387),
        (us_coast_to_coast(), 69.0),
        (us_europe(), 84.0),
        (us_brazil(), 118.0),
        (us_japan(), 158.0),
        (us_australia(), 204.0),
        (us_singapore(), 227.0),
        (us_south_africa(), 233.0),
        (lte(), 69.0),
        (fifth_generation(), 20.0),
        (wifi_busy(), 20.0),
        (dsl(), 37.05),
        (fibre(), 11.55),
        (fixed_access(), 10.0),
        (geostationary(), 629.0),
        (low_orbit(), 50.0),
    ];
    for (preset, round_trip_ms) in all {
        let found = median_ms(&preset.up) + median_ms(&preset.down);
        assert!((found / round_trip_ms - 1.0).abs() < 0.005, "{found}, not {round_trip_ms}: {preset:?}");
        for rules in [preset.up, preset.down] {
            let mut bench = Bench::new(rules, 1);
            (1..=9).for_each(|port| bench.send(port, 1000));
            bench.finish();
            assert_eq!(bench.count(|fate| matches!(fate, Fate::Arrives(_))), 9);
        }
    }
}

#[test]
fn tails_are_where_they_were_measured() {
    let share = |preset: Preset, u: f64| 2.0 * preset.down.latency.quantile(u).as_secs_f64() * 1000.0;
    assert!((share(lan(), 0.99) - 1.26).abs() < 0.01);
    assert!((share(wifi_busy(), 0.9) - 100.0).abs() < 0.1);
    assert_eq!(share(low_orbit(), 0.0), 20.0);
    assert_eq!((share(low_orbit(), 0.25), share(low_orbit(), 0.75)), (40.0, 60.0));
    assert!((600.0..605.0).contains(&share(geostationary(), 0.0)));
}
