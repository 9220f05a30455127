//! Rules broken on purpose: with one of them taken out, the simulator must notice. Each is asked for at its own place.
//!
//! Only a build with the feature `canary`, which nothing enables by default, can break any: in every other build [`broken`] is
//! `false`, and costs nothing.

#[cfg(feature = "canary")]
static BROKEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Whether the rule of that name is broken in this process.
#[cfg(not(feature = "canary"))]
#[must_use]
pub const fn broken(_rule: &str) -> bool {
    false
}

/// Whether the rule of that name is broken in this process.
#[cfg(feature = "canary")]
#[must_use]
pub fn broken(rule: &str) -> bool {
    BROKEN.get().is_some_and(|broken| broken == rule)
}

/// Breaks a rule for as long as this process lives; the first call counts. For the simulator's canaries alone.
#[cfg(feature = "canary")]
pub fn break_rule(rule: &str) {
    let _ = BROKEN.set(rule.to_owned());
}
