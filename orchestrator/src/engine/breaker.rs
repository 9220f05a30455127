//! A circuit breaker: after too many calls that came to nothing a participant is left in peace for a while, then tried one call at a
//! time. It counts and compares; it reads no clock and knows no saga.

use super::shared::Limits;
use std::time::Duration;
use tercet_core::Millis;

/// Calls that must succeed, one after the other, before the others follow.
const PROBES: u32 = 3;

/// The longest rest between two probes, unless the first is longer.
const REST_MAX: Duration = Duration::from_secs(60);

/// What became of a call, as far as its participant's health goes. A refusal is an answer like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Answered,
    Error(String),
    TimedOut,
}

/// Whether a participant is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// It is.
    Closed,
    /// It is not: what is to be asked waits in line, and spends no attempt.
    Open {
        /// Until then; the next call after it is a probe.
        until: Millis,
        /// What was wrong.
        why: String,
    },
    /// One call at a time, to see whether it has recovered.
    HalfOpen {
        /// What was wrong.
        why: String,
    },
}

/// Calls that ended, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    calls: u64,
    errors: u64,
    timeouts: u64,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        let Self { calls, errors, timeouts } = other;
        Self { calls: self.calls + calls, errors: self.errors + errors, timeouts: self.timeouts + timeouts }
    }

    fn exceeds(self, limits: &Limits) -> bool {
        let is = |bad: u64, percent: u32| bad > 0 && bad * 100 >= self.calls * u64::from(percent);
        let enough = self.calls >= u64::from(limits.calls_min.max(2));
        enough && (is(self.errors, limits.errors_percent) || is(self.timeouts, limits.timeouts_percent))
    }
}

/// One participant's breaker.
#[derive(Debug)]
pub(super) struct Fuse {
    pub(super) state: Breaker,
    /// The last half of the window, and the half before it.
    halves: [Tally; 2],
    half_began: Millis,
    /// Probes that succeeded in a row; rests in a row.
    good: u32,
    rests: u32,
}

impl Fuse {
    pub(super) fn new(now: Millis) -> Self {
        Self { state: Breaker::Closed, halves: Default::default(), half_began: now, good: 0, rests: 0 }
    }

    /// Goes on to probing once its rest is over.
    pub(super) fn look(&mut self, now: Millis) {
        if let Breaker::Open { until, why } = &self.state
            && now >= *until
        {
            self.state = Breaker::HalfOpen { why: why.clone() };
        }
    }

    /// A call has ended. True when that opens it.
    pub(super) fn ended(&mut self, how: &Ended, was_probe: bool, now: Millis, limits: &Limits) -> bool {
        match (&self.state, was_probe) {
            (Breaker::Closed, _) => self.counted(how, now, limits),
            (Breaker::HalfOpen { .. }, true) => self.probed(how, now, limits),
            // It was out already when the breaker opened.
            _ => false,
        }
    }

    fn counted(&mut self, how: &Ended, now: Millis, limits: &Limits) -> bool {
        self.turn(now, limits.window / 2);
        let [last, before] = &mut self.halves;
        last.calls += 1;
        last.errors += u64::from(matches!(how, Ended::Error(_)));
        last.timeouts += u64::from(*how == Ended::TimedOut);
        let all = last.plus(*before);
        if *how == Ended::Answered || !all.exceeds(limits) {
            return false;
        }
        let Tally { calls, errors, timeouts } = all;
        let said = match how {
            Ended::Error(why) => why.as_str(),
            _ => "no answer in its time",
        };
        let why = format!("of {calls} calls {errors} failed and {timeouts} timed out; at last: {said}");
        self.open(why, now, limits);
        true
    }

    fn turn(&mut self, now: Millis, half: Duration) {
        let passed = now.since(self.half_began);
        if passed >= half {
            let before = if passed < half * 2 { self.halves[0] } else { Tally::default() };
            self.halves = [Tally::default(), before];
            self.half_began = now;
        }
    }

    fn probed(&mut self, how: &Ended, now: Millis, limits: &Limits) -> bool {
        let said = match how {
            Ended::Answered => {
                self.good += 1;
                if self.good >= PROBES {
                    *self = Self::new(now);
                }
                return false;
            }
            Ended::Error(why) => why.as_str(),
            Ended::TimedOut => "no answer in its time",
        };
        self.open(format!("a probe failed: {said}"), now, limits);
        true
    }

    fn open(&mut self, why: String, now: Millis, limits: &Limits) {
        let longest = REST_MAX.max(limits.rest);
        let rest = limits.rest.saturating_mul(1 << self.rests.min(10)).min(longest);
        self.rests += 1;
        self.good = 0;
        self.state = Breaker::Open { until: now.plus(rest), why };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { calls_min: 20, ..Limits::DEFAULT };

    fn error() -> Ended {
        Ended::Error("broken".to_owned())
    }

    /// Ends these calls one after the other, a tenth of a second apart, and says after how many it opened.
    fn check(fuse: &mut Fuse, calls: impl IntoIterator<Item = Ended>) -> Option<usize> {
        let ends = |(at, how): (usize, Ended)| fuse.ended(&how, false, Millis(at as i64 * 100), &LIMITS);
        calls.into_iter().enumerate().map(ends).position(|opened| opened).map(|at| at + 1)
    }

    #[test]
    fn it_opens_at_its_share_of_errors_or_of_timeouts_and_not_on_a_handful_of_calls() {
        let fuse = || Fuse::new(Millis(0));
        assert_eq!(check(&mut fuse(), vec![error(); 19]), None);
        assert_eq!(check(&mut fuse(), vec![error(); 30]), Some(20));
        assert_eq!(check(&mut fuse(), vec![Ended::TimedOut; 30]), Some(20));
        let one_in = |n: usize, bad: fn() -> Ended| {
            (1..=100).map(move |at| if at % n == 0 { bad() } else { Ended::Answered }).collect::<Vec<_>>()
        };
        assert_eq!(check(&mut fuse(), one_in(20, error)), Some(20));
        assert_eq!(check(&mut fuse(), one_in(21, error)), None);
        assert_eq!(check(&mut fuse(), one_in(6, || Ended::TimedOut)), None);
        assert_eq!(check(&mut fuse(), one_in(5, || Ended::TimedOut)), Some(20));
    }

    #[test]
    fn what_lies_a_window_back_no_longer_counts() {
        let mut fuse = Fuse::new(Millis(0));
        assert_eq!(check(&mut fuse, vec![error(); 19]), None);
        let later = Millis(0).plus(LIMITS.window * 2);
        assert!(!fuse.ended(&error(), false, later, &LIMITS));
        assert_eq!(fuse.state, Breaker::Closed);
    }

    #[test]
    fn probes_go_on_at_longer_and_longer_rests_until_three_in_a_row_succeed() {
        let mut fuse = Fuse::new(Millis(0));
        check(&mut fuse, vec![error(); 20]);
        let mut rests = Vec::new();
        for _ in 0..6 {
            let Breaker::Open { until, .. } = fuse.state.clone() else { panic!("{fuse:?}") };
            fuse.look(Millis(until.0 - 1));
            assert!(matches!(fuse.state, Breaker::Open { .. }), "it probes before its rest is over");
            fuse.look(until);
            assert!(!fuse.ended(&error(), false, until, &LIMITS), "what was out before says nothing");
            assert!(fuse.ended(&error(), true, until, &LIMITS));
            let Breaker::Open { until: next, .. } = fuse.state else { panic!("{fuse:?}") };
            rests.push(next.since(until).as_secs());
        }
        assert_eq!(rests, [10, 20, 40, 60, 60, 60]);
        let Breaker::Open { until, .. } = fuse.state else { panic!("{fuse:?}") };
        fuse.look(until);
        for _ in 0..2 {
            assert!(!fuse.ended(&Ended::Answered, true, until, &LIMITS));
            assert!(matches!(fuse.state, Breaker::HalfOpen { .. }));
        }
        fuse.ended(&Ended::Answered, true, until, &LIMITS);
        assert_eq!(fuse.state, Breaker::Closed);
    }
}
