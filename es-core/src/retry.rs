use std::time::Duration;

use crate::World;

/// How often a message or a step is tried, and how long whoever tries waits in between.
///
/// By default five times, after 1, 2, 4 and 8 seconds, each up to half longer by chance, so
/// that what failed together does not come back together. No pause is longer than a minute
/// and a half of that.
///
/// ```
/// use std::time::Duration;
/// use es_core::RetryPolicy;
///
/// let patient = RetryPolicy::new(10).first(Duration::from_millis(100)).immediate(2);
/// assert_eq!(patient.tries, 10);
/// assert_eq!(RetryPolicy::default().tries, 5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How often it is tried at most; a message is a dead letter then.
    pub tries: u32,
    /// How often one try is made again at once, before a pause.
    pub immediate: u32,
    /// The first pause.
    pub first: Duration,
    /// By how much each pause is longer than the one before.
    pub factor: u32,
    /// The longest pause.
    pub cap: Duration,
    /// By which part of itself a pause may be longer by chance.
    pub jitter: f64,
}

impl RetryPolicy {
    /// So many tries, at least one, with the pauses of the default.
    pub fn new(tries: u32) -> Self {
        Self {
            tries: tries.max(1),
            immediate: 0,
            first: Duration::from_secs(1),
            factor: 2,
            cap: Duration::from_secs(60),
            jitter: 0.5,
        }
    }

    /// Sets the first pause.
    #[must_use]
    pub fn first(mut self, pause: Duration) -> Self {
        self.first = pause;
        self
    }

    /// Sets by how much each pause is longer than the one before.
    #[must_use]
    pub fn factor(mut self, factor: u32) -> Self {
        self.factor = factor;
        self
    }

    /// Sets the longest pause.
    #[must_use]
    pub fn cap(mut self, pause: Duration) -> Self {
        self.cap = pause;
        self
    }

    /// Sets how often one try is made again at once.
    #[must_use]
    pub fn immediate(mut self, times: u32) -> Self {
        self.immediate = times;
        self
    }

    /// Sets by which part of itself a pause may be longer, from 0 to 1.
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = part.clamp(0.0, 1.0);
        self
    }

    /// The pause after this try, counted from 1.
    pub fn pause(&self, attempt: u32, world: &World) -> Duration {
        // What has 32 bits is a number between 0 and 1 without loss.
        let chance = f64::from((world.random_u64() >> 32) as u32) / f64::from(u32::MAX);
        let times = self.factor.checked_pow(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = self.first.checked_mul(times).map_or(self.cap, |pause| pause.min(self.cap));
        pause + pause.mul_f64(self.jitter * chance)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new(5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_are_only_lengthened() {
        let world = World::real();
        let policy = RetryPolicy::default();
        for (attempt, seconds) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1_000, 60)] {
            for _ in 0..100 {
                let (pause, due) = (policy.pause(attempt, &world), Duration::from_secs(seconds));
                assert!(pause >= due && pause <= due.mul_f64(1.5), "{pause:?} after {attempt}");
            }
        }
        let exact = policy.jitter(0.0);
        assert_eq!(exact.pause(3, &world), Duration::from_secs(4));
    }
}
