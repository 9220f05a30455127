//! How long what cannot be taken yet is tried, and how often.

use std::time::Duration;

/// How long a message of a stream that cannot be taken now is tried: at growing intervals, which double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Until it comes again for the first time.
    pub first: Duration,
    /// Between two tries at most, where it waits for a saga that may never be started.
    pub most: Duration,
    /// After so much time it is said aloud that it waits, once.
    pub long: Duration,
    /// A signal whose saga is not there by then is laid aside as a dead letter.
    pub for_saga: Duration,
}

/// Between two tries at most, where the node is the one that is waited for.
const USUAL: Duration = Duration::from_secs(30);

/// The longest that doubling goes on.
const DOUBLINGS_MAX: u32 = 20;

impl Default for Waits {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            most: Duration::from_secs(5 * 60),
            long: Duration::from_secs(60),
            for_saga: Duration::from_secs(24 * 3600),
        }
    }
}

impl Waits {
    /// In a stream that keeps nothing for longer than `kept`: what is to be laid aside must be so while it is there.
    pub(super) fn within(self, kept: Option<Duration>) -> Self {
        let most = kept.map_or(Duration::MAX, |kept| kept / 10 * 9);
        Self { for_saga: self.for_saga.min(most), ..self }
    }

    /// Where it is the node that must come round: it is asked more often.
    pub(super) fn usual(self) -> Self {
        Self { most: self.most.min(USUAL), ..self }
    }

    /// What is left of the time for a saga to be started, if anything is.
    pub(super) fn left(self, waited: Duration) -> Option<Duration> {
        self.for_saga.checked_sub(waited).filter(|left| !left.is_zero())
    }

    /// Until a message comes again that has come so many times.
    pub(super) fn until_next(self, times: u64) -> Duration {
        let doublings = u32::try_from(times.saturating_sub(1)).unwrap_or(u32::MAX).min(DOUBLINGS_MAX);
        self.first.saturating_mul(1 << doublings).min(self.most)
    }

    /// Whether it has now waited for long, and had not when it came before.
    pub(super) fn is_long(self, times: u64) -> bool {
        let waited = |times: u64| self.first.saturating_mul((1 << times.saturating_sub(1).min(20)) - 1);
        times > 1 && waited(times) >= self.long && waited(times - 1) < self.long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It comes at growing intervals; said once, after a minute.
    #[test]
    fn intervals_double_up_to_five_minutes_and_it_is_said_once() {
        let waits = Waits::default();
        let seconds: Vec<_> = (1..=13).map(|times| waits.until_next(times).as_secs_f64()).collect();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0, 300.0]);
        assert_eq!(waits.until_next(u64::MAX), Duration::from_secs(300));
        assert_eq!(waits.usual().until_next(9), Duration::from_secs(30));
        let said: Vec<_> = (0..1_000).filter(|times| waits.is_long(*times)).collect();
        let waited: f64 = (1..said[0]).map(|times| waits.until_next(times).as_secs_f64()).sum();
        assert_eq!((said, waited), (vec![8], 63.5));
    }

    #[test]
    fn a_saga_is_waited_for_no_longer_than_the_stream_keeps_what_waits() {
        let (waits, hour) = (Waits::default(), Duration::from_secs(3600));
        assert_eq!(waits.within(None), waits);
        assert_eq!(waits.within(Some(hour * 1000)), waits);
        let short = waits.within(Some(hour));
        assert_eq!(short.for_saga, Duration::from_secs(54 * 60));
        assert_eq!(short.left(Duration::from_secs(53 * 60)), Some(Duration::from_secs(60)));
        assert_eq!((short.left(Duration::from_secs(54 * 60)), short.left(hour)), (None, None));
    }
}
