//! The barrier's logic, exhausted in small: every order of calls, copies and answers.

mod effects;
mod holds;

use std::collections::BTreeSet;

/// Every state that can be reached from `first`, each looked at once; says how many there are.
fn exhaust<S>(
    first: S, key: impl Fn(&S) -> String, next: impl Fn(&S) -> Vec<(String, S)>, holds: impl Fn(&S) -> bool,
) -> usize
where
    S: Clone,
{
    let mut seen = BTreeSet::from([key(&first)]);
    let mut open = std::collections::VecDeque::from([(first, Vec::<String>::new())]);
    while let Some((state, trace)) = open.pop_front() {
        assert!(holds(&state), "after {}: {}", trace.join(" · "), key(&state));
        for (step, reached) in next(&state) {
            if seen.insert(key(&reached)) {
                let mut trace = trace.clone();
                trace.push(step);
                open.push_back((reached, trace));
            }
        }
    }
    seen.len()
}
