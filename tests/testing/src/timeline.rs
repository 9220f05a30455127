//! A world as a timeline that a person can read.

use crate::log::{Line, Mark};
use std::fmt::Write as _;
use tercet_core::Millis;

/// Lines of a timeline; of a longer one the middle is left out.
const LINES_MAX: usize = 160;

/// The lines of a world that began then: when, whose, which step and call, and what.
pub(crate) fn draw(lines: &[Line], begins: Millis) -> String {
    let width = |column: fn(&Line) -> &str| lines.iter().map(|line| column(line).chars().count()).max().unwrap_or(0);
    let rows = lines.iter().map(|line| (time(line.at, begins), line));
    let rows: Vec<_> = rows.collect();
    let times = rows.iter().map(|(time, _)| time.len()).max().unwrap_or(0);
    let (sagas, steps, calls) = (width(|l| &l.saga), width(|l| &l.step), width(|l| &l.call));
    let mut drawn = String::new();
    let mut before = None;
    for (number, (time, line)) in rows.iter().enumerate() {
        if rows.len() > LINES_MAX && (LINES_MAX / 2..rows.len() - LINES_MAX / 2).contains(&number) {
            if number == LINES_MAX / 2 {
                drawn.push_str(&format!("{:>times$}  ({} lines)\n", "…", rows.len() - LINES_MAX));
            }
            continue;
        }
        // A time is said once.
        let shown = if before == Some(time) { "" } else { time };
        before = Some(time);
        let mark = match line.mark {
            Mark::Plain => ' ',
            Mark::Fault => '✗',
            Mark::Hook => '›',
        };
        let Line { saga, step, call, text, .. } = line;
        let row = format!("{shown:>times$}  {saga:<sagas$}  {step:<steps$}  {call:<calls$}  {mark} {text}");
        let _ = writeln!(drawn, "{}", row.trim_end());
    }
    drawn
}

/// Since the world began: seconds, from an hour on hours as well.
fn time(at: Millis, begins: Millis) -> String {
    let ms = at.since(begins).as_millis();
    let (hours, minutes, seconds, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    if hours > 0 {
        return format!("{hours}:{minutes:02}:{seconds:02}.{ms:03}");
    }
    format!("{minutes}:{seconds:02}.{ms:03}")
}
