//! What this process has used, as Linux says it; nothing elsewhere.

use std::{path::Path, time::Duration};

/// Clock ticks a second in `/proc`: 100 on every Linux that Rust runs on.
const TICKS: u64 = 100;

/// Processor time of all threads, user and system.
pub(super) fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the command in brackets and may hold spaces: what follows the last bracket is plain.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let field = |n: usize| after.split_whitespace().nth(n).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((field(11) + field(12)) * 1_000 / TICKS)
}

/// Resident memory in bytes.
pub(super) fn rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Bytes of a database, its log included.
pub(super) fn bytes_of(path: &Path) -> u64 {
    let log = path.with_extension("db-wal");
    [path, &log].iter().filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).sum()
}
