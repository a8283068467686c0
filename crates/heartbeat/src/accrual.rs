//! Suspicion that grows with lateness, for pulses that cross a network.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How improbable it is that a beat as late as this still comes: φ = −log₁₀ P(later), where the time between beats is
/// normal with that mean and standard deviation.
///
/// φ of 1 is a chance of one in ten to be wrong about a worker that is given up, of 2 one in a hundred, and so on. It rises
/// with `late` throughout and is finite for any. A deviation below a microsecond counts as one.
///
/// After Hayashibara, Défago, Yared and Katayama, "The φ Accrual Failure Detector", SRDS 2004.
///
/// ```
/// use std::time::Duration;
/// use evenkeel_heartbeat::phi;
///
/// let (mean, deviation) = (Duration::from_millis(1_000), Duration::from_millis(100));
/// assert!((phi(mean, mean, deviation) - 0.301).abs() < 0.001, "half of them are later");
/// assert!(phi(Duration::from_millis(1_500), mean, deviation) > 6.0);
/// ```
#[must_use]
pub fn phi(late: Duration, mean: Duration, deviation: Duration) -> f64 {
    tail(
        late.as_secs_f64(),
        mean.as_secs_f64(),
        deviation.as_secs_f64(),
    )
}

fn tail(late: f64, mean: f64, deviation: f64) -> f64 {
    use std::f64::consts::{LN_2, LN_10, SQRT_2};
    let z = (late - mean) / (deviation.max(1e-6) * SQRT_2);
    // P(later) is erfc(z) / 2, in logarithms, since it soon is too small for a float.
    let ln = if z >= 0.0 {
        ln_erfc(z) - LN_2
    } else {
        (-ln_erfc(-z).exp() / 2.0).ln_1p()
    };
    -ln / LN_10
}

/// ln erfc(z), for z of zero or more.
fn ln_erfc(z: f64) -> f64 {
    let root_pi = std::f64::consts::PI.sqrt();
    if z < 2.0 {
        // erf(z) = 2/√π e^(-z²) Σ 2ⁿ z^(2n+1) / (2n+1)!!, whose terms are all positive.
        let (mut term, mut sum) = (z, z);
        for n in 1..60 {
            term *= 2.0 * z * z / f64::from(2 * n + 1);
            sum += term;
        }
        (-(2.0 / root_pi) * (-z * z).exp() * sum).ln_1p()
    } else {
        // Laplace's continued fraction, from the far end: √π e^(z²) erfc(z) = 1/(z + 1/2/(z + 1/(z + 3/2/(z + …)))).
        let fraction = (1..60)
            .rev()
            .fold(z, |below, n| z + f64::from(n) / 2.0 / below);
        -z * z - root_pi.ln() - fraction.ln()
    }
}

/// The times between the last beats of a pulse, and what they make of its lateness.
///
/// For pulses from another machine: stamp each when it arrives. A pulse in the same process is better watched by a
/// [`Monitor`](crate::Monitor), which needs no stamps and knows of its own stalls.
#[derive(Clone, Debug)]
pub struct Arrivals {
    window: usize,
    expected: Duration,
    last: Option<Instant>,
    /// Seconds between beats.
    between: VecDeque<f64>,
}

impl Arrivals {
    /// Keeps the last `window` times between beats, at least two. Until there are two, beats are taken to come every
    /// `expected`, give or take a quarter of it.
    #[must_use]
    pub fn new(window: usize, expected: Duration) -> Self {
        Self {
            window: window.max(2),
            expected,
            last: None,
            between: VecDeque::new(),
        }
    }

    /// A beat arrived. Time that went backwards counts as none.
    pub fn beat(&mut self, at: Instant) {
        if let Some(last) = self.last.replace(at) {
            if self.between.len() == self.window {
                self.between.pop_front();
            }
            let between = at.saturating_duration_since(last);
            self.between.push_back(between.as_secs_f64());
        }
    }

    /// The [φ](phi) of the silence since the last beat; zero before the first. Takes time in proportion to the window.
    #[must_use]
    pub fn phi(&self, now: Instant) -> f64 {
        let Some(last) = self.last else {
            return 0.0;
        };
        let (mean, deviation) = self.mean_and_deviation();
        tail(
            now.saturating_duration_since(last).as_secs_f64(),
            mean,
            deviation,
        )
    }

    fn mean_and_deviation(&self) -> (f64, f64) {
        let expected = self.expected.as_secs_f64();
        if self.between.len() < 2 {
            return (expected, expected / 4.0);
        }
        let n = self.between.len() as f64;
        let mean = self.between.iter().sum::<f64>() / n;
        let squares = self.between.iter().map(|x| (x - mean).powi(2));
        // Beats may come as by clockwork; a hundredth of the mean is left for the road.
        (mean, (squares.sum::<f64>() / n).sqrt().max(mean / 100.0))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn at(deviations: f64) -> f64 {
        tail(100.0 + deviations, 100.0, 1.0)
    }

    /// −log₁₀ of the normal distribution's upper tail, to more digits than are asked for: computed with 50 digits.
    const CLOSED: [(f64, f64); 12] = [
        (-8.0, 2.7017288495439214e-16),
        (-3.0, 0.0005866493137900667),
        (-1.0, 0.07502601295781802),
        (0.0, std::f64::consts::LOG10_2),
        (0.5, 0.5106919892652407),
        (1.0, 0.7995455414919705),
        (2.0, 1.643016080140937),
        (2.9, 2.7291318153963524),
        (3.0, 2.869699035929369),
        (6.0, 9.005864327476704),
        (40.0, 349.43700645934587),
        (1000.0, 217150.6400419944),
    ];

    #[test]
    fn phi_is_within_a_hundredth_of_the_closed_form() {
        for (deviations, expected) in CLOSED {
            let phi = at(deviations);
            let bound = 0.01_f64.min(1e-9 + expected * 1e-9);
            assert!(
                (phi - expected).abs() <= bound,
                "{deviations}: {phi}, not {expected}"
            );
        }
    }

    #[test]
    fn phi_is_finite_and_ordered_at_any_lateness() {
        let mut before = 0.0;
        for step in 0..2_000_000 {
            let phi = at(f64::from(step) / 10_000.0 - 10.0);
            assert!(
                phi.is_finite() && phi >= before,
                "step {step}: {phi} after {before}"
            );
            before = phi;
        }
        for late in [Duration::from_secs(1 << 40), Duration::MAX] {
            let phi = phi(late, Duration::ZERO, Duration::ZERO);
            assert!(phi.is_finite() && phi > before, "{phi}");
            before = phi;
        }
        assert!(phi(Duration::ZERO, Duration::MAX, Duration::ZERO) >= 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn suspicion_follows_the_pulse() {
        let second = Duration::from_secs(1);
        let mut now = Instant::now();
        let mut arrivals = Arrivals::new(100, second);
        assert_eq!(
            arrivals.phi(now + second * 100),
            0.0,
            "nothing was to be expected yet"
        );
        arrivals.beat(now);
        assert!(arrivals.phi(now + second * 3) > 8.0, "by what was expected");
        for n in 0..1_000_u32 {
            now += second * 2 + Duration::from_millis(u64::from(n % 3) * 100);
            arrivals.beat(now);
        }
        assert!(arrivals.phi(now + second * 2) < 1.0);
        assert!(arrivals.phi(now + second * 3) > 8.0);
        assert_eq!(arrivals.between.len(), 100);
        // A pulse like clockwork still leaves room.
        for _ in 0..200 {
            now += second;
            arrivals.beat(now);
        }
        assert!(arrivals.phi(now + second + Duration::from_millis(5)) < 1.0);
        arrivals.beat(now - second);
        assert!(arrivals.phi(now).is_finite());
    }
}
