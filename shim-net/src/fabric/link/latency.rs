//! How long a packet is on its way: distributions, each as its quantile function.
//!
//! Owns [`Latency`] and the normal distribution. Must not know links or queues. Invariant: one draw of the stream
//! gives one latency, none where the answer is certain, and a larger number never gives a shorter latency.

use std::time::Duration;

use shim_runtime::rng::Stream;

/// How long a packet is on its way, beside the time that the rate takes.
///
/// # Determinism
/// A draw is the quantile of one number of the `link` stream.
#[derive(Clone, PartialEq, Debug)]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Anything between two bounds, equally likely.
    Uniform {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// A bell curve, cut off at zero.
    Normal {
        /// The middle.
        mean: Duration,
        /// The standard deviation.
        deviation: Duration,
    },
    /// A bell curve of which only a part is taken; what is outside is drawn again, not moved to the bounds.
    TruncatedNormal {
        /// The middle of the whole curve.
        mean: Duration,
        /// The standard deviation of the whole curve.
        deviation: Duration,
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// A least time and an exponential tail.
    Exponential {
        /// The least.
        min: Duration,
        /// What the tail adds on average.
        tail: Duration,
    },
    /// A least time, and an addition whose logarithm is normal: what measurements of round trips mostly look like.
    LogNormal {
        /// The least.
        min: Duration,
        /// The median of what is added.
        median: Duration,
        /// The standard deviation of the logarithm (0.1 is narrow, 1 has a long tail).
        sigma: f64,
    },
    /// A heavy tail: a latency of at least `x` has the probability `(min/x)^shape`.
    Pareto {
        /// The least.
        min: Duration,
        /// The exponent; below 2 the variance is infinite. At least 0.1.
        shape: f64,
    },
    /// netem's `paretonormal`: a quarter of a bell curve and three quarters of a Pareto curve of shape 3, cut off at
    /// four deviations as netem's table is, which takes a fiftieth of one from the mean.
    ParetoNormal {
        /// netem's delay: the mean.
        mean: Duration,
        /// netem's jitter.
        deviation: Duration,
    },
    /// Measured: the quantiles 0, 1/n, 2/n … 1, in ascending order, with straight lines between them. An
    /// empty table is no latency at all.
    Quantiles(Vec<Duration>),
}

impl Latency {
    /// The latency that a share `u` (0 to 1) of all packets do not exceed.
    pub fn quantile(&self, u: f64) -> Duration {
        match self {
            Latency::Fixed(latency) => *latency,
            Latency::Uniform { min, max } => {
                let (low, high) = (nanos(*min.min(max)), nanos(*min.max(max)));
                from_nanos((low + (u * (high - low + 1.0)).floor()).min(high))
            }
            Latency::Normal { mean, deviation } => {
                from_nanos(nanos(*mean) + normal_quantile(u) * nanos(*deviation))
            }
            Latency::TruncatedNormal { mean, deviation, min, max } => {
                let (mean, deviation) = (nanos(*mean), nanos(*deviation));
                let (low, high) = (nanos(*min.min(max)), nanos(*min.max(max)));
                if deviation == 0.0 {
                    return from_nanos(mean.clamp(low, high));
                }
                let share = |bound: f64| normal_share((bound - mean) / deviation);
                let (below, above) = (share(low), share(high));
                let value = mean + normal_quantile(below + u * (above - below)) * deviation;
                // Where nothing of the curve is between the bounds, the nearer bound is left.
                from_nanos(value.clamp(low, high))
            }
            Latency::Exponential { min, tail } => from_nanos(nanos(*min) + nanos(*tail) * -(1.0 - u).ln()),
            Latency::LogNormal { min, median, sigma } => {
                from_nanos(nanos(*min) + nanos(*median) * (sigma * normal_quantile(u)).exp())
            }
            Latency::Pareto { min, shape } => {
                from_nanos(nanos(*min) * (1.0 - u).powf(-1.0 / shape.max(LEAST_SHAPE)))
            }
            Latency::ParetoNormal { mean, deviation } => {
                let pareto = (1.0 - u).powf(-1.0 / 3.0) - 1.5;
                let units = (normal_quantile(u) / 4.0 + pareto).min(4.0);
                from_nanos(nanos(*mean) + nanos(*deviation) * units)
            }
            Latency::Quantiles(table) => {
                let Some(last) = table.len().checked_sub(1) else { return Duration::ZERO };
                let place = u.clamp(0.0, 1.0) * last as f64;
                let below = place as usize;
                let (from, to) = (nanos(table[below]), nanos(table[(below + 1).min(last)]));
                from_nanos(from + (to - from) * (place - below as f64))
            }
        }
    }

    /// Whether every packet takes the same time.
    pub(crate) fn is_certain(&self) -> bool {
        match self {
            Latency::Fixed(_) => true,
            Latency::Uniform { min, max } | Latency::TruncatedNormal { min, max, .. } => min == max,
            Latency::Quantiles(table) => table.first() == table.last(),
            _ => false,
        }
    }
}

/// What a link remembers of its latencies.
#[derive(Default, Debug)]
pub(crate) struct Drawn {
    /// The last draw, as a standard normal number; `None` before the first.
    last: Option<f64>,
}

impl Drawn {
    /// Draws one, with the given `correlation` (0 to 1) to the one before. The distribution stays what it is: it is the
    /// normal numbers behind the quantiles that are correlated (a Gaussian copula).
    pub(crate) fn draw(&mut self, latency: &Latency, correlation: f64, rng: &mut Stream) -> Duration {
        if let Latency::Fixed(latency) = latency {
            return *latency;
        }
        if latency.is_certain() {
            return latency.quantile(0.5);
        }
        let u = rng.unit();
        if correlation <= 0.0 {
            return latency.quantile(u);
        }
        let rho = correlation.min(1.0);
        let fresh = normal_quantile(u);
        let number = self.last.map_or(fresh, |last| rho * last + (1.0 - rho * rho).sqrt() * fresh);
        self.last = Some(number);
        latency.quantile(normal_share(number))
    }
}

const LEAST_SHAPE: f64 = 0.1;
/// What a share is kept away from 0 and 1 by, where the curve has no end.
const EDGE: f64 = 1e-12;

fn nanos(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

fn from_nanos(nanos: f64) -> Duration {
    // A cast saturates: no latency is below zero, or above what fits.
    Duration::from_nanos(nanos as u64)
}

/// The number that a share `u` of a standard normal distribution does not exceed: PPND7 of Wichura, "Algorithm AS 241",
/// Applied Statistics 37 (1988), right to about seven digits.
pub(crate) fn normal_quantile(u: f64) -> f64 {
    let u = u.clamp(EDGE, 1.0 - EDGE);
    let q = u - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * polynomial(r, &[3.387_132_717_9, 50.434_271_938, 159.291_132_02, 59.109_374_720])
            / polynomial(r, &[1.0, 17.895_169_469, 78.757_757_664, 67.187_563_600]);
    }
    let r = (-u.min(1.0 - u).ln()).sqrt();
    let size = if r <= 5.0 {
        let r = r - 1.6;
        polynomial(r, &[1.423_437_277_7, 2.756_815_390_0, 1.306_728_481_6, 0.170_238_211_03])
            / polynomial(r, &[1.0, 0.737_001_642_50, 0.120_211_329_75])
    } else {
        let r = r - 5.0;
        polynomial(r, &[6.657_905_115_0, 3.081_226_386_0, 0.428_682_943_37, 0.017_337_203_997])
            / polynomial(r, &[1.0, 0.241_978_942_25, 0.012_258_202_635])
    };
    size.copysign(q)
}

/// The share of a standard normal distribution that is at most `x`: formula 26.2.17 of Abramowitz and Stegun, "Handbook
/// of Mathematical Functions" (1964), wrong by at most 7.5e-8.
pub(crate) fn normal_share(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let terms = [0.0, 0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let above = density * polynomial(t, &terms);
    if x < 0.0 { above } else { 1.0 - above }
}

/// The polynomial with these coefficients, lowest first, at `x`.
fn polynomial(x: f64, coefficients: &[f64]) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_has_its_known_values() {
        // Quantiles of R's qnorm.
        for (u, expected) in [
            (0.5, 0.0),
            (0.75, 0.674_489_75),
            (0.975, 1.959_963_985),
            (0.999, 3.090_232_306),
            (1e-6, -4.753_424_309),
            (1e-11, -6.706_023_155),
        ] {
            assert!((normal_quantile(u) - expected).abs() < 2e-6, "{u}: {}", normal_quantile(u));
            assert!((normal_share(expected) - u).abs() < 1e-7, "{expected}: {}", normal_share(expected));
        }
    }

    #[test]
    fn what_has_no_sense_still_has_an_answer() {
        let second = Duration::from_secs(1);
        let zero = Duration::ZERO;
        let odd = [
            Latency::Quantiles(Vec::new()),
            Latency::Uniform { min: second, max: zero },
            Latency::Pareto { min: second, shape: 0.0 },
            Latency::TruncatedNormal { mean: zero, deviation: zero, min: second, max: second },
            Latency::TruncatedNormal { mean: second * 100, deviation: second / 100, min: zero, max: second },
            Latency::Normal { mean: zero, deviation: second },
        ];
        for latency in odd {
            let quantiles: Vec<_> = [0.0, 0.5, 0.999].iter().map(|u| latency.quantile(*u)).collect();
            assert!(quantiles.is_sorted(), "{latency:?}: {quantiles:?}");
        }
    }
}
