//! Moments as texts, in the form that JetStream and CloudEvents have in common: RFC 3339.

use std::time::{Duration, UNIX_EPOCH};
use tercet_core::Millis;

pub(crate) fn rfc3339(at: Millis) -> String {
    let since = Duration::from_millis(u64::try_from(at.0).unwrap_or_default());
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

pub(crate) fn parsed(text: &str) -> Option<Millis> {
    let moment = async_nats::datetime::parse_rfc3339(text).ok()?;
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok().map(Millis)
}
